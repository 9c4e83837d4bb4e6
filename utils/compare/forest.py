"""A forest plot: each difference as a point on its interval, a line per class, as SVG."""

from collections.abc import Sequence
from html import escape

import numpy as np

from utils.compare.bootstrap import Comparison, Estimate, Row
from utils.compare.tables import difference
from utils.evaluation.text_tables import shortened_name

LEFT, WIDTH, TOP, STEP = 140, 440, 8, 13  # units of the SVG
MOST_TICKS = 8
LONGEST_LABEL = 22  # characters


def forest_plot(comparison: Comparison, baseline: int, colors: Sequence[str], title: str) -> str:
    """HTML of the figure; "" if there is no difference to show.

    Args:
        comparison: Its differences.
        baseline: Index of the result that they are to.
        colors: Of the results, as CSS.
        title: Caption, and what a screen reader says.
    """
    others = [r for r in range(len(colors)) if r != baseline and comparison.scored[r]]
    rows = [*comparison.rows, comparison.mean]
    rows = [row for row in rows if any(np.isfinite(row.differences[r].value) for r in others)]
    if not others or not rows:
        return ""
    ends = _ends([row.differences[r] for row in rows for r in others])
    height = STEP * (len(others) + 1)
    drawn = [
        _line(row, TOP + i * height, others, colors, ends, last=i == len(rows) - 1)
        for i, row in enumerate(rows)
    ]
    bottom = TOP + len(rows) * height
    axis = _axis(ends, bottom)
    return (
        f"<figure class=forest><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {LEFT + WIDTH + 24} {bottom + 24}" role=img '
        f'aria-label="{escape(title)}">{axis}{"".join(drawn)}</svg></figure>'
    )


def _ends(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Both ends of the axis, in points of percent: 0 and all intervals lie inside."""
    found = [100 * value for each in estimates for value in (each.value, each.low, each.high)]
    low, high = min(0.0, float(np.nanmin(found))), max(0.0, float(np.nanmax(found)))
    margin = max(0.05, 0.05 * (high - low))
    return low - margin, high + margin


def _x(value: float, ends: tuple[float, float]) -> float:
    """The place of a difference, given as a fraction."""
    low, high = ends
    return LEFT + WIDTH * (100 * value - low) / (high - low)


def _axis(ends: tuple[float, float], bottom: float) -> str:
    """Grid lines at round numbers, with the line of no difference."""
    low, high = ends
    power = 10.0 ** np.floor(np.log10(high - low))
    step = next(
        power * m for m in (0.1, 0.2, 0.5, 1, 2) if (high - low) / (power * m) <= MOST_TICKS
    )
    parts = []
    for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1):
        x = _x(number * step / 100, ends)
        parts.append(f'<path class={"grid" if number else "zero"} d="M{x:.1f} {TOP}V{bottom}"/>')
        label = f"{number * step:+.6g}" if number else "0"
        parts.append(f"<text class=tick x={x:.1f} y={bottom + 16}>{label}</text>")
    return "".join(parts)


def _line(
    row: Row,
    top: float,
    others: Sequence[int],
    colors: Sequence[str],
    ends: tuple[float, float],
    *,
    last: bool,
) -> str:
    """The label of a class and its intervals; the last line is the mean."""
    label = shortened_name(row.name)
    label = label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
    middle = top + STEP * (len(others) + 1) / 2
    weight = " font-weight=600" if last else ""
    parts = [f'<text class="tick left" x={LEFT - 10} y={middle + 4}{weight}>{escape(label)}</text>']
    for place, r in enumerate(others, start=1):
        each, y = row.differences[r], top + STEP * place
        if not np.isfinite(each.value):
            continue
        if np.isfinite(each.low):
            low, high = (f"{_x(end, ends):.1f}" for end in (each.low, each.high))
            parts.append(f'<polyline points="{low},{y} {high},{y}" stroke="{colors[r]}"/>')
        parts.append(f'<circle cx={_x(each.value, ends):.1f} cy={y} r=4 fill="{colors[r]}"/>')
    shown = "; ".join(difference(row.differences[r]).strip() for r in others)
    title = f"<title>{escape(row.name)}: {escape(shown)}</title>"
    return f'<g class=curve data-key="{escape(row.name)}">{title}{"".join(parts)}</g>'
