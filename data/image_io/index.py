"""Reading maps of ids: the numbers that are stored, or an error, never other numbers."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.errors import InputError
from data.files import reading
from data.image_io.decode import decode, read_whole
from data.image_io.header import MAX_PIXELS, any_size, read_header, require_pixels
from data.image_io.png_jpeg import Header

# Kinds whose numbers are read as stored.
EXACT = ("PNG", "BMP", "TIFF", "PPM", "OpenCV")
LOSSY = ("JPEG", "WEBP", "AVIF", "JPEG2000")
# Tags of a TIFF, and what they say where numbers are stored exactly: black is zero; no compression,
# LZW, deflate (two numbers), PackBits, LZMA, Zstandard.
BITS, COMPRESSION, PHOTOMETRIC = 258, 259, 262
BLACK_IS_ZERO = 1
BMP_INFO = 40  # bytes of the header that all but the oldest BMPs have
LOSSLESS = (1, 5, 8, 32946, 32773, 34925, 50000)


def read_index(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a map of ids as uint8 or uint16 (H, W).

    The file is grey of 8 or 16 bits, or a PNG or BMP of less, or with a palette, whose indices are
    the ids. InputError for anything else: colours, numbers of 32 bits or with fractions, and files
    such as JPEGs, which do not keep ids as they are.
    """
    path = Path(path)
    encoded, header = read_whole(path, max_pixels)
    _require_exact(header, path)
    if header.kind == "TIFF":
        _require_plain_tiff(encoded, path)
    if header.kind == "BMP" and header.bits <= 8:
        return _read_bmp(encoded, header, path)
    if header.kind == "PPM" and header.bits == 1:
        raise InputError(f"{path}: is a map of black and white (PBM); expected a PNG")
    if header.kind == "PNG" and (header.palette or header.bits < 8):
        return _read_small_png(encoded, header, path)
    ids = decode(encoded, header, path, cv2.IMREAD_UNCHANGED)
    if ids.ndim != 2:
        raise InputError(
            f"{path}: found {ids.shape[2]} channels, expected a map of ids with one channel"
        )
    if ids.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: found numbers of {ids.dtype}, expected ids of 8 or 16 bits")
    return ids


def index_header(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Header:
    """The header of a map of ids; InputError for a file that `read_index` would refuse by it."""
    header = read_header(path)
    require_pixels(header, path, max_pixels)
    _require_exact(header, path)
    if header.channels != 1:
        raise InputError(
            f"{path}: found {header.channels} channels, expected a map of ids with one channel"
        )
    return header


def _require_exact(header: Header, path: Path | str) -> None:
    if header.kind not in EXACT:
        reason = "which does not keep ids exactly; " if header.kind in LOSSY else ""
        raise InputError(f"{path}: is a {header.kind}, {reason}expected a map of ids as PNG")


def _read_small_png(encoded: bytes, header: Header, path: Path) -> np.ndarray:
    """A PNG with a palette, or grey of less than 8 bits, which OpenCV would turn into colours.

    uint8 (H, W) of what is stored.
    """
    with reading(path), any_size(), Image.open(io.BytesIO(encoded), formats=("PNG",)) as image:
        indices = np.array(image).astype(np.uint8)
    if header.palette or header.bits == 1:
        return indices
    # Pillow spreads grey of 2 and 4 bits over 0..255.
    return indices // np.uint8(255 // (2**header.bits - 1))


def _read_bmp(encoded: bytes, header: Header, path: Path) -> np.ndarray:
    """uint8 (H, W) of the indices of a BMP with a palette, and no compression.

    OpenCV gives the colours, and Pillow wrong numbers for some palettes of grey.
    """
    pixels, size = (int.from_bytes(encoded[at : at + 4], "little") for at in (10, 14))
    upwards = int.from_bytes(encoded[22:26], "little", signed=True) > 0
    compression = int.from_bytes(encoded[30:34], "little")
    if size < BMP_INFO or compression or header.bits not in (1, 4, 8):
        raise InputError(f"{path}: is a BMP of a rare kind; expected a map of ids as PNG")
    height, width, bits = header.height, header.width, header.bits
    stride = (width * bits + 31) // 32 * 4
    if len(encoded) < pixels + stride * height:
        raise InputError(f"{path}: the file is cut off; replace it")
    rows = np.frombuffer(encoded, np.uint8, stride * height, pixels).reshape(height, stride)
    if bits < 8:
        digits = np.unpackbits(rows, axis=1)[:, : width * bits].reshape(height, width, bits)
        rows = np.packbits(digits, axis=2)[..., 0] >> np.uint8(8 - bits)
    return np.ascontiguousarray(rows[:: -1 if upwards else 1, :width])


def _require_plain_tiff(encoded: bytes, path: Path) -> None:
    """InputError if the numbers of a TIFF are not those that OpenCV would give."""
    with reading(path), any_size(), Image.open(io.BytesIO(encoded), formats=("TIFF",)) as image:
        tags = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue] (of TIFFs only)
        found = {tag: tags.get(tag, 1) for tag in (BITS, COMPRESSION, PHOTOMETRIC)}
    bits = found[BITS] if isinstance(found[BITS], tuple) else (found[BITS],)
    reason = ""
    if len(bits) == 1 and found[PHOTOMETRIC] != BLACK_IS_ZERO:
        reason = "with a palette, or where white is zero"
    elif any(count < 8 or count % 8 for count in bits):
        reason = f"of {bits[0]}-bit numbers"
    elif found[COMPRESSION] not in LOSSLESS:
        reason = f"of compression {found[COMPRESSION]}, which may not keep ids exactly"
    if reason:
        raise InputError(f"{path}: is a TIFF {reason}; expected a map of ids as PNG")
