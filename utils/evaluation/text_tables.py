"""Scores as text, for both tasks: tables for the terminal, CSV files, numbers for JSON."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data.files import write_aside

LONGEST_NAME = 40  # columns of the terminal for the name of a class


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
    rows = [(shortened_name(row[0]), *row[1:]) for row in rows]
    widths = [max(columns_of(row[column]) for row in rows) for column in range(len(header))]
    lines = []
    for row in rows:
        cells = [
            _padded(cell, width, left=column == 0 or header[column] == "note")
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    # The rule is as wide as the widest line with its trailing blanks.
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    if not foot:
        return "\n".join([lines[0], rule, *lines[1:]])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def shortened_name(name: str) -> str:
    """A name that takes at most LONGEST_NAME columns of the terminal."""
    if columns_of(name) <= LONGEST_NAME:
        return name
    while columns_of(name) >= LONGEST_NAME:
        name = name[:-1]
    return f"{name}…"


def columns_of(text: str) -> int:
    """The columns of a terminal that a text takes: two for Chinese and the like, 0 for accents."""
    return sum(
        0
        if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn")
        else 1 + (unicodedata.east_asian_width(character) in ("W", "F"))
        for character in text
    )


def _padded(text: str, width: int, *, left: bool) -> str:
    blanks = " " * (width - columns_of(text))
    return text + blanks if left else blanks + text


def write_csv_rows(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file, whole or not at all; the first row is its header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with write_aside(path) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8", errors="backslashreplace")
