"""A comparison as text: tables for the terminal or as Markdown, rows for CSV, plain data for JSON.

The same figures as in the report; in percent for readers, in fractions for programs.
"""

import math
from collections.abc import Sequence

from utils.compare.bootstrap import FEWEST, Comparison, Estimate, Row
from utils.compare.names import column_names
from utils.compare.results import Result
from utils.compare.words import counted, knobs_of, word
from utils.evaluation.text_tables import align_columns, number_or_null, percent

CSV_COLUMNS = (
    *("metric", "variant", "class", "images", "result", "score", "score_low", "score_high"),
    *("difference", "difference_low", "difference_high", "resamples"),
)
END = ("images", "note")  # the last columns
CLEAR = "*"


def title_of(comparison: Comparison) -> str:
    """ "thin: MF (ODS)", or "boundary F as published, 3 px"."""
    title, variant = comparison.measure.title, comparison.variant
    if variant is None:
        return title
    if isinstance(variant, str):
        return f"{variant}: {title}"
    return f"{title}, {variant:g} {'px' if variant >= 1 else 'of the diagonal'}"


def table_rows(
    comparison: Comparison, results: Sequence[Result], baseline: int
) -> list[tuple[str, ...]]:
    """Header, a row per class and the mean, as text, in percent and points of percent."""
    names = column_names([result.name for result in results])
    others = [r for r in range(len(results)) if r != baseline]
    header = ("class", *names, *(f"{names[r]} - {names[baseline]}" for r in others), *END)
    rows: list[tuple[str, ...]] = [header]
    for row in (*comparison.rows, comparison.mean):
        scores = [percent(each.value) for each in row.scores]
        changes = [difference(row.differences[r]) for r in others]
        rows.append((row.name, *scores, *changes, str(row.images), _note(row)))
    return rows


def _note(row: Row) -> str:
    """Why a class has no score, or no interval."""
    if row.images == 0:
        return "no ground truth"
    return "in one image: no interval" if row.images < FEWEST else ""


def mean_rows(
    comparisons: Sequence[Comparison], results: Sequence[Result], baseline: int
) -> list[tuple[str, ...]]:
    """Header and a row per result: the mean of each measure, and its difference to the baseline."""
    titles = [title_of(each) for each in comparisons]
    names = column_names([result.name for result in results])
    to_base = f"to {names[baseline]}"
    rows = [("result", *(cell for title in titles for cell in (title, to_base)))]
    for r, name in enumerate(names):
        cells = [
            cell
            for each in comparisons
            for cell in (percent(each.mean.scores[r].value), difference(each.mean.differences[r]))
        ]
        rows.append((name, *cells))
    return rows


def difference(estimate: Estimate) -> str:
    """ "+1.20 [+0.31, +2.64]*" in points of percent; "-" if there is none."""
    if not math.isfinite(estimate.value):
        return "-"
    if not math.isfinite(estimate.low):
        return f"{100 * estimate.value:+.2f}"
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:+.2f} [{low:+.2f}, {high:+.2f}]{CLEAR * estimate.is_clear}"


def protocol_line(result: Result) -> str:
    """The knobs that were the same for all, in one line."""
    shown = [f"{name} {word(v)}" for name, v in knobs_of(result).items() if v is not None]
    truth = [str(result.source[key]) for key in ("dataset", "split") if result.source.get(key)]
    return ", ".join([" ".join(truth), *shown]) if truth else ", ".join(shown)


def meaning_line(images: int, samples: int, level: float, seed: int) -> str:
    """What the brackets are."""
    return (
        f"in brackets: {100 * level:g} % interval of the difference, paired bootstrap over "
        f"{counted(images, 'image')}, {samples} resamples, seed {seed}; {CLEAR}: 0 lies outside"
    )


def scored_by_any(comparisons: Sequence[Comparison]) -> tuple[list[Comparison], list[str]]:
    """Those that any of the results has, and a line about the others, whose tables are empty."""
    kept = [each for each in comparisons if any(each.scored)]
    empty = [title_of(each) for each in comparisons if not any(each.scored)]
    why = "every result is edge or no edge, without probabilities"
    return kept, [f"{' and '.join(empty)} left out: {why}"] if empty else []


def text_table(title: str, rows: Sequence[Sequence[str]], *, foot: bool) -> str:
    """A table for the terminal. rows: the header first; with `foot` the last is the mean."""
    # A difference without a star is as wide as one with it.
    padded = [[f"{cell} " if cell.endswith("]") else cell for cell in row] for row in rows]
    return f"{title}\n{align_columns(padded, foot=foot)}"


def markdown_table(title: str, rows: Sequence[Sequence[str]], *, foot: bool) -> str:
    """The same table in Markdown, the mean in bold."""
    header, *body = rows
    if foot:
        body[-1] = [cell and f"**{cell}**" for cell in body[-1]]
    rule = ["---" if cell in ("class", "result", "note") else "---:" for cell in header]
    shown = (
        f"| {' | '.join(_markdown_cell(cell) for cell in line)} |" for line in (header, rule, *body)
    )
    return "\n".join([f"**{title}**", "", *shown])


def _markdown_cell(cell: str) -> str:
    """A bar would end the cell, and the star of a clear difference begin slanted text."""
    return cell.replace("|", "\\|").replace(f"]{CLEAR}", f"]\\{CLEAR}")


def csv_rows(comparisons: Sequence[Comparison], results: Sequence[Result]) -> list[list[object]]:
    """CSV_COLUMNS and a row for each measure, class and result; empty where there is no figure."""
    rows: list[list[object]] = [[*CSV_COLUMNS]]
    for each in comparisons:
        variant = "" if each.variant is None else each.variant
        for row in (*each.rows, each.mean):
            for result, score, change in zip(results, row.scores, row.differences, strict=True):
                figures = [*_figures(score), *_figures(change)]
                shown = [repr(v) if math.isfinite(v) else "" for v in figures]
                start = [each.measure.key, variant, row.name, row.images, result.name]
                rows.append([*start, *shown, row.resamples])
    return rows


def _figures(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def plain(comparison: Comparison, results: Sequence[Result]) -> dict[str, object]:
    """A measure's part of `compare.json`."""
    return {
        "metric": comparison.measure.key,
        "variant": comparison.variant,
        "mean": _plain_row(comparison.mean, results),
        "classes": [_plain_row(row, results) for row in comparison.rows],
    }


def _plain_row(row: Row, results: Sequence[Result]) -> dict[str, object]:
    """In fractions; null where there is no figure, as for the baseline's own difference."""
    found = zip(results, row.scores, row.differences, strict=True)
    return {
        "name": row.name,
        "images": row.images,
        "resamples": row.resamples,
        "results": [
            {"name": result.name, "score": _plain(score), "difference": _plain(change)}
            for result, score, change in found
        ],
    }


def _plain(estimate: Estimate) -> dict[str, float | None] | None:
    if not math.isfinite(estimate.value):
        return None
    names = ("value", "low", "high")
    return dict(zip(names, map(number_or_null, _figures(estimate)), strict=True))
