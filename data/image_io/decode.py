"""From an image file to pixels, by OpenCV: only what is whole, and no more than fits."""

import os
from pathlib import Path

import cv2
import numpy as np

from data.errors import InputError, out_of_memory
from data.files import require_file
from data.image_io.header import header_of, require_pixels
from data.image_io.png_jpeg import Header, require_whole_png, without_orientation
from data.image_io.stderr import held_stderr
from data.system.memory import require_memory

# What libjpeg says when pixels are missing or wrong; its other warnings are about odd headers.
JPEG_DAMAGE = (b"premature end", b"bad huffman code", b"corrupt jpeg data: found marker")
MAX_SIDE = 1 << 20  # OpenCV's bound
LARGE = 1 << 26  # pixels, or bytes of a file, from which on the memory is asked for
BYTES_PER_PIXEL = 6  # while OpenCV decodes: three channels of 8 bits, twice at some moment


def decode(encoded: bytes, header: Header, path: Path, flags: int) -> np.ndarray:
    """The pixels of a file that `read_whole` has read; InputError if they are damaged.

    flags: OpenCV's IMREAD_...
    """
    if header.kind == "TIFF" and header.orientation != 1:
        encoded = _as_stored(encoded, path)
    with held_stderr() as held:
        image = _imdecode(encoded, header, path, flags)
    if header.kind == "JPEG" and held.shared and _damage_in(held.text):
        # It may have been said of another thread's image.
        with held_stderr(alone=True) as held:
            image = _imdecode(encoded, header, path, flags)
    if image is None:
        raise InputError(
            f"{path}: the {header.kind} is cut off or damaged, or of a kind that OpenCV cannot "
            "read; replace it"
        )
    if header.kind == "JPEG" and (reason := _damage_in(held.text)):
        raise InputError(f"{path}: the JPEG is cut off or damaged inside ({reason}); replace it")
    if image.shape[:2] != header.size:
        raise InputError(
            f"{path}: the header says {header.width}x{header.height}, but the pixels are "
            f"{image.shape[1]}x{image.shape[0]}; replace it"
        )
    return image


def _imdecode(encoded: bytes, header: Header, path: Path, flags: int) -> np.ndarray | None:
    """What OpenCV makes of the file; None if it cannot read it."""
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        if out_of_memory(error):
            size = f"{header.width}x{header.height}"
            raise MemoryError(f"{path}: an image of {size} does not fit") from error
        return None


def _damage_in(printed: bytes) -> str:
    """What libjpeg has said about damaged pixels, "" if nothing."""
    said = printed.lower()
    if not any(damage in said for damage in JPEG_DAMAGE):
        return ""
    return said.decode("ascii", "replace").strip().splitlines()[0]


def _as_stored(encoded: bytes, path: Path) -> bytes:
    """A TIFF without its orientation: OpenCV would turn it, whatever the flags say."""
    changed = without_orientation(encoded)
    if changed is None:
        raise InputError(f"{path}: is a TIFF of a rare kind with an orientation; save it as PNG")
    return changed


def read_whole(path: Path, max_pixels: int) -> tuple[bytes, Header]:
    """The content of an image file and its header, checked as far as that goes without decoding.

    InputError if the file is cut off, has more than `max_pixels`, or does not fit into memory.
    """
    with require_file(path, "image").open("rb") as file:
        header = header_of(file, path)
        require_pixels(header, path, max_pixels)
        if max(header.size) > MAX_SIDE:
            raise InputError(
                f"{path}: is {header.width}x{header.height}; expected sides of at most "
                f"{MAX_SIDE:,} pixels"
            )
        bytes_on_disk = os.fstat(file.fileno()).st_size
        pixels = header.width * header.height
        if max(bytes_on_disk, pixels) > LARGE:
            what = f"{path}: reading {header.width}x{header.height}"
            require_memory(
                bytes_on_disk + BYTES_PER_PIXEL * pixels, what, "give a smaller image, or more"
            )
    # Read again, in one piece: a buffered file that was looked into copies what it joins.
    encoded = path.read_bytes()
    if header.kind == "PNG":
        require_whole_png(encoded, path)
    return encoded, header
