"""How crisp edges are: the share of a response that non-maximum suppression leaves.

Definition: the average crispness (AC) of Ye et al., "Delving into Crispness: Guided Label
Refinement for Crisp Edge Detection", IEEE TIP 2023: of each map the sum of its values after
non-maximum suppression over the sum before, and the mean over maps. A line of one pixel has 1, a
band of n equal columns 1/n.

The suppression is that of Structured Forests (Dollar & Zitnick, TPAMI 2015), as AC is published
with: a pixel is kept unless the map, interpolated linearly, is higher one or two pixels away across
the edge. Two things differ. Across is exactly the direction of the strongest curvature of the
smoothed map; the published formula takes an approximation of it. And equal neighbours are settled:
there a flat top of any width stays whole, so that a band of ones, such as every binary prediction
has, would pass for crisp. Here one line of it stays.

All is integers, and floats with one rounding an operation: every machine gets the same bits.
"""

import math

import numpy as np
from scipy import ndimage

from data.errors import InputError
from data.system.compiled import compiled

UNITS = {
    np.dtype(np.uint8): 255,
    np.dtype(np.uint16): 65536,
}  # what a probability of 1 is stored as
# Lower pixels are none, before and after: no default threshold predicts them. The published code
# reads maps of 8 bits, in which the long tail of a sigmoid is 0; in 16 bits it would outweigh all.
FLOOR = 0.01
TRIANGLE = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1])  # the smoothing, radius 4
MARGIN = 8  # pixels around a response on which its smoothed curvature depends


def crispness(prob: np.ndarray) -> float:
    """The sum of a map after non-maximum suppression, over the sum before; nan for an empty map.

    prob: (H, W), uint8 for score * 255, uint16 for score * 65536, or float, which is cut off
    at 0 and 1 and rounded to uint16. Values below FLOOR count as 0.
    """
    after, before = crisp_sums(prob)
    return after / before if before else math.nan


def crisp_sums(prob: np.ndarray) -> tuple[int, int]:
    """The sums of a map after and before non-maximum suppression, in its stored units."""
    levels = _levels(prob)
    rows, columns = (np.flatnonzero(levels.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return 0, 0
    # Beyond MARGIN there is nothing for the response to depend on.
    top, left = (max(0, int(found[0]) - MARGIN) for found in (rows, columns))
    levels = levels[top : int(rows[-1]) + MARGIN + 1, left : int(columns[-1]) + MARGIN + 1]
    return int(levels[_ridges(np.ascontiguousarray(levels))].sum()), int(levels.sum())


def ridges(prob: np.ndarray) -> np.ndarray:
    """The pixels that non-maximum suppression keeps, bool (H, W). prob: as of `crispness`."""
    return _ridges(_levels(prob))


def average_crispness(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The average crispness of each class, float64 (K,), and its mean over the classes.

    An image in which a class does not respond says nothing about it, and a class that responds in
    no image (nan) nothing about the mean.

    values: float64 (images, K), `crispness` of each; nan where nothing responds.
    """
    classes = np.array([_mean(column) for column in values.T])
    return classes, _mean(classes)


def _mean(values: np.ndarray) -> float:
    """The mean of the numbers that are not nan; correctly rounded, so in any order the same."""
    there = values[np.isfinite(values)]
    return math.fsum(there) / len(there) if len(there) else math.nan


def _levels(prob: np.ndarray) -> np.ndarray:
    """A map as int64 in its units, 0 below FLOOR."""
    if prob.ndim != 2 or not prob.size:
        raise InputError(f"scores are of shape {prob.shape}; expected a map (height, width)")
    if prob.dtype.kind == "f":
        if np.isnan(prob).any():
            raise InputError(f"{int(np.isnan(prob).sum())} of the scores are not a number")
        prob = np.minimum(np.rint(prob.clip(0, 1) * 65536.0), 65535).astype(np.uint16)
    if prob.dtype not in UNITS:
        raise InputError(f"scores must be float, uint16 or uint8, got {prob.dtype}")
    levels = prob.astype(np.int64)
    return np.where(levels >= FLOOR * UNITS[prob.dtype], levels, 0)


def _ridges(levels: np.ndarray) -> np.ndarray:
    """bool (H, W) of int64 (H, W)."""
    smooth = levels
    for axis in (0, 1):
        # In float64, exact: the sums are below 2^53.
        smooth = ndimage.correlate1d(smooth, TRIANGLE, axis=axis, mode="nearest")
    x, y = _across(np.pad(smooth, 2, mode="edge"))
    kept = np.zeros(levels.shape, bool)
    _suppress(levels, smooth, x, y, kept)
    return kept


def _across(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit vector across the edge, x >= 0, each float64 (H, W); (1, 0) where all is flat.

    It is the eigenvector of the larger eigenvalue, by amount, of the matrix of second derivatives,
    each the central difference of a central difference.

    s: int64 (H + 4, W + 4), the smoothed map with a border of 2.
    """
    middle = 2 * s[2:-2, 2:-2]
    xx = s[2:-2, 4:] - middle + s[2:-2, :-4]
    yy = s[4:, 2:-2] - middle + s[:-4, 2:-2]
    xy = s[3:-1, 3:-1] - s[3:-1, 1:-3] - s[1:-3, 3:-1] + s[1:-3, 1:-3]
    # The angle of the larger eigenvalue is half that of (xx - yy, 2 xy); of the other, a quarter
    # of a turn from it.
    sign = np.where(xx + yy < 0, -1.0, 1.0)
    real, imaginary = sign * (xx - yy), sign * (2 * xy)
    length = np.sqrt(real * real + imaginary * imaginary)
    cos = np.divide(real, length, out=np.ones_like(length), where=length > 0)
    x = np.sqrt(np.maximum(1 + cos, 0) * 0.5)
    y = np.sqrt(np.maximum(1 - cos, 0) * 0.5)
    return x, np.where(imaginary < 0, -y, y)


@compiled
def _suppress(levels, smooth, across_x, across_y, kept):  # pragma: no cover - compiled
    """Set `kept` where no pixel across the edge is higher; see the head of this file."""
    height, width = levels.shape
    for row in range(height):
        for column in range(width):
            level = levels[row, column]
            if level == 0:
                continue
            highest = True
            for step in (-1, 1, -2, 2):
                x = column + step * across_x[row, column]
                y = row + step * across_y[row, column]
                if x < 0 or y < 0 or x > width - 1 or y > height - 1:
                    continue
                other = _between(levels, x, y)
                if other > level:
                    highest = False
                elif other == level and (step == 1 or step == -1):
                    # On a flat top the smoothed map decides; where that is flat too, the first.
                    beside = _between(smooth, x, y)
                    here = smooth[row, column]
                    highest = not (beside > here or (beside == here and step == -1))
                if not highest:
                    break
            kept[row, column] = highest


@compiled
def _between(values, x, y):  # pragma: no cover - compiled
    """The value at a point inside the map, linear between four pixels: equal ones give theirs."""
    column, row = int(x), int(y)
    next_column, next_row = min(column + 1, values.shape[1] - 1), min(row + 1, values.shape[0] - 1)
    dx, dy = x - column, y - row
    upper = values[row, column] + dx * (values[row, next_column] - values[row, column])
    lower = values[next_row, column] + dx * (
        values[next_row, next_column] - values[next_row, column]
    )
    return upper + dy * (lower - upper)
