"""From counts to scores, per class and mean: as plain values for `metrics.json`, as a table, as CSV.

The layout of `metrics.json` is written at the top of `utils/edge_eval.py`.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.files import write_aside
from utils.edge_metrics import PREDICTED, TRUE, Summary, default_thresholds, f_measure, summarize
from utils.evaluation.edges.protocols import Protocol

NO_TRUTH, NO_PREDICTION = "no ground truth", "no prediction"
FIGURES: dict[str, Callable[[Summary], float]] = {
    "ods": lambda summary: summary.ods.f,
    "ois": lambda summary: summary.ois.f,
    "ap": lambda summary: summary.ap,
}


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class in one mode. status: "ok", or why the figures say little. images: how many have edges of the class."""

    name: str
    status: str
    images: int
    true_pixels: int
    summary: Summary

    @property
    def counted(self) -> bool:
        """A class that occurs nowhere has no score; one that was never predicted has the score 0."""
        return self.status != NO_TRUTH


@dataclass(frozen=True, slots=True)
class ModeScores:
    """All classes in one mode ("thin" or "raw")."""

    mode: str
    classes: tuple[ClassScore, ...]

    def mean(self, figure: str) -> float:
        """Mean over the classes that occur in the truth; nan if none does."""
        values = [FIGURES[figure](each.summary) for each in self.classes if each.counted]
        return sum(values) / len(values) if values else float("nan")

    def published_mean(self, figure: str) -> float:
        """Mean over all classes, 0 for those that do not occur, as the published scripts compute it."""
        return sum(FIGURES[figure](each.summary) for each in self.classes if each.counted) / len(
            self.classes
        )

    def to_plain(self) -> dict:
        """The part of `metrics.json` for this mode."""
        return {
            "mean": {figure: _number(self.mean(figure)) for figure in FIGURES}
            | {"classes": sum(each.counted for each in self.classes)},
            "published_mean": {figure: _number(self.published_mean(figure)) for figure in FIGURES},
            "classes": [_plain_class(each) for each in self.classes],
        }


def score_modes(counts: np.ndarray, classes: Sequence[str], protocol: Protocol) -> list[ModeScores]:
    """counts: int64 (images, M, K, T, 4) -> one ModeScores per mode of the protocol."""
    thresholds = default_thresholds(protocol.thresholds)
    return [
        ModeScores(
            mode,
            tuple(
                _score_class(name, counts[:, m, k], thresholds, protocol.ap)
                for k, name in enumerate(classes)
            ),
        )
        for m, mode in enumerate(protocol.modes)
    ]


def _score_class(name: str, counts: np.ndarray, thresholds: np.ndarray, ap: str) -> ClassScore:
    true = counts[:, 0, TRUE]
    status = (
        NO_TRUTH if not true.any() else NO_PREDICTION if not counts[..., PREDICTED].any() else "ok"
    )
    return ClassScore(
        name, status, int((true > 0).sum()), int(true.sum()), summarize(counts, thresholds, ap=ap)
    )


def _plain_class(each: ClassScore) -> dict:
    summary = each.summary
    plain = {
        "name": each.name,
        "status": each.status,
        "images": each.images,
        "true_pixels": each.true_pixels,
    }
    if not each.counted:
        return plain | {"ods": None, "ois": None, "ap": None, "ap_sbd": None}
    ods, ois = summary.ods, summary.ois
    return plain | {
        "ods": {
            "threshold": ods.threshold,
            "recall": ods.recall,
            "precision": ods.precision,
            "f": ods.f,
        },
        "ois": {"recall": ois.recall, "precision": ois.precision, "f": ois.f},
        "ap": _number(summary.ap),
        "ap_sbd": _number(summary.ap_sbd),
    }


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return float(value) if np.isfinite(value) else None


def image_scores(counts: np.ndarray, scores: ModeScores, mode: int) -> np.ndarray:
    """F at each class's ODS threshold, mean over the classes of each image. float64 (images,); nan: no true edge."""
    per_class = np.full((len(counts), len(scores.classes)), np.nan)
    for k, each in enumerate(scores.classes):
        if each.counted:
            nearest = np.abs(each.summary.curve[:, 0] - each.summary.ods.threshold).argmin()
            matched_true, true, matched_predicted, predicted = counts[:, mode, k, nearest].T
            f = f_measure(
                matched_true / np.maximum(true, 1), matched_predicted / np.maximum(predicted, 1)
            )
            per_class[:, k] = np.where(true > 0, f, np.nan)
    occurs = np.isfinite(per_class)
    total = np.where(occurs, per_class, 0).sum(axis=1)
    return np.where(occurs.any(axis=1), total / np.maximum(occurs.sum(axis=1), 1), np.nan)


HEADER = ("class", "ODS", "threshold", "recall", "precision", "OIS", "AP", "images", "note")


def table_rows(scores: ModeScores) -> list[tuple[str, ...]]:
    """The rows of a table, as text under HEADER; figures in percent but for the threshold. The mean comes last."""
    rows = []
    for each in scores.classes:
        ods, note = each.summary.ods, "" if each.status == "ok" else each.status
        figures = (
            ods.f,
            ods.threshold,
            ods.recall,
            ods.precision,
            each.summary.ois.f,
            each.summary.ap,
        )
        shown = (
            [f"{v:.3f}" if i == 1 else _percent(v) for i, v in enumerate(figures)]
            if each.counted
            else ["-"] * 6
        )
        rows.append((each.name, *shown, str(each.images), note))
    counted = sum(each.counted for each in scores.classes)
    mean = {figure: _percent(scores.mean(figure)) for figure in FIGURES}
    return [
        *rows,
        ("mean", mean["ods"], "", "", "", mean["ois"], mean["ap"], "", f"of {counted} classes"),
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.2f}" if np.isfinite(value) else "-"


def format_table(scores: ModeScores) -> str:
    """The table for the terminal."""
    rows = [HEADER, *table_rows(scores)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [
        "  ".join(
            cell.ljust(w) if column in (0, 8) else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:-1], rule, lines[-1]])


def write_csv(folder: Path, scores: Sequence[ModeScores], protocol: Protocol) -> None:
    """`scores.csv`, a row per mode and class; `curves.csv`, a row per mode, class and threshold; all in fractions."""
    rows, points, knobs = [], [], protocol.describe()
    for mode in scores:
        for each in mode.classes:
            s = each.summary
            figures = (
                s.ods.f,
                s.ods.threshold,
                s.ods.recall,
                s.ods.precision,
                s.ois.f,
                s.ap,
                s.ap_sbd,
            )
            shown = [repr(float(v)) for v in figures] if each.counted else [""] * len(figures)
            rows.append(
                [mode.mode, each.name, *shown, each.images, each.true_pixels, each.status, knobs]
            )
            points += [[mode.mode, each.name, *map(float, point)] for point in s.curve]
    columns = [
        "mode",
        "class",
        "ods_f",
        "ods_threshold",
        "ods_recall",
        "ods_precision",
        "ois_f",
        "ap",
        "ap_sbd",
    ]
    _write_rows(
        folder / "scores.csv", [[*columns, "images", "true_pixels", "status", "protocol"], *rows]
    )
    _write_rows(
        folder / "curves.csv", [["mode", "class", "threshold", "recall", "precision", "f"], *points]
    )


def _write_rows(path: Path, rows: list[list]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with write_aside(path) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8")
