"""The values of label maps, ids or packed colours, and the train ids that they mean."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from data.dataset_file import MAX_ID
from data.edges import decode_png
from data.errors import InputError
from data.image_io import IGNORE, Header, read_header, read_image, read_index

LOSSLESS = ("PNG", "BMP", "TIFF", "PPM")


def read_values(path: Path, *, colored: bool) -> np.ndarray:
    """The values of a label map, integers (H, W): ids, or packed colours."""
    if not colored:
        return read_index(path)
    require_lossless(read_header(path), path)
    return pack_colors(read_image(path))


@lru_cache(maxsize=4)
def label_table(pairs: tuple[tuple[int, int], ...], size: int) -> np.ndarray:
    """uint8 (size,), value -> train id, 255 for all others, ignored ones among them.

    Kept here and not in the data set, which is sent to worker processes with every job.
    """
    table = np.full(size, IGNORE, np.uint8)
    for value, train_id in pairs:
        table[value] = min(train_id, IGNORE)
    return table


def train_ids(values: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    """uint8 (H, W): the train ids of uint8, uint16 or packed values (H, W)."""
    size = MAX_ID + 1 if values.dtype in (np.uint8, np.uint16) else 1 << 24
    table = label_table(pairs, size)
    if values.dtype == np.uint8:  # a fifth of the time
        return cv2.LUT(values, table[:256])
    return table.take(values, mode="clip")  # without a second look at the range, which takes longer


def pack_colors(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3), RGB -> int32 (H, W), as `data.dataset_file.pack_color`."""
    return decode_png(image).view(np.int32)


def shown_size(header: Header, *, upright: bool) -> tuple[int, int]:
    """(H, W) of an image as stored, or with `upright` as its EXIF data turn it."""
    height, width = header.size
    return (width, height) if upright and header.orientation >= 5 else (height, width)


def require_lossless(header: Header, path: Path) -> None:
    """InputError unless a label map in colours keeps them exactly, 8 bits in each channel."""
    if header.kind not in LOSSLESS:
        raise InputError(
            f"{path}: is a {header.kind}, which may not keep colours exactly; expected a PNG"
        )
    # Only of a PNG does the header say the bits of a channel.
    if header.kind == "PNG" and header.bits != 8 and not header.palette:
        raise InputError(
            f"{path}: has {header.bits} bits in each channel; expected colours of 3 x 8 bits"
        )
