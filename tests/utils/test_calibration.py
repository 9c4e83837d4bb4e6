"""Calibration of maps whose frequencies are known, and temperatures that are known, too."""

import math

import numpy as np
import pytest

from data.errors import InputError
from utils.edge_metrics.calibration import (
    BINS,
    COLDEST,
    HOTTEST,
    LEVELS,
    PIXELS,
    TRUE,
    at_temperature,
    bin_starts,
    count_calibration,
    fit,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)


def known_map(pairs: list[tuple[float, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth of (probability, pixels, true edges among them), one row high."""
    prob = np.concatenate([np.full(n, p) for p, n, _ in pairs])[None]
    truth = np.concatenate([np.arange(n) < true for _, n, true in pairs])[None]
    return prob, truth


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


# --- the counts ---


def test_bins_are_narrow_and_none_crosses_a_bound_of_the_curve() -> None:
    starts = bin_starts()
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    ends = np.append(starts[1:], 65536) - 1
    assert (starts * BINS // 65536 == ends * BINS // 65536).all()
    wide = ends > starts
    logit = [math.log(p / (1 - p)) for p in ends[wide] / 65536]
    first = [math.log(p / (1 - p)) for p in starts[wide] / 65536]
    assert max(b - a for a, b in zip(first, logit, strict=True)) < 1 / 14


def test_counts_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 65536, (17, 19)).astype(np.uint16)
    truth = rng.random(stored.shape) < 0.3
    starts = bin_starts()
    expected = np.zeros((len(starts), 3), np.int64)
    for level, edge in zip(stored.ravel(), truth.ravel(), strict=True):
        found = max(i for i, start in enumerate(starts) if start <= level)
        expected[found] += [1, int(edge), int(level)]
    counts = count_calibration(stored, truth)
    assert counts.dtype == np.int64
    assert (counts == expected).all()
    assert (count_calibration(stored / 65536, truth) == expected).all()


def test_parts_of_an_image_add_up_in_any_order() -> None:
    rng = np.random.default_rng(1)
    prob, truth = rng.random((12, 30)), rng.random((12, 30)) < 0.2
    parts = [count_calibration(prob[i : i + 3], truth[i : i + 3]) for i in (6, 0, 9, 3)]
    assert (sum(parts) == count_calibration(prob, truth)).all()


def test_8_bits_and_values_beyond_0_and_1() -> None:
    grey = np.arange(256, dtype=np.uint8)[None]
    truth = np.zeros(grey.shape, bool)
    assert (count_calibration(grey, truth) == count_calibration(grey / 255, truth)).all()
    counts = count_calibration(np.array([[-0.1, 1.1]]), truth[:, :2])
    assert counts[[0, -1], PIXELS].tolist() == [1, 1]
    assert counts[[0, -1], LEVELS].tolist() == [0, 65535]


def test_each_annotator_counts_as_an_image() -> None:
    prob, truth = np.array([[0.5, 0.25]]), np.array([[[True, False]], [[True, True]]])
    both = count_calibration(prob, truth)
    assert (both == count_calibration(prob, truth[0]) + count_calibration(prob, truth[1])).all()
    assert both[:, TRUE].sum() == 3


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="do not fit"):
        count_calibration(np.zeros((3, 4)), np.zeros((3, 5), bool))
    with pytest.raises(InputError, match="must be numbers"):
        count_calibration(np.full((3, 4), math.nan), np.zeros((3, 4), bool))


# --- the curve and its error ---


def test_a_calibrated_map_has_no_error() -> None:
    pairs = [(0.125, 80, 10), (0.25, 40, 10), (0.5, 20, 10), (0.75, 400, 300)]
    found = reliability(count_calibration(*known_map(pairs)))
    assert found.ece == 0
    at = [1, 3, 7, 11]
    assert found.mean[at].tolist() == [0.125, 0.25, 0.5, 0.75]
    assert found.share[at].tolist() == [0.125, 0.25, 0.5, 0.75]
    assert found.pixels[at].tolist() == [80, 40, 20, 400]
    assert np.isnan(np.delete(found.mean, at)).all()
    assert found.pixels.sum() == 540


def test_a_constant_map() -> None:
    """0.75 everywhere, where a quarter are edges: half a unit of error."""
    found = reliability(count_calibration(*known_map([(0.75, 100, 25)])))
    assert (found.ece, found.mean_probability, found.true_share) == (0.5, 0.75, 0.25)


def test_the_error_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    stored = (rng.random((50, 40)) ** 2 * 65535).astype(np.uint16)
    truth = rng.random(stored.shape) < stored / 65536 * 0.7
    prob = stored / 65536
    ece = 0.0
    for i in range(BINS):
        inside = (prob > i / BINS) & (prob <= (i + 1) / BINS)
        if i == 0:
            inside |= prob == 0
        if inside.any():
            gap = abs(prob[inside].mean() - truth[inside].mean())
            ece += inside.mean() * gap
    found = reliability(count_calibration(stored, truth))
    assert found.ece == pytest.approx(ece, rel=1e-12)
    assert found.mean_probability == pytest.approx(prob.mean(), rel=1e-12)


def test_a_prediction_of_edge_or_none() -> None:
    found = reliability(count_calibration(*known_map([(0.0, 10, 1), (1.0, 10, 6)])))
    assert found.ece == pytest.approx(0.5 * 0.1 + 0.5 * 0.4, abs=1e-5)


# --- temperature ---


def test_the_likelihood_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(4)
    stored = np.array([[round(65536 * sigmoid(z)) for z in rng.normal(-2, 2.5, 4000)]], np.uint16)
    truth = rng.random(stored.shape) < 0.2
    counts = count_calibration(stored, truth)
    for temperature in (0.5, 1, 3):
        total = 0.0
        for level, edge in zip(stored[0], truth[0], strict=True):
            clipped = min(max(level / 65536, 0.5 / 65536), 1 - 0.5 / 65536)
            p = sigmoid(math.log(clipped / (1 - clipped)) / temperature)
            total -= math.log(p if edge else 1 - p)
        assert negative_log_likelihood(counts, temperature) == pytest.approx(total / 4000, rel=2e-4)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    """Logits z, of which the share sigmoid(z / T) are edges."""
    pairs = []
    for logit in np.arange(-8, 8.5, 0.5):
        pixels = 100_000
        true = round(pixels * sigmoid(logit / temperature))
        pairs.append((sigmoid(logit), pixels, true))
    counts = count_calibration(*known_map(pairs))
    assert fit_temperature(counts) == pytest.approx(temperature, rel=0.003)
    found = fit(counts)
    assert found.nll[1] <= found.nll[0] + 1e-9
    assert found.ece[1] < 0.002
    assert not found.at_bound


def test_no_other_temperature_is_better() -> None:
    rng = np.random.default_rng(7)
    prob = rng.random((60, 60)) ** 3
    counts = count_calibration(prob, rng.random(prob.shape) < 0.5 * prob + 0.1)
    best = fit(counts)
    for temperature in np.geomspace(0.1, 10, 200):
        assert negative_log_likelihood(counts, float(temperature)) >= best.nll[1] - 1e-9


def test_a_map_that_knows_nothing_gets_the_hottest() -> None:
    counts = count_calibration(*known_map([(0.1, 1000, 500), (0.9, 1000, 500)]))
    assert fit(counts).temperature == HOTTEST
    assert fit(counts).at_bound


def test_a_map_that_is_always_right_gets_the_coldest() -> None:
    counts = count_calibration(*known_map([(0.4, 1000, 0), (0.6, 1000, 1000)]))
    assert fit(counts).temperature == COLDEST


@pytest.mark.parametrize("true", [0, 10])
def test_without_both_kinds_of_pixels_there_is_none(true: int) -> None:
    with pytest.raises(InputError, match="edges and of none"):
        fit_temperature(count_calibration(*known_map([(0.4, 10, true)])))


def test_the_classes_have_one_temperature_and_each_its_error() -> None:
    first = count_calibration(*known_map([(0.9, 100, 60), (0.2, 100, 30)]))
    second = count_calibration(*known_map([(0.75, 100, 25)]))
    both = fit(np.stack([first, second]))
    assert both.temperature == fit_temperature(first + second)
    assert both.ece[0] == pytest.approx((reliability(first).ece + 0.5) / 2)
    given = fit(second, 2.0)
    assert given.temperature == 2
    # sigmoid(log(3) / 2) = sqrt(3) / (1 + sqrt(3))
    assert given.ece[1] == pytest.approx(math.sqrt(3) / (1 + math.sqrt(3)) - 0.25)


def test_probabilities_at_a_temperature() -> None:
    prob = np.array([0.1, 0.5, 0.9])
    assert at_temperature(prob, 1) is not None
    assert (at_temperature(prob, 1) == prob).all()
    odds = np.sqrt(prob / (1 - prob))
    assert np.allclose(at_temperature(prob, 2), odds / (1 + odds), rtol=1e-12)
    there = at_temperature(at_temperature(prob, 3), 1 / 3)
    assert np.allclose(there, prob, rtol=1e-9)
    assert (
        at_temperature(np.array([0.0, 1.0]), 2)
        == [*at_temperature([0.5 / 65536], 2), *at_temperature([1 - 0.5 / 65536], 2)]
    ).all()
