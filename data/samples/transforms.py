"""Published augmentation: random scale, crop, mean-colour padding with a valid mask, mirror; for segmentation also colours and blur.

Only the part of the image that ends up in the crop is resized. Every random choice comes from the generator that the caller
hands in, so that a crop is a function of (seed, epoch, index).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from data.samples.photometric import blur, jitter

# ImageNet's mean and standard deviation, RGB, for images in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
MEAN_COLOR = tuple(round(255 * mean) for mean in MEAN)


@dataclass(frozen=True)
class Augmentation:
    """base_size: long side in pixels before the random scale, 0 = as on disk. crop_size: side of the square crop in pixels.
    scale: range of the random factor. mirror: flip left to right in half of the cases. color: amount of the colour jitter, 0 = none.
    blur: blur every crop by a random width."""

    base_size: int
    crop_size: int
    scale: tuple[float, float] = (0.75, 2.0)
    mirror: bool = True
    color: float = 0.0
    blur: bool = False


@dataclass(frozen=True)
class Window:
    """Where a crop lies in its scaled image: `size` (height, width) of the whole image after scaling, the crop's `top`
    and `left` in it, and whether the crop is mirrored."""

    size: tuple[int, int]
    top: int
    left: int
    mirror: bool


@dataclass(frozen=True)
class Crop:
    """image: uint8 (C, C, 3). inside: rows and columns of the crop that hold image; the rest is padding, at the right and bottom.

    maps: what the given maps hold below the crop, with up to `margin` more pixels of the image on each side, so that a rule
    that looks at neighbours sees the same ones as in the whole image; `inner` cuts that margin away again. Not yet
    mirrored: `mirror` says whether the image is.
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
    """Choose mirror, scale and place of a crop, in this order. around: (y, x) of a pixel of the unscaled image that the crop must
    hold; its place within the crop is random, but for the image's border, which the crop does not cross."""
    mirror = bool(augmentation.mirror and rng.random() < 0.5)
    long_side = max(height, width)
    base = augmentation.base_size or long_side
    low, high = augmentation.scale
    factor = rng.integers(round(base * low), round(base * high), endpoint=True) / long_side
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    crop = augmentation.crop_size
    if around is None:
        top, left = (int(rng.integers(0, max(0, n - crop), endpoint=True)) for n in size)
    else:
        at = (
            min(int((c + 0.5) * n / m), n - 1)
            for c, n, m in zip(around, size, (height, width), strict=True)
        )
        first = (int(rng.integers(c - crop + 1, c, endpoint=True)) for c in at)
        top, left = (
            min(max(0, place), max(0, n - crop)) for place, n in zip(first, size, strict=True)
        )
    return Window(size, top, left, mirror)


def cut(
    image: np.ndarray,
    maps: Sequence[np.ndarray | None],
    window: Window,
    crop_size: int,
    *,
    margin: int = 0,
) -> Crop:
    """The crop of an image uint8 (H, W, 3) that `window` describes, and of maps (H, W) of any type, taken nearest."""
    rows = _Span(image.shape[0], window.size[0], window.top, crop_size, margin)
    columns = _Span(image.shape[1], window.size[1], window.left, crop_size, margin)
    crop = np.full((crop_size, crop_size, 3), MEAN_COLOR, np.uint8)
    crop[: rows.length, : columns.length] = _resized(image, rows, columns)
    if window.mirror:
        crop = np.ascontiguousarray(crop[:, ::-1])
    inside = (slice(rows.length), slice(columns.length))
    below = np.ix_(rows.nearest, columns.nearest)
    parts = tuple(None if values is None else values[below] for values in maps)
    return Crop(crop, parts, (rows.inner, columns.inner), inside, window.mirror)


def change_look(crop: Crop, augmentation: Augmentation, rng: np.random.Generator) -> None:
    """Colour jitter and blur of a crop's image, in place, in the published order; padding stays as it is."""
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
    """Resize uint8 (H, W, 3) so that its long side has `base_size` pixels: by area when it shrinks, bilinearly when it grows.

    0 leaves it as it is.
    """
    height, width = image.shape[:2]
    long_side = max(height, width)
    if base_size in (0, long_side):
        return image
    size = (
        max(1, round(width * base_size / long_side)),
        max(1, round(height * base_size / long_side)),
    )
    return cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if base_size < long_side else cv2.INTER_LINEAR
    )


class _Span:
    """One axis of a crop: which source pixels it needs and where they go."""

    def __init__(self, source: int, scaled: int, start: int, crop_size: int, margin: int) -> None:
        self.source, self.scaled, self.start = source, scaled, start
        self.length = min(crop_size, scaled - start)
        first, stop = max(0, start - margin), min(scaled, start + self.length + margin)
        self.inner = slice(start - first, start - first + self.length)
        # The centre of output pixel i lies at (i + 0.5) * source / scaled; the source pixel that holds it is the nearest one.
        self.nearest = np.minimum(
            ((np.arange(first, stop) + 0.5) * source / scaled).astype(np.intp), source - 1
        )


def _resized(image: np.ndarray, rows: _Span, columns: _Span) -> np.ndarray:
    """The crop's part of the image: bilinear on the image, first shrunk by area if it shrinks to below 3/4."""
    shrink = min(rows.scaled / rows.source, columns.scaled / columns.source)
    if shrink < 0.75:
        whole = cv2.resize(image, (columns.scaled, rows.scaled), interpolation=cv2.INTER_AREA)
        return whole[
            rows.start : rows.start + rows.length, columns.start : columns.start + columns.length
        ]
    if (rows.scaled, columns.scaled) == (rows.source, columns.source):
        return image[
            rows.start : rows.start + rows.length, columns.start : columns.start + columns.length
        ]
    # Half-pixel centres, as in cv2.resize: source = (crop + start + 0.5) * step - 0.5.
    step_x, step_y = columns.source / columns.scaled, rows.source / rows.scaled
    matrix = np.array(
        [
            [step_x, 0, (columns.start + 0.5) * step_x - 0.5],
            [0, step_y, (rows.start + 0.5) * step_y - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        image, matrix, (columns.length, rows.length), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )


def normalize(image: np.ndarray | Tensor) -> Tensor:
    """uint8 (H, W, 3) or (N, H, W, 3), RGB -> float32 (N, 3, H, W), what the nets take; on the tensor's own device."""
    image = torch.as_tensor(image)
    batch = (image[None] if image.ndim == 3 else image).permute(0, 3, 1, 2)
    mean, std = (
        torch.as_tensor(v, dtype=torch.float32, device=batch.device).view(1, 3, 1, 1)
        for v in (MEAN, STD)
    )
    return (
        batch.to(torch.float32, memory_format=torch.contiguous_format)
        .div_(255)
        .sub_(mean)
        .div_(std)
    )
