"""Reading and writing image files: images, maps of ids."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.errors import InputError
from data.files import write_aside


def read_image(path: str | Path) -> np.ndarray:
    """Read a colour image as uint8 (H, W, 3), RGB. Raises InputError when it is torn or no image."""
    return _decode(Path(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def read_index(path: str | Path) -> np.ndarray:
    """Read a map of ids as uint8 or uint16 (H, W): grey of 8 or 16 bits, or the indices of a paletted PNG."""
    path = Path(path)
    if _is_paletted(path):
        with _as_input_error(path), Image.open(path) as image:
            return np.array(image)
    ids = _decode(path, cv2.IMREAD_UNCHANGED)
    if ids.ndim != 2:
        raise InputError(
            f"{path}: found {ids.shape[2]} channels, expected a map of ids with one channel"
        )
    return ids


def check_ids(ids: np.ndarray, num_classes: int, path: str | Path) -> np.ndarray:
    """The label map itself, if every id is below `num_classes` or 255 (ignore); else InputError with the ids that are not."""
    wrong = (
        np.flatnonzero(np.bincount(ids.ravel(), minlength=IGNORE + 1)[num_classes:]) + num_classes
    )
    wrong = wrong[wrong != IGNORE]
    if wrong.size:
        raise InputError(
            f"{path}: label ids {', '.join(map(str, wrong[:8]))} are out of range; expected 0..{num_classes - 1} or {IGNORE}"
        )
    return ids.astype(np.uint8, copy=False)


def write_png(path: str | Path, image: np.ndarray, *, compression: int = 3) -> None:
    """Write uint8 or uint16 (H, W), or uint8 (H, W, 3) RGB, whole or not at all."""
    if image.ndim == 3:
        image = image[:, :, ::-1]
    ok, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, compression])
    if not ok:
        raise ValueError(f"{path}: cannot encode an array of {image.dtype} {image.shape} as PNG")
    with write_aside(path, sync=False) as aside:
        aside.write_bytes(encoded)


IGNORE = 255  # the train id of pixels without a class
PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"


def _decode(path: Path, flags: int) -> np.ndarray:
    encoded = path.read_bytes()
    torn = _is_torn(encoded)
    try:
        image = (
            None if torn or not encoded else cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        )
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        image = None
    if image is None:
        reason = (
            "is empty"
            if not encoded
            else "is cut off"
            if torn
            else "is not an image that OpenCV can read"
        )
        raise InputError(f"{path}: the file {reason}; replace it")
    return image


def _is_torn(encoded: bytes) -> bool:
    """Does a PNG or JPEG lack its end? OpenCV would return the readable part with no more than a line on stderr."""
    if encoded.startswith(PNG_MAGIC):
        return b"IEND" not in encoded[-64:]
    if not encoded.startswith(JPEG_MAGIC) or b"\xff\xd9" in encoded[-64:]:
        return False
    try:  # cameras append data of their own after the end, which only a full decode can tell from a torn file
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
    except OSError:
        return True
    return False


def _is_paletted(path: Path) -> bool:
    """A PNG whose header says colour type 3: OpenCV would turn its indices into colours."""
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(PNG_MAGIC) and len(header) == 26 and header[25] == 3


@contextlib.contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: the file cannot be read ({error}); replace it") from error
