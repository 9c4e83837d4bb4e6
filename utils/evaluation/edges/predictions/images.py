"""Grey images of scores: PNG, BMP and TIFF, also those that a program has saved as RGB."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.errors import InputError
from data.files import reading
from data.image_io import MAX_PIXELS, Header, read_header, read_image, read_index
from data.image_io.decode import decode, read_whole
from data.image_io.header import any_size

BITS, SAMPLE_FORMAT, UNSIGNED = 258, 339, 1  # tags of a TIFF, and what the second says
ENDINGS = (".png", ".bmp", ".tif", ".tiff")
KINDS = ("PNG", "BMP", "TIFF")


def score_header(path: Path) -> Header:
    """The header of an image of scores; InputError for others, as far as a header says it."""
    header = read_header(path)
    if header.kind not in KINDS:
        raise InputError(f"{path}: is a {header.kind}; expected a grey PNG of scores")
    if header.kind == "TIFF" and not _holds_whole_numbers(path):
        raise InputError(
            f"{path}: is a TIFF; expected a grey PNG of scores, or whole numbers of 8 or 16 bits"
        )
    # A BMP of 8 bits always has a palette, mostly one of greys.
    palette = header.palette and header.kind != "BMP"
    if palette or header.channels not in (1, 3):
        found = "a palette" if palette else f"{header.channels} channels"
        raise InputError(f"{path}: has {found}; expected a grey PNG of scores")
    return header


def read_scores(path: Path) -> np.ndarray:
    """uint8 or uint16 (h, w); grey of 1, 2 and 4 bits is spread over 0..255.

    InputError for colours: three channels that differ.
    """
    header = score_header(path)
    if header.kind != "BMP" and header.channels == 1:
        stored = read_index(path)
        small = header.kind == "PNG" and header.bits < 8
        return stored * np.uint8(255 // (2**header.bits - 1)) if small else stored
    encoded, header = read_whole(path, MAX_PIXELS)
    image = decode(encoded, header, path, cv2.IMREAD_UNCHANGED)
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: found numbers of {image.dtype}; expected 8 or 16 bits")
    if image.ndim == 2:
        return image
    if not _is_grey(image):
        raise InputError(
            f"{path}: has 3 channels; expected a grey PNG of scores, or three equal channels, but "
            "these differ"
        )
    return np.ascontiguousarray(image[..., 0])


def are_grey(paths: Iterable[Path]) -> bool:
    """Whether images of three channels are grey, by the first that is not all black."""
    for path in paths:
        image = read_image(path)
        if image.any():
            return _is_grey(image)
    return False


def _holds_whole_numbers(path: Path) -> bool:
    with reading(path), any_size(), Image.open(path, formats=("TIFF",)) as image:
        tags = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue] (of TIFFs only)
        formats, bits = tags.get(SAMPLE_FORMAT, 1), tags.get(BITS, 1)
    as_tuples = [each if isinstance(each, tuple) else (each,) for each in (formats, bits)]
    return set(as_tuples[0]) == {UNSIGNED} and max(as_tuples[1]) <= 16


def _is_grey(image: np.ndarray) -> bool:
    return bool((image[..., :3] == image[..., :1]).all())
