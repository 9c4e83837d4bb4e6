"""What was measured, as a table for people and as plain data for programs."""

import statistics
from typing import Any

from utils.benchmark.variant import Result

MIB, GIGA = 1 << 20, 1e9
HEADINGS = (
    *("engine", "precision", "size", "batch", "seconds", "(lowest..highest)", "images/s"),
    *("MiB", "GFLOP", "GFLOP/s", "share"),
)


def plain_row(result: Result, rates: dict[str, list[float]]) -> dict[str, Any]:
    """A result as JSON takes it; numbers that there are not are None."""
    variant = result.variant
    row: dict[str, Any] = {
        "engine": variant.engine,
        "precision": variant.precision,
        "height": variant.size[0],
        "width": variant.size[1],
        "batch_size": variant.batch_size,
        "missing": result.missing or None,
    }
    names = ("seconds", "lowest", "highest", "images_per_second", "memory_mib", "gflop")
    row |= dict.fromkeys((*names, "gflop_per_second", "share_of_matrix_rate"))
    if result.missing or not result.seconds:
        return row
    seconds = statistics.median(result.seconds)
    row["seconds"], row["all_seconds"] = seconds, result.seconds
    row["lowest"], row["highest"] = min(result.seconds), max(result.seconds)
    row["images_per_second"] = variant.batch_size / seconds
    if result.memory is not None:
        row["memory_mib"] = result.memory / MIB
    if result.flop is not None:
        row["gflop"] = result.flop / GIGA
        row["gflop_per_second"] = result.flop / seconds / GIGA
        if measured := rates.get(variant.precision):
            row["share_of_matrix_rate"] = result.flop / seconds / statistics.median(measured)
    return row


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The rows below their headings, in columns; a row without numbers ends with the reason."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    numeric = [cell for cell in cells if len(cell) == len(HEADINGS)]
    widths = [max(len(cell[column]) for cell in numeric) for column in range(len(HEADINGS))]
    # Reasons are long, so only the columns before them count for the width.
    for column in range(4):
        widths[column] = max(len(cell[column]) for cell in cells)
    return [
        "  ".join(
            text.ljust(width) if column < 3 else text.rjust(width)
            for column, (text, width) in enumerate(zip(cell, widths, strict=False))
        ).rstrip()
        if len(cell) == len(HEADINGS)
        else "  ".join([*(t.ljust(w) for t, w in zip(cell[:4], widths, strict=False)), cell[4]])
        for cell in cells
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    size = f"{row['height']}x{row['width']}"
    start = (row["engine"], row["precision"], size, str(row["batch_size"]))
    if row["missing"]:
        return (*start, f"missing: {row['missing']}")
    return (
        *start,
        f"{row['seconds']:.3f}",
        f"({row['lowest']:.3f}..{row['highest']:.3f})",
        f"{row['images_per_second']:.2f}",
        _shown(row["memory_mib"], ".0f"),
        _shown(row["gflop"], ".1f"),
        _shown(row["gflop_per_second"], ".1f"),
        _shown(row["share_of_matrix_rate"], ".0%"),
    )


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
