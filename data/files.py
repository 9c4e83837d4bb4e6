"""Text files and names of files: lists, safe writing. Images are in `data.image_io`.

Imported by modules that must start quickly, so it imports `data.errors` and the standard library.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from data.errors import InputError

T = TypeVar("T")


@contextlib.contextmanager
def write_aside(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    If the block raises, the temporary file is removed. So a killed process or a full disk leaves
    the old file or none, never half a file. With `sync` the content is also on disk before the
    rename and survives a power cut; that takes about 5 ms, too much for images made by thousands.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A hidden file in the same folder: a rename is atomic within one file system only.
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
    """Return one item for each line of a list file that is not empty.

    InputError with the line's number if `parse` raises ValueError or IndexError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list file")
    items = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                items.append(parse(line))
            except (ValueError, IndexError) as error:
                raise InputError(f"{path}:{number}: cannot read the line {line!r}") from error
    return items


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The files below `folder` that match, sorted. Hidden ones (macOS leaves some) are no data."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def find_names(folder: Path, ending: str) -> set[str]:
    """The names of the files in `folder` that end in `ending`, without it."""
    return {path.name.removesuffix(ending) for path in find_files(folder, f"*{ending}")}


def first_few(items: Iterable[object], count: int = 3) -> str:
    """The first items for an error message: "a, b, c, …"."""
    shown = [str(item) for item in items]
    return ", ".join(shown[:count]) + (", …" if len(shown) > count else "")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list file, one item a line."""
    with write_aside(path) as aside:
        aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
