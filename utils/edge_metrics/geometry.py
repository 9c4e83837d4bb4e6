"""Which pixels may be matched with each other: the grid of a map, and the disk around a pixel."""

import math

import numpy as np

from data.errors import InputError
from data.thinning import Grid


def matching_geometry(shape: tuple[int, int], max_dist: float) -> tuple[Grid, np.ndarray]:
    """The grid of a map (H, W), and the disk in which a pixel's partner may lie, see `disk_runs`.

    max_dist: the disk's radius as a fraction of the map's diagonal.
    """
    if not 0 <= max_dist < math.inf:
        raise InputError(f"max_dist is {max_dist}; expected a fraction of the diagonal, 0 or more")
    height, width = shape
    radius = min(max_dist, 1) * math.hypot(height, width)  # no two pixels are farther apart
    grid = Grid(height, width, pad=max(1, reach(radius)))
    return grid, disk_runs(grid, radius)


def reach(radius: float) -> int:
    """The largest whole number of pixels within `radius`."""
    return math.isqrt(math.floor(radius * radius))


def disk_runs(grid: Grid, radius: float) -> np.ndarray:
    """The pixels with dx^2 + dy^2 <= radius^2 as runs of bits, int64 (rows, 2): first and last.

    Both are counted from the centre's bit, and nearer rows come first. The grid must be padded by
    `reach(radius)`.
    """
    limit = math.floor(radius * radius)
    runs = []
    for dy in sorted(range(-reach(radius), reach(radius) + 1), key=abs):
        half = math.isqrt(limit - dy * dy)
        runs.append((dy * grid.stride - half, dy * grid.stride + half))
    return np.array(runs)
