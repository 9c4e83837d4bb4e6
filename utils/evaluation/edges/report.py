"""The report on semantic edges: curves, a table per mode, the best and the worst images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from data.edges import class_edges, present_classes
from data.imresize import resize_bicubic
from data.visualize import draw_edges
from utils.evaluation.edges.examples import EdgeExample
from utils.evaluation.edges.image_counts import as_probability
from utils.evaluation.edges.protocols import EdgeProtocol
from utils.evaluation.edges.scores import ModeScores, image_scores
from utils.evaluation.edges.tables import HEADER, edge_table_rows
from utils.evaluation.html import (
    Line,
    at,
    cards,
    hex_color,
    image_row,
    plot,
    section,
    table,
    write_page,
)
from utils.evaluation.report_parts import example_sections, source_section
from utils.evaluation.text_tables import percent

ODS_COLUMN = HEADER.index("ODS")
# Probability at which `draw_edges` begins to draw; each class's best threshold is mapped to it.
VISIBLE = 0.5
# Pixels of all classes together that are drawn at once: 256 MB as floats.
MOST_DRAWN = 1 << 26
MEANS = {"mean MF (ODS)": "ods", "mean MF (OIS)": "ois", "mean AP": "ap"}


def write_edge_report(
    folder: Path,
    scores: Sequence[ModeScores],
    counts: np.ndarray,
    protocol: EdgeProtocol,
    origin: Mapping[str, object],
    palette: np.ndarray,
    *,
    load_example: Callable[[int], EdgeExample],
    images: int,
) -> None:
    """Write `report.html`; the images are ranked by the first mode.

    Args:
        folder: Where to.
        scores: Of each mode, from `counts`.
        counts: int64 (images, M, K, T, 4).
        protocol: How it was scored.
        origin: What was scored against what, for the page's first section.
        palette: uint8 (K, 3), a colour for each class.
        load_example: Row of the counts -> what to show of that image.
        images: Number of the best images to show, and of the worst.
    """
    ranked = scores[0]

    def draw(row: int, f: float) -> str:
        return _example_row(load_example(row), f, ranked, palette)

    knobs = {name: value for name, value in protocol.knobs().items() if value is not None}
    if protocol.classes is not None:  # names may have blanks
        knobs["classes"] = ", ".join(protocol.classes)
    sections = [
        source_section(origin, {"protocol": knobs.pop("name"), **knobs}),
        *(_mode_section(mode, palette) for mode in scores),
        *example_sections(image_scores(counts, ranked, 0), images, draw, note=f" ({ranked.mode})"),
    ]
    write_page(folder / "report.html", "Semantic edges", protocol.describe(), sections)


def _mode_section(mode: ModeScores, palette: np.ndarray) -> str:
    """Mean figures, the curves of all classes with ground truth, and the table."""
    colors = [hex_color(color) for color in palette]
    counted = [
        (each, color) for each, color in zip(mode.classes, colors, strict=True) if each.counted
    ]
    mean = [(name, percent(mode.mean(figure))) for name, figure in MEANS.items() if counted]
    curves, levels = [], []
    for each, color in counted:
        curve, ods = each.summary.curve, each.summary.ods
        name = f"{each.name}: F {100 * ods.f:.1f}"
        name += "" if mode.binary else f" at {each.threshold:.2f}"
        # Where nothing is predicted, there is no precision to show.
        predicted = curve[:, 1:3].any(axis=1)
        curves.append(
            Line(each.name, name, color, curve[predicted][:, 1:3], (ods.recall, ods.precision))
        )
        levels.append(Line(each.name, name, color, curve[:, [0, 3]], (ods.threshold, ods.f)))
    title = "Precision over recall; dotted: equal F; point: best F (ODS)"
    plots = plot(title, "recall", "precision", curves, below=iso_f_lines())
    if not mode.binary:
        plots += plot("F over threshold", "threshold", "F", levels)
    *rows, foot = edge_table_rows(mode)
    return section(
        f"{mode.mode.capitalize()} protocol",
        cards([*mean, ("classes with ground truth", f"{len(counted)} of {len(mode.classes)}")]),
        f"<div class=plots>{plots}</div>",
        table(HEADER, rows, colors, bar=ODS_COLUMN, foot=foot),
    )


def iso_f_lines() -> str:
    """Lines of equal F = 0.1 ... 0.9: precision = F R / (2 R - F), from the right to the top."""
    lines = []
    for f in np.arange(1, 10) / 10:
        recall = np.geomspace(f / (2 - f), 1, 60)
        points = " ".join(at(r, f * r / (2 * r - f)) for r in recall)
        x, y = at(1, f / (2 - f)).split(",")
        label = f"<text class=equal x={float(x) + 3:.1f} y={float(y) + 3:.1f}>{f:g}</text>"
        lines.append(f'<polyline class=iso points="{points}"/>{label}')
    return "".join(lines)


def _example_row(example: EdgeExample, f: float, mode: ModeScores, palette: np.ndarray) -> str:
    """Image, ground truth and prediction beside each other, at the ground truth's size."""
    ground_truth = visible_ground_truth(example.ground_truth)
    height, width = ground_truth[0].shape
    image = example.image
    if image is not None:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    size = (height, width)
    drawn = [
        ("image", image),
        ("ground truth", _draw_true(ground_truth, palette)),
        (
            "prediction" if mode.binary else "prediction at the best thresholds",
            _draw_scores(example.scores, mode, size, palette),
        ),
    ]
    return image_row(f"{example.name}: F {100 * f:.1f}", drawn)


def _draw_true(groups: Sequence[np.ndarray], palette: np.ndarray) -> np.ndarray:
    classes = present_classes(groups) or [0]
    return draw_edges(np.stack([class_edges(groups, k) for k in classes]), palette[classes])


def _draw_scores(
    scores: Sequence[np.ndarray], mode: ModeScores, size: tuple[int, int], palette: np.ndarray
) -> np.ndarray:
    """The scores of the classes that are visible somewhere, with many classes at a smaller size."""
    shrink = min(1.0, (MOST_DRAWN / (len(scores) * size[0] * size[1])) ** 0.5)
    drawn_size = max(1, int(size[0] * shrink)), max(1, int(size[1] * shrink))
    shown = {}
    for k, (score, each) in enumerate(zip(scores, mode.classes, strict=True)):
        visible = visible_score(score, drawn_size, each.summary.ods.threshold)
        if visible.any() or k == 0:
            shown[k] = visible
    return draw_edges(np.stack(list(shown.values())), palette[list(shown)])


def visible_ground_truth(edges: Mapping[str, Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Groups of bits (h, w) to draw: the thick edges, else the thin ones, three pixels wide.

    edges: mode -> groups of bits (h, w), or (A, h, w) of annotators, whose edges are joined.
    """
    groups = edges["raw"] if "raw" in edges else edges["thin"]
    return [_visible_bits(bits, widen="raw" not in edges) for bits in groups]


def _visible_bits(bits: np.ndarray, *, widen: bool) -> np.ndarray:
    if bits.ndim == 3:
        bits = np.bitwise_or.reduce(bits)
    if widen:
        padded = np.pad(bits, 1)
        h, w = bits.shape
        shifted = [padded[y : y + h, x : x + w] for y in range(3) for x in range(3)]
        bits = np.bitwise_or.reduce(shifted)
    return bits


def visible_score(score: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """float32 (h, w) at `size`, stretched so that `threshold` becomes VISIBLE; nan: zeros."""
    if not np.isfinite(threshold):
        return np.zeros(size, np.float32)
    prob = resize_bicubic(score, size, as_probability).clip(0, 1)
    stretched = VISIBLE + (1 - VISIBLE) * (prob - threshold) / max(1e-6, 1 - threshold)
    return np.where(prob >= threshold, stretched, 0).astype(np.float32)
