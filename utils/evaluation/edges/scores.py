"""From counts to the scores of semantic edges, per class and as a mean.

The layout of `metrics.json` is described at the top of `utils/evaluation/edges/run.py`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from utils.edge_metrics import PREDICTED, TRUE, Summary, default_thresholds, f_measure, summarize
from utils.evaluation.edges.protocols import EdgeProtocol
from utils.evaluation.text_tables import number_or_null

NO_TRUTH = "no ground truth"
NO_PREDICTION = "no prediction"
BINARY = "predictions are binary"
FIGURES: dict[str, Callable[[Summary], float]] = {
    "ods": lambda summary: summary.ods.f,
    "ois": lambda summary: summary.ois.f,
    "ap": lambda summary: summary.ap,
}


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class in one mode.

    status: "ok", NO_TRUTH or NO_PREDICTION. images: the number of images with true edges of the
    class. true_pixels: the number of true edge pixels in all of them. binary: see `ModeScores`.
    """

    name: str
    status: str
    images: int
    true_pixels: int
    summary: Summary
    binary: bool = False

    @property
    def threshold(self) -> float:
        """The threshold of the best F; nan if there is none, as of binary predictions."""
        return math.nan if self.binary else self.summary.ods.threshold

    @property
    def counted(self) -> bool:
        """Whether the class occurs and so has a score; if it was never predicted, that is 0."""
        return self.status != NO_TRUTH

    def to_plain(self) -> dict[str, object]:
        """The class's part of `metrics.json`."""
        plain: dict[str, object] = {
            "name": self.name,
            "status": self.status,
            "images": self.images,
            "true_pixels": self.true_pixels,
        }
        if not self.counted:
            return plain | {"ods": None, "ois": None, "ap": None, "ap_sbd": None}
        ods, ois = self.summary.ods, self.summary.ois
        return plain | {
            "ods": {
                "threshold": number_or_null(self.threshold),
                "recall": ods.recall,
                "precision": ods.precision,
                "f": ods.f,
            },
            "ois": {"recall": ois.recall, "precision": ois.precision, "f": ois.f},
            "ap": number_or_null(self.summary.ap),
            "ap_sbd": number_or_null(self.summary.ap_sbd),
        }


@dataclass(frozen=True, slots=True)
class ModeScores:
    """All classes in one mode ("thin" or "raw").

    binary: a prediction is the same at all thresholds, so that no threshold is the best, and there
    is no curve, and no area under one: `ap` and `ap_sbd` are nan.
    """

    mode: str
    classes: tuple[ClassScore, ...]
    binary: bool = False

    def mean(self, figure: str) -> float:
        """Mean of one of FIGURES over the classes that occur in the ground truth; nan if none."""
        values = self._values(figure)
        return sum(values) / len(values) if values else float("nan")

    def published_mean(self, figure: str) -> float:
        """Mean over all classes, 0 for those that do not occur, as the published scripts do."""
        return sum(self._values(figure)) / len(self.classes)

    def _values(self, figure: str) -> list[float]:
        return [FIGURES[figure](each.summary) for each in self.classes if each.counted]

    def to_plain(self) -> dict[str, object]:
        """The part of `metrics.json` for this mode."""
        mean: dict[str, object] = {figure: number_or_null(self.mean(figure)) for figure in FIGURES}
        note: dict[str, object] = {}
        if self.binary:
            note["note"] = f"{BINARY}: the average precision needs scores"
        return note | {
            "mean": mean | {"classes": sum(each.counted for each in self.classes)},
            "published_mean": {
                figure: number_or_null(self.published_mean(figure)) for figure in FIGURES
            },
            "classes": [each.to_plain() for each in self.classes],
        }


def score_modes(
    counts: np.ndarray,
    classes: Sequence[str],
    protocol: EdgeProtocol,
    *,
    binary: bool = False,
) -> list[ModeScores]:
    """Score each mode of the protocol.

    Args:
        counts: int64 (images, M, K, T, 4).
        classes: K names.
        protocol: How it was counted.
        binary: The predictions are known to be edge or no edge. Where the same pixels are predicted
            at all thresholds, that is seen in the counts, too.
    """
    thresholds = default_thresholds(protocol.thresholds)
    binary = binary or _same_at_all_thresholds(counts)
    modes = []
    for m, mode in enumerate(protocol.modes):
        scored = [
            _score_class(name, counts[:, m, k], thresholds, protocol.ap)
            for k, name in enumerate(classes)
        ]
        if binary:
            scored = [_as_binary(each) for each in scored]
        modes.append(ModeScores(mode, tuple(scored), binary))
    return modes


def _same_at_all_thresholds(counts: np.ndarray) -> bool:
    """Whether something is predicted, and the same at each of several thresholds."""
    predicted = counts[..., PREDICTED]
    several = predicted.shape[-1] > 1
    return several and bool(predicted.any() and (predicted == predicted[..., :1]).all())


def _as_binary(each: ClassScore) -> ClassScore:
    summary = replace(each.summary, ap=math.nan, ap_sbd=math.nan)
    return replace(each, summary=summary, binary=True)


def _score_class(name: str, counts: np.ndarray, thresholds: np.ndarray, ap: str) -> ClassScore:
    true = counts[:, 0, TRUE]  # the same at every threshold
    status = "ok"
    if not true.any():
        status = NO_TRUTH
    elif not counts[..., PREDICTED].any():
        status = NO_PREDICTION
    summary = summarize(counts, thresholds, ap=ap)
    return ClassScore(name, status, int((true > 0).sum()), int(true.sum()), summary)


def image_scores(counts: np.ndarray, scores: ModeScores, mode: int) -> np.ndarray:
    """F of each image at each class's ODS threshold, the mean over its classes: float64 (images,).

    nan for an image without a true edge.

    Args:
        counts: int64 (images, M, K, T, 4).
        scores: Of the same mode; they say each class's threshold.
        mode: Index of the mode in the counts.
    """
    per_class = np.full((len(counts), len(scores.classes)), np.nan)
    for k, each in enumerate(scores.classes):
        if each.counted:
            # ODS interpolates between thresholds, but counts exist only at those that were
            # computed.
            nearest = np.abs(each.summary.curve[:, 0] - each.summary.ods.threshold).argmin()
            matched_true, true, matched_predicted, predicted = counts[:, mode, k, nearest].T
            f = f_measure(
                matched_true / np.maximum(true, 1), matched_predicted / np.maximum(predicted, 1)
            )
            per_class[:, k] = np.where(true > 0, f, np.nan)
    occurs = np.isfinite(per_class)
    total = np.where(occurs, per_class, 0).sum(axis=1)
    return np.where(occurs.any(axis=1), total / np.maximum(occurs.sum(axis=1), 1), np.nan)
