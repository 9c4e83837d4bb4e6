"""What the page knows of an image: a small copy of it and of what the net said about it.

A file of its own for each image, page/KEY.js, is one call of a function of the page: a browser runs
scripts from disk, and reads no other files there. In it, besides the copy of the image:
    edges         for each class that occurs, two PNGs: 8 bits, the probability in whole per cent
                  (rounded down, so that a threshold of whole per cent selects the same pixels; 0
                  below LEAST), and 1 bit, what predict.py draws
    segmentation  the label map, an 8-bit PNG
    both          both, and as "areas" the classes that occur in the label map
"""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.errors import InputError
from data.files import write_aside
from utils.model_info import ModelInfo

FOLDER = "page"
LONG_SIDE = 1024  # pixels of the copies
LEAST = 5  # per cent; what a net says below is mostly noise, and half of the bytes
CALL = "pageImage"  # the function of the page
# Of 0.00, 0.01, ... 1.00, as predict.py compares with them.
PERCENTS = (np.arange(101) / 100).astype(np.float32)


def page_key(name: str) -> str:
    """What stands for an image's NAME in files and in HTML: 16 hexadecimal digits."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def page_file(out: Path, name: str) -> Path:
    """The file with the data of the image NAME, below the output folder."""
    return out / FOLDER / f"{page_key(name)}.js"


def net_key(info: ModelInfo) -> str:
    """8 hexadecimal digits that say which classes the data are of."""
    said = [info.task, info.classes, info.palette.tolist()]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8]


def write_image_data(path: Path, data: dict[str, Any], info: ModelInfo) -> None:
    """Write the file of one image. data: of `edge_data` or `label_data`."""
    with write_aside(path, sync=False) as aside:
        text = json.dumps(data, separators=(",", ":"))
        aside.write_text(f"{_head(path, info)}{text})\n", encoding="ascii")


def read_image_data(path: Path, info: ModelInfo) -> str:
    """The JSON in the file of an image; InputError as `require_image_data`, or if it is cut off."""
    require_image_data(path, info)
    text = path.read_text(encoding="ascii", errors="replace")
    if not text.endswith("})\n") or "<" in text:
        raise InputError(f"{path}: is no data of a page; remove it")
    return text[len(_head(path, info)) : -len(")\n")]


def require_image_data(path: Path, info: ModelInfo) -> None:
    """InputError for the file of an image, which may be of an earlier run, if it is of other
    classes, or was not written by `write_image_data`."""
    head = _head(path, info).encode()
    with path.open("rb") as file:
        found = file.read(len(head))
    if found == head:
        return
    if found.startswith(f'{CALL}("{path.stem}","'.encode()):
        raise InputError(f"{path}: is of a net with other classes; predict all with --overwrite")
    raise InputError(f"{path}: is no data of a page; remove it")


def _head(path: Path, info: ModelInfo) -> str:
    return f'{CALL}("{path.stem}","{net_key(info)}",'


def edge_data(image: np.ndarray, prob: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    """The data of an image with edges.

    Args:
        image: uint8 (H, W, 3).
        prob: float32 (K, H, W).
        edges: bool (K, H, W), those that are drawn.
    """
    size = _copy_size(image)
    classes, probs, drawn = [], [], []
    for k, (plane, lines) in enumerate(zip(prob, edges, strict=True)):
        per_cent = to_percent(shrink(plane, size))
        per_cent[per_cent < LEAST] = 0
        lines = shrink_mask(lines, size)
        if per_cent.any() or lines.any():
            classes.append(k)
            probs.append(_png(per_cent))
            drawn.append(_png(lines.astype(np.uint8) * 255, bits=1))
    return _common(image, size) | {"classes": classes, "prob": probs, "drawn": drawn}


def label_data(image: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The data of a segmented image. image: uint8 (H, W, 3). labels: uint8 (H, W)."""
    size = _copy_size(image)
    small = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    classes = np.flatnonzero(np.bincount(small.ravel(), minlength=256)).tolist()
    return _common(image, size) | {"classes": classes, "labels": _png(small)}


def to_percent(prob: np.ndarray) -> np.ndarray:
    """uint8: the largest whole n with prob >= n / 100, compared as float32, as thresholds are."""
    prob = prob.astype(np.float32, copy=False)
    found = np.clip(prob * np.float32(100), 0, 100).astype(np.uint8)  # right but for rounding
    found -= (prob < PERCENTS[found]) & (found > 0)
    found += (found < 100) & (prob >= PERCENTS[np.minimum(found + 1, 100)])
    return found


def shrink(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A copy of `size` = (width, height), by area."""
    if plane.shape[1::-1] == size:
        return plane
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def shrink_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W) -> (h, w): set where the middle of a set pixel lies, so that no line breaks."""
    (height, width), (w, h) = mask.shape, size
    rows, columns = np.nonzero(mask)
    small = np.zeros((h, w), bool)
    small[(2 * rows + 1) * h // (2 * height), (2 * columns + 1) * w // (2 * width)] = True
    return small


def _copy_size(image: np.ndarray) -> tuple[int, int]:
    """(width, height) of the copies."""
    height, width = image.shape[:2]
    scale = min(1, LONG_SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _common(image: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    bgr = np.ascontiguousarray(shrink(image, size)[:, :, ::-1])
    png = cv2.imencode(".png", bgr)[1]
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    # Small and drawn images stay exact as PNG; photographs are several times smaller as JPEG.
    kind, encoded = ("png", png) if len(png) < 1.5 * len(jpeg) else ("jpeg", jpeg)
    address = f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"
    return {"size": list(size), "full": [image.shape[1], image.shape[0]], "image": address}


def _png(plane: np.ndarray, bits: int = 8) -> str:
    """A PNG in base64. bits: 1 for a plane of 0 and 255.

    Run lengths: 10 to 15 % smaller than zlib's default strategy for bands on nothing.
    """
    how = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_COMPRESSION, 6]
    how += [cv2.IMWRITE_PNG_BILEVEL, 1] if bits == 1 else []
    ok, encoded = cv2.imencode(".png", plane, how)
    if not ok:
        raise ValueError(f"cannot encode an array of {plane.dtype} {plane.shape} as PNG")
    return base64.b64encode(encoded.tobytes()).decode()
