"""The scores of semantic edges as a table for the terminal and the report, and as CSV."""

import math
from collections.abc import Sequence
from pathlib import Path

from utils.evaluation.edges.protocols import EdgeProtocol
from utils.evaluation.edges.scores import BINARY, FIGURES, ClassScore, ModeScores
from utils.evaluation.text_tables import align_columns, percent, write_csv_rows

HEADER = ("class", "ODS", "threshold", "recall", "precision", "OIS", "AP", "images", "note")
SCORE_COLUMNS = (
    *("mode", "class", "ods_f", "ods_threshold", "ods_recall", "ods_precision"),
    *("ois_f", "ap", "ap_sbd", "images", "true_pixels", "status", "protocol"),
)
CURVE_COLUMNS = ("mode", "class", "threshold", "recall", "precision", "f")


def edge_table_rows(scores: ModeScores) -> list[tuple[str, ...]]:
    """The rows below HEADER, as text, the mean last; figures in percent but for the threshold."""
    rows = [_class_row(each) for each in scores.classes]
    counted = sum(each.counted for each in scores.classes)
    ods, ois, ap = (percent(scores.mean(figure)) for figure in FIGURES)
    note = f"of {counted} classes" + (f"; {BINARY}" if scores.binary else "")
    return [*rows, ("mean", ods, "", "", "", ois, ap, "", note)]


def _class_row(each: ClassScore) -> tuple[str, ...]:
    note = "" if each.status == "ok" else each.status
    if not each.counted:
        return (each.name, *["-"] * 6, str(each.images), note)
    ods = each.summary.ods
    return (
        each.name,
        percent(ods.f),
        "-" if each.binary else f"{each.threshold:.3f}",
        percent(ods.recall),
        percent(ods.precision),
        percent(each.summary.ois.f),
        percent(each.summary.ap),
        str(each.images),
        note,
    )


def format_table(scores: ModeScores) -> str:
    """The table of one mode for the terminal."""
    return align_columns([HEADER, *edge_table_rows(scores)], foot=True)


def write_edge_csv(folder: Path, scores: Sequence[ModeScores], protocol: EdgeProtocol) -> None:
    """Write `scores.csv` and `curves.csv`: a row per mode and class, and one per threshold of each.

    All in fractions, with all digits; empty where there is none, as of a class without ground
    truth.
    """
    rows: list[list[object]] = []
    points: list[list[object]] = []
    for mode in scores:
        for each in mode.classes:
            ods, summary = each.summary.ods, each.summary
            figures = (
                *(ods.f, each.threshold, ods.recall, ods.precision),
                *(summary.ois.f, summary.ap, summary.ap_sbd),
            )
            shown = [repr(float(v)) if math.isfinite(v) else "" for v in figures]
            rest = (each.images, each.true_pixels, each.status, protocol.describe())
            rows.append([mode.mode, each.name, *shown, *rest])
            for point in summary.curve:
                points.append([mode.mode, each.name, *map(float, point)])
    write_csv_rows(folder / "scores.csv", [SCORE_COLUMNS, *rows])
    write_csv_rows(folder / "curves.csv", [CURVE_COLUMNS, *points])
