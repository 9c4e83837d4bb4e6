"""The report on segmentation: scores, the confusion matrix, the best and the worst images."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from data.image_io import IGNORE
from data.visualize import color_labels
from utils.evaluation.html import (
    cards,
    hex_color,
    image_row,
    plain_table,
    section,
    table,
    write_page,
)
from utils.evaluation.report_parts import example_sections, source_section
from utils.evaluation.segmentation.examples import SegExample
from utils.evaluation.segmentation.scores import SegScores
from utils.evaluation.segmentation.tables import (
    NOTHING_SCORED,
    bound_rows,
    region_name,
    seg_table_rows,
)
from utils.evaluation.text_tables import percent
from utils.seg_metrics import frequency_weighted_iou, label_boundaries, mean_of_numbers

IOU_COLUMN = 1
PALE = (225, 228, 232)
GREEN, RED, BLUE = (70, 150, 90), (215, 50, 40), (40, 90, 215)
BOUNDARY_TOLERANCE = 3  # pixels, in the images of boundary errors
SHADE = "36,87,197"  # of the confusion matrix: the page's accent colour


def write_seg_report(
    folder: Path,
    scores: SegScores,
    quality: np.ndarray,
    source: Mapping[str, object],
    palette: np.ndarray,
    *,
    load_example: Callable[[int], SegExample],
    images: int,
) -> None:
    """Write `report.html`.

    Args:
        folder: Where to.
        scores: Over all images.
        quality: float64 (images,), the mIoU of each image.
        source: What was scored against what, for the page's first section.
        palette: uint8 (K, 3), a colour for each class.
        load_example: Index of an image -> what to show of it.
        images: Number of the best images to show, and of the worst.
    """

    def draw(index: int, miou: float) -> str:
        return image_panels(load_example(index), miou, palette)

    knobs = {
        "tolerances of boundary F": _bounds_text(scores),
        "width of boundary IoU": region_name(scores),
    }
    sections = [
        source_section(source, knobs),
        _score_section(scores, palette),
        section("Boundary F", plain_table(bound_rows(scores))),
        section("Confusion: of each true class, the share predicted as", confusion_table(scores)),
        *example_sections(quality, images, draw),
    ]
    lead = f"mIoU {percent(scores.miou)} over {len(scores.protocol.classes)} classes"
    if scores.nothing_scored:
        lead = NOTHING_SCORED
    write_page(folder / "report.html", "Semantic segmentation", lead, sections)


def _bounds_text(scores: SegScores) -> str:
    return ", ".join(
        f"{bound:g} px" if bound >= 1 else f"{bound:g} of the diagonal"
        for bound in scores.protocol.bounds
    )


def _score_section(scores: SegScores, palette: np.ndarray) -> str:
    """The mean figures and the table of all classes."""
    figures = {
        "mIoU": scores.miou,
        "pixel accuracy": scores.pixel_accuracy,
        "frequency-weighted IoU": frequency_weighted_iou(scores.confusion),
        "mean boundary IoU": mean_of_numbers(scores.boundary_iou),
    }
    header, *rows, foot = seg_table_rows(scores)
    return section(
        "Scores",
        cards([(name, percent(value)) for name, value in figures.items()]),
        table(header, rows, [hex_color(color) for color in palette], bar=IOU_COLUMN, foot=foot),
    )


def confusion_table(scores: SegScores) -> str:
    """The confusion matrix as HTML, each row in percent of the class's true pixels.

    The more pixels a cell has, the darker it is. Rows of classes without true pixels are left out,
    and the column "no class" if it is empty.
    """
    names = [*scores.protocol.classes]
    counts = scores.confusion
    if counts[:, -1].any():
        names.append("no class")
    else:
        counts = counts[:, :-1]
    vertical = 'style="writing-mode:vertical-rl;transform:rotate(180deg);padding:6px 2px"'
    head = "".join(f"<th scope=col {vertical}>{escape(name)}</th>" for name in names)
    rows = []
    for name, row in zip(names, counts, strict=False):  # "no class" has a column but no row
        if total := row.sum():
            cells = "".join(
                _shaded(name, other, n / total) for other, n in zip(names, row, strict=True)
            )
            rows.append(f"<tr><th scope=row>{escape(name)}</th>{cells}</tr>")
    body = f"<tr><td></td>{head}</tr>{''.join(rows)}"
    return f"<div class=wide><table><tbody>{body}</tbody></table></div>"


def _shaded(true: str, predicted: str, share: float) -> str:
    """A cell of the confusion matrix."""
    color = "#fff" if share > 0.6 else "inherit"
    style = f"background:rgba({SHADE},{share:.3f});color:{color};padding:3px 5px;text-align:center"
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    title = f"{escape(true)} as {escape(predicted)}: {100 * share:.2f} %"
    return f'<td style="{style}" title="{title}">{text}</td>'


def image_panels(example: SegExample, miou: float, palette: np.ndarray) -> str:
    """Image, ground truth, prediction, errors and boundary errors beside each other, as HTML."""
    true, predicted = example.ground_truth, example.prediction
    errors = draw_errors(true, predicted, palette)
    boundaries = draw_boundary_errors(true, predicted, len(palette))
    drawn: Sequence[tuple[str, np.ndarray | None]] = [
        ("image", example.image),
        ("ground truth", color_labels(true, palette)),
        ("prediction", color_labels(predicted, palette)),
        ("errors, in the colour of the predicted class", errors),
        (
            f"boundaries: green matched within {BOUNDARY_TOLERANCE} px, red missed, blue false",
            boundaries,
        ),
    ]
    return image_row(f"{example.name}: mIoU {percent(miou)}", drawn, columns=3)


def draw_errors(true: np.ndarray, predicted: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): wrong pixels in the predicted class's colour on white; ignored ones grey."""
    drawn = color_labels(predicted, palette)
    drawn[true == predicted] = 255
    drawn[true >= len(palette)] = PALE
    return drawn


def draw_boundary_errors(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """uint8 (H, W, 3): boundaries of any class, two pixels wide, in colours of their match.

    Green: matched within BOUNDARY_TOLERANCE; red: missed; blue: false. true, predicted: label maps
    uint8 (H, W).
    """
    # As in boundary F, ignored pixels are no class in both maps.
    ignored = true >= num_classes
    true_edge, predicted_edge = (
        label_boundaries(np.where(ignored, IGNORE, ids)).astype(np.uint8)
        for ids in (true, predicted)
    )
    side = 2 * BOUNDARY_TOLERANCE + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    near_true, near_predicted = (cv2.dilate(e, disk) > 0 for e in (true_edge, predicted_edge))
    colored = (
        (true_edge & near_predicted, GREEN),
        (predicted_edge & ~near_true, BLUE),
        (true_edge & ~near_predicted, RED),
    )
    drawn = np.full((*true.shape, 3), 255, np.uint8)
    square = np.ones((2, 2), np.uint8)
    for edge, color in colored:
        drawn[cv2.dilate(edge.astype(np.uint8), square) > 0] = color
    return drawn
