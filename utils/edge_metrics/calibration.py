"""How far probabilities of edges are what they say, and the temperature that mends them.

A map is calibrated if, of all pixels with a probability p, the share p are edges. Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017: the reliability curve, the expected calibration
error (ECE, equal bins of probability) and the temperature T, one number that minimises the negative
log-likelihood (NLL) of sigmoid(logit / T). Here each class is a binary decision for each pixel.

Images are counted into bins that are narrower than those of the curve: at most about a 16th of a
logit wide, cut at the bounds of the curve's too. The curve and ECE are exact, NLL and the
temperature take the mean probability of each bin. Counts are integers, so they may be added in any
order.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from data.errors import InputError

PIXELS, TRUE, LEVELS = range(3)  # columns of the counts
BINS = 15  # of the reliability curve and of ECE, as Guo et al. have them
STEPS = 65536  # a probability p is counted as p * STEPS, rounded, at most STEPS - 1
CLIP = 0.5 / STEPS  # probabilities are at least that far from 0 and 1 where their logit is taken
PER_LOGIT = 16
COLDEST, HOTTEST = 0.05, 20.0  # the temperatures that are tried
DIGITS = 4  # of a temperature: the rest would depend on the machine


@dataclass(frozen=True, slots=True)
class Reliability:
    """The reliability of one class. Each array has a number for each of BINS bins.

    Args:
        pixels: int64, how many have a probability in the bin.
        mean: float64, their mean probability; nan for an empty bin.
        share: float64, the share of true edges among them; nan for an empty bin.
        ece: sum over bins of pixels * |mean - share| / all pixels; nan without pixels.
        mean_probability, true_share: of all pixels; nan without pixels.
    """

    pixels: np.ndarray
    mean: np.ndarray
    share: np.ndarray
    ece: float
    mean_probability: float
    true_share: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted temperature, with NLL (nats a pixel and class) and ECE before and after."""

    temperature: float
    nll: tuple[float, float]
    ece: tuple[float, float]

    @property
    def at_bound(self) -> bool:
        """Whether no temperature that was tried is a minimum."""
        return self.temperature in (COLDEST, HOTTEST)


@cache
def bin_starts() -> np.ndarray:
    """The first level of each bin, int64 (B,), ascending from 0.

    A step in p of p (1 - p) / PER_LOGIT is one of 1 / PER_LOGIT in the logit; in whole levels, at
    least one.
    """
    starts = {math.floor(i * STEPS / BINS) + 1 for i in range(1, BINS)}
    level = 0
    while level < STEPS:
        starts.add(level)
        level += max(1, level * (STEPS - level) // (STEPS * PER_LOGIT))
    return np.array(sorted(starts))


@cache
def _curve_bins() -> np.ndarray:
    """The bin of the curve that each bin lies in, int64 (B,)."""
    return bin_starts() * BINS // STEPS


def count_calibration(prob: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count one map against its true edges: int64 (B, 3) of PIXELS, TRUE and the sum of LEVELS.

    Args:
        prob: (H, W), float in 0..1 (what a resized map has beyond is cut off), uint16 for
            probability * 65536 or uint8 for probability * 255.
        truth: bool (H, W), or (A, H, W) of A annotators, each of whom counts as an image.
    """
    if truth.dtype != bool or truth.shape[-2:] != prob.shape:
        raise InputError(
            f"true edges {truth.dtype} {truth.shape} do not fit scores {prob.shape}; expected bool "
            "of their size"
        )
    levels = _levels(prob).ravel()
    every = np.bincount(levels, minlength=STEPS)
    maps = truth.reshape(-1, levels.size)
    true = sum((np.bincount(levels[each], minlength=STEPS) for each in maps), np.zeros_like(every))
    every = every * len(maps)
    columns = (every, true, every * np.arange(STEPS))
    return np.stack([np.add.reduceat(column, bin_starts()) for column in columns], axis=1)


def _levels(prob: np.ndarray) -> np.ndarray:
    """Probabilities in steps of 1 / STEPS, integers."""
    if prob.dtype == np.uint16:
        return prob
    if prob.dtype == np.uint8:
        prob = prob / 255
    elif prob.dtype.kind != "f" or np.isnan(prob).any():
        raise InputError(f"scores must be numbers, float, uint16 or uint8, got {prob.dtype}")
    return np.minimum(np.rint(prob.clip(0, 1) * STEPS), STEPS - 1).astype(np.int64)


def reliability(counts: np.ndarray, temperature: float = 1.0) -> Reliability:
    """The reliability of one class from its counts, int64 (B, 3), summed over images.

    temperature: what the probabilities would be at it; exact at 1.
    """
    if temperature == 1:
        bins = _curve_bins()
        weighted = counts[:, LEVELS] / STEPS
    else:
        prob = at_temperature(_mean_probability(counts), temperature)
        bins = np.minimum((prob * BINS).astype(np.int64), BINS - 1)
        weighted = prob * counts[:, PIXELS]
    pixels, true, total = (
        np.bincount(bins, weights=values, minlength=BINS)
        for values in (counts[:, PIXELS], counts[:, TRUE], weighted)
    )
    everything = pixels.sum()
    with np.errstate(invalid="ignore"):
        mean, share = total / pixels, true / pixels
        return Reliability(
            pixels.astype(np.int64),
            mean,
            share,
            ece=float(np.abs(total - true).sum() / everything),
            mean_probability=float(total.sum() / everything),
            true_share=float(true.sum() / everything),
        )


def negative_log_likelihood(counts: np.ndarray, temperature: float = 1.0) -> float:
    """The mean NLL in nats of the true edges at a temperature; nan without pixels.

    counts: int64 (B, 3).
    """
    logit = _logit(_mean_probability(counts)) / temperature
    true = counts[:, TRUE]
    # -log sigmoid(x) = log(1 + exp(-x))
    total = true * np.logaddexp(0, -logit) + (counts[:, PIXELS] - true) * np.logaddexp(0, logit)
    pixels = counts[:, PIXELS].sum()
    return float(total.sum() / pixels) if pixels else math.nan


def fit_temperature(counts: np.ndarray) -> float:
    """The temperature of the least NLL, to DIGITS digits, between COLDEST and HOTTEST.

    The NLL is convex in 1 / T, so its slope has one zero, which is found by halving.

    counts: int64 (B, 3), of one class or the sum over several. InputError without a true edge, or
    with nothing else: then no temperature is the best.
    """
    pixels, true = counts[:, PIXELS], counts[:, TRUE]
    if not 0 < true.sum() < pixels.sum():
        raise InputError(
            f"a temperature needs pixels of edges and of none; found {true.sum()} of edges among "
            f"{pixels.sum()}"
        )
    logit = _logit(_mean_probability(counts))

    def slope(inverse: float) -> float:
        """Of the NLL over 1 / T."""
        return float((logit * (pixels * _sigmoid(inverse * logit) - true)).sum())

    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return min(HOTTEST, max(COLDEST, round(2 / (low + high), DIGITS)))


def fit(counts: np.ndarray, temperature: float | None = None) -> Fit:
    """A temperature, fitted unless it is given, with what it does to NLL and ECE.

    counts: int64 (B, 3), or (K, B, 3): NLL is that of all, ECE the mean over the classes.
    """
    classes = counts.reshape(-1, *counts.shape[-2:])
    total = classes.sum(axis=0)
    found = fit_temperature(total) if temperature is None else temperature
    nll = negative_log_likelihood(total), negative_log_likelihood(total, found)
    before, after = (
        math.fsum(reliability(each, t).ece for each in classes) / len(classes) for t in (1.0, found)
    )
    return Fit(found, nll, (before, after))


def at_temperature(prob: np.ndarray, temperature: float) -> np.ndarray:
    """sigmoid(logit(prob) / T), float64; at T = 1 what was given.

    prob: any shape, taken to be CLIP or more away from 0 and 1. Greater ones stay greater.
    """
    prob = np.asarray(prob, np.float64)
    return prob if temperature == 1 else _sigmoid(_logit(prob) / temperature)


def is_temperature(value: object) -> bool:
    """Whether a value is a number that `fit_temperature` could return."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return COLDEST <= value <= HOTTEST


def _mean_probability(counts: np.ndarray) -> np.ndarray:
    """Of each bin, float64 (B,); of an empty one, its first level."""
    pixels = counts[:, PIXELS]
    empty = bin_starts() / STEPS
    return np.where(pixels, counts[:, LEVELS] / np.maximum(pixels, 1) / STEPS, empty)


def _logit(prob: np.ndarray) -> np.ndarray:
    clipped = np.clip(prob, CLIP, 1 - CLIP)
    return np.log(clipped / (1 - clipped))


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logit))
