"""The table on the terminal: a row for each class, splits beside each other where they fit."""

import unicodedata
from collections.abc import Iterable, Sequence

from data.inspect.finding import Finding, plural
from data.inspect.source import Source
from data.inspect.summary import ClassSummary, SplitSummary

WIDTH = 100  # columns
MIN_NAME = 13  # of a class: three splits beside each other leave no more
MAX_NAME = 28
COLUMNS = (("imgs", 5), ("px %", 5), ("inst.", 5), ("wide", 4), ("edges", 5))
GROUP = sum(width + 1 for _, width in COLUMNS)  # of a split, with the line before it
SIZES = 4  # that are listed
SHOWN = 3  # names of a finding


def class_table(source: Source, splits: Sequence[SplitSummary]) -> str:
    """The rows of all classes, in one table or, where that is too wide, in several."""
    longest = max((columns_of(name) for name in source.classes), default=0)
    name = min(max(longest, MIN_NAME), MAX_NAME)
    side_by_side = max(1, (WIDTH - name) // GROUP)
    groups = [splits[n : n + side_by_side] for n in range(0, len(splits), side_by_side)]
    return "\n\n".join(_one_table(source, group, name) for group in groups)


def _one_table(source: Source, splits: Sequence[SplitSummary], name: int) -> str:
    titles = "".join("|" + fit(_title(split, source), GROUP - 1) for split in splits)
    head = " ".join(f"{title:>{width}}" for title, width in COLUMNS)
    lines = [" " * name + titles, fit("class", name) + f"|{head}" * len(splits)]
    lines.append("-" * (name + GROUP * len(splits)))
    for k, label in enumerate(source.classes):
        has_edges = k < source.edge_classes
        cells = "".join("|" + _cells(split, k, has_edges) for split in splits)
        lines.append(fit(label, name) + cells)
    for what, value in (("no class", "none"), ("ignored", "ignored")):
        if any(getattr(split, value) for split in splits):
            cells = "".join(f"|{_share_cell(split, getattr(split, value))}" for split in splits)
            lines.append(fit(f"({what})", name) + cells)
    return "\n".join(line.rstrip() for line in lines)


def _title(split: SplitSummary, source: Source) -> str:
    total = source.totals.get(split.name, split.images)
    of = f" of {total:,}" if total != split.images else ""
    return f" {split.name}: {plural(split.images, 'image')}{of}"


def _cells(split: SplitSummary, k: int, has_edges: bool) -> str:
    counts: ClassSummary = split.classes[k]
    width = counts.median_width()
    shown = (
        short(counts.images),
        percent(split.share(k)) if split.pixels else "-",
        short(counts.instances),
        "-" if width is None else short(width),
        short(counts.edges) if has_edges else "-",
    )
    if not counts.images:
        shown = ("0" if split.labelled else "-", "-", "-", "-", "-")
    return " ".join(f"{cell:>{size}}" for cell, (_, size) in zip(shown, COLUMNS, strict=True))


def _share_cell(split: SplitSummary, pixels: int) -> str:
    share = percent(100 * pixels / split.pixels) if split.pixels else "-"
    shown = ("", share, "", "", "")
    return " ".join(f"{cell:>{size}}" for cell, (_, size) in zip(shown, COLUMNS, strict=True))


def image_lines(total: SplitSummary) -> list[str]:
    """Sizes and kinds of the images, the commonest first."""
    lines = []
    sizes = [(f"{size[1]}x{size[0]}", count) for size, count in total.sizes.most_common()]
    for what, rows in (("sizes", sizes), ("kinds", total.kinds.most_common())):
        if rows:
            shown = ", ".join(f"{name}: {count:,}" for name, count in rows[:SIZES])
            more = f", {len(rows) - SIZES:,} others" if len(rows) > SIZES else ""
            lines.append(f"{what}: {shown}{more}")
    return lines


def percent(share: float) -> str:
    """A percentage with as many digits as say something: "31.7", "0.04", "<.001"."""
    if share >= 10:
        return f"{share:.1f}"
    if share >= 0.1:
        return f"{share:.2f}"
    return f"{share:.3f}" if share >= 0.001 or not share else "<.001"


def short(count: int) -> str:
    """A count in at most five characters: "9999", "123k", "1.2M"."""
    value = float(count)
    for unit in ("", "k", "M", "G"):
        if value < (10_000 if not unit else 1_000):
            break
        value /= 1000
    else:
        unit = "T"
    return f"{value:.0f}{unit}" if not unit or value >= 100 else f"{value:.3g}{unit}"


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: some characters take two, some none."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int) -> str:
    """A text cut or filled to a number of columns."""
    if columns_of(text) <= width:
        return text + " " * (width - columns_of(text))
    kept = ""
    for character in text:
        if columns_of(kept) + _columns(character) > width - 1:
            break
        kept += character
    return f"{kept}…" + " " * (width - columns_of(kept) - 1)


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """One line for each, the problems first."""
    ordered = sorted(findings, key=lambda one: not one.is_problem)
    lines = []
    for one in ordered:
        names = "; ".join(one.names[:SHOWN]) + ("; …" if len(one.names) > SHOWN else "")
        text = f"{'problem' if one.is_problem else 'look'}: {one.text}"
        text += f" {one.advice}" if one.advice else ""
        lines.append(text + (f" [{names}]" if names else ""))
    return lines


def verdict(findings: Sequence[Finding]) -> str:
    """How many problems there are, and things to look at."""
    problems = sum(one.is_problem for one in findings)
    rest = len(findings) - problems
    said = "no problem" if not problems else f"{problems} problem{'s' * (problems > 1)}"
    return f"{said}, {rest} thing{'s' * (rest != 1)} to look at" if rest else said
