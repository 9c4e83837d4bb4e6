"""Reading and writing image files: colour images and maps of ids.

Every reader looks at the header first (`data.image_io.header`): kind of file, size, bits, colours.
"""

from pathlib import Path

import cv2
import numpy as np

from data.errors import InputError
from data.files import write_aside
from data.image_io.decode import decode, read_whole
from data.image_io.header import MAX_PIXELS, image_size, read_header
from data.image_io.index import index_header, read_index
from data.image_io.png_jpeg import PNG_MAGIC, Header

__all__ = [
    "IGNORE",
    "MAX_PIXELS",
    "PNG_MAGIC",
    "Header",
    "check_ids",
    "ids_at_or_above",
    "image_size",
    "index_header",
    "read_header",
    "read_image",
    "read_index",
    "require_same_size",
    "require_size",
    "turn_upright",
    "write_png",
]

IGNORE = 255  # the train id of pixels without a class


def read_image(
    path: str | Path, *, upright: bool = False, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a colour image as uint8 (H, W, 3), RGB. InputError if it is damaged or no image.

    Args:
        path: of the file.
        upright: turn the image as its EXIF orientation says. By default pixels are taken as they
            are stored, here and everywhere: labels are drawn on those.
        max_pixels: an image with more is an InputError.
    """
    path = Path(path)
    encoded, header = read_whole(path, max_pixels)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = decode(encoded, header, path, flags)
    return turn_upright(image, header.orientation) if upright else image


def require_size(
    ids: np.ndarray | None,
    size: tuple[int, int],
    what: str,
    path: str | Path | None,
    image_path: str | Path | None,
) -> None:
    """InputError unless a map of ids has the size (H, W) of its image; None has every size."""
    if ids is not None:
        require_same_size(ids.shape[:2], size, what, path, image_path)


def require_same_size(
    found: tuple[int, ...],
    size: tuple[int, int],
    what: str,
    path: str | Path | None,
    image_path: str | Path | None,
) -> None:
    """`require_size` for the size (H, W) that a header states."""
    if found != size:
        raise InputError(
            f"{path}: the {what} is {found[1]}x{found[0]}, but its image {image_path} is "
            f"{size[1]}x{size[0]}; each {what} must have the size of its image"
        )


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """The stored image as it is to be seen. orientation: EXIF tag 0x0112, 1 (upright) to 8."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, *range(2, image.ndim))
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


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
