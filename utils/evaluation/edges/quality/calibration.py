"""How far the probabilities of each class are what they say, from the counts of all images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.edge_metrics.calibration import (
    BINS,
    TRUE,
    Reliability,
    negative_log_likelihood,
    reliability,
)
from utils.evaluation.edges.scores import BINARY
from utils.evaluation.text_tables import number_or_null

CSV_COLUMNS = ("class", "from", "to", "pixels", "mean_probability", "true_share")


@dataclass(frozen=True, slots=True)
class CalibrationScores:
    """The calibration of predictions.

    Args:
        names: Of the K classes.
        counts: int64 (K, B, 3), see `edge_metrics.calibration`.
        binary: The predictions are edge or none: they say no probability, and have no figures.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    binary: bool

    @property
    def counted(self) -> list[int]:
        """The classes that have figures: those that occur in the ground truth."""
        if self.binary:
            return []
        return np.flatnonzero(self.counts[..., TRUE].any(axis=1)).tolist()

    def curves(self) -> dict[int, Reliability]:
        """Of each class that has figures."""
        return {k: reliability(self.counts[k]) for k in self.counted}

    @property
    def mean_ece(self) -> float:
        """Over the classes that have figures; nan without any."""
        errors = [curve.ece for curve in self.curves().values()]
        return sum(errors) / len(errors) if errors else float("nan")

    @property
    def nll(self) -> float:
        """Nats a pixel, of the classes that have figures together; nan without any."""
        counted = self.counted
        if not counted:
            return float("nan")
        return negative_log_likelihood(self.counts[counted].sum(axis=0))

    def to_plain(self) -> dict[str, object]:
        """The part of `metrics.json`."""
        curves = self.curves()
        note = {"note": f"{BINARY}: calibration needs probabilities"} if self.binary else {}
        return {
            **note,
            "bins": BINS,
            "mean": {
                "ece": number_or_null(self.mean_ece),
                "nll": number_or_null(self.nll),
                "classes": len(curves),
            },
            "classes": [_plain_class(name, curves.get(k)) for k, name in enumerate(self.names)],
        }

    def csv_rows(self) -> list[list[object]]:
        """A header and a row for each class that has figures and each bin; empty for no pixels."""
        rows: list[list[object]] = [list(CSV_COLUMNS)]
        for k, curve in self.curves().items():
            for i, (pixels, mean, share) in enumerate(_bins(curve)):
                shown = ["" if value is None else repr(value) for value in (mean, share)]
                rows.append([self.names[k], repr(i / BINS), repr((i + 1) / BINS), pixels, *shown])
        return rows


def _plain_class(name: str, curve: Reliability | None) -> dict[str, object]:
    if curve is None:
        nothing = dict.fromkeys(("ece", "mean_probability", "true_share", "curve"))
        return {"name": name, **nothing}
    return {
        "name": name,
        "ece": curve.ece,
        "mean_probability": curve.mean_probability,
        "true_share": curve.true_share,
        "curve": [
            {"pixels": pixels, "mean_probability": mean, "true_share": share}
            for pixels, mean, share in _bins(curve)
        ],
    }


def _bins(curve: Reliability) -> list[tuple[int, float | None, float | None]]:
    """(pixels, mean probability, share of true edges) of each bin, None where there is none."""
    return [
        (int(pixels), number_or_null(mean), number_or_null(share))
        for pixels, mean, share in zip(curve.pixels, curve.mean, curve.share, strict=True)
    ]


def score_calibration(
    counts: np.ndarray, names: Sequence[str], *, binary: bool
) -> CalibrationScores:
    """The scores of predictions.

    Args:
        counts: int64 (images, K, B, 3).
        names: Of the K classes.
        binary: Whether the predictions are edge or none.
    """
    return CalibrationScores(tuple(names), counts.sum(axis=0), binary)
