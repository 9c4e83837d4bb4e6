"""A forest plot: each difference as a point on its interval, a line per class, as SVG."""

from collections.abc import Sequence
from html import escape

import numpy as np

from utils.compare.bootstrap import Comparison, Estimate, Row
from utils.compare.tables import difference
from utils.evaluation.text_tables import shortened_name

LEFT, WIDTH, TOP, STEP = 150, 400, 8, 13  # units of the SVG
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
    reach = _reach([row.differences[r] for row in rows for r in others])
    height = STEP * (len(others) + 1)
    drawn = [
        _line(row, TOP + i * height, others, colors, reach, last=i == len(rows) - 1)
        for i, row in enumerate(rows)
    ]
    bottom = TOP + len(rows) * height
    axis = _axis(reach, bottom)
    return (
        f"<figure class=forest><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {LEFT + WIDTH + 24} {bottom + 24}" role=img '
        f'aria-label="{escape(title)}">{axis}{"".join(drawn)}</svg></figure>'
    )


def _reach(estimates: Sequence[Estimate]) -> float:
    """Half the width of the axis, in points of percent: all intervals lie inside."""
    ends = [value for each in estimates for value in (each.value, each.low, each.high)]
    largest = 100 * np.nanmax(np.abs(ends))
    return max(0.1, float(largest) * 1.05)


def _x(value: float, reach: float) -> float:
    """The place of a difference, given as a fraction."""
    return LEFT + WIDTH / 2 * (1 + 100 * value / reach)


def _axis(reach: float, bottom: float) -> str:
    """Grid lines at round numbers, with the line of no difference."""
    step = 10.0 ** np.floor(np.log10(reach))
    step = next(step * m for m in (0.2, 0.5, 1, 2, 5) if reach / (step * m) <= 4)
    ticks = np.arange(-np.floor(reach / step), np.floor(reach / step) + 1) * step
    parts = []
    for tick in ticks:
        x = _x(tick / 100, reach)
        kind = "zero" if abs(tick) < step / 2 else "grid"
        parts.append(f'<path class={kind} d="M{x:.1f} {TOP}V{bottom}"/>')
        label = "0" if kind == "zero" else f"{tick:+g}"
        parts.append(f"<text class=tick x={x:.1f} y={bottom + 16}>{label}</text>")
    return "".join(parts)


def _line(
    row: Row, top: float, others: Sequence[int], colors: Sequence[str], reach: float, *, last: bool
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
            low, high = (f"{_x(end, reach):.1f}" for end in (each.low, each.high))
            parts.append(f'<polyline points="{low},{y} {high},{y}" stroke="{colors[r]}"/>')
        parts.append(f'<circle cx={_x(each.value, reach):.1f} cy={y} r=4 fill="{colors[r]}"/>')
    shown = "; ".join(difference(row.differences[r]).strip() for r in others)
    title = f"<title>{escape(row.name)}: {escape(shown)}</title>"
    return f'<g class=curve data-key="{escape(row.name)}">{title}{"".join(parts)}</g>'
