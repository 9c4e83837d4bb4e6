"""The report on segmentation: scores per class, the confusion matrix, boundary F, the best and the worst images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from data.image_io import IGNORE
from data.visualize import color_labels
from utils.evaluation.html import cards, facts, hex_color, image_row, section, table, write_page
from utils.evaluation.segmentation.scores import SegScores, mean
from utils.evaluation.segmentation.tables import bound_rows, percent, table_rows
from utils.seg_metrics import frequency_weighted_iou, label_boundaries

IOU_COLUMN = 1
PALE = (225, 228, 232)
GREEN, RED, BLUE = (70, 150, 90), (215, 50, 40), (40, 90, 215)
BOUNDARY_TOLERANCE = 3  # pixels, in the images of boundary errors
SHADE = "36,87,197"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the report shows of an image: image uint8 (H, W, 3) or None; truth and prediction uint8 (H, W)."""

    name: str
    image: np.ndarray | None
    truth: np.ndarray
    prediction: np.ndarray


def write_report(
    folder: Path,
    scores: SegScores,
    quality: Sequence[float],
    source: dict[str, object],
    palette: np.ndarray,
    *,
    show: Callable[[int], Shown],
    images: int,
) -> None:
    """Write `report.html`. quality: mIoU of each image. show: its index -> what to show. images: so many best and so many worst."""
    knobs = {
        "tolerances of boundary F": _bounds_text(scores),
        "width of boundary IoU": f"{scores.protocol.region:g}",
    }
    shortened = {
        name: str(value)[:12] if name == "sha256" else value for name, value in source.items()
    }
    header, *rows, foot = table_rows(scores)
    figures = {
        "mIoU": scores.miou,
        "pixel accuracy": scores.pixel_accuracy,
        "frequency-weighted IoU": frequency_weighted_iou(scores.confusion),
        "mean boundary IoU": mean(scores.boundary_iou),
    }
    colors = [hex_color(color) for color in palette]
    sections = [
        section("What was scored, and how", facts(shortened), facts(knobs)),
        section(
            "Scores",
            cards([(name, percent(value)) for name, value in figures.items()]),
            table(header, rows, colors, bar=IOU_COLUMN, foot=foot),
        ),
        section("Boundary F", plain_table(bound_rows(scores))),
        section("Confusion: of each true class, the share predicted as", confusion_table(scores)),
    ]
    quality = np.asarray(quality, np.float64)
    order = np.argsort(-quality, kind="stable")
    order = order[np.isfinite(quality[order])]
    best, worst = order[:images], order[max(images, len(order) - images) :][::-1]
    for title, chosen in (("Best images", best), ("Worst images", worst)):
        parts = [image_panels(show(int(i)), quality[i], palette) for i in chosen]
        if parts:
            sections.append(section(title, *parts))
    lead = f"mIoU {percent(scores.miou)} over {len(scores.protocol.classes)} classes"
    write_page(folder / "report.html", "Semantic segmentation", lead, sections)


def _bounds_text(scores: SegScores) -> str:
    return ", ".join(
        f"{bound:g} px" if bound >= 1 else f"{bound:g} of the diagonal"
        for bound in scores.protocol.bounds
    )


def plain_table(rows: Sequence[Sequence[str]]) -> str:
    """A small table that does not sort; the first row is its header."""
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:]
    )
    head = "".join(f"<td><b>{escape(cell)}</b></td>" for cell in rows[0])
    return f"<div class=wide><table><tbody><tr>{head}</tr>{body}</tbody></table></div>"


def confusion_table(scores: SegScores) -> str:
    """The confusion matrix, each row in percent of the class's true pixels; the darker, the more. Empty rows are left out."""
    names = [*scores.protocol.classes]
    counts = scores.confusion
    if counts[:, -1].any():
        names.append("no class")
    else:
        counts = counts[:, :-1]
    turned = 'style="writing-mode:vertical-rl;transform:rotate(180deg);padding:6px 2px"'
    head = "".join(f"<td {turned}>{escape(name)}</td>" for name in names)
    rows = []
    for name, row in zip(names, counts, strict=False):
        if total := row.sum():
            cells = "".join(
                _shaded(name, other, n / total) for other, n in zip(names, row, strict=True)
            )
            rows.append(f"<tr><th scope=row>{escape(name)}</th>{cells}</tr>")
    return f"<div class=wide><table><tbody><tr><td></td>{head}</tr>{''.join(rows)}</tbody></table></div>"


def _shaded(true: str, predicted: str, share: float) -> str:
    color = "#fff" if share > 0.6 else "inherit"
    style = f"background:rgba({SHADE},{share:.3f});color:{color};padding:3px 5px;text-align:center"
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    return f'<td style="{style}" title="{escape(true)} as {escape(predicted)}: {100 * share:.2f} %">{text}</td>'


def image_panels(shown: Shown, miou: float, palette: np.ndarray) -> str:
    """Image, truth, prediction, errors and boundary errors beside each other."""
    drawn = [
        ("image", shown.image),
        ("truth", color_labels(shown.truth, palette)),
        ("prediction", color_labels(shown.prediction, palette)),
        (
            "errors, in the colour of the predicted class",
            draw_errors(shown.truth, shown.prediction, palette),
        ),
        (
            f"boundaries: green matched within {BOUNDARY_TOLERANCE} px, red missed, blue false",
            draw_boundary_errors(shown.truth, shown.prediction, len(palette)),
        ),
    ]
    return image_row(f"{shown.name}: mIoU {percent(miou)}", drawn, columns=3)


def draw_errors(truth: np.ndarray, prediction: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): wrong pixels in the predicted class's colour on white; ignored ones grey."""
    drawn = color_labels(prediction, palette)
    drawn[truth == prediction] = 255
    drawn[truth >= len(palette)] = PALE
    return drawn


def draw_boundary_errors(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """uint8 (H, W, 3): boundaries of any class, drawn two pixels wide, matched or not within BOUNDARY_TOLERANCE."""
    ignored = truth >= num_classes
    true, predicted = (
        label_boundaries(np.where(ignored, IGNORE, ids)).astype(np.uint8)
        for ids in (truth, prediction)
    )
    side = 2 * BOUNDARY_TOLERANCE + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    near_true, near_predicted = (cv2.dilate(edge, disk) > 0 for edge in (true, predicted))
    drawn = np.full((*truth.shape, 3), 255, np.uint8)
    square = np.ones((2, 2), np.uint8)
    for edge, color in (
        (true & near_predicted, GREEN),
        (predicted & ~near_true, BLUE),
        (true & ~near_predicted, RED),
    ):
        drawn[cv2.dilate(edge.astype(np.uint8), square) > 0] = color
    return drawn
