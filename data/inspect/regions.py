"""Regions of a label map: components, widths, and gaps at the image's border.

Shapes: H x W pixels; a label map is uint8 (H, W), in which NONE is no class.
"""

from collections import Counter
from typing import NamedTuple

import cv2
import numpy as np

from data.image_io import IGNORE as NONE

# Components below this share of the image's pixels are specks: below 6 pixels in one of 480x360,
# below 83 in one of 2048x1024.
SPECK_SHARE = 1 / 25_000
MIN_SPECK = 2  # a component of one pixel is a speck in images of any size
WIDTH_SIDE = 2048  # widths of larger maps are measured on every 2nd, 3rd, ... pixel
RIDGE_SLOPE = 0.5  # of the distance: 1 away from the ridge, 0.7 where a corner is cut in half
MAX_GAP = 3  # pixels without a class between an object and the image's border


class Component(NamedTuple):
    """A connected part of a class: its pixels, and one of them."""

    label: int
    area: int
    y: int
    x: int


def speck_limit(shape: tuple[int, ...]) -> int:
    """Components with fewer pixels than this are specks in an image of (H, W)."""
    return max(MIN_SPECK, int(shape[0] * shape[1] * SPECK_SHARE))


def components(mask: np.ndarray) -> tuple[int, np.ndarray]:
    """The 8-connected components of bool (H, W).

    Returns their number, and int64 (n, 3) of (area, y, x): the first pixel in the order of rows.
    """
    plain = mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(plain)
    if not width:
        return 0, np.zeros((0, 3), np.int64)
    part = np.ascontiguousarray(plain[top : top + height, left : left + width])
    count, ids, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.int64)
    rows = stats[1:, cv2.CC_STAT_TOP]
    lefts, widths = stats[1:, cv2.CC_STAT_LEFT], stats[1:, cv2.CC_STAT_WIDTH]
    found = np.empty((count - 1, 3), np.int64)
    found[:, 0] = areas
    found[:, 1] = rows + top
    # Only of small ones anybody asks for the place; a large one's is its box's corner.
    found[:, 2] = lefts + left
    for n in np.flatnonzero((areas > 1) & (areas < speck_limit(mask.shape))):
        line = ids[rows[n], lefts[n] : lefts[n] + widths[n]]
        found[n, 2] += int(np.argmax(line == n + 1))
    return count - 1, found


def ridge_widths(label: np.ndarray) -> dict[int, Counter[int]]:
    """Class -> how often which width in pixels occurs, rounded, at the ridge's points.

    The distance from each point to the nearest border of its class, or of the image, is computed on
    a grid of half pixels, whose even rows and columns lie between the pixels. On the ridge, half
    way between two borders, it does not grow in any direction (RIDGE_SLOPE); the width is twice the
    distance there. So a bar of n pixels along an axis has the width n.
    """
    step = -(-max(label.shape) // WIDTH_SIDE)
    label = label[::step, ::step]
    height, width = label.shape
    # In half pixels, so twice the distance in pixels.
    distance = cv2.distanceTransform(_inside(label), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    slope = np.array([[-0.5, 0, 0.5]], np.float32)
    squared = cv2.filter2D(distance, -1, slope) ** 2
    squared += cv2.filter2D(distance, -1, slope.T) ** 2
    rows, columns = np.nonzero((squared < RIDGE_SLOPE**2) & (distance > 0))
    classes = label[np.minimum(rows // 2, height - 1), np.minimum(columns // 2, width - 1)]
    widths = np.rint(distance[rows, columns] * step).astype(np.int64)
    codes, counts = np.unique(classes.astype(np.int64) << 32 | widths, return_counts=True)
    found: dict[int, Counter[int]] = {}
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        if code >> 32 != NONE:
            found.setdefault(code >> 32, Counter())[code & 0xFFFFFFFF] = count
    return found


def _inside(label: np.ndarray) -> np.ndarray:
    """uint8 (2 H + 1, 2 W + 1): 0 on the lines between two classes and around the image, else 1."""
    height, width = label.shape
    grid = np.ones((2 * height + 1, 2 * width + 1), np.uint8)
    grid[[0, -1]] = 0
    grid[:, [0, -1]] = 0
    down = label[1:] != label[:-1]
    right = label[:, 1:] != label[:, :-1]
    # A line between two pixels of different classes, with its two ends.
    for shift in (0, 1, 2):
        grid[2:-2:2, shift : shift + 2 * width - 1 : 2][down] = 0
        grid[shift : shift + 2 * height - 1 : 2, 2:-2:2][right] = 0
    return grid


def border_gap(none: np.ndarray) -> float:
    """The share of the image's border at which a class ends 1 to MAX_GAP pixels before it.

    none: bool (H, W), pixels without a class; ignored ones are not among them.
    """
    gaps = 0
    if min(none.shape) <= 2 * MAX_GAP:
        return 0.0
    for side in (none, none[::-1], none.T, none.T[::-1]):
        gaps += np.count_nonzero(side[0] & ~side[1 : MAX_GAP + 1].all(axis=0))
    return gaps / (2 * sum(none.shape))
