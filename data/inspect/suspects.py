"""Which images to look at first, and why."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from data.inspect.finding import plural
from data.inspect.measure import WRONG_SIZE, Measured
from data.inspect.regions import MAX_GAP, NONE
from data.inspect.source import Source, equally_spaced
from data.inspect.summary import SplitSummary

LOW_SCORE = 0.5  # of the border's fit to the image's edges
LARGE_GAP = 0.05  # share of the image's border
FEW = 3  # specks whose places are said
SUSPECT_SHARE = 2 / 3  # of the contact sheet; the rest are ordinary images


class Reason(NamedTuple):
    """Why an image is suspect. kind: of reason. badness: more is worse, among those of its kind."""

    kind: str
    text: str
    badness: float


class Choice(NamedTuple):
    """An image of the contact sheet; without reasons it is an ordinary one."""

    number: int
    reasons: tuple[str, ...] = ()


def reasons_of(found: Measured, source: Source, total: SplitSummary) -> list[Reason]:
    """Why an image is suspect, in words; none for most images."""
    reasons = [
        Reason("size", fault.text, 1.0) for fault in found.faults if fault.kind == WRONG_SIZE
    ]
    if found.turned:
        reasons.append(Reason("turned", "stored turned, as its EXIF data say", 1.0))
    if found.fit is not None and found.fit.score < LOW_SCORE:
        hits, chance = (round(100 * share) for share in found.fit)
        text = (
            f"the label's border touches few image edges: {hits} % of it lie near one, "
            f"{chance} % of all pixels do (score {found.fit.score:.2f})"
        )
        reasons.append(Reason("fit", text, 1 - found.fit.score))
    for kind, counts, noun in (
        ("islands", found.island_counts, "island of one pixel|islands of one pixel"),
        ("specks", found.speck_counts, "speck|specks"),
    ):
        if counts:
            said = plural(counts.total(), *noun.split("|"))
            where = _where(found, source, counts, islands=kind == "islands")
            reasons.append(Reason(kind, f"{said}: {where}", counts.total()))
    if found.gap > LARGE_GAP:
        text = (
            f"classes end 1 to {MAX_GAP} pixels before {100 * found.gap:.0f} % of the image's "
            "border"
        )
        reasons.append(Reason("gap", text, found.gap))
    reasons += [
        Reason("once", f"the only image with {source.classes[k]}", 1 / counts.pixels)
        for k, counts in found.classes.items()
        if total.classes[k].images == 1 and total.labelled > 1
    ]
    return reasons


def _where(found: Measured, source: Source, counts: Counter[int], *, islands: bool) -> str:
    """The places of a few specks, or how many there are of each class."""

    def name(label: int) -> str:
        return "no class" if label == NONE else source.classes[label]

    shown = [speck for speck in found.specks if (speck.area == 1) == islands]
    if counts.total() > FEW or len(shown) < counts.total():
        return ", ".join(f"{name(k)} {count:,}" for k, count in counts.most_common(3))
    return ", ".join(
        f"{name(speck.label)} at column {speck.x}, row {speck.y}"
        + ("" if islands else f" ({speck.area} pixels)")
        for speck in shown
    )


def choose(
    source: Source, measured: Sequence[Measured], total: SplitSummary, count: int
) -> list[Choice]:
    """The images of a contact sheet: the worst suspects first, then ordinary ones of each split.

    The worst of each kind of reason come first, then the second worst, and so on; an image with
    several reasons stands where its worst one puts it.
    """
    shown = [found for found in measured if not found.is_broken()]
    suspects = _rank(shown, source, total)
    ordinary = [found for found in shown if found.number not in suspects]
    kept = min(len(suspects), max(count - len(ordinary), round(SUSPECT_SHARE * count)))
    choices = [Choice(number, suspects[number]) for number in list(suspects)[:kept]]
    room = max(0, count - len(choices))
    by_split: defaultdict[str, list[int]] = defaultdict(list)
    for found in ordinary:
        by_split[source.items[found.number].split].append(found.number)
    shares = _deal(room, {split: len(numbers) for split, numbers in by_split.items()})
    for split, numbers in by_split.items():
        if shares[split]:
            places = equally_spaced(len(numbers), shares[split])
            choices += [Choice(numbers[place]) for place in places]
    return choices


def _rank(
    measured: Sequence[Measured], source: Source, total: SplitSummary
) -> dict[int, tuple[str, ...]]:
    """Number of item -> its reasons, the worst image first."""
    reasons = {found.number: reasons_of(found, source, total) for found in measured}
    by_kind: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for number, given in reasons.items():
        for kind in {reason.kind for reason in given}:
            worst = max(reason.badness for reason in given if reason.kind == kind)
            by_kind[kind].append((-worst, number))
    place: dict[int, tuple[int, int]] = {}
    for rows in by_kind.values():
        for rank, (_, number) in enumerate(sorted(rows)):
            several = -len(reasons[number])
            place[number] = min(place.get(number, (rank, several)), (rank, several))
    ordered = sorted(place, key=lambda number: (*place[number], number))
    return {number: tuple(reason.text for reason in reasons[number]) for number in ordered}


def _deal(room: int, sizes: dict[str, int]) -> Counter[str]:
    """How many images each split gives, in turn, until there is no room or no image left."""
    given: Counter[str] = Counter()
    while given.total() < min(room, sum(sizes.values())):
        for split, size in sizes.items():
            if given[split] < size and given.total() < room:
                given[split] += 1
    return given
