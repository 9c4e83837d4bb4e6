"""What is said at the end of an import: how much there is of each class, and what comes next."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.dataset_file import DatasetFile
from data.importer.state import Made


def print_summary(content: DatasetFile, made: Sequence[Made], notes: Iterable[str]) -> None:
    """Print a table of the classes, and what could not be taken or drawn.

    Args:
        content: of dataset.json.
        made: all images below OUT.
        notes: lines for the user.
    """
    print("\n".join(_table(content, made)))
    drawn: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for one in made:
        drawn.update(one.notes)
        images.update(one.notes.keys())
    for note, count in sorted(drawn.items()):
        print(f"note: {note}: {count} in {images[note]} images")
    if empty := sum(not one.classes for one in made):
        print(f"note: images without a pixel of any class: {empty}")
    for note in notes:
        print(f"note: {note}")


def print_next(out: Path) -> None:
    """Print the command that comes next."""
    print(f"next: python -m data.inspect --dataset folder --data-root {_quoted(out)}")


def _table(content: DatasetFile, made: Sequence[Made]) -> list[str]:
    """Lines of the columns class, objects, images, and the share of all labelled pixels."""
    objects: Counter[int] = Counter()
    images: Counter[int] = Counter()
    pixels: Counter[int] = Counter()
    for one in made:
        for number, (count, area) in one.classes.items():
            objects[number] += count
            images[number] += 1
            pixels[number] += area
    total = sum(pixels.values())
    with_objects = any(one.instance for one in made)
    rows = [("class", "objects", "images", "of labelled pixels")]
    for entry in content.classes:
        counts = [sum(c[v] for v in entry.values) for c in (objects, images, pixels)]
        share = f"{100 * counts[2] / total:.2f}%" if total else "-"
        rows.append((entry.name, str(counts[0]) if with_objects else "-", str(counts[1]), share))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [
        "  ".join((row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]))) for row in rows
    ]
    never = [row[0] for row in rows[1:] if row[2] == "0"]
    if never:
        lines.append(f"note: classes that never occur: {', '.join(never)} ({len(never)})")
    return lines


def _quoted(path: Path) -> str:
    text = str(path)
    return f'"{text}"' if " " in text else text
