"""Image files made byte by byte, so that no library decides what they hold."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + zlib.crc32(kind + content).to_bytes(4, "big")
    )


def png(
    rows: Sequence[bytes],
    width: int,
    bits: int = 8,
    colour: int = 0,
    extra: bytes = b"",
    compressed: bytes | None = None,
) -> bytes:
    """A PNG of rows of packed pixels. extra: chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    if compressed is None:
        compressed = zlib.compress(b"".join(b"\0" + row for row in rows))
    pixels = chunk(b"IDAT", compressed)
    return PNG + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def packed(ids: np.ndarray, bits: int) -> list[bytes]:
    """The rows of a map, with `bits` for each pixel, the first in the highest ones."""
    if bits == 16:
        return [row.astype(">u2").tobytes() for row in ids]
    digits = (ids[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in digits]


def bmp(
    ids: np.ndarray, bits: int, palette: Sequence[tuple[int, int, int]], *, down: bool
) -> bytes:
    """A BMP with a palette. down: the first row comes first."""
    rows = [row + b"\0" * (-len(row) % 4) for row in packed(ids, bits)]
    pixels = b"".join(rows if down else rows[::-1])
    colours = b"".join(bytes((blue, green, red, 0)) for red, green, blue in palette)
    start = 54 + len(colours)
    height = -len(ids) if down else len(ids)
    info = struct.pack(
        "<IiiHHIIiiII", 40, ids.shape[1], height, 1, bits, 0, len(pixels), 0, 0, len(palette), 0
    )
    file = struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    return b"BM" + file + info + colours + pixels


def tiff(
    rows: Sequence[bytes], width: int, bits: int, *, photometric: int = 1, sample: int = 1
) -> bytes:
    """A TIFF without compression. photometric: 0 is white, 1 black is zero. sample: 2 is signed."""
    pixels = b"".join(rows)
    tags = {256: width, 257: len(rows), 258: bits, 259: 1, 262: photometric, 277: 1, 339: sample}
    tags |= {273: 8 + 2 + 9 * 12 + 4, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + b"\0\0\0\0" + pixels


def encoded(image: np.ndarray, kind: str, **options: object) -> bytes:
    """An image as Pillow writes it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()
