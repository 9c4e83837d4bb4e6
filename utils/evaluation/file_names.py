"""Which files a folder holds, and which belong together."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.errors import InputError

# Names of one image differ by these endings between data sets, label files and predictions.
ENDINGS = re.compile(r"_(leftImg8bit|gtFine(_\w+)?|edge)$")


def match_names(wanted: Sequence[str], available: Iterable[str]) -> dict[str, str]:
    """wanted name -> available name: equal, or else equal without folders, or else also without the ENDINGS.

    Wanted names that nothing matches are left out. Two files that could both be meant are an InputError.
    """
    available = list(available)
    matches: dict[str, str] = {}
    for form in (str, _base, _bare):
        by_form: dict[str, list[str]] = {}
        for name in available:
            by_form.setdefault(form(name), []).append(name)
        for name in wanted:
            found = by_form.get(form(name), [])
            if name not in matches and found:
                if len(found) > 1:
                    raise InputError(
                        f"both {found[0]} and {found[1]} could be the file of {name}; remove one"
                    )
                matches[name] = found[0]
    return matches


def keyed_files(root: Path, *endings: str) -> dict[str, Path]:
    """Files below `root` with one of the endings, by their path below it without the ending; no hidden ones."""
    files = (
        path
        for ending in endings
        for path in sorted(root.rglob(f"*{ending}"))
        if not path.name.startswith(".")
    )
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in files}


def file_hash(path: Path) -> str:
    """SHA-256 of a file, which names a checkpoint wherever it lies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _base(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _bare(name: str) -> str:
    return ENDINGS.sub("", _base(name))
