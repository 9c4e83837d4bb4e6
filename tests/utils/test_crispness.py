"""Crispness: hand-drawn lines and bands, and the whole definition as a plain loop."""

import math
from fractions import Fraction

import numpy as np
import pytest

from data.errors import InputError
from utils.edge_metrics.crispness import (
    average_crispness,
    crisp_sums,
    crispness,
    ridges,
)


def band(width: int, size: int = 40, value: float = 0.8) -> np.ndarray:
    drawn = np.zeros((30, size))
    drawn[:, 12 : 12 + width] = value
    return drawn


# --- hand-drawn maps ---


@pytest.mark.parametrize("value", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8, 12])
def test_a_band_of_n_equal_columns_has_a_crispness_of_1_in_n(width: int, value: float) -> None:
    for drawn in (band(width, value=value), band(width, value=value).T):
        assert crispness(drawn) == pytest.approx(1 / width, abs=1e-12)


def test_the_line_that_is_left_of_a_band_is_in_its_middle() -> None:
    assert np.flatnonzero(ridges(band(5))[15]).tolist() == [14]


def test_thin_lines_in_all_directions_stay() -> None:
    for slope in np.linspace(-1, 1, 9):
        drawn = np.zeros((41, 41))
        columns = np.arange(41)
        drawn[np.rint(20 + slope * (columns - 20)).astype(int), columns] = 0.7
        assert crispness(drawn) == 1
        assert crispness(drawn.T) == 1


def test_two_lines_beside_each_other_are_no_band() -> None:
    drawn = np.zeros((30, 40))
    drawn[:, [12, 14]] = 1
    assert crispness(drawn) == 1


def test_of_a_ramp_the_top_stays() -> None:
    drawn = np.tile(np.arange(1, 11) / 10, (30, 1))
    assert ridges(drawn).sum(axis=0).tolist() == [0] * 9 + [30]
    # 10 of 1 + 2 + ... + 10
    levels = np.rint(np.minimum(drawn * 65536, 65535))
    assert crispness(drawn) == levels[:, -1].sum() / levels.sum()


def test_of_a_roof_the_ridge_stays() -> None:
    drawn = band(7, value=0)
    drawn[:, 12:19] = np.array([1, 2, 3, 4, 3, 2, 1], np.float64) / 255
    assert crispness(drawn * 20) == pytest.approx(4 / 16, abs=1e-4)
    stored = np.rint(drawn * 20 * 255).astype(np.uint8)
    assert crisp_sums(stored) == (30 * 80, 30 * 320)


def test_a_constant_map_is_one_wide_band() -> None:
    assert crispness(np.full((20, 50), 0.5)) == 1 / 50


@pytest.mark.parametrize("value", [0.0, 0.0099])
def test_an_empty_map_has_none(value: float) -> None:
    """Below 0.01 no default threshold predicts anything."""
    assert math.isnan(crispness(np.full((20, 30), value)))
    assert crisp_sums(np.full((20, 30), value)) == (0, 0)


def test_the_tail_below_the_floor_does_not_count() -> None:
    drawn = band(1)
    assert crispness(np.maximum(drawn, 0.005)) == 1


def test_stored_and_float_maps_agree() -> None:
    rng = np.random.default_rng(3)
    stored = rng.integers(0, 65536, (40, 50)).astype(np.uint16)
    assert crisp_sums(stored) == crisp_sums(stored / 65536)
    assert crisp_sums(stored) == crisp_sums((stored / 65536).astype(np.float32))


def test_other_arrays_are_refused() -> None:
    with pytest.raises(InputError, match="20 of the scores are not a number"):
        crispness(np.full((4, 5), math.nan))
    with pytest.raises(InputError, match="float, uint16 or uint8"):
        crispness(np.ones((4, 5), np.int32))
    with pytest.raises(InputError, match="height, width"):
        crispness(np.ones((2, 4, 5)))


# --- a plain loop ---


def loop_smooth(levels: np.ndarray) -> list[list[int]]:
    """The weights 1 2 3 4 5 4 3 2 1 along both axes, the border repeated."""
    height, width = levels.shape
    return [
        [
            sum(
                (5 - abs(j))
                * (5 - abs(i))
                * int(levels[min(max(y + j, 0), height - 1), min(max(x + i, 0), width - 1)])
                for j in range(-4, 5)
                for i in range(-4, 5)
            )
            for x in range(width)
        ]
        for y in range(height)
    ]


def loop_ridges(levels: np.ndarray) -> np.ndarray:
    """The definition pixel by pixel: exact but for the unit vector, from the half angle."""
    height, width = levels.shape
    smooth = loop_smooth(levels)

    def s(y: int, x: int) -> int:
        return smooth[min(max(y, 0), height - 1)][min(max(x, 0), width - 1)]

    def between(values, y: Fraction, x: Fraction) -> Fraction:
        total = Fraction(0)
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                if weight:
                    total += weight * int(values[row][column])
        return total

    kept = np.zeros(levels.shape, bool)
    for y, x in np.argwhere(levels):
        xx = s(y, x + 2) - 2 * s(y, x) + s(y, x - 2)
        yy = s(y + 2, x) - 2 * s(y, x) + s(y - 2, x)
        xy = s(y + 1, x + 1) - s(y + 1, x - 1) - s(y - 1, x + 1) + s(y - 1, x - 1)
        values, vectors = np.linalg.eigh(np.array([[xx, xy], [xy, yy]], np.float64))
        across = vectors[:, np.abs(values).argmax()]
        across = across if across[0] >= 0 else -across
        if abs(across[0]) < 1e-12 or abs(across[1]) < 1e-12:  # not by rounding beside an axis
            across = np.rint(np.abs(across))
        if not (xx or yy or xy):
            across = np.array([1.0, 0.0])
        keep = True
        for step in (-2, -1, 1, 2):
            px, py = x + step * Fraction(across[0]), y + step * Fraction(across[1])
            if not (0 <= px <= width - 1 and 0 <= py <= height - 1):
                continue
            other, here = between(levels, py, px), int(levels[y, x])
            if other > here:
                keep = False
            if other == here and abs(step) == 1:
                beside, own = between(smooth, py, px), smooth[y][x]
                keep &= not (beside > own or (beside == own and step == -1))
        kept[y, x] = keep
    return kept


@pytest.mark.parametrize("seed", range(3))
def test_the_ridges_are_those_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = 19, 23
    rows, columns = np.mgrid[:height, :width]
    angle = rng.uniform(0, math.pi)
    distance = (columns - 11) * math.cos(angle) + (rows - 9) * math.sin(angle)
    levels = np.rint(60000 * np.exp(-((distance / 2) ** 2))).astype(np.uint16)
    levels = levels // 2 + rng.integers(0, 20000, levels.shape).astype(np.uint16)
    levels[levels < 656] = 0  # below 0.01
    expected = loop_ridges(levels.astype(np.int64))
    assert 10 < expected.sum() < levels.size / 2
    assert (ridges(levels) == expected).all()
    assert crisp_sums(levels) == (int(levels[expected].sum()), int(levels.sum()))


def test_a_band_with_a_flat_top_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    levels = (rng.random((19, 23)) < 0.6).astype(np.uint8) * np.uint8(255)
    assert (ridges(levels) == loop_ridges(levels.astype(np.int64))).all()


def test_where_the_response_lies_does_not_matter() -> None:
    """Only its surroundings are looked at."""
    rng = np.random.default_rng(6)
    small = rng.integers(0, 65536, (12, 14)).astype(np.uint16)
    large = np.zeros((90, 100), np.uint16)
    large[40:52, 30:44] = small
    after = int(large[ridges(large)].sum())
    assert crisp_sums(large) == (after, int(large[large >= 656].sum()))


# --- several images ---


def test_the_average_is_over_images_that_respond_and_classes_that_do() -> None:
    values = np.array([[0.5, math.nan, math.nan], [0.25, 0.1, math.nan]])
    classes, mean = average_crispness(values)
    assert classes[:2].tolist() == [0.375, 0.1]
    assert math.isnan(classes[2])
    assert mean == math.fsum([0.375, 0.1]) / 2
    assert math.isnan(average_crispness(np.full((2, 1), math.nan))[1])
