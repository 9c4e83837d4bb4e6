"""Bicubic resizing as MATLAB's `imresize` does it.

Published training images of SBD are made so, and predictions are brought to the size of the
ground truth so. The kernel is Keys' cubic (a = -1/2, IEEE ASSP 1981). When shrinking it is
stretched by the scale, which filters out what the small grid cannot hold; outside the image lies
its mirror image. OpenCV's INTER_CUBIC has another kernel (a = -3/4) and never filters.
"""

from collections.abc import Callable
from math import ceil

import numpy as np
import scipy.sparse

STRIP_PIXELS = 1 << 24  # of a large map, turned into floats at once


def resize_bicubic(
    image: np.ndarray,
    size: tuple[int, int],
    convert: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """Numbers (H, W) -> float64 (h, w) for `size` = (h, w).

    Values may overshoot their range a little, as in MATLAB.

    Args:
        image: any numbers.
        size: of the result.
        convert: what is resized in place of the numbers as stored, pixel by pixel.
    """
    if image.shape == size:
        return convert(image).astype(np.float64)
    rows, columns = (_weights(n, m, m / n) for n, m in zip(image.shape, size, strict=True))
    # Strip by strip, so that a large map of 8 or 16 bits never is a map of floats as a whole.
    width = max(1, STRIP_PIXELS // image.shape[0])
    strips = [
        rows @ convert(image[:, left : left + width]).astype(np.float64)
        for left in range(0, image.shape[1], width)
    ]
    shorter = strips[0] if len(strips) == 1 else np.concatenate(strips, axis=1)
    return (columns @ shorter.T).T


def imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """uint8 (H, W, C) -> uint8 (ceil(H * scale), ceil(W * scale), C).

    Rows first, then columns; MATLAB rounds to 8 bits after each.
    """
    if scale == 1:
        return image
    for axis in (0, 1):
        lines = np.moveaxis(image, axis, 0)
        count = len(lines)
        weights = _weights(count, ceil(count * scale), scale)
        resized = weights @ lines.reshape(count, -1).astype(np.float64)
        rounded = np.clip(np.floor(resized + 0.5), 0, 255).astype(np.uint8)
        image = np.moveaxis(rounded.reshape(-1, *lines.shape[1:]), 0, axis)
    return np.ascontiguousarray(image)


def _weights(n: int, m: int, scale: float) -> scipy.sparse.csr_array:
    """The (m, n) matrix of kernel weights around the source position of each output."""
    stretch = min(scale, 1.0)
    centre = (np.arange(m) + 0.5) / scale - 0.5
    first = np.floor(centre - 2 / stretch).astype(np.int64)
    source = first[:, None] + np.arange(ceil(4 / stretch) + 2)
    weight = _cubic((centre[:, None] - source) * stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    # Mirror at the borders: 0 1 ... n-1 n-1 ... 1 0, of period 2n.
    mirrored = source % (2 * n)
    mirrored = np.minimum(mirrored, 2 * n - 1 - mirrored)
    row = np.broadcast_to(np.arange(m)[:, None], source.shape)
    return scipy.sparse.coo_array(
        (weight.ravel(), (row.ravel(), mirrored.ravel())), shape=(m, n)
    ).tocsr()


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel: pieces of third degree for |x| <= 1 and |x| <= 2, 0 beyond."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
