"""Polygons to pixels, the same on every machine.

OpenCV's `fillPoly` fills other pixels in version 5 than in version 4. Here a pixel belongs to a
polygon if its centre lies inside (even-odd rule), decided in whole numbers. Polygons that share an
edge share no pixel and leave none out.
"""

import numpy as np

from data.system.compiled import compiled


@compiled
def spans(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """int64 (n, 2) corners (u, v), anywhere -> int64 (m, 3): the runs of pixels on the canvas.

    A run is row v, first u, last u + 1.
    """
    count = len(corners)
    top, bottom = max(0, corners[:, 1].min()), min(height, corners[:, 1].max())
    found = np.empty((max(0, bottom - top) * (count // 2), 3), np.int64)
    starts = np.empty(count, np.int64)
    total = 0
    for v in range(top, bottom):
        crossings = 0
        for i in range(count):
            u0, v0, u1, v1 = corners[i - 1, 0], corners[i - 1, 1], corners[i, 0], corners[i, 1]
            if v0 > v1:
                u0, v0, u1, v1 = u1, v1, u0, v0
            if v0 <= v < v1:
                # The edge meets the row's centre line at u = reach / (2 rise); the next pixel
                # centre is at start + 1/2.
                rise = v1 - v0
                reach = 2 * u0 * rise + (2 * (v - v0) + 1) * (u1 - u0)
                start = -((rise - reach) // (2 * rise))
                place = crossings
                while place > 0 and starts[place - 1] > start:
                    starts[place] = starts[place - 1]
                    place -= 1
                starts[place] = start
                crossings += 1
        for i in range(0, crossings, 2):
            first, end = max(0, starts[i]), min(width, starts[i + 1])
            if first < end:
                found[total] = v, first, end
                total += 1
    return found[:total]


@compiled
def paint(image: np.ndarray, runs: np.ndarray, color: tuple[int, int, int]) -> None:
    """Set the runs of image (H, W, 3) to the colour."""
    for v, first, end in runs:
        for u in range(first, end):
            image[v, u, 0], image[v, u, 1], image[v, u, 2] = color


@compiled
def assign(ids: np.ndarray, runs: np.ndarray, number: int) -> None:
    """Set the runs of ids (H, W) to the number."""
    for v, first, end in runs:
        ids[v, first:end] = number


@compiled
def darken(image: np.ndarray, runs: np.ndarray, percent: int) -> None:
    """Keep `percent` of the light in the runs of image (H, W, 3)."""
    for v, first, end in runs:
        for u in range(first, end):
            for c in range(3):
                image[v, u, c] = image[v, u, c] * percent // 100
