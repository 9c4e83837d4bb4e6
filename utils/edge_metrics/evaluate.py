"""Precision and recall of edge maps over thresholds: counting per image, ODS, OIS and AP over images.

The protocol is that of the Berkeley benchmark (Martin, Fowlkes & Malik 2004; Arbelaez et al., TPAMI 2011) as SBD, SEAL and DFF use it.
Pixels are matched exactly (`utils.edge_metrics.matching`), so the counts do not depend on a seed, on order or on the number of workers.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from data.errors import InputError
from data.thinning import Grid, compiled, thin_bits
from utils.edge_metrics.matching import (
    ENDLESS,
    Scratch,
    Side,
    add_pixels,
    dilate,
    disk_runs,
    match_roots,
    match_smaller,
    reach,
    replace_pixels,
    set_bits,
)
from utils.edge_metrics.summary import (
    MATCHED_PREDICTED,
    MATCHED_TRUE,
    PREDICTED,
    TRUE,
)


def match(pred: np.ndarray, gt: np.ndarray, max_dist: float) -> tuple[int, int]:
    """(matched predicted pixels, matched true pixels) of two maps bool (H, W); the two numbers are equal.

    As many pairs as possible are formed of a predicted and a true pixel, each pixel in one pair at most, whose distance d satisfies
    d^2 <= (max_dist * diagonal)^2, diagonal = sqrt(H^2 + W^2).
    """
    _require_same_size(pred, gt)
    grid, runs = _geometry(gt.shape, max_dist)
    sides = Side.of(grid.pack(pred)), Side.of(grid.pack(gt))
    pairs = int(match_smaller(runs, *sides, Scratch.on(grid)))
    return pairs, pairs


def evaluate_image(
    prob: np.ndarray,
    gt: np.ndarray,
    *,
    thresholds: np.ndarray,
    max_dist: float,
    thin: bool,
    margin: int = 0,
    interior: np.ndarray | None = None,
) -> np.ndarray:
    """Count, for one class of one image, at each threshold: int64 (T, 4) of matched true, true, matched predicted, predicted pixels.

    prob: the scores (H, W): float, or uint16 for score * 65536, or uint8 for score * 255; an edge where score >= threshold.
    gt: bool (H, W), thinned by the caller if the protocol wants that; or (A, H, W), the maps of A annotators: then the true pixels
    of all are added up, and a predicted pixel is matched if it is in the matching with any of them.
    thresholds: float64 (T,), ascending. max_dist: as in `match`. margin: pixels cut off on all four sides, before anything else, so
    that the diagonal shrinks too. thin: thin the predicted map at each threshold.
    interior: bool (H, W), the inside of the true objects: thinned predicted pixels in it that are out of reach of every true pixel
    are not counted (SBD's "kill internal").

    Raises InputError for arrays whose sizes, types or values do not fit.
    """
    if interior is not None and (gt.ndim == 3 or not thin):
        raise ValueError("interior is defined for thinned predictions and one annotator only")
    if gt.ndim == 3:
        return _count_annotators(prob, gt, thresholds, max_dist, thin, margin)
    if interior is not None:
        _require_same_size(interior, gt)
    levels = _crop(_levels(prob, gt.shape, thresholds), margin)
    return _Sweep(levels, len(thresholds), max_dist).count(
        _crop(gt, margin), thin, _crop(interior, margin)
    )


def evaluate_both(
    prob: np.ndarray,
    gt_thin: np.ndarray,
    gt_raw: np.ndarray,
    *,
    thresholds: np.ndarray,
    max_dist: float,
    margin: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """`evaluate_image` with thinning against `gt_thin` and without against `gt_raw`, each int64 (T, 4), from one reading of `prob`."""
    _require_same_size(gt_thin, gt_raw)
    sweep = _Sweep(
        _crop(_levels(prob, gt_thin.shape, thresholds), margin), len(thresholds), max_dist
    )
    return sweep.count(_crop(gt_thin, margin), True), sweep.count(_crop(gt_raw, margin), False)


class _Sweep:
    """The predicted pixels of one map, in the order in which they come in as the threshold falls, and their counting.

    The maps of all thresholds are counted from the highest down, each exactly as if alone. Raw maps only grow, and one matching grows with
    them. Thinned maps also lose pixels; the pairs that survive are kept, and what they leave free is searched from again.
    """

    def __init__(self, levels: np.ndarray, n: int, max_dist: float) -> None:
        self.grid, self.runs = _geometry(levels.shape, max_dist)
        self.order, self.ends = _sort_by_level(levels, n, self.grid.origin, self.grid.stride)

    def count(self, gt: np.ndarray, thin: bool, interior: np.ndarray | None = None) -> np.ndarray:
        """int64 (T, 4) against the true pixels bool (H, W)."""
        true_bits = self.grid.pack(gt)
        sides = Side.of(np.zeros_like(true_bits)), Side.of(true_bits)
        reachable = dilate(true_bits, self.runs)
        removed = None if interior is None else self.grid.pack(interior) & ~reachable
        matched, predicted = (
            self._count_thin(sides, reachable, removed)
            if thin
            else self._count_raw(sides, reachable)
        )
        return np.stack(
            [matched, np.full_like(matched, np.count_nonzero(gt)), matched, predicted], axis=1
        )

    def _new_pixels(self) -> Iterator[tuple[int, np.ndarray]]:
        """(threshold's index, the pixels that come in at it), from the highest threshold down, where any come in."""
        for t in range(len(self.ends) - 2, -1, -1):
            if self.ends[t] > self.ends[t + 1]:
                yield t, self.order[self.ends[t + 1] : self.ends[t]]

    def _count_raw(
        self, sides: tuple[Side, Side], reachable: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Matched and predicted pixels, each int64 (T,)."""
        gained = np.zeros(len(self.ends) - 1, np.int64)
        scratch = Scratch.on(self.grid)
        for t, pixels in self._new_pixels():
            gained[t] = add_pixels(pixels, reachable, self.runs, *sides, scratch)
        return _from_the_top(gained), self.ends[:-1]

    def _count_thin(
        self, sides: tuple[Side, Side], reachable: np.ndarray, removed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Matched and predicted pixels after thinning, each int64 (T,). removed: bits that are taken out after thinning."""
        gained, grown = np.zeros((2, len(self.ends) - 1), np.int64)
        whole, before, n_before = np.zeros_like(reachable), np.zeros_like(reachable), 0
        scratch = Scratch.on(self.grid)
        for t, pixels in self._new_pixels():
            set_bits(whole, pixels)
            after = whole.copy()
            thin_bits(after, self.grid.row_words)
            if removed is not None:
                after &= ~removed
            n_after = int(np.bitwise_count(after).sum())
            after &= reachable
            gained[t] = replace_pixels(before, after, self.runs, *sides, scratch)
            grown[t] = n_after - n_before
            before, n_before = after, n_after
        return _from_the_top(gained), _from_the_top(grown)


def _from_the_top(changes: np.ndarray) -> np.ndarray:
    """Sums from the last threshold down."""
    return changes[::-1].cumsum()[::-1]


@compiled
def _sort_by_level(levels, n, origin, stride):  # pragma: no cover - compiled
    """Order the pixels as they come in when the threshold falls.

    levels: uint16 (H, W), how many of the n thresholds a pixel reaches. Returns order, int32, the bits of all pixels above level 0, the
    highest level first, and ends, int64 (n + 1,): the first ends[t] of them reach threshold t.
    """
    at_level, ends = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    for level in levels.ravel():
        at_level[level] += 1
    for t in range(n - 1, -1, -1):
        ends[t] = ends[t + 1] + at_level[t + 1]
    order, place = np.empty(ends[0], np.int32), ends.copy()
    for y in range(levels.shape[0]):
        for x in range(levels.shape[1]):
            level = levels[y, x]
            if level > 0:
                order[place[level]] = origin + y * stride + x
                place[level] += 1
    return order, ends


def _count_annotators(
    prob: np.ndarray,
    gts: np.ndarray,
    thresholds: np.ndarray,
    max_dist: float,
    thin: bool,
    margin: int,
) -> np.ndarray:
    """int64 (T, 4) against the maps bool (A, H, W) of several annotators.

    Which predicted pixels are in a maximum matching is a matter of choice, and here the choice shows, because a pixel that is matched
    with two annotators counts once. We take the set that lies nearest to the annotator's pixels, ties in reading order: near what
    the published minimum of cost takes, but unique. The sets that can be matched are a matroid, so nearest first finds it.
    """
    levels = _crop(_levels(prob, gts.shape[1:], thresholds), margin)
    grid, runs = _geometry(levels.shape, max_dist)
    truths = [(grid.pack(gt), _nearness(gt, grid)) for gt in (_crop(gt, margin) for gt in gts)]
    scratch = Scratch.on(grid)
    counts = np.zeros((len(thresholds), 4), np.int64)
    for t in range(len(thresholds)):
        bits = grid.pack(levels > t)
        if thin:
            thin_bits(bits, grid.row_words)
        predicted = np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little")).astype(
            np.int32
        )
        hit = np.zeros_like(bits)
        for true_bits, nearness in truths:
            pred, true = Side.of(bits), Side.of(true_bits)
            roots = predicted[np.argsort(nearness[predicted], kind="stable")]
            counts[t, MATCHED_TRUE] += match_roots(roots, runs, pred, true, scratch, True, ENDLESS)
            hit |= pred.taken
        counts[t, MATCHED_PREDICTED], counts[t, PREDICTED] = (
            np.bitwise_count(hit).sum(),
            len(predicted),
        )
    counts[:, TRUE] = sum(np.bitwise_count(true_bits).sum() for true_bits, _ in truths)
    return counts


def _nearness(gt: np.ndarray, grid: Grid) -> np.ndarray:
    """Squared distance to the nearest true pixel, int64 per bit of the grid."""
    flat = np.zeros(grid.words * 64, np.int64)
    if gt.any():
        distance = ndimage.distance_transform_edt(~gt)
        rows = flat[64:-64].reshape(grid.rows, grid.stride)
        rows[grid.pad : grid.pad + grid.height, grid.pad : grid.pad + grid.width] = np.rint(
            distance**2
        )
    return flat


def _geometry(shape: tuple[int, int], max_dist: float) -> tuple[Grid, np.ndarray]:
    """The grid of a map and the disk around a pixel in which its partner may lie."""
    if not 0 <= max_dist < math.inf:
        raise InputError(f"max_dist is {max_dist}; expected a fraction of the diagonal, 0 or more")
    radius = min(max_dist, 1) * math.hypot(*shape)  # nothing is farther apart than the diagonal
    grid = Grid(*shape, pad=max(1, reach(radius)))
    return grid, disk_runs(grid, radius)


def _levels(prob: np.ndarray, shape: tuple[int, ...], thresholds: np.ndarray) -> np.ndarray:
    """uint16 (H, W): how many thresholds each score reaches, compared in double precision."""
    thresholds = np.asarray(thresholds, np.float64)
    if prob.shape != shape:
        raise InputError(
            f"the prediction is {_size(prob.shape)}, the truth {_size(shape)}; resize the prediction first"
        )
    if thresholds.ndim != 1 or not 0 < thresholds.size < 2**16 or (np.diff(thresholds) < 0).any():
        raise InputError(
            f"thresholds must be a list of 1 to 65535 ascending numbers, got {thresholds}"
        )
    if prob.dtype in (np.uint8, np.uint16):
        scores = np.arange(256) / 255 if prob.dtype == np.uint8 else np.arange(65536) / 65536
        return np.searchsorted(thresholds, scores, side="right").astype(np.uint16)[prob]
    if not np.issubdtype(prob.dtype, np.floating):
        raise InputError(f"scores must be float, uint16 or uint8, got {prob.dtype}")
    if np.isnan(prob).any():
        raise InputError(f"{int(np.isnan(prob).sum())} of the predicted scores are not a number")
    return np.searchsorted(thresholds, prob.astype(np.float64), side="right").astype(np.uint16)


def _crop(array: np.ndarray | None, margin: int) -> np.ndarray | None:
    """Cut `margin` pixels off on all four sides."""
    if array is None:
        return None
    if margin < 0 or 2 * margin >= min(array.shape):
        raise InputError(f"a margin of {margin} px leaves nothing of a map of {_size(array.shape)}")
    return np.ascontiguousarray(
        array[margin : array.shape[0] - margin, margin : array.shape[1] - margin]
    )


def _require_same_size(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape != second.shape or first.ndim != 2:
        raise InputError(
            f"two maps (H, W) of one size are needed, got {first.shape} and {second.shape}"
        )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in reversed(shape))
