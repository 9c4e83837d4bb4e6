"""Reading and writing image files: colour images and maps of ids.

Every reader looks at the header first (`data.image_io.header`): kind of file, size, bits, colours.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.errors import InputError
from data.files import reading, require_file, write_aside
from data.image_io.header import (
    JPEG_MAGIC,
    MAX_PIXELS,
    PNG_MAGIC,
    Header,
    any_size,
    header_of,
    image_size,
    read_header,
    require_pixels,
    require_whole_png,
)
from data.image_io.stderr import held_stderr

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
LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "JPEG2000")
# What libjpeg says when pixels are missing or wrong; its other warnings are about odd headers.
JPEG_DAMAGE = (b"premature end", b"bad huffman code", b"corrupt jpeg data: found marker")


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
    image, header = _decode(
        Path(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION, max_pixels
    )
    return turn_upright(image, header.orientation) if upright else image


def read_index(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a map of ids as uint8 or uint16 (H, W).

    The file is grey of 1 to 16 bits, or a paletted PNG, whose indices are the ids. InputError for
    anything else: colours, numbers of 32 bits or with fractions, and files such as JPEGs, which
    do not keep ids as they are.
    """
    path = Path(path)
    header = index_header(path, max_pixels=max_pixels)
    if header.kind == "PNG" and (header.palette or header.bits < 8):
        return _read_small_indices(path, header)
    ids, _ = _decode(path, cv2.IMREAD_UNCHANGED, max_pixels)
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
    if header.kind in LOSSY:
        raise InputError(
            f"{path}: is a {header.kind}, which does not keep ids exactly; expected a PNG"
        )
    if header.channels != 1:
        raise InputError(
            f"{path}: found {header.channels} channels, expected a map of ids with one channel"
        )
    return header


def _read_small_indices(path: Path, header: Header) -> np.ndarray:
    """A PNG with a palette, or grey of less than 8 bits, which OpenCV would turn into colours.

    uint8 (H, W) of what is stored.
    """
    encoded = path.read_bytes()
    require_whole_png(encoded, path)
    with reading(path), any_size(), Image.open(path) as image:
        indices = np.array(image).astype(np.uint8)
    if header.palette or header.bits == 1:
        return indices
    # Pillow spreads grey of 2 and 4 bits over 0..255.
    return indices // np.uint8(255 // (2**header.bits - 1))


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


def _decode(path: Path, flags: int, max_pixels: int) -> tuple[np.ndarray, Header]:
    with require_file(path, "image").open("rb") as file:
        header = header_of(file, path)
        require_pixels(header, path, max_pixels)
        file.seek(0)
        encoded = file.read()
    if encoded.startswith(PNG_MAGIC):
        require_whole_png(encoded, path)
    image = None
    with held_stderr() as held:
        try:
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError(f"{path}: {header.width}x{header.height} does not fit") from error
    said = held.text.lower()
    if image is None:
        raise InputError(
            f"{path}: the {header.kind} is cut off or damaged, or of a kind that OpenCV cannot "
            "read; replace it"
        )
    if encoded.startswith(JPEG_MAGIC) and any(damage in said for damage in JPEG_DAMAGE):
        reason = said.decode("ascii", "replace").strip().splitlines()[0]
        raise InputError(f"{path}: the JPEG is cut off or damaged inside ({reason}); replace it")
    return image, header
