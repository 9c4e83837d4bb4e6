"""What is said about a data set: one sentence, its count and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_NAMES = 200  # that a finding keeps


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        text: a sentence with the count.
        advice: what to do.
        names: of the files, or values, that it is about; the first ones if there are very many.
        is_problem: it has to be mended; False: it has to be looked at.
    """

    text: str
    advice: str = ""
    names: tuple[str, ...] = ()
    is_problem: bool = True


def finding(
    text: str, advice: str = "", names: Iterable[str] = (), *, is_problem: bool = True
) -> Finding:
    """A Finding with at most MAX_NAMES names, and the number of those that are left out."""
    kept = list(names)
    more = len(kept) - MAX_NAMES
    if more > 0:
        kept = [*kept[:MAX_NAMES], f"and {more:,} more"]
    return Finding(text, advice, tuple(kept), is_problem)


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 image", "2 images"; many: the plural, if it does not end in s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def are(count: int) -> str:
    """ "is" or "are"."""
    return "is" if count == 1 else "are"


def have(count: int) -> str:
    """ "has" or "have"."""
    return "has" if count == 1 else "have"
