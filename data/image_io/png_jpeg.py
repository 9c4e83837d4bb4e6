"""What PNG and JPEG files, which nearly all are, say about themselves before their pixels."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data.errors import InputError

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
EXIF_ORIENTATION = 0x0112
PNG_PALETTE = 3  # colour type
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Start-of-frame markers of JPEG: C0..CF without C4 (Huffman), C8 (reserved), CC (arithmetic).
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_SCAN, JPEG_EXIF = 0xDA, 0xE1
JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a segment: TEM, RSTn, SOI


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


def png_header(start: bytes, file: IO[bytes], path: str | Path) -> Header:
    if start[12:16] == b"CgBI":
        raise InputError(f"{path}: is a PNG of Apple's own kind (CgBI); save it as a plain PNG")
    if len(start) < 33:
        raise InputError(f"{path}: the file is cut off in its header; replace it")
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    if start[12:16] != b"IHDR" or not width or not height or bits not in PNG_BITS.get(colour, ()):
        raise InputError(f"{path}: the PNG's header is damaged; replace it")
    orientation = _png_orientation(file)
    palette = colour == PNG_PALETTE
    return Header("PNG", width, height, bits, PNG_CHANNELS[colour], palette, orientation)


def _png_orientation(file: IO[bytes]) -> int:
    """Of the eXIf chunk, which stands before the pixels or does not count."""
    file.seek(len(PNG_MAGIC))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"IDAT", b"IEND"):
            return 1
        if kind == b"eXIf" and length < 1 << 20:
            return exif_orientation(file.read(length))
        file.seek(length + 4, io.SEEK_CUR)
    return 1


def jpeg_header(file: IO[bytes], path: str | Path) -> Header:
    orientation, frame = 1, None
    for marker, segment in _jpeg_segments(file):
        if marker == JPEG_EXIF and segment.startswith(b"Exif\0\0"):
            orientation = exif_orientation(segment)
        if marker in JPEG_FRAMES and len(segment) >= 6 and frame is None:
            frame = struct.unpack(">BHHB", segment[:6])
    if frame is None or 0 in frame[1:3]:
        raise InputError(f"{path}: the JPEG is cut off or damaged in its header; replace it")
    bits, height, width, channels = frame
    return Header("JPEG", width, height, bits, channels, False, orientation)


def _jpeg_segments(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of each segment before the pixels; bytes between segments are passed by."""
    file.seek(2)
    while byte := file.read(1):
        if byte != b"\xff":
            continue
        while (code := file.read(1)) == b"\xff":  # fill bytes
            pass
        if not code or code[0] == JPEG_SCAN:
            return
        if code[0] and code[0] not in JPEG_BARE:
            length = int.from_bytes(file.read(2), "big")
            yield code[0], file.read(max(0, length - 2))


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that EXIF data state in their first directory; 1 if they state none.

    Damaged data state none: the pixels are fine.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    place = _orientation_place(tiff)
    value = struct.unpack_from(place[1], tiff, place[0])[0] if place else 1
    return value if 1 <= value <= 8 else 1


def without_orientation(tiff: bytes) -> bytes | None:
    """A TIFF whose orientation is 1; None if it cannot be changed, as in a TIFF of 64 bits."""
    place = _orientation_place(tiff)
    if place is None:
        return None
    changed = bytearray(tiff)
    struct.pack_into(place[1], changed, place[0], 1)
    return bytes(changed)


def _orientation_place(tiff: bytes) -> tuple[int, str] | None:
    """Where the number of the orientation is, and its form for `struct`."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == EXIF_ORIENTATION:
                form = order + {1: "B", 3: "H", 4: "I"}[kind]
                struct.unpack_from(form, tiff, entry + 8)
                return entry + 8, form
    except (struct.error, KeyError):
        pass
    return None


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
