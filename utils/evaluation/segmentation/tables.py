"""The scores of segmentation as tables for the terminal and the report, and as CSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.files import write_aside
from utils.evaluation.segmentation.scores import NO_TRUTH, SegScores, mean
from utils.seg_metrics import frequency_weighted_iou


def bound_name(bound: float, pixels: tuple[float, float]) -> str:
    """ "3 px", or "0.00375 (9 px)", or "0.00375 (3-9 px)" where images differ in size."""
    if bound >= 1:
        return f"{bound:g} px"
    low, high = pixels
    return f"{bound:g} ({low:g} px)" if low == high else f"{bound:g} ({low:g}-{high:g} px)"


def shown_bounds(scores: SegScores) -> list[int]:
    """The bounds that get a column: those in pixels; where there are none, all."""
    return [i for i, b in enumerate(scores.protocol.bounds) if b >= 1] or list(
        range(len(scores.protocol.bounds))
    )


def table_rows(scores: SegScores) -> list[tuple[str, ...]]:
    """Header, a row per class and the means, as text; figures in percent."""
    shown = shown_bounds(scores)
    names = [f"F {bound_name(scores.protocol.bounds[i], scores.pixels[i])}" for i in shown]
    rows = [("class", "IoU", "accuracy", *names, "boundary IoU", "images", "note")]
    for k, name in enumerate(scores.protocol.classes):
        figures = (scores.iou[k], scores.accuracy[k], *scores.f[shown, k], scores.boundary_iou[k])
        note = "" if scores.confusion[k].any() else NO_TRUTH
        rows.append((name, *map(percent, figures), str(scores.images[k]), note))
    means = (
        scores.miou,
        mean(scores.accuracy),
        *scores.f[shown].mean(axis=1),
        mean(scores.boundary_iou),
    )
    return [*rows, ("mean", *map(percent, means), "", "")]


def bound_rows(scores: SegScores) -> list[tuple[str, str, str, str]]:
    """Header and, for each tolerance, as given and in pixels, the mean F as published and over the classes that are there."""
    rows = [("tolerance", "pixels", "mean F as published", "mean F where the class is there")]
    for bound, (low, high), f, present in zip(
        scores.protocol.bounds, scores.pixels, scores.f, scores.f_present, strict=True
    ):
        pixels = f"{low:g}" if low == high else f"{low:g}-{high:g}"
        given = f"{bound:g} px" if bound >= 1 else f"{bound:g} of the diagonal"
        rows.append((given, pixels, percent(f.mean()), percent(mean(present))))
    return rows


def format_scores(scores: SegScores) -> str:
    """All of it for the terminal."""
    summary = (
        f"mIoU {percent(scores.miou)}   pixel accuracy {percent(scores.pixel_accuracy)}   "
        f"frequency-weighted IoU {percent(frequency_weighted_iou(scores.confusion))}"
    )
    return "\n\n".join(
        [_aligned(table_rows(scores), foot=True), _aligned(bound_rows(scores)), summary]
    )


def _aligned(rows: Sequence[Sequence[str]], *, foot: bool = False) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 or rows[0][column] == "note" else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    body, last = (lines[1:-1], [rule, lines[-1]]) if foot else (lines[1:], [])
    return "\n".join([lines[0], rule, *body, *last])


def write_csv(folder: Path, scores: SegScores) -> None:
    """`scores.csv`, a row per class; `confusion.csv`, a row per true class, a column per predicted one. Fractions and pixels."""
    classes = scores.protocol.classes
    names = [f"boundary_f_{bound:g}" for bound in scores.protocol.bounds]
    names += [f"boundary_f_present_{bound:g}" for bound in scores.protocol.bounds]
    rows = [
        [
            "class",
            "iou",
            "accuracy",
            "boundary_iou",
            *names,
            "images",
            "true_pixels",
            "predicted_pixels",
        ]
    ]
    for k, name in enumerate(classes):
        figures = (
            scores.iou[k],
            scores.accuracy[k],
            scores.boundary_iou[k],
            *scores.f[:, k],
            *scores.f_present[:, k],
        )
        shown = [repr(float(value)) if np.isfinite(value) else "" for value in figures]
        rows.append(
            [
                name,
                *shown,
                scores.images[k],
                scores.confusion[k].sum(),
                scores.confusion[:, k].sum(),
            ]
        )
    _write_rows(folder / "scores.csv", rows)
    counted = [[name, *row] for name, row in zip(classes, scores.confusion.tolist(), strict=True)]
    _write_rows(folder / "confusion.csv", [["true", *classes, "no class"], *counted])


def _write_rows(path: Path, rows: list[list]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with write_aside(path) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8")


def percent(value: float) -> str:
    return f"{100 * value:.2f}" if np.isfinite(value) else "-"
