"""The scores of segmentation as tables for the terminal and the report, and as CSV."""

from pathlib import Path

import numpy as np

from utils.evaluation.segmentation.scores import NO_TRUTH, SegScores
from utils.evaluation.text_tables import align_columns, percent, write_csv_rows
from utils.seg_metrics import frequency_weighted_iou, mean_of_numbers

NOTHING_SCORED = "nothing to score: no pixel of the ground truth has one of the classes"


def bound_name(bound: float, pixels: tuple[float, float]) -> str:
    """ "3 px", or "0.00375 (9 px)", or "0.00375 (3-9 px)" where images differ in size.

    Of a tolerance of boundary F, and of the width of boundary IoU.
    """
    return f"{bound:g} px" if bound >= 1 else f"{bound:g} ({pixel_range(pixels)} px)"


def pixel_range(pixels: tuple[float, float]) -> str:
    """ "9", or "3-9" where images differ in size."""
    low, high = pixels
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def shown_bounds(scores: SegScores) -> list[int]:
    """The bounds that get a column: those in pixels; where there are none, all."""
    bounds = scores.protocol.bounds
    return [i for i, bound in enumerate(bounds) if bound >= 1] or list(range(len(bounds)))


def seg_table_rows(scores: SegScores) -> list[tuple[str, ...]]:
    """Header, a row per class and the means, as text; figures in percent."""
    shown = shown_bounds(scores)
    names = [f"F {bound_name(scores.protocol.bounds[i], scores.pixels[i])}" for i in shown]
    header = ("class", "IoU", "accuracy", *names, "boundary IoU", "images", "note")
    rows: list[tuple[str, ...]] = [header]
    for k, name in enumerate(scores.protocol.classes):
        figures = (scores.iou[k], scores.accuracy[k], *scores.f[shown, k], scores.boundary_iou[k])
        note = "" if scores.confusion[k].any() else NO_TRUTH
        rows.append((name, *map(percent, figures), str(scores.images[k]), note))
    accuracy, boundary_iou = map(mean_of_numbers, (scores.accuracy, scores.boundary_iou))
    means = (scores.miou, accuracy, *scores.f[shown].mean(axis=1), boundary_iou)
    return [*rows, ("mean", *map(percent, means), "", "")]


def bound_rows(scores: SegScores) -> list[tuple[str, str, str, str]]:
    """Header and a row per tolerance: as given, in pixels, and its mean F.

    The mean stands there twice: as published, and over the images in which a class has a true
    boundary.
    """
    rows = [("tolerance", "pixels", "mean F as published", "mean F where the class is present")]
    for bound, pixels, f, present in zip(
        scores.protocol.bounds, scores.pixels, scores.f, scores.f_present, strict=True
    ):
        given = f"{bound:g} px" if bound >= 1 else f"{bound:g} of the diagonal"
        means = percent(f.mean()), percent(mean_of_numbers(present))
        rows.append((given, pixel_range(pixels), *means))
    return rows


def format_scores(scores: SegScores) -> str:
    """Both tables and the summary for the terminal; a note where nothing was scored."""
    summary = (
        f"mIoU {percent(scores.miou)}   pixel accuracy {percent(scores.pixel_accuracy)}   "
        f"frequency-weighted IoU {percent(frequency_weighted_iou(scores.confusion))}"
    )
    summary += f"\nboundary IoU: within {region_name(scores)} of the contours"
    tables = align_columns(seg_table_rows(scores), foot=True), align_columns(bound_rows(scores))
    notes = [f"note: {NOTHING_SCORED}"] if scores.nothing_scored else []
    return "\n\n".join([*tables, summary, *notes])


def region_name(scores: SegScores) -> str:
    """The width of boundary IoU's regions, as `bound_name`."""
    return bound_name(scores.protocol.region, scores.region_pixels)


def write_seg_csv(folder: Path, scores: SegScores) -> None:
    """Write `scores.csv` and `confusion.csv`, each a row per class; in fractions and pixels."""
    classes, bounds = scores.protocol.classes, scores.protocol.bounds
    names = [f"boundary_f_{bound:g}" for bound in bounds]
    names += [f"boundary_f_present_{bound:g}" for bound in bounds]
    counted = ("images", "true_pixels", "predicted_pixels")
    rows: list[list[object]] = [
        ["class", "iou", "accuracy", "boundary_iou", *names, *counted],
    ]
    for k, name in enumerate(classes):
        overall = scores.iou[k], scores.accuracy[k], scores.boundary_iou[k]
        figures = (*overall, *scores.f[:, k], *scores.f_present[:, k])
        shown = [repr(float(value)) if np.isfinite(value) else "" for value in figures]
        pixels = scores.confusion[k].sum(), scores.confusion[:, k].sum()
        rows.append([name, *shown, scores.images[k], *pixels])
    write_csv_rows(folder / "scores.csv", rows)
    confusion = [[name, *row] for name, row in zip(classes, scores.confusion.tolist(), strict=True)]
    write_csv_rows(folder / "confusion.csv", [["true", *classes, "no class"], *confusion])
