"""Exports of annotation tools, written by hand, and what the importer made of them."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from data.importer import __main__ as importer


def put_images(folder: Path, *names: str, size: tuple[int, int] = (6, 8)) -> Path:
    """Images of noise of (H, W); returns the folder."""
    rng = np.random.default_rng(0)
    for name in names:
        put_turned(folder / name, size, 1, rng)
    return folder


def put_turned(
    path: Path, size: tuple[int, int], orientation: int, rng: np.random.Generator | None = None
) -> None:
    """An image stored at (H, W), with an EXIF orientation."""
    rng = rng or np.random.default_rng(0)
    stated = Image.Exif()
    stated[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    options = {"exif": stated.tobytes()} if orientation > 1 else {}
    Image.fromarray(pixels).save(path, **options)


def put_json(path: Path, content: Any) -> Path:
    """A JSON file; a text is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def run_import(*words: object) -> int:
    """`python -m data.importer WORDS` in this process."""
    return importer.main(importer.parse_args([str(word) for word in words]))


def drawn(text: str) -> np.ndarray:
    """A map from a drawing: a line a row, a figure a pixel, "." for 0."""
    rows = [line.strip() for line in text.strip().splitlines()]
    return np.array([[0 if sign == "." else int(sign) for sign in row] for row in rows])


def label_map(out: Path, name: str) -> np.ndarray:
    """The label map of an image."""
    return _map(out / "labels" / f"{name}.png", np.uint8)


def instance_map(out: Path, name: str) -> np.ndarray:
    """The instance map of an image."""
    return _map(out / "instances" / f"{name}.png", np.uint16)


def _map(path: Path, kind: type) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None, f"{path} is missing"
    assert found.dtype == kind
    return found


def dataset_json(out: Path) -> dict[str, Any]:
    """What dataset.json says."""
    return json.loads((out / "dataset.json").read_text())


def class_ids(out: Path) -> dict[str, list[int]]:
    """The ids of the classes by name, in their order."""
    return {entry["name"]: entry["ids"] for entry in dataset_json(out)["classes"]}


def contents(out: Path) -> dict[str, bytes]:
    """All files below a folder, but for the importer's own notes."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith("import")
    }


# --- COCO ---


def coco(*annotations: dict, names: tuple[str, ...] = ("a.png",), **image: Any) -> dict:
    """A COCO file of images of 8x6, ids 1, 2, ..., and the categories dog (18) and cat (3)."""
    images = [
        {"id": number, "file_name": name, "width": 8, "height": 6, **image}
        for number, name in enumerate(names, start=1)
    ]
    return {
        "info": {"description": "hand-drawn"},
        "images": images,
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 3, "name": "cat", "supercategory": "animal"},
        ],
        "annotations": list(annotations),
    }


def coco_object(number: int, segmentation: Any, category: int = 18, image: int = 1, **more: Any):
    """An annotation of a COCO file."""
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": 0,
        **more,
    }


def box(left: int, top: int, right: int, bottom: int) -> list[int]:
    """A rectangle as a ring of x, y, x, y, ..."""
    return [left, top, right, top, right, bottom, left, bottom]


# --- LabelMe ---


def labelme(*shapes: dict, image: str = "a.png", **more: Any) -> dict:
    """A file of LabelMe of an image of 8x6."""
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image,
        "imageData": None,
        "imageHeight": 6,
        "imageWidth": 8,
        **more,
    }


def labelme_shape(
    label: str, points: list, kind: str = "polygon", group: int | None = None, **more: Any
) -> dict:
    """A shape of a file of LabelMe."""
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "shape_type": kind,
        "flags": {},
        **more,
    }
