"""Reading and writing the files that all data sets share: images, maps of ids, lists."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from data.errors import InputError

T = TypeVar("T")


@contextlib.contextmanager
def write_aside(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, remove it when it does not.

    So a killed process or a full disk leaves the old file, or none, never half a one. With `sync` the file is also on disk before
    it is renamed and survives a power cut; that costs some 5 ms, too much for images that are made by the thousand.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        if sync:
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_list(path: str | Path, parse: Callable[[str], T]) -> list[T]:
    """One item per non-empty line of a list file; a line that `parse` cannot read is named with its number."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list file")
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                records.append(parse(line))
            except (ValueError, IndexError) as error:
                raise InputError(f"{path}:{number}: cannot read the line {line!r}") from error
    return records


def find_names(folder: Path, ending: str) -> set[str]:
    """The names of the files that end in `ending`, without it. Hidden files (macOS leaves some) are no data."""
    return {
        path.name.removesuffix(ending)
        for path in folder.glob(f"*{ending}")
        if not path.name.startswith(".")
    }


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list file."""
    with write_aside(path) as aside:
        aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
