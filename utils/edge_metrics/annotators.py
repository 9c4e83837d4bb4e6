"""Counting the matches of one map of scores against the edges of several annotators.

BSDS500 has five or more for each image.
"""

import numpy as np
from scipy import ndimage

from data.thinning import Grid, thin_bits
from utils.edge_metrics.geometry import matching_geometry
from utils.edge_metrics.matching import ENDLESS, Scratch, Side, match_roots
from utils.edge_metrics.summary import MATCHED_PREDICTED, MATCHED_TRUE, PREDICTED, TRUE


def count_annotators(
    levels: np.ndarray, gts: np.ndarray, n: int, max_dist: float, thin: bool
) -> np.ndarray:
    """int64 (T, 4) of matched true, true, matched predicted and predicted pixels.

    Which predicted pixels are in a maximum matching is a matter of choice, and here the choice
    shows, because a pixel that is matched with two annotators counts once. We take the set that
    lies nearest to the annotator's pixels, ties in reading order: near what the published minimum
    of cost takes, but unique. The sets that can be matched are a matroid, so taking the nearest
    first finds it.

    Args:
        levels: uint16 (H, W), the number of thresholds that each pixel reaches.
        gts: The true pixels of each annotator, bool (A, H, W).
        n: T, the number of thresholds.
        max_dist: How far a match may lie, as a fraction of the map's diagonal.
        thin: Thin the predicted map at each threshold.
    """
    height, width = levels.shape
    grid, runs = matching_geometry((height, width), max_dist)
    annotators = [(grid.pack(gt), _squared_distance(gt, grid)) for gt in gts]
    scratch = Scratch.on(grid)
    counts = np.zeros((n, 4), np.int64)
    for t in range(n):
        bits = grid.pack(levels > t)
        if thin:
            thin_bits(bits, grid.row_words)
        predicted = _positions(bits)
        hit = np.zeros_like(bits)
        for true_bits, distance in annotators:
            pred, true = Side.of(bits), Side.of(true_bits)
            roots = predicted[np.argsort(distance[predicted], kind="stable")]
            counts[t, MATCHED_TRUE] += match_roots(roots, runs, pred, true, scratch, True, ENDLESS)
            hit |= pred.taken
        counts[t, MATCHED_PREDICTED] = np.bitwise_count(hit).sum()
        counts[t, PREDICTED] = len(predicted)
    counts[:, TRUE] = sum(np.bitwise_count(true_bits).sum() for true_bits, _ in annotators)
    return counts


def _positions(bits: np.ndarray) -> np.ndarray:
    """The numbers of the bits that are set, int32, ascending."""
    return np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little")).astype(np.int32)


def _squared_distance(gt: np.ndarray, grid: Grid) -> np.ndarray:
    """Squared distance to the nearest true pixel, int64 per bit of the grid; 0 if there is none."""
    flat = np.zeros(grid.words * 64, np.int64)
    if gt.any():
        distance = np.asarray(ndimage.distance_transform_edt(~gt))
        # One word precedes the first row and one follows the last.
        rows = flat[64:-64].reshape(grid.rows, grid.stride)
        inner = rows[grid.pad : grid.pad + grid.height, grid.pad : grid.pad + grid.width]
        inner[:] = np.rint(distance**2)
    return flat
