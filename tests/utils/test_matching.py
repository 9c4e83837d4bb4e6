"""Matching against a plain augmenting-path matcher that looks at all pairs of pixels."""

import math

import numpy as np
import pytest
from helpers.matching import plain_match
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.thinning import Grid
from utils.edge_metrics import match
from utils.edge_metrics.geometry import disk_runs, reach
from utils.edge_metrics.matching import Scratch, Side, add_pixels, dilate, match_roots


def check(pred: np.ndarray, gt: np.ndarray, max_dist: float) -> None:
    expected = plain_match(pred, gt, max_dist * math.hypot(*gt.shape))
    assert match(pred, gt, max_dist) == (expected, expected)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    density=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    radius=st.floats(0, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_maps(
    shape: tuple[int, int], density: tuple[float, float], radius: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pred, gt = (rng.random(shape) < d for d in density)
    check(pred, gt, radius / math.hypot(*shape))


@settings(max_examples=40, deadline=None)
@given(pred=arrays(bool, (1, 40)), gt=arrays(bool, (1, 40)), radius=st.integers(0, 5))
def test_one_row(pred: np.ndarray, gt: np.ndarray, radius: int) -> None:
    check(pred, gt, radius / math.hypot(1, 40))
    check(pred.T, gt.T, radius / math.hypot(1, 40))


@pytest.mark.parametrize("seed", range(6))
def test_lines_that_shift_by_about_the_radius(seed: int) -> None:
    """Long augmenting paths: two strokes of unequal density, at the limit of the tolerance.

    They are longer than a word has bits.
    """
    rng = np.random.default_rng(seed)
    pred, gt = np.zeros((2, 24, 150), bool)
    gt[10] = rng.random(150) < 0.8
    pred[13 + rng.integers(0, 2, 150), np.arange(150)] = rng.random(150) < 0.9
    for radius in (3, math.sqrt(10), 4, 5):
        check(pred, gt, radius / math.hypot(24, 150))


def test_dense_blobs() -> None:
    pred, gt = np.zeros((2, 20, 30), bool)
    pred[2:12, 3:17] = True
    gt[5:15, 8:20] = True
    for radius in (0, 1, 2, 3.7, 8):
        check(pred, gt, radius / math.hypot(20, 30))


def test_empty_sides(rng: np.random.Generator) -> None:
    some, none = rng.random((9, 9)) < 0.5, np.zeros((9, 9), bool)
    assert match(none, some, 0.5) == match(some, none, 0.5) == match(none, none, 0.5) == (0, 0)


def test_perfect_shifted_and_out_of_reach(rng: np.random.Generator) -> None:
    """The diagonal of 30 x 40 is 50, so max_dist 0.06 is 3 pixels, the limit included."""
    gt = np.zeros((30, 40), bool)
    gt[8, 5:30] = gt[20, 5:30] = True
    everything = (50, 50)
    assert match(gt, gt, 0) == everything
    assert match(np.roll(gt, 3, axis=0), gt, 0.06) == everything
    assert match(np.roll(gt, 4, axis=0), gt, 0.06) == (0, 0)
    assert match(np.roll(gt, (-2, 0), (0, 1)), gt, 0.0399) == (0, 0)


def test_one_pixel_is_matched_once() -> None:
    gt = np.zeros((5, 5), bool)
    gt[2, 2] = True
    assert match(np.ones((5, 5), bool), gt, 0.9) == (1, 1)


def test_a_disk_larger_than_the_map(rng: np.random.Generator) -> None:
    pred, gt = rng.random((2, 6, 7)) < 0.5
    assert match(pred, gt, 3.0)[0] == min(pred.sum(), gt.sum())


def test_borders_are_no_shortcut() -> None:
    """The last pixel of a row is not beside the first of the next."""
    pred, gt = np.zeros((2, 4, 64), bool)
    pred[1, 63], gt[2, 0] = True, True
    assert match(pred, gt, 10 / math.hypot(4, 64)) == (0, 0)


@pytest.mark.parametrize("radius", [0, 1, 1.05, 1.5, 4.007, 5, 22.897])
def test_disk(radius: float) -> None:
    grid = Grid(60, 70, max(1, reach(radius)))
    gt = np.zeros((60, 70), bool)
    gt[30, 35] = True
    dy, dx = np.mgrid[-30:30, -35:35]
    assert (
        grid.unpack(dilate(grid.pack(gt), disk_runs(grid, radius)))
        == (dy**2 + dx**2 <= radius * radius)
    ).all()


@pytest.mark.parametrize("seed", range(8))
def test_a_matching_grown_pixel_by_pixel_stays_maximum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gt = rng.random((15, 15)) < 0.4
    grid = Grid(15, 15, 3)
    runs, true_bits = disk_runs(grid, 3), grid.pack(gt)
    empty = np.zeros_like(true_bits)
    pred, true, scratch = Side.of(empty), Side.of(true_bits), Scratch.on(grid)
    shown, matched = np.zeros((15, 15), bool), 0
    for pixels in np.array_split(rng.permutation(225), 12):
        y, x = np.divmod(pixels, 15)
        shown[y, x] = True
        places = (grid.origin + y * grid.stride + x).astype(np.int32)
        matched += add_pixels(places, dilate(true_bits, runs), runs, pred, true, scratch)
        assert matched == plain_match(shown, gt, 3)


@pytest.mark.parametrize("patience", [0, 1])
@pytest.mark.parametrize("seed", range(10))
def test_hard_roots(seed: int, patience: int) -> None:
    """With no patience each root without a free neighbour goes through the phases."""
    rng = np.random.default_rng(seed)
    shape, radius = (16, 40), rng.uniform(1, 5)
    pred, gt = rng.random(shape) < rng.uniform(0.1, 0.9), rng.random(shape) < rng.uniform(0.1, 0.5)
    pred[:, 20:] &= rng.random((16, 20)) < 0.3  # too few on one half, too many on the other
    grid = Grid(*shape, reach(radius))
    for first, second in ((pred, gt), (gt, pred)):
        mine, theirs = Side.of(grid.pack(first)), Side.of(grid.pack(second))
        y, x = np.nonzero(first)
        roots = (grid.origin + y * grid.stride + x).astype(np.int32)
        gained = match_roots(
            roots, disk_runs(grid, radius), mine, theirs, Scratch.on(grid), False, patience
        )
        assert gained == plain_match(pred, gt, radius)
        check_pairs(grid, mine, theirs, first, second, radius, gained)


def check_pairs(
    grid: Grid,
    mine: Side,
    theirs: Side,
    first: np.ndarray,
    second: np.ndarray,
    radius: float,
    gained: int,
) -> None:
    """The bookkeeping agrees with itself and with the maps."""
    pairs = np.argwhere(mine.mate)[:, 0]
    partners = mine.mate[pairs]
    assert len(pairs) == len(set(partners)) == gained
    assert (theirs.mate[partners] == pairs).all()
    (y0, x0), (y1, x1) = (
        np.divmod(places - grid.origin, grid.stride) for places in (pairs, partners)
    )
    assert (
        ((y0 - y1) ** 2 + (x0 - x1) ** 2 <= radius**2).all()
        and first[y0, x0].all()
        and second[y1, x1].all()
    )
    for side, mask, places in ((mine, first, pairs), (theirs, second, partners)):
        taken = np.zeros_like(mask)
        taken[tuple(np.divmod(places - grid.origin, grid.stride))] = True
        assert (grid.unpack(side.taken) == taken).all() and (
            grid.unpack(side.free) == (mask & ~taken)
        ).all()
