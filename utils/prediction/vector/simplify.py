"""Polylines with fewer points: no pixel of a line is farther from it than a tolerance."""

import cv2
import numpy as np

from data.system.compiled import compiled

ROUNDING = 1e-6


def simplify(line: np.ndarray, tolerance: float) -> np.ndarray:
    """Those of the pixels of a line, integers (n, 2), whose polyline is near all of them.

    Ramer, Douglas and Peucker's method. Both ends stay, so lines that meet go on meeting; of a
    loop, the pixel farthest from its start stays too. tolerance: pixels; 0 keeps every pixel.
    """
    if not tolerance or len(line) < 3:
        return line
    if (line[0] != line[-1]).any():
        return _simplify_open(line, tolerance)
    far = int(((line - line[0]) ** 2).sum(axis=1).argmax())
    halves = [_simplify_open(half, tolerance) for half in (line[: far + 1], line[far:])]
    return np.concatenate([halves[0], halves[1][1:]])


def _simplify_open(line: np.ndarray, tolerance: float) -> np.ndarray:
    """`simplify` for a line whose ends are two pixels.

    OpenCV takes a hundredth of scikit-image's time, but removes corners between almost straight
    pieces in the end, which in one line of a thousand exceeds the tolerance by up to 40 %.
    """
    pixels = line.astype(np.int32)[:, None]
    for strict in (tolerance, tolerance / 2, tolerance / 4):
        corners = cv2.approxPolyDP(pixels, strict, False)[:, 0].astype(line.dtype)
        if farthest(line, corners) <= tolerance + ROUNDING:
            return corners
    return line


@compiled
def farthest(line: np.ndarray, corners: np.ndarray) -> float:  # pragma: no cover - compiled
    """The largest distance of a pixel of `line` to its piece between two of `corners`.

    corners: pixels of the line, in its order; inf unless each is one.
    """
    at = 0
    most = 0.0
    for y, x in line:
        if at + 1 < len(corners) and corners[at + 1, 0] == y and corners[at + 1, 1] == x:
            at += 1
            continue
        if at + 1 == len(corners):
            return np.inf if y != corners[at, 0] or x != corners[at, 1] else most
        dy = corners[at + 1, 0] - corners[at, 0]
        dx = corners[at + 1, 1] - corners[at, 1]
        along = ((y - corners[at, 0]) * dy + (x - corners[at, 1]) * dx) / (dy * dy + dx * dx)
        along = min(max(along, 0.0), 1.0)
        distance = np.hypot(y - corners[at, 0] - along * dy, x - corners[at, 1] - along * dx)
        most = max(most, distance)
    return most if at + 1 == len(corners) else np.inf
