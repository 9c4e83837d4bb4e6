"""From counts of matched pixels to the published figures: ODS, OIS and AP of one class.

Definitions: Martin, Fowlkes & Malik, TPAMI 2004; Arbelaez et al., "Contour detection and
hierarchical image segmentation", TPAMI 2011. The details of interpolation are those of the
published evaluation of SBD, SEAL and DFF.
"""

import math
from dataclasses import dataclass

import numpy as np

MATCHED_TRUE, TRUE, MATCHED_PREDICTED, PREDICTED = range(4)  # columns of the counts


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the precision-recall curve. threshold: nan where each image has its own."""

    threshold: float
    recall: float
    precision: float
    f: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of one class over images; nan if the class has no true pixel in any image.

    Args:
        ods: At the one threshold that is best for all images ("optimal data set scale").
        ois: Each image at its own best threshold, then pooled ("optimal image scale").
        ap: Average precision, the area under the curve.
        ap_sbd: The interpolated mean precision that SBD's benchmark prints last.
        curve: float64 (T, 4) of threshold, recall, precision and F, pooled over images; recall and
            F are nan without ground truth.
        images: Number of images.
        has_truth: The class has a true pixel in some image.
        has_prediction: Some pixel is predicted at some threshold.
    """

    ods: Point
    ois: Point
    ap: float
    ap_sbd: float
    curve: np.ndarray
    images: int
    has_truth: bool
    has_prediction: bool


def default_thresholds(n: int = 99) -> np.ndarray:
    """float64 (n,): 1/(n+1), 2/(n+1), ..., n/(n+1)."""
    return np.linspace(1 / (n + 1), n / (n + 1), n)


def summarize(
    counts: np.ndarray, thresholds: np.ndarray | None = None, *, ap: str = "first"
) -> Summary:
    """The scores of one class from the counts of all images.

    Args:
        counts: int64 (images, T, 4), as `evaluate_image` returns them for each image.
        thresholds: float64 (T,), ascending; None: `default_thresholds(T)`.
        ap: Which of several points of equal recall counts, see `average_precision`.
    """
    counts = np.asarray(counts)
    if thresholds is None and counts.ndim == 3:
        thresholds = default_thresholds(counts.shape[1])
    thresholds = np.asarray(thresholds, np.float64)
    if counts.ndim != 3 or counts.shape[1:] != (len(thresholds), 4):
        raise ValueError(f"expected counts (images, {len(thresholds)}, 4), got {counts.shape}")
    _check(counts, thresholds)
    if counts.dtype.kind == "f":  # sums of 16 bits overflow
        counts = counts.astype(np.float64)
    pooled = counts.sum(axis=0)
    recall, precision = _rates(pooled)
    curve = np.stack([thresholds, recall, precision, f_measure(recall, precision)], axis=1)
    has_truth = bool(pooled[:, TRUE].any())
    nowhere = Point(math.nan, math.nan, math.nan, math.nan)
    if not has_truth:
        curve[:, [1, 3]] = math.nan
    return Summary(
        ods=_best_threshold(curve) if has_truth else nowhere,
        ois=_best_per_image(counts) if has_truth else nowhere,
        ap=average_precision(recall, precision, keep=ap) if has_truth else math.nan,
        ap_sbd=interpolated_precision(recall, precision) if has_truth else math.nan,
        curve=curve,
        images=len(counts),
        has_truth=has_truth,
        has_prediction=bool(pooled[:, PREDICTED].any()),
    )


def _check(counts: np.ndarray, thresholds: np.ndarray) -> None:
    """ValueError for counts and thresholds of which no figure would mean anything."""
    if not np.isfinite(thresholds).all() or (np.diff(thresholds) < 0).any():
        raise ValueError(f"thresholds must be ascending numbers, got {thresholds}")
    if counts.dtype.kind not in "iuf" or (counts.size and not counts.min() >= 0):
        raise ValueError("counts must be numbers of pixels, 0 or more")
    matched = counts[..., [MATCHED_TRUE, MATCHED_PREDICTED]]
    if (matched > counts[..., [TRUE, PREDICTED]]).any():
        raise ValueError("counts hold more matched pixels than pixels; see `evaluate_image`")


def f_measure(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Harmonic mean of recall and precision, 0 where both are 0."""
    total = recall + precision
    return 2 * precision * recall / np.where(total == 0, 1, total)


def average_precision(recall: np.ndarray, precision: np.ndarray, *, keep: str = "first") -> float:
    """The area under the curve of precision over recall, as published.

    0.01 x the sum of the precision at the recalls 0, 0.01, ..., 1, linear between the points of the
    curve, 0 outside them. A curve with a single recall has no area: 0.

    Args:
        recall: float64 (T,), in the order of the thresholds.
        precision: float64 (T,).
        keep: Which of several points with the same recall counts: the "first" (lowest threshold),
            as current MATLAB's `unique` returns it, or the "last", as it did until 2012.
    """
    if keep not in ("first", "last"):
        raise ValueError(f'keep must be "first" or "last", got {keep!r}')
    step = 1 if keep == "first" else -1
    recalls, where = np.unique(recall[::step], return_index=True)
    if len(recalls) == 1:
        return 0.0
    precisions = precision[::step][where]
    at_recalls = np.interp(np.arange(101) / 100, recalls, precisions, left=0, right=0)
    return float(at_recalls.sum() * 0.01)


def interpolated_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """The mean over t = 0, 0.01, ..., 0.99 of the best precision at a recall of t or more.

    These are 100 values, but their sum is divided by 101, as published.
    """
    best = [precision[recall >= t].max(initial=0) for t in np.arange(100) / 100]
    return float(np.sum(best) / 101)


def _rates(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of counts (..., 4), 0 where there is nothing to divide by."""
    matched_true, true, matched_predicted, predicted = np.moveaxis(counts, -1, 0)
    return matched_true / np.maximum(true, 1), matched_predicted / np.maximum(predicted, 1)


def _best_threshold(curve: np.ndarray) -> Point:
    """The first maximum of F on 100 points from each threshold to the next, both ends included.

    Recall and precision are linear between thresholds, F is computed from them.
    """
    if len(curve) == 1:
        return Point(*curve[0].tolist())
    share = np.linspace(0, 1, 100)[:, None]
    threshold, recall, precision = (
        (column[1:] * share + column[:-1] * (1 - share)).T.ravel() for column in curve[:, :3].T
    )
    f = f_measure(recall, precision)
    best = int(f.argmax())
    return Point(*(float(values[best]) for values in (threshold, recall, precision, f)))


def _best_per_image(counts: np.ndarray) -> Point:
    """Each image at the first of its best thresholds, without interpolation, then pooled."""
    best = f_measure(*_rates(counts)).argmax(axis=1)
    recall, precision = _rates(counts[np.arange(len(counts)), best].sum(axis=0))
    return Point(math.nan, float(recall), float(precision), float(f_measure(recall, precision)))
