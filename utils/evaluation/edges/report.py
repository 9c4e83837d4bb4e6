"""The report on semantic edges: curves with lines of equal F, a table per mode, the best and the worst images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.imresize import resize_bicubic
from data.visualize import draw_edges
from utils.evaluation.edges.image_counts import as_probability
from utils.evaluation.edges.protocols import Protocol
from utils.evaluation.edges.scores import HEADER, ModeScores, image_scores, table_rows
from utils.evaluation.html import (
    Line,
    at,
    cards,
    facts,
    hex_color,
    image_row,
    plot,
    section,
    table,
    write_page,
)

ODS_COLUMN = 1
VISIBLE = (
    0.5  # probability at which `draw_edges` begins; each class's best threshold is mapped to it
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the report shows of an image.

    image: uint8 (H, W, 3) or None. truth: mode -> bits uint32 (h, w), or (A, h, w) of annotators. scores: (h, w) of
    each class, as stored or float.
    """

    name: str
    image: np.ndarray | None
    truth: dict[str, np.ndarray]
    scores: Sequence[np.ndarray]


def write_report(
    folder: Path,
    scores: Sequence[ModeScores],
    counts: np.ndarray,
    protocol: Protocol,
    origin: dict[str, object],
    palette: np.ndarray,
    *,
    show: Callable[[int], Shown],
    images: int,
) -> None:
    """Write `report.html`.

    counts: int64 (images, M, K, T, 4). show: row of the counts -> what to show of that image. images: so many of
    the best and of the worst.
    """
    knobs = {"protocol": protocol.name} | {
        knob: value for knob, value in protocol.knobs().items() if knob != "name"
    }
    shortened = {
        name: str(value)[:12] if name == "sha256" else value for name, value in origin.items()
    }
    sections = [section("What was scored, and how", facts(shortened), facts(knobs))]
    for mode in scores:
        sections.append(_mode_section(mode, palette))
    quality = image_scores(counts, scores[0], 0)
    order = np.argsort(-quality, kind="stable")
    order = order[np.isfinite(quality[order])]
    best, worst = order[:images], order[max(images, len(order) - images) :][::-1]
    for title, chosen in (
        (f"Best images ({scores[0].mode})", best),
        (f"Worst images ({scores[0].mode})", worst),
    ):
        rows = [_image(show(int(i)), quality[i], scores[0], palette) for i in chosen]
        if rows:
            sections.append(section(title, *rows))
    write_page(folder / "report.html", "Semantic edges", protocol.describe(), sections)


def _mode_section(mode: ModeScores, palette: np.ndarray) -> str:
    colors = [hex_color(color) for color in palette]
    counted = [
        (each, color) for each, color in zip(mode.classes, colors, strict=True) if each.counted
    ]
    mean = {name: f"{100 * mode.mean(figure):.2f}" for name, figure in FIGURES.items() if counted}
    curves, levels = [], []
    for each, color in counted:
        curve, ods = each.summary.curve, each.summary.ods
        name = f"{each.name}: F {100 * ods.f:.1f} at {ods.threshold:.2f}"
        predicted = curve[:, 1:3].any(
            axis=1
        )  # where nothing is predicted, there is no precision to show
        curves.append(
            Line(each.name, name, color, curve[predicted][:, 1:3], (ods.recall, ods.precision))
        )
        levels.append(Line(each.name, name, color, curve[:, [0, 3]], (ods.threshold, ods.f)))
    *rows, foot = table_rows(mode)
    plots = plot(
        "Precision over recall; dotted: equal F; point: best F (ODS)",
        "recall",
        "precision",
        curves,
        below=iso_f_lines(),
    )
    plots += plot("F over threshold", "threshold", "F", levels)
    return section(
        f"{mode.mode.capitalize()} protocol",
        cards(
            [*mean.items(), ("classes with ground truth", f"{len(counted)} of {len(mode.classes)}")]
        ),
        f"<div class=plots>{plots}</div>",
        table(HEADER, rows, colors, bar=ODS_COLUMN, foot=foot),
    )


FIGURES = {"mean MF (ODS)": "ods", "mean MF (OIS)": "ois", "mean AP": "ap"}


def iso_f_lines() -> str:
    """Lines of equal F = 0.1 ... 0.9: precision = F R / (2 R - F), from the right edge to the top."""
    lines = []
    for f in np.arange(1, 10) / 10:
        recall = np.geomspace(f / (2 - f), 1, 60)
        points = " ".join(at(r, f * r / (2 * r - f)) for r in recall)
        x, y = at(1, f / (2 - f)).split(",")
        label = f"<text class=equal x={float(x) + 3:.1f} y={float(y) + 3:.1f}>{f:g}</text>"
        lines.append(f'<polyline class=iso points="{points}"/>{label}')
    return "".join(lines)


def _image(shown: Shown, f: float, mode: ModeScores, palette: np.ndarray) -> str:
    truth = visible_truth(shown.truth)
    size = truth.shape
    prob = np.stack(
        [
            visible_score(score, size, each.summary.ods.threshold)
            for score, each in zip(shown.scores, mode.classes, strict=True)
        ]
    )
    image = (
        None
        if shown.image is None
        else cv2.resize(shown.image, size[::-1], interpolation=cv2.INTER_AREA)
    )
    drawn = [
        ("image", image),
        ("true edges", draw_edges(truth, palette)),
        ("prediction at the best thresholds", draw_edges(prob, palette)),
    ]
    return image_row(f"{shown.name}: F {100 * f:.1f}", drawn)


def visible_truth(truth: dict[str, np.ndarray]) -> np.ndarray:
    """Bits (h, w) to draw: the thick truth if there is one, else the thin one, three pixels wide; annotators joined."""
    bits = truth.get("raw", truth.get("thin"))
    if bits.ndim == 3:
        bits = np.bitwise_or.reduce(bits)
    if "raw" not in truth:
        padded = np.pad(bits, 1)
        h, w = bits.shape
        bits = np.bitwise_or.reduce(
            [padded[y : y + h, x : x + w] for y in range(3) for x in range(3)]
        )
    return bits


def visible_score(score: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """float32 (h, w) at `size`, stretched so that `threshold` becomes VISIBLE; zeros for a class without one."""
    if not np.isfinite(threshold):
        return np.zeros(size, np.float32)
    prob = resize_bicubic(as_probability(score), size).clip(0, 1)
    shown = np.where(
        prob >= threshold,
        VISIBLE + (1 - VISIBLE) * (prob - threshold) / max(1e-6, 1 - threshold),
        0,
    )
    return shown.astype(np.float32)
