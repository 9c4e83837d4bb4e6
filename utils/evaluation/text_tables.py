"""Scores as text, for both tasks: tables for the terminal, CSV files, numbers for JSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data.files import write_aside


def percent(value: float) -> str:
    """A fraction in percent with two digits; "-" for nan."""
    return f"{100 * value:.2f}" if np.isfinite(value) else "-"


def number_or_null(value: float) -> float | None:
    """A number for JSON, which has no nan: null instead."""
    return float(value) if np.isfinite(value) else None


def readable(value: object) -> object:
    """A value for JSON: text that is no UTF-8, such as some files' names, with escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def align_columns(rows: Sequence[Sequence[str]], *, foot: bool = False) -> str:
    """Lay a table out for the terminal.

    rows: the header first; with `foot` the last one is set apart by a rule.
    The first column and the one named "note" are words and stand left, the others are numbers and
    stand right.
    """
    header = rows[0]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column == 0 or header[column] == "note" else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    # The rule is as wide as the widest line with its trailing blanks.
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    if not foot:
        return "\n".join([lines[0], rule, *lines[1:]])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def write_csv_rows(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file, whole or not at all; the first row is its header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with write_aside(path) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8", errors="backslashreplace")
