"""The report of a comparison, `compare.html`: tables, intervals and curves in one file."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from data.visualize import distinct_colors
from utils.compare.bootstrap import Comparison
from utils.compare.curves import curve_plots, legend
from utils.compare.forest import forest_plot
from utils.compare.results import Result
from utils.compare.tables import mean_rows, protocol_line, table_rows, title_of
from utils.evaluation.html import facts, hex_color, section, table, write_page

# Okabe & Ito, "Color universal design", 2008: distinct with any kind of colour vision. Without
# black and yellow, which are lost on a dark or a light page.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

ORIGIN = ("checkpoint", "predictions", "variant")  # of `source`, what says what was scored


def write_report(
    path: Path,
    comparisons: Sequence[Comparison],
    results: Sequence[Result],
    baseline: int,
    meaning: str,
    notes: Sequence[str],
) -> None:
    """Write the page.

    Args:
        path: Where to.
        comparisons: Of all measures, modes and bounds that any of the results has.
        results: What was compared.
        baseline: Index of the result that differences are to.
        meaning: What the intervals are.
        notes: What was left out, and what differs.
    """
    colors = result_colors(len(results))
    sections = [_results_section(comparisons, results, baseline, colors, notes)]
    for each in comparisons:
        sections.append(_comparison_section(each, results, baseline, colors, meaning))
    if results[0].task == "edge":
        for mode, name in enumerate(results[0].variants):
            title = f"{name.capitalize()}: precision over recall; point: best F (ODS)"
            sections.append(section(title, curve_plots(results, mode, colors)))
    lead = " / ".join(result.name for result in results)
    write_page(path, "Comparison", lead, sections)


def result_colors(count: int) -> list[str]:
    """A colour for each result."""
    if count <= len(COLORS):
        return [*COLORS[:count]]
    return [hex_color(color) for color in distinct_colors(count)]


def _results_section(
    comparisons: Sequence[Comparison],
    results: Sequence[Result],
    baseline: int,
    colors: Sequence[str],
    notes: Sequence[str],
) -> str:
    """What was compared, with the means."""
    first = results[0]
    header, *rows = mean_rows(comparisons, results, baseline)
    origins = [
        " ".join(str(result.source[key]) for key in ORIGIN if result.source.get(key))
        for result in results
    ]
    # The differences are in the sections below: with them this table would be too wide.
    shown = [
        (result.name, *row[1::2], of)
        for result, row, of in zip(results, rows, origins, strict=True)
    ]
    header = (header[0], *header[1::2], "from")
    knobs: dict[str, Any] = {"images": len(first.images), "protocol": protocol_line(first)}
    if notes:
        knobs["notes"] = "; ".join(notes)
    body = table(header, shown, colors, bar=0, foot=[""] * len(header))
    return section("What is compared: means in percent", facts(knobs), body)


def _comparison_section(
    comparison: Comparison,
    results: Sequence[Result],
    baseline: int,
    colors: Sequence[str],
    meaning: str,
) -> str:
    """The plot of the differences, and the table."""
    header, *rows, foot = table_rows(comparison, results, baseline)
    title = f"Difference to {results[baseline].name} in points of percent"
    forest = forest_plot(comparison, baseline, colors, title)
    others = [r for r in range(len(results)) if r != baseline and comparison.scored[r]]
    names = legend([results[r] for r in others], [colors[r] for r in others]) if forest else ""
    plain = [""] * len(rows)  # classes have no colour here
    body = table(header, rows, plain, bar=0, foot=foot)
    return section(title_of(comparison), names, forest, body, f"<p>{escape(meaning)}</p>")
