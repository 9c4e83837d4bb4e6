"""The scores that are compared, as functions of sums over images.

Each measure has, for a class, numbers of every image (`addends`), and a score of their sums over
any images (`score`). So one matrix product with the numbers of times that each image was drawn
gives the score of every resample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.errors import InputError
from utils.compare.results import Result
from utils.edge_metrics import PREDICTED, TRUE, f_measure
from utils.edge_metrics.summary import MATCHED_PREDICTED, MATCHED_TRUE, average_precision
from utils.seg_metrics import boundary_f_measure, mean_of_numbers

SAME = 1e-6  # two computations of a score differ by less
CHUNK = 1 << 14  # stretches between thresholds that are interpolated at a time
HITS, TRUE_PIXELS, PREDICTED_PIXELS = range(3)  # columns of `pixels`


@dataclass(frozen=True)
class Measure:
    """A score of one class over images.

    Args:
        key: Its name as a value of --metric.
        title: Its name in tables.
        task: "edge" or "seg".
        addends: (result, index of the mode or bound, index of the class) -> float64 (N, D).
        score: (sums float64 (S, D), result) -> float64 (S,); nan where there is nothing to score.
        by_variant: There is one for each mode or bound.
        needs_scores: Binary predictions have none.
    """

    key: str
    title: str
    task: str
    addends: Callable[[Result, int, int], np.ndarray]
    score: Callable[[np.ndarray, Result], np.ndarray]
    by_variant: bool = True
    needs_scores: bool = False

    def scored(self, result: Result, variant: Any) -> bool:
        """Whether the result has this score at all."""
        return not (self.needs_scores and result.is_binary(variant))


def images_with_class(result: Result, variant: int, k: int) -> int:
    """The number of images with true pixels of class k, of edges or of regions."""
    return int(np.count_nonzero(true_pixels(result, variant)[:, k]))


def true_pixels(result: Result, variant: int) -> np.ndarray:
    """The true pixels of each image and class, (N, K)."""
    if result.task == "edge":
        return result.counts["counts"][:, variant, :, 0, TRUE]  # the same at every threshold
    return result.counts["pixels"][:, :, TRUE_PIXELS]


# --- edges ---


def _edge_counts(result: Result, mode: int, k: int) -> np.ndarray:
    """float64 (N, 4 T): sums of them are exact below 2^53."""
    counts = result.counts["counts"][:, mode, k]
    return counts.reshape(len(counts), -1).astype(np.float64)


def _best_counts(result: Result, mode: int, k: int) -> np.ndarray:
    """float64 (N, 4): each image at the first of its best thresholds."""
    counts = result.counts["counts"][:, mode, k]
    best = f_measure(*_rates(counts)).argmax(axis=1)
    return counts[np.arange(len(counts)), best].astype(np.float64)


def _rates(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of counts (..., 4), 0 where there is nothing to divide by."""
    recall = counts[..., MATCHED_TRUE] / np.maximum(counts[..., TRUE], 1)
    return recall, counts[..., MATCHED_PREDICTED] / np.maximum(counts[..., PREDICTED], 1)


def _optimal_f(sums: np.ndarray, _result: Result) -> np.ndarray:
    """F at the best threshold of each resample, as `edge_metrics.summarize` finds it.

    F is looked at on 100 points from each threshold to the next. It rises with recall and with
    precision, so a stretch whose larger recall and larger precision give no larger F than the best
    threshold has no better point inside.
    """
    counts = sums.reshape(len(sums), -1, 4)
    recall, precision = _rates(counts)
    best = f_measure(recall, precision).max(axis=1)
    highest = f_measure(*(np.maximum(each[:, 1:], each[:, :-1]) for each in (recall, precision)))
    rows, starts = np.nonzero(highest > best[:, None])
    share = np.linspace(0, 1, 100)[:, None]
    for first in range(0, len(rows), CHUNK):
        s, t = rows[first : first + CHUNK], starts[first : first + CHUNK]
        inside = (each[s, t + 1] * share + each[s, t] * (1 - share) for each in (recall, precision))
        np.maximum.at(best, s, f_measure(*inside).max(axis=0))
    return np.where(counts[..., TRUE].any(axis=1), best, np.nan)


def _f_of_sums(sums: np.ndarray, _result: Result) -> np.ndarray:
    return np.where(sums[:, TRUE] > 0, f_measure(*_rates(sums)), np.nan)


def _area(sums: np.ndarray, result: Result) -> np.ndarray:
    counts = sums.reshape(len(sums), -1, 4)
    areas = [
        average_precision(recall, precision, keep=result.protocol.get("ap", "first"))
        for recall, precision in zip(*_rates(counts), strict=True)
    ]
    return np.where(counts[..., TRUE].any(axis=1), areas, np.nan)


# --- segmentation ---


def _class_pixels(result: Result, _bound: int, k: int) -> np.ndarray:
    return result.counts["pixels"][:, k].astype(np.float64)


def _iou(sums: np.ndarray, _result: Result) -> np.ndarray:
    union = sums[:, TRUE_PIXELS] + sums[:, PREDICTED_PIXELS] - sums[:, HITS]
    return _ratio(sums[:, HITS], union)


def _image_f(result: Result, bound: int, k: int) -> np.ndarray:
    """float64 (N, 2): F as published, and 1."""
    f = boundary_f_measure(result.counts["boundary"][:, bound, k])
    return np.stack([f, np.ones_like(f)], axis=1)


def _image_f_present(result: Result, bound: int, k: int) -> np.ndarray:
    """float64 (N, 2): F and 1 where the image has a true boundary of the class, else 0."""
    present = result.counts["boundary"][:, bound, k, TRUE] > 0
    return _image_f(result, bound, k) * present[:, None]


def _class_region(result: Result, _bound: int, k: int) -> np.ndarray:
    return result.counts["region"][:, k].astype(np.float64)


def _quotient(sums: np.ndarray, _result: Result) -> np.ndarray:
    return _ratio(sums[:, 0], sums[:, 1])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


MEASURES = {
    measure.key: measure
    for measure in (
        Measure("ods", "MF (ODS)", "edge", _edge_counts, _optimal_f),
        Measure("ois", "MF (OIS)", "edge", _best_counts, _f_of_sums),
        Measure("ap", "AP", "edge", _edge_counts, _area, needs_scores=True),
        Measure("miou", "IoU", "seg", _class_pixels, _iou, by_variant=False),
        Measure("boundary-f", "boundary F as published", "seg", _image_f, _quotient),
        Measure(
            "boundary-f-present",
            "boundary F where the class is present",
            "seg",
            _image_f_present,
            _quotient,
        ),
        Measure("boundary-iou", "boundary IoU", "seg", _class_region, _quotient, by_variant=False),
    )
}
DEFAULTS = {"edge": ("ods", "ap"), "seg": ("miou", "boundary-f")}


def require_own_counts(result: Result) -> None:
    """InputError unless `counts.npz` gives the means of `metrics.json`.

    A test that was killed while it wrote leaves the one of an older run.
    """
    measure = MEASURES[DEFAULTS[result.task][0]]
    whole = np.ones((1, len(result.images)))
    variants = result.variants if measure.by_variant else [None]
    for index, variant in enumerate(variants):
        means = result.stated[variant]["mean"] if variant else result.stated
        stated = means.get(measure.key)
        sums = [whole @ measure.addends(result, index, k) for k in range(len(result.classes))]
        scores = np.concatenate([measure.score(each, result) for each in sums])
        found = mean_of_numbers(scores)
        none = not np.isfinite(found)
        if (stated is not None) if none else (stated is None or abs(found - stated) > SAME):
            raise InputError(
                f"{result.folder}: counts.npz gives a mean {measure.title} of {found:.4f}, "
                f"metrics.json says {stated}; they are of two runs, score again with test.py"
            )
