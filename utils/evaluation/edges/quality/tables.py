"""Crispness and calibration as a table for the terminal, files, and a section of the report."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.files import write_aside
from utils.edge_metrics.calibration import Reliability, reliability
from utils.evaluation.edges.quality.calibration import CalibrationScores
from utils.evaluation.edges.quality.crispness import CrispnessScores
from utils.evaluation.edges.quality.temperature import FittedTemperature
from utils.evaluation.edges.scores import BINARY, NO_TRUTH
from utils.evaluation.html import Line, at, cards, hex_color, plot, section, table
from utils.evaluation.text_tables import align_columns, percent, write_csv_rows

Rows = list[tuple[str, ...]]
QUALITY_FILES = ("crispness.csv", "calibration.csv", "temperature.json")
FIGURES: dict[str, Callable[[Reliability], float]] = {
    "ECE": lambda curve: curve.ece,
    "mean probability": lambda curve: curve.mean_probability,
    "true edges": lambda curve: curve.true_share,
}


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured beside matched pixels; None for what was not asked for."""

    names: tuple[str, ...]
    crispness: CrispnessScores | None = None
    calibration: CalibrationScores | None = None
    temperature: FittedTemperature | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was asked for."""
        return self.crispness is None and self.calibration is None

    def to_plain(self) -> dict[str, object]:
        """The parts of `metrics.json`."""
        parts = {"crispness": self.crispness, "calibration": self.calibration}
        return {name: part.to_plain() for name, part in parts.items() if part is not None}


def quality_table(quality: Quality) -> Rows:
    """The header, a row for each class and the mean, as text; figures in percent."""
    columns = [["class", *quality.names, "mean"]]
    notes = ["note", *[""] * len(quality.names), ""]
    if crisp := quality.crispness:
        columns.append(["crispness", *map(percent, crisp.values), percent(crisp.mean)])
    if calibration := quality.calibration:
        curves = calibration.curves()
        every = range(len(quality.names))
        for title, figure in FIGURES.items():
            cells = [percent(figure(curves[k])) if k in curves else "-" for k in every]
            mean = percent(calibration.mean_ece) if title == "ECE" else ""
            columns.append([title, *cells, mean])
        if calibration.binary:
            notes[-1] = BINARY
        else:
            notes = ["note", *("" if k in curves else NO_TRUTH for k in every)]
            notes.append(f"ECE of {len(curves)} classes")
    return list(zip(*columns, notes, strict=True))


def format_quality(quality: Quality) -> str:
    """The table for the terminal; "" if nothing was measured."""
    if quality.empty:
        return ""
    parts = ["\ncrispness and calibration", align_columns(quality_table(quality), foot=True)]
    if quality.temperature:
        parts.append(quality.temperature.describe())
    return "\n".join(parts)


def write_quality(folder: Path, quality: Quality, source: Mapping[str, object]) -> None:
    """Write `crispness.csv`, `calibration.csv` and `temperature.json`, as far as was asked for.

    What an earlier run has left of the others is removed: it is not of these scores. source: what
    was scored against what, and how, for the last one.
    """
    for name in QUALITY_FILES:
        (folder / name).unlink(missing_ok=True)
    if quality.crispness:
        write_csv_rows(folder / "crispness.csv", quality.crispness.csv_rows())
    if quality.calibration:
        write_csv_rows(folder / "calibration.csv", quality.calibration.csv_rows())
    if quality.temperature:
        contents = quality.temperature.to_plain(source)
        with write_aside(folder / "temperature.json") as aside:
            text = json.dumps(contents, indent=2, allow_nan=False)
            aside.write_text(text + "\n", encoding="utf-8")


def quality_section(quality: Quality, palette: np.ndarray) -> str:
    """The section of the report. palette: uint8 (K, 3), a colour for each class."""
    colors = [hex_color(color) for color in palette]
    header, *rows, foot = quality_table(quality)
    shown, plots = [], []
    if quality.crispness:
        shown.append(("average crispness", percent(quality.crispness.mean)))
    if calibration := quality.calibration:
        shown.append(("mean ECE", percent(calibration.mean_ece)))
        if calibration.counted:
            title = "Share of true edges over probability; dotted: calibrated"
            plots.append(_reliability_plot(title, calibration, colors, {}))
    if calibration and (fitted := quality.temperature):
        common = fitted.common.temperature
        shown += [
            ("temperature", f"{common:g}"),
            ("mean ECE with it", percent(fitted.common.ece[1])),
        ]
        own = {k: found.temperature for k, found in (fitted.own or {}).items()}
        used = dict.fromkeys(calibration.counted, common) | own
        title = "The same with each class's temperature" if own else "The same with the temperature"
        plots.append(_reliability_plot(title, calibration, colors, used))
    return section(
        "Crispness and calibration",
        cards(shown),
        f"<div class=plots>{''.join(plots)}</div>" if plots else "",
        table(header, rows, colors, bar=1, foot=foot),
    )


def _reliability_plot(
    title: str,
    calibration: CalibrationScores,
    colors: list[str],
    temperatures: Mapping[int, float],
) -> str:
    """Each class's curve; without a temperature, as it is."""
    lines = []
    for k in calibration.counted:
        curve = reliability(calibration.counts[k], temperatures.get(k, 1.0))
        there = curve.pixels > 0
        points = np.stack([curve.mean, curve.share], axis=1)[there]
        name = f"{calibration.names[k]}: ECE {100 * curve.ece:.2f} %"
        lines.append(Line(calibration.names[k], name, colors[k], points))
    diagonal = f'<polyline class=iso points="{at(0, 0)} {at(1, 1)}"/>'
    return plot(title, "probability", "true edges", lines, below=diagonal)
