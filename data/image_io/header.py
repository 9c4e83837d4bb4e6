"""What an image file says about itself, read before anything is decoded.

`png_jpeg` reads the headers of nearly all files, Pillow those of other kinds; a file that only
OpenCV knows is decoded for its size.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from data.errors import InputError
from data.files import reading, require_file
from data.image_io.png_jpeg import (
    EXIF_ORIENTATION,
    JPEG_MAGIC,
    PNG_MAGIC,
    Header,
    jpeg_header,
    png_header,
)
from data.image_io.stderr import held_stderr

# Above every map and photograph in use (Mapillary's largest has 2^25), and OpenCV's own bound.
MAX_PIXELS = 1 << 30
# Kinds that OpenCV reads and Pillow has a header for. (Pillow knows many more, some of which run
# programs.)
PILLOW_KINDS = ("BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "SUN")
# Kinds that OpenCV reads and Pillow does not, or not in every build: Radiance, PAM, PFM, WebP; and
# AVIF, whose first bytes are a length.
OPENCV_STARTS = (b"#?RADIANCE", b"#?RGBE", b"P7", b"PF", b"RIFF")
# First bytes of what people give by mistake -> what it is.
OTHER_FILES = (
    (b"version https://git-lfs", "a Git LFS pointer (fetch the file itself: git lfs pull)"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB 5.0 MAT-file", "a .mat file"),
)
# A forked child has the lock as it was, but not the thread that held it.
_pillow = SimpleNamespace(lock=threading.Lock())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: setattr(_pillow, "lock", threading.Lock()))


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image file, from its header; InputError if it cannot be read."""
    return read_header(path).size


def read_header(path: str | Path) -> Header:
    """The header of an image file; InputError if the file is empty, cut off or no image.

    A named pipe is refused, too.
    """
    with require_file(path, "image").open("rb") as file:
        return header_of(file, path)


def header_of(file: IO[bytes], path: str | Path) -> Header:
    """The header of an open image file. path: for messages."""
    start = file.read(32)
    file.seek(0)
    if not start:
        raise InputError(f"{path}: the file is empty; replace it")
    if start.startswith(PNG_MAGIC):
        return png_header(file.read(33), file, path)
    if start.startswith(JPEG_MAGIC):
        return jpeg_header(file, path)
    for magic, what in OTHER_FILES:
        if start.lower().startswith(magic.lower()):
            raise InputError(f"{path}: is {what}, not an image; replace it")
    return _pillow_header(file, path) or _opencv_header(start, path)


def require_pixels(header: Header, path: str | Path, max_pixels: int) -> None:
    """InputError if an image has more pixels than the bound, before they take memory."""
    if header.width * header.height > max_pixels:
        raise InputError(
            f"{path}: is {header.width}x{header.height}, {header.width * header.height:,} pixels; "
            f"expected at most {max_pixels:,}"
        )


def _pillow_header(file: IO[bytes], path: str | Path) -> Header | None:
    """None if Pillow does not know the kind of file."""
    with reading(path), any_size():
        try:
            image = Image.open(file, formats=PILLOW_KINDS)
        except UnidentifiedImageError:
            return None
        except MemoryError as error:  # a length within the header, not pixels
            raise InputError(f"{path}: the file's header is damaged; replace it") from error
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        width, height = image.size
        if image.format == "TIFF":  # whose size Pillow gives as turned
            tags = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue] (of TIFFs only)
            width, height = int(tags[256]), int(tags[257])
        return Header(
            image.format or "?",
            width,
            height,
            _bits_of(image, file),
            len(image.getbands()),
            image.mode == "P",
            orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
        )


def _bits_of(image: Image.Image, file: IO[bytes]) -> int:
    """Where it is needed and Pillow's mode does not say it: of a BMP, of either form of header."""
    if image.format == "BMP":
        file.seek(14)
        start = file.read(16)
        return int.from_bytes(start[10:12] if start[0] == 12 else start[14:16], "little")
    return 1 if image.mode == "1" else 0


def _opencv_header(start: bytes, path: str | Path) -> Header:
    """Of what OpenCV decodes, within its own bound of 2^30 pixels."""
    image = None
    # By its first bytes: cv2.haveImageReader crashes on names that are no UTF-8.
    if start.startswith(OPENCV_STARTS) or start[4:8] == b"ftyp":
        encoded = np.frombuffer(Path(path).read_bytes(), np.uint8)
        with held_stderr(), contextlib.suppress(cv2.error):
            image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(
            f"{path}: is no image that can be read (it begins with {start[:16]!r}); replace it or "
            "leave it out"
        )
    channels = image.shape[2] if image.ndim == 3 else 1
    height, width = image.shape[:2]
    return Header("OpenCV", width, height, 8 * image.itemsize, channels, False, 1)


@contextlib.contextmanager
def any_size() -> Iterator[None]:
    """Pillow without its own bound of pixels: ours is looked at, with a message of ours.

    And without its warnings about odd files. Both are global, so it is one thread at a time.
    """
    with _pillow.lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
