"""A whole report: from a source to all that the table and the page show."""

from collections.abc import Sequence
from dataclasses import dataclass

from data.inspect import findings
from data.inspect.duplicates import Twins, can_hash, near_twins, same_content
from data.inspect.finding import Finding
from data.inspect.measure import Measured, Task, measure_task
from data.inspect.source import Source
from data.inspect.summary import SplitSummary, Totals
from data.inspect.suspects import Choice, choose
from data.inspect.thumbnails import (
    PAGE_BYTES,
    TWIN_SIDE,
    Thumbnail,
    ThumbnailTask,
    make_thumbnail,
    side_for,
)
from data.inspect.work import run_tasks

CHUNK = 8  # images per task
MAX_PAIRS = 12  # of near-duplicates and copies that are shown
JPEG_SHARE = 0.5  # of a thumbnail's bytes; the rest are its layers


@dataclass(frozen=True)
class Report:
    """All that is shown of a data set.

    Args:
        source: it.
        measured: each image, in the order of its items.
        splits: each split.
        total: all together.
        findings: the problems first.
        pairs: near-duplicates and copies to show, with their images.
        choices: the images of the contact sheet.
        thumbnails: by number of item, of `choices`; those that cannot be read are missing.
        pair_images: the same, of `pairs`.
    """

    source: Source
    measured: Sequence[Measured]
    splits: Sequence[SplitSummary]
    total: SplitSummary
    findings: Sequence[Finding]
    pairs: Sequence[Twins]
    choices: Sequence[Choice]
    thumbnails: dict[int, Thumbnail]
    pair_images: dict[int, Thumbnail]

    def problems(self) -> int:
        """The number of findings that have to be mended."""
        return sum(one.is_problem for one in self.findings)


def make_report(source: Source, *, sheet: int = 48, workers: int = 1) -> Report:
    """Look at all images of a source.

    Args:
        source: what to look at.
        sheet: images of the contact sheet.
        workers: processes.
    """
    hashing = can_hash()
    measured, totals = measure_all(source, hashing=hashing, workers=workers)
    splits, total = list(totals.splits.values()), totals.total
    once = _once(source, measured)
    groups = same_content([found.digest for found in measured])
    twins = _near(source, measured) if hashing else None
    found = [
        *source.findings,
        *findings.find_faults(source, once),
        *findings.find_values(source, total),
        *findings.find_classes(source, splits, total),
        *findings.find_same(source, groups),
        *findings.find_near(source, twins),
        *findings.find_specks(source, once),
        *findings.find_suspects(source, once),
    ]
    found.sort(key=lambda one: not one.is_problem)
    copies = [pair for group in groups if (pair := _pair_of(source, group))]
    pairs = [*copies, *(twins or [])][:MAX_PAIRS]
    choices = choose(source, once, total, sheet)
    side = side_for(len(choices))
    thumbnails = draw(source, [choice.number for choice in choices], side, workers)
    shown = dict.fromkeys(number for pair in pairs for number in pair[:2])
    small = draw(source, list(shown), TWIN_SIDE, workers, with_label=False)
    return Report(source, measured, splits, total, found, pairs, choices, thumbnails, small)


def _once(source: Source, measured: Sequence[Measured]) -> list[Measured]:
    """Each image once, also where two splits have it."""
    records = [source.items[found.number].record for found in measured]
    files = [record.image or record.label for record in records]
    first = {file: number for number, file in reversed(list(enumerate(files)))}
    return [found for n, found in enumerate(measured) if first[files[n]] == n]


def measure_all(source: Source, *, hashing: bool, workers: int) -> tuple[list[Measured], Totals]:
    """Measure each item, in order, and add up; see `make_report`."""
    tasks: list[Task] = []
    numbered = list(enumerate(source.items))
    for split, reader in source.readers.items():
        records = [(number, item.record) for number, item in numbered if item.split == split]
        tasks += [
            Task(reader, records[first : first + CHUNK], source.edge_classes, hashing)
            for first in range(0, len(records), CHUNK)
        ]
    measured: list[Measured] = []
    totals = Totals(source)
    for part in run_tasks(measure_task, tasks, workers, "looking at images", CHUNK):
        for found in part:
            totals.add(source.items[found.number], found)
            measured.append(found)
    return measured, totals


def draw(
    source: Source, numbers: Sequence[int], side: int, workers: int, *, with_label: bool = True
) -> dict[int, Thumbnail]:
    """The thumbnails of items, by their numbers; see `ThumbnailTask`."""
    limit = int(JPEG_SHARE * PAGE_BYTES * 3 / 4 / max(1, len(numbers)))  # 3/4: base64
    tasks = [
        ThumbnailTask(
            number,
            source.readers[source.items[number].split],
            source.items[number].record,
            source.edge_classes,
            side,
            limit,
            with_label,
        )
        for number in numbers
    ]
    made = run_tasks(make_thumbnail, tasks, workers, "drawing")
    return {thumbnail.number: thumbnail for thumbnail in made if thumbnail is not None}


def _near(source: Source, measured: Sequence[Measured]) -> list[Twins]:
    """Near-duplicates that are not copies: those are said by themselves."""
    twins = near_twins([found.code for found in measured], [item.split for item in source.items])
    return [pair for pair in twins if measured[pair.first].digest != measured[pair.second].digest]


def _pair_of(source: Source, group: Sequence[int]) -> Twins | None:
    """Two images of a group of copies, of two splits; None for copies within one."""
    first = group[0]
    for other in group[1:]:
        one, two = source.items[first], source.items[other]
        if one.split != two.split and one.record.image != two.record.image:
            return Twins(first, other, 0)
    return None
