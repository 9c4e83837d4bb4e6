"""Published augmentation: random scale, crop, mean-colour padding, mirror, jitter and blur.

Only the part of the image that ends up in the crop is resized. Every random choice comes from the
generator that the caller passes, so that a crop is a function of (seed, epoch, index).
`normalize` and `resize_long_side` are for whole images, in validation and inference too.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from data.errors import InputError, one_line
from data.samples.photometric import blur, jitter

# ImageNet's mean and standard deviation, RGB, for images in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
MEAN_COLOR = tuple(round(255 * mean) for mean in MEAN)
# Below this scale an image is shrunk by area: bilinear sampling would skip source pixels.
AREA_BELOW = 0.75


@dataclass(frozen=True)
class Augmentation:
    """What is chosen at random for each crop, and within which range.

    base_size: long side in pixels before the random scale, 0 = as on disk.
    crop_size: side of the square crop in pixels.
    scale: range of the random factor.
    mirror: flip left to right in half of the cases.
    color: amount of the colour jitter, 0 = none.
    blur: blur every crop by a random width.
    """

    base_size: int
    crop_size: int
    scale: tuple[float, float] = (0.75, 2.0)
    mirror: bool = True
    color: float = 0.0
    blur: bool = False


@dataclass(frozen=True)
class Window:
    """Where a crop lies in its scaled image.

    size: (height, width) of the whole image after scaling.
    top, left: of the crop, in pixels of the scaled image.
    mirror: whether the crop is flipped left to right.
    """

    size: tuple[int, int]
    top: int
    left: int
    mirror: bool


@dataclass(frozen=True)
class Crop:
    """A crop of an image, and the parts of its maps below it.

    image: uint8 (C, C, 3), mirrored if `mirror`.
    maps: the parts of the maps, not yet mirrored, with up to `margin` more pixels of the image on
        each side: a rule that looks at neighbours sees the same ones as in the whole image.
    inner: rows and columns of the maps without that margin.
    inside: rows and columns of the crop that hold image; the rest, at the right and bottom, is
        padding. For the crop before it is mirrored.
    mirror: whether `image` is mirrored.
    """

    image: np.ndarray
    maps: tuple[np.ndarray | None, ...]
    inner: tuple[slice, slice]
    inside: tuple[slice, slice]
    mirror: bool


def draw_window(
    height: int,
    width: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    around: tuple[int, int] | None = None,
) -> Window:
    """Choose mirror, scale and place of a crop, in this order.

    Args:
        height: of the image, in pixels.
        width: of the image.
        augmentation: the ranges to choose from.
        rng: where the choices come from.
        around: (y, x) of a pixel of the unscaled image that the crop must hold. Its place within
            the crop is random, except that the crop does not cross the image's border.
    """
    mirror = bool(augmentation.mirror and rng.random() < 0.5)
    long_side = max(height, width)
    base = augmentation.base_size or long_side
    low, high = augmentation.scale
    factor = rng.integers(round(base * low), round(base * high), endpoint=True) / long_side
    scaled = (max(1, round(height * factor)), max(1, round(width * factor)))
    crop = augmentation.crop_size
    if around is None:
        top, left = (int(rng.integers(0, max(0, n - crop), endpoint=True)) for n in scaled)
    else:
        top, left = (
            _draw_start(position, source, target, crop, rng)
            for position, source, target in zip(around, (height, width), scaled, strict=True)
        )
    return Window(scaled, top, left, mirror)


def extract_crop(
    image: np.ndarray,
    maps: Sequence[np.ndarray | None],
    window: Window,
    crop_size: int,
    *,
    margin: int = 0,
) -> Crop:
    """Take the crop that `window` describes out of an image and its maps.

    Args:
        image: uint8 (H, W, 3), resized bilinearly or by area.
        maps: (H, W) of any type, resized by nearest neighbours; None stays None.
        window: where the crop lies.
        crop_size: side of the square crop in pixels.
        margin: see `Crop.maps`.
    """
    rows = _Span(image.shape[0], window.size[0], window.top, crop_size, margin)
    columns = _Span(image.shape[1], window.size[1], window.left, crop_size, margin)
    crop = np.full((crop_size, crop_size, 3), MEAN_COLOR, np.uint8)
    crop[: rows.length, : columns.length] = _resize_part(image, rows, columns)
    if window.mirror:
        crop = np.ascontiguousarray(crop[:, ::-1])
    inside = (slice(rows.length), slice(columns.length))
    below = np.ix_(rows.nearest, columns.nearest)
    parts = tuple(None if values is None else values[below] for values in maps)
    return Crop(crop, parts, (rows.inner, columns.inner), inside, window.mirror)


def jitter_and_blur(crop: Crop, augmentation: Augmentation, rng: np.random.Generator) -> None:
    """Jitter the colours of a crop's image and blur it, in place, in the published order.

    Padding keeps its colour.
    """
    rows, columns = crop.inside
    if crop.mirror:
        columns = slice(crop.image.shape[1] - columns.stop, None)
    image = np.ascontiguousarray(crop.image[rows, columns])
    if augmentation.color:
        image = jitter(image, augmentation.color, rng)
    if augmentation.blur:
        image = blur(image, rng)
    crop.image[rows, columns] = image


def resize_long_side(image: np.ndarray, base_size: int) -> np.ndarray:
    """Resize uint8 (H, W, 3) so that its long side has `base_size` pixels, 0 = leave it.

    By area when it shrinks, bilinearly when it grows.
    """
    height, width = image.shape[:2]
    long_side = max(height, width)
    if base_size in (0, long_side):
        return image
    size = (
        max(1, round(width * base_size / long_side)),
        max(1, round(height * base_size / long_side)),
    )
    method = cv2.INTER_AREA if base_size < long_side else cv2.INTER_LINEAR
    with _resizing(image, size):
        return cv2.resize(image, size, interpolation=method)


def normalize(image: np.ndarray | Tensor) -> Tensor:
    """Turn images into what the nets take, on the tensor's own device.

    uint8 (H, W, 3) or (N, H, W, 3), RGB -> float32 (N, 3, H, W), by ImageNet's mean and standard
    deviation.
    """
    image = torch.as_tensor(image)
    batch = (image[None] if image.ndim == 3 else image).permute(0, 3, 1, 2)
    mean, std = (
        torch.as_tensor(v, dtype=torch.float32, device=batch.device).view(1, 3, 1, 1)
        for v in (MEAN, STD)
    )
    # `to` copies into planes (N, 3, H, W); the rest works in place on that copy.
    planes = batch.to(torch.float32, memory_format=torch.contiguous_format)
    return planes.div_(255).sub_(mean).div_(std)


def _draw_start(
    position: int, source: int, scaled: int, crop: int, rng: np.random.Generator
) -> int:
    """Where a crop of `crop` pixels starts, on one axis, so that it holds a source pixel."""
    centre = min(int((position + 0.5) * scaled / source), scaled - 1)
    start = int(rng.integers(centre - crop + 1, centre, endpoint=True))
    return min(max(0, start), max(0, scaled - crop))


class _Span:
    """One axis of a crop: which source pixels it needs and where they go."""

    def __init__(self, source: int, scaled: int, start: int, crop_size: int, margin: int) -> None:
        self.source = source
        self.scaled = scaled
        self.start = start
        self.length = min(crop_size, scaled - start)
        first = max(0, start - margin)
        stop = min(scaled, start + self.length + margin)
        self.inner = slice(start - first, start - first + self.length)
        # The centre of output pixel i lies at (i + 0.5) * source / scaled; the nearest source
        # pixel is the one that holds it.
        centres = (np.arange(first, stop) + 0.5) * source / scaled
        self.nearest = np.minimum(centres.astype(np.intp), source - 1)

    @property
    def slice(self) -> slice:
        """The crop's pixels on the scaled image."""
        return slice(self.start, self.start + self.length)


def _resize_part(image: np.ndarray, rows: _Span, columns: _Span) -> np.ndarray:
    """The crop's part of the scaled image, uint8 (h, w, 3)."""
    if min(rows.scaled / rows.source, columns.scaled / columns.source) < AREA_BELOW:
        size = (columns.scaled, rows.scaled)
        with _resizing(image, size):
            whole = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return whole[rows.slice, columns.slice]
    if (rows.scaled, columns.scaled) == (rows.source, columns.source):
        return image[rows.slice, columns.slice]
    # Pixel centres lie at half pixels, as in cv2.resize: source = (i + start + 0.5) * step - 0.5.
    step_x = columns.source / columns.scaled
    step_y = rows.source / rows.scaled
    matrix = np.array(
        [
            [step_x, 0, (columns.start + 0.5) * step_x - 0.5],
            [0, step_y, (rows.start + 0.5) * step_y - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (columns.length, rows.length)
    with _resizing(image, size):
        return cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


@contextlib.contextmanager
def _resizing(image: np.ndarray, size: tuple[int, int]) -> Iterator[None]:
    """Turn OpenCV's errors into an InputError or a MemoryError."""
    try:
        yield
    except cv2.error as error:
        height, width = image.shape[:2]
        fault = f"an image of {width}x{height} pixels cannot be resized to {size[0]}x{size[1]}"
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(fault) from error
        raise InputError(
            f"{fault} ({one_line(error)}); make it smaller, or see --base-size and --scale"
        ) from error
