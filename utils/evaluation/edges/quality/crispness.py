"""The average crispness of each class, from the sums of all images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.edge_metrics.crispness import average_crispness
from utils.evaluation.text_tables import number_or_null


@dataclass(frozen=True, slots=True)
class CrispnessScores:
    """The average crispness (AC) of predictions.

    Args:
        names: Of the K classes.
        values: float64 (K,), the mean over the images in which a class responds; nan: in none.
        images: int64 (K,), how many those are.
        mean: Over the classes that respond somewhere; nan if none does.
    """

    names: tuple[str, ...]
    values: np.ndarray
    images: np.ndarray
    mean: float

    def to_plain(self) -> dict[str, object]:
        """The part of `metrics.json`."""
        classes = [
            {"name": name, "crispness": number_or_null(value), "images": int(images)}
            for name, value, images in zip(self.names, self.values, self.images, strict=True)
        ]
        return {"mean": number_or_null(self.mean), "classes": classes}

    def csv_rows(self) -> list[list[object]]:
        """A header and a row for each class; empty where it responds nowhere."""
        rows = [
            [name, repr(float(value)) if np.isfinite(value) else "", int(images)]
            for name, value, images in zip(self.names, self.values, self.images, strict=True)
        ]
        return [["class", "crispness", "images"], *rows]


def score_crispness(sums: np.ndarray, names: Sequence[str]) -> CrispnessScores:
    """The scores of predictions.

    Args:
        sums: int64 (images, K, 2), after and before non-maximum suppression.
        names: Of the K classes.
    """
    after, before = np.moveaxis(sums, -1, 0)
    each = np.divide(after, before, out=np.full(after.shape, np.nan), where=before > 0)
    values, mean = average_crispness(each)
    return CrispnessScores(tuple(names), values, (before > 0).sum(axis=0), mean)
