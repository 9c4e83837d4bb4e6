"""What tables call the results: as much of their paths as tells them apart."""

from collections.abc import Callable, Sequence
from pathlib import Path

from data.errors import InputError
from utils.evaluation.text_tables import LONGEST_NAME, columns_of

LONG = 30  # characters from which on a path is shortened to what differs
# Folders that test.py writes results to: by themselves, they tell little.
USUAL = ("scores", "edge", "seg", "head", "hard", "soft")
USUAL_END, USUAL_START = "-scores", "max-dist-"


def own_names(folders: Sequence[Path]) -> list[str]:
    """A name for each folder: its own, or as much of its path as tells it from the others.

    InputError if a folder is given twice.
    """
    paths = [folder.resolve() for folder in folders]
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise InputError(f"{folders[place]}: is given twice; give two different results")
    parts = [list(path.parts) for path in paths]
    if len({each[-1] for each in parts}) == len(parts):
        return [each[-1] for each in parts]
    while len({each[0] for each in parts}) == 1 and min(map(len, parts)) > 1:  # above all of them
        parts = [each[1:] for each in parts]
    while len({each[-1] for each in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [each[:-1] for each in parts]
    return ["/".join(_telling(place, parts)) for place in range(len(parts))]


def _telling(place: int, parts: Sequence[list[str]]) -> list[str]:
    """Of a long path, the last folders that are not within any other, as many as are short."""
    own = parts[place]
    if len("/".join(own)) <= LONG:
        return own
    others = [each for other, each in enumerate(parts) if other != place]
    end = len(own)
    while end > 1 and _is_usual(own[end - 1]):
        end -= 1
    for stop in (end, len(own)):
        found = [own[start:stop] for start in range(stop - 1, -1, -1)]
        unique = [each for each in found if not any(_is_within(each, other) for other in others)]
        if unique:
            return [each for each in unique if len("/".join(each)) <= LONG or each is unique[0]][-1]
    return own


def _is_usual(folder: str) -> bool:
    return folder in USUAL or folder.endswith(USUAL_END) or folder.startswith(USUAL_START)


def _is_within(part: list[str], path: list[str]) -> bool:
    return any(path[i : i + len(part)] == part for i in range(len(path) - len(part) + 1))


def column_names(names: Sequence[str], width: int = LONGEST_NAME) -> list[str]:
    """The names, each at most `width` columns of the terminal wide, and no two alike.

    Long ones are cut in the middle, or in front where their ends tell them apart.
    """
    cuts: tuple[Callable[[str], str], ...] = (
        lambda name: f"{_start(name, (width - 1) // 2)}…{_end(name, width // 2)}",
        lambda name: f"…{_end(name, width - 1)}",
        lambda name: f"{_start(name, width - 1)}…",
    )
    for cut in cuts:
        found = [name if columns_of(name) <= width else cut(name) for name in names]
        if len(set(found)) == len(names):
            return found
    return [f"{place}: {_end(name, width - 8)}" for place, name in enumerate(names, start=1)]


def _start(name: str, width: int) -> str:
    while columns_of(name) > width:
        name = name[:-1]
    return name


def _end(name: str, width: int) -> str:
    while columns_of(name) > width:
        name = name[1:]
    return name
