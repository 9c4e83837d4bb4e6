"""Scores and their differences, with intervals by the paired bootstrap over images.

Efron & Tibshirani, "An introduction to the bootstrap", 1993: percentile intervals. A resample draws
N images of N with replacement, the same ones for all results and classes; each score is computed
from it as from the data set, the best threshold included. A class without ground truth in a
resample has no score there and is left out of that resample's mean, as it is of any.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from utils.compare.measures import Measure, images_with_class
from utils.compare.results import Result

FEWEST = 2  # images that have a class, for an interval: one image shows no variation
BLOCK = 1 << 22  # numbers of a block of resamples, in the largest of its arrays


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; nan where there is none."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Row:
    """A class, or the mean.

    images: how many have the class. scores: of each result. differences: of each result to the
    baseline, whose own are nan. resamples: in how many of them all results have a score.
    """

    name: str
    images: int
    scores: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]
    resamples: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure, of one mode or bound, or None. scored: which results have it at all."""

    measure: Measure
    variant: Any
    rows: tuple[Row, ...]
    mean: Row
    scored: tuple[bool, ...]


def compare(
    results: Sequence[Result],
    wanted: Sequence[tuple[Measure, int]],
    *,
    baseline: int = 0,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> list[Comparison]:
    """Compare results over the same images, classes and ground truth; see `agreement`.

    Args:
        results: R of them.
        wanted: Measures, each with the index of its mode or bound.
        baseline: Index of the result that the others are compared with.
        samples: Number of resamples.
        level: Of the intervals, 0.95 for 95 %.
        seed: Of the resamples; the same one draws the same images.
        advance: Called after each class of each measure in each block of resamples.
    """
    first = results[0]
    images, classes = len(first.images), len(first.classes)
    whole = np.ones((1, images))
    values = [_scores(results, *job, whole, lambda: None)[:, 0] for job in wanted]
    draws = [np.empty((len(results), samples, classes)) for _ in wanted]
    for rows, weights in resamples(images, samples, _block(first), seed):
        for job, drawn in zip(wanted, draws, strict=True):
            drawn[:, rows] = _scores(results, *job, weights, advance)
    return [
        _comparison(results, *job, value, drawn, baseline, level)
        for job, value, drawn in zip(wanted, values, draws, strict=True)
    ]


def blocks(first: Result, samples: int) -> int:
    """The number of blocks that `compare` works through."""
    return -(-samples // _block(first))


def _block(first: Result) -> int:
    """How many resamples are computed at a time, so that memory is bounded."""
    widest = max(array[0].size // len(first.classes) for array in first.counts.values())
    return max(1, BLOCK // max(len(first.images), widest))


def resamples(
    images: int, samples: int, block: int, seed: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """(rows, float64 (S, N)): how often each resample draws each image, S resamples at a time.

    Resample s is of the images that the s-th `integers(0, N, N)` of NumPy's `default_rng(seed)`
    lists, whatever the block.
    """
    rng = np.random.default_rng(seed)
    for first in range(0, samples, block):
        count = min(block, samples - first)
        drawn = (np.bincount(rng.integers(0, images, images), minlength=images)
                 for _ in range(count))  # fmt: skip
        yield slice(first, first + count), np.stack([*drawn]).astype(np.float64)


def _scores(
    results: Sequence[Result],
    measure: Measure,
    variant: int,
    weights: np.ndarray,
    advance: Callable[[], object],
) -> np.ndarray:
    """float64 (R, S, K): the scores of the images as often as `weights` (S, N) says."""
    classes = len(results[0].classes)
    scores = np.full((len(results), len(weights), classes), np.nan)
    for k, (r, result) in product(range(classes), enumerate(results)):
        if measure.scored(result, result.variants[variant]):
            sums = weights @ measure.addends(result, variant, k)
            scores[r, :, k] = measure.score(sums, result)
        if r == len(results) - 1:
            advance()
    return scores


def _comparison(
    results: Sequence[Result],
    measure: Measure,
    variant: int,
    values: np.ndarray,
    draws: np.ndarray,
    baseline: int,
    level: float,
) -> Comparison:
    """values: (R, K). draws: (R, S, K)."""
    first = results[0]
    rows = []
    for k, name in enumerate(first.classes):
        images = images_with_class(first, variant, k)
        rows.append(_row(name, images, values[:, k], draws[:, :, k], baseline, level))
    mean, drawn = mean_of_classes(values), mean_of_classes(draws)
    whole = _row("mean", len(first.images), mean, drawn, baseline, level)
    named = first.variants[variant]
    scored = tuple(measure.scored(result, named) for result in results)
    shown = named if measure.by_variant else None
    return Comparison(measure, shown, tuple(rows), whole, scored)


def mean_of_classes(scores: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is no nan; nan without any."""
    counted = np.isfinite(scores)
    total = np.where(counted, scores, 0).sum(axis=-1)
    number = counted.sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _row(
    name: str, images: int, values: np.ndarray, draws: np.ndarray, baseline: int, level: float
) -> Row:
    """values: (R,). draws: (R, S)."""
    if images < FEWEST:
        draws = np.full_like(draws, np.nan)
    scores = [_estimate(v, drawn, level) for v, drawn in zip(values, draws, strict=True)]
    differences = [
        Estimate(np.nan, np.nan, np.nan)
        if r == baseline
        else _estimate(values[r] - values[baseline], draws[r] - draws[baseline], level)
        for r in range(len(values))
    ]
    has_score = np.isfinite(draws[np.isfinite(values)])
    number = int(has_score.all(axis=0).sum()) if len(has_score) else 0
    return Row(name, images, tuple(scores), tuple(differences), number)


def _estimate(value: float, drawn: np.ndarray, level: float) -> Estimate:
    """The percentile interval of the draws that are numbers."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or not np.isfinite(value):
        return Estimate(float(value), np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high))
