"""Reading and writing image files: colour images and maps of ids."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.errors import InputError
from data.files import write_aside

IGNORE = 255  # the train id of pixels without a class
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8"
JPEG_END = b"\xff\xd9"


def read_image(path: str | Path) -> np.ndarray:
    """Read a colour image as uint8 (H, W, 3), RGB. InputError if it is cut off or no image."""
    # Labels are drawn on the pixels as stored, so an EXIF orientation must not turn the image.
    return _decode(Path(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def read_index(path: str | Path) -> np.ndarray:
    """Read a map of ids as uint8 or uint16 (H, W).

    The file is grey of 8 or 16 bits, or a paletted PNG, whose indices are the ids. InputError for
    anything else.
    """
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


def ids_at_or_above(ids: np.ndarray, first: int) -> np.ndarray:
    """The ids at or above `first` that occur in a map (H, W) of any unsigned type, sorted."""
    return np.flatnonzero(np.bincount(ids.ravel())[first:]) + first


def check_ids(ids: np.ndarray, num_classes: int, path: str | Path) -> np.ndarray:
    """Return the label map as uint8 if every id is below `num_classes` or 255 (ignore).

    InputError that names `path` and the other ids.
    """
    wrong = ids_at_or_above(ids, num_classes)
    wrong = wrong[wrong != IGNORE]
    if wrong.size:
        raise InputError(
            f"{path}: label ids {', '.join(map(str, wrong[:8]))} are out of range; "
            f"expected 0..{num_classes - 1} or {IGNORE}"
        )
    return ids.astype(np.uint8, copy=False)


def write_png(path: str | Path, image: np.ndarray, *, compression: int = 3) -> None:
    """Write uint8 or uint16 (H, W), or uint8 (H, W, 3) RGB, completely or not at all.

    compression: zlib's level, 0 to 9.
    """
    if image.ndim == 3:
        image = image[:, :, ::-1]
    ok, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, compression])
    if not ok:
        raise ValueError(f"{path}: cannot encode an array of {image.dtype} {image.shape} as PNG")
    with write_aside(path, sync=False) as aside:
        aside.write_bytes(encoded.data)


def _decode(path: Path, flags: int) -> np.ndarray:
    encoded = path.read_bytes()
    if not encoded:
        raise InputError(f"{path}: the file is empty; replace it")
    if _is_cut_off(encoded):
        raise InputError(f"{path}: the file is cut off; replace it")
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        image = None
    if image is None:
        raise InputError(f"{path}: the file is not an image that OpenCV can read; replace it")
    return image


def _is_cut_off(encoded: bytes) -> bool:
    """Does a PNG or JPEG lack its end?

    OpenCV would return the readable part with no more than a line on stderr.
    """
    if encoded.startswith(PNG_MAGIC):
        return b"IEND" not in encoded[-64:]
    if not encoded.startswith(JPEG_MAGIC) or JPEG_END in encoded[-64:]:
        return False
    # Some cameras append data after the end marker; only a full decode tells that from a file
    # that is cut off.
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
    except OSError:
        return True
    return False


def _is_paletted(path: Path) -> bool:
    """Is it a PNG of colour type 3? OpenCV would turn its indices into colours."""
    with path.open("rb") as file:
        header = file.read(26)
    # Byte 25 is the colour type: 8 of magic, 8 of chunk header, 8 of width and height, 1 of depth.
    return header.startswith(PNG_MAGIC) and len(header) == 26 and header[25] == 3


@contextlib.contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG chunk
        raise InputError(f"{path}: the file cannot be read ({error}); replace it") from error
