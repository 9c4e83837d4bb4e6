"""What an image file says about itself, read before anything is decoded.

PNG and JPEG, which nearly all files are, are read here; Pillow reads the headers of other kinds.
"""

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from data.errors import InputError
from data.files import reading, require_file

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
EXIF_ORIENTATION = 0x0112
# Above every map and photograph in use (Mapillary's largest has 2^25), and OpenCV's own bound.
MAX_PIXELS = 1 << 30
PNG_GREY, PNG_PALETTE = 0, 3  # colour types
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Start-of-frame markers of JPEG: C0..CF without C4 (Huffman), C8 (reserved), CC (arithmetic).
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
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
_pillow_limit = threading.Lock()


@dataclass(frozen=True)
class Header:
    """kind: "PNG", "JPEG", or Pillow's name. bits: of a channel; 0: unknown.

    palette: pixels are indices into a table of colours. orientation: EXIF tag 0x0112, 1 (upright)
    to 8; 1 where the file has none.
    """

    kind: str
    width: int
    height: int
    bits: int
    channels: int
    palette: bool
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pixels as stored."""
        return self.height, self.width


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
        return _png_header(file.read(33), file, path)
    if start.startswith(JPEG_MAGIC):
        return _jpeg_header(file, path)
    for magic, what in OTHER_FILES:
        if start.lower().startswith(magic.lower()):
            raise InputError(f"{path}: is {what}, not an image; replace it")
    return _pillow_header(file, start, path)


def require_pixels(header: Header, path: str | Path, max_pixels: int) -> None:
    """InputError if an image has more pixels than the bound, before they take memory."""
    if header.width * header.height > max_pixels:
        raise InputError(
            f"{path}: is {header.width}x{header.height}, {header.width * header.height:,} pixels; "
            f"expected at most {max_pixels:,}"
        )


def _png_header(start: bytes, file: IO[bytes], path: str | Path) -> Header:
    if len(start) < 33 or start[12:16] != b"IHDR":
        raise InputError(f"{path}: the file is cut off in its header; replace it")
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    if not width or not height or colour not in PNG_CHANNELS:
        raise InputError(f"{path}: the PNG's header is damaged; replace it")
    file.seek(0)
    return Header(
        "PNG",
        width,
        height,
        bits,
        PNG_CHANNELS[colour],
        colour == PNG_PALETTE,
        _png_orientation(file),
    )


def _png_orientation(file: IO[bytes]) -> int:
    """Of the eXIf chunk, which stands before the pixels or does not count."""
    file.seek(len(PNG_MAGIC))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"IDAT", b"IEND"):
            return 1
        if kind == b"eXIf" and length < 1 << 20:
            return _orientation_in(b"Exif\0\0" + file.read(length))
        file.seek(length + 4, io.SEEK_CUR)
    return 1


def _jpeg_header(file: IO[bytes], path: str | Path) -> Header:
    orientation = 1
    for marker, segment in _jpeg_segments(file):
        if marker == 0xE1 and segment.startswith(b"Exif\0\0"):
            orientation = _orientation_in(segment)
        if marker in JPEG_FRAMES and len(segment) >= 6:
            bits, height, width, channels = struct.unpack(">BHHB", segment[:6])
            if width and height:
                return Header("JPEG", width, height, bits, channels, False, orientation)
    raise InputError(f"{path}: the JPEG is cut off or damaged in its header; replace it")


def _jpeg_segments(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of each segment before the pixels."""
    file.seek(2)
    while (byte := file.read(1)) == b"\xff":
        while (code := file.read(1)) == b"\xff":  # fill bytes
            pass
        length = file.read(2)
        if not code or len(length) < 2 or code[0] == 0xDA:
            return
        yield code[0], file.read(max(0, int.from_bytes(length, "big") - 2))
        if not byte:
            return


def _orientation_in(exif: bytes) -> int:
    """The orientation that EXIF data state; damaged data state none."""
    try:
        found = Image.Exif()
        found.load(exif)
        value = found.get(EXIF_ORIENTATION, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    except Exception:  # Pillow raises anything for damaged EXIF data, and the pixels are fine
        return 1


def _pillow_header(file: IO[bytes], start: bytes, path: str | Path) -> Header:
    with reading(path), any_size():
        try:
            image = Image.open(file)
        except UnidentifiedImageError as error:
            raise InputError(
                f"{path}: is no image (it begins with {start[:16]!r}); replace it or leave it out"
            ) from error
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        return Header(
            image.format or "?",
            image.width,
            image.height,
            0,
            len(image.getbands()),
            image.mode == "P",
            orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
        )


@contextmanager
def any_size() -> Iterator[None]:
    """Pillow without its own bound of pixels: ours is looked at, with a message of ours."""
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def require_whole_png(encoded: bytes, path: str | Path) -> None:
    """InputError if a PNG is cut off, or a chunk does not have its checksum.

    Bytes after its end are accepted. (OpenCV returns the readable part, with a line on stderr at
    most.)
    """
    at = len(PNG_MAGIC)
    view = memoryview(encoded)
    while at + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, at)
        end = at + 12 + length
        if end > len(encoded):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise InputError(
                f"{path}: the file is damaged (its chunk {kind!r} at byte {at} does not have its "
                "checksum); replace it"
            )
        if kind == b"IEND":
            return
        at = end
    raise InputError(f"{path}: the file is cut off; replace it")
