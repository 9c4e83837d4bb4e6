"""Files of images, predictions and labels: which belong together, their sizes and hashes."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from data.errors import InputError

# Names of one image differ by these endings between data sets, label files and predictions.
ENDINGS = re.compile(r"_(leftImg8bit|gtFine(_\w+)?|edge)$")


def match_names(wanted: Sequence[str], available: Iterable[str]) -> dict[str, str]:
    """Find the available name of each wanted name; wanted names that nothing matches are left out.

    Names match if they are equal, or else equal without folders, or else also without the ENDINGS.

    Raises:
        InputError: Two available names could both be meant.
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


def _base(name: str) -> str:
    """A name without its folders."""
    return name.rsplit("/", 1)[-1]


def _bare(name: str) -> str:
    """A name without its folders and its ending."""
    return ENDINGS.sub("", _base(name))


def keyed_files(root: Path, *endings: str) -> dict[str, Path]:
    """Files below `root` with one of the endings, by their path below it without the ending.

    Hidden files, such as those that macOS adds to archives, are left out.
    """
    files = (
        path
        for ending in endings
        for path in sorted(root.rglob(f"*{ending}"))
        if not path.name.startswith(".")
    )
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in files}


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image file, from its header; InputError if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (UnidentifiedImageError, SyntaxError, OSError) as error:
        raise InputError(f"{path}: the file cannot be read ({error}); replace it") from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file, which names a checkpoint wherever it lies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
