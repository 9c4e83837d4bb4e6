"""Counting the matches of one map of scores at all thresholds in one sweep."""

from collections.abc import Iterator

import numpy as np

from data.system.compiled import compiled
from data.thinning import thin_bits
from utils.edge_metrics.geometry import matching_geometry
from utils.edge_metrics.matching import (
    Scratch,
    Side,
    add_pixels,
    dilate,
    replace_pixels,
    set_bits,
)


class Sweep:
    """The predicted pixels of one map, in the order in which they come in as the threshold falls.

    The maps of all thresholds are counted from the highest threshold down, each exactly as if
    alone. Raw maps only grow, and one matching grows with them. Thinned maps also lose pixels; the
    pairs that survive are kept, and the search starts again from the pixels that became free.
    """

    def __init__(self, levels: np.ndarray, n: int, max_dist: float) -> None:
        """Sort the pixels.

        Args:
            levels: uint16 (H, W), the number of thresholds that each pixel reaches.
            n: T, the number of thresholds.
            max_dist: How far a match may lie, as a fraction of the map's diagonal.
        """
        height, width = levels.shape
        self.grid, self.runs = matching_geometry((height, width), max_dist)
        self.order, self.ends = _sort_by_level(levels, n, self.grid.origin, self.grid.stride)

    def count(self, gt: np.ndarray, thin: bool, interior: np.ndarray | None = None) -> np.ndarray:
        """int64 (T, 4) of matched true, true, matched predicted and predicted pixels.

        Args:
            gt: The true pixels, bool (H, W).
            thin: Thin the predicted map at each threshold.
            interior: bool (H, W); thinned predicted pixels in it that are out of reach of every
                true pixel are not counted.
        """
        true_bits = self.grid.pack(gt)
        sides = Side.of(np.zeros_like(true_bits)), Side.of(true_bits)
        reachable = dilate(true_bits, self.runs)
        removed = None if interior is None else self.grid.pack(interior) & ~reachable
        if thin:
            matched, predicted = self._count_thin(sides, reachable, removed)
        else:
            matched, predicted = self._count_raw(sides, reachable)
        true = np.full_like(matched, np.count_nonzero(gt))
        return np.stack([matched, true, matched, predicted], axis=1)

    def _new_pixels(self) -> Iterator[tuple[int, np.ndarray]]:
        """(threshold's index, the pixels that come in at it), from the highest threshold down.

        Thresholds at which none come in are left out.
        """
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
        return _sum_from_last(gained), self.ends[:-1]

    def _count_thin(
        self, sides: tuple[Side, Side], reachable: np.ndarray, removed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Matched and predicted pixels after thinning, each int64 (T,).

        removed: bits that are cleared after thinning.
        """
        gained, grown = np.zeros((2, len(self.ends) - 1), np.int64)
        scratch = Scratch.on(self.grid)
        # `whole` has all pixels above the threshold, `before` and `after` the thinned ones of the
        # last and this one.
        whole = np.zeros_like(reachable)
        before = np.zeros_like(reachable)
        n_before = 0
        for t, pixels in self._new_pixels():
            set_bits(whole, pixels)
            after = whole.copy()
            thin_bits(after, self.grid.row_words)
            if removed is not None:
                after &= ~removed
            n_after = int(np.bitwise_count(after).sum())
            # Pixels out of reach are counted, but they need no place in the graph.
            after &= reachable
            gained[t] = replace_pixels(before, after, self.runs, *sides, scratch)
            grown[t] = n_after - n_before
            before, n_before = after, n_after
        return _sum_from_last(gained), _sum_from_last(grown)


def _sum_from_last(changes: np.ndarray) -> np.ndarray:
    """Cumulative sums from the last threshold down."""
    return changes[::-1].cumsum()[::-1]


@compiled
def _sort_by_level(levels, n, origin, stride):  # pragma: no cover - compiled
    """Order the pixels as they come in when the threshold falls.

    levels: uint16 (H, W), how many of the n thresholds a pixel reaches. Returns order, int32, the
    bits of all pixels above level 0, the highest level first, and ends, int64 (n + 1,): the first
    ends[t] of them reach threshold t.
    """
    # A counting sort: sizes of the levels, then the place of each level's first pixel.
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
