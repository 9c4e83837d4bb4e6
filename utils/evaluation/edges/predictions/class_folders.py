"""Which folders of predictions are of which class: by number (class_001) or name (road)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.errors import InputError
from data.files import first_few
from data.names import walk_files
from utils.evaluation.class_choice import find_class
from utils.evaluation.edges.predictions.images import ENDINGS

MAX_CLASS_DIGITS = 6  # of a class folder's number
SHOWN = 40  # names of classes that a message lists


def find_class_folders(root: Path, names: Sequence[str]) -> tuple[dict[int, Path], list[Path]]:
    """({class from 0 on: its folder}, folders of images of no class) in `root`.

    Hidden folders are left out, and those of no class where there is none of a class, either.
    Leading zeros of numbers do not matter, nor do upper and lower case of names, nor blanks,
    underscores and hyphens. InputError for two folders of one class, for a number that is none, and
    for a strange folder beside named ones.

    Args:
        root: The folder to look into.
        names: Of the classes, where they are known.
    """
    found: dict[int, Path] = {}
    strange: list[Path] = []
    named = False
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or not path.is_dir():
            continue
        k = _numbered(path)
        if k is None:
            k = find_class(path.name, names)
            named = named or k is not None
        if k is None:
            strange.append(path)
        elif k in found:
            raise InputError(f"both {found[k]} and {path} are {_class_in_words(k, names)}")
        else:
            found[k] = path
    # Others, such as one of results, cannot be meant for a class.
    strange = [path for path in strange if found and walk_files(path, ENDINGS)]
    if named and strange:
        raise InputError(
            f"{strange[0]}: is the name of no class; beside {_first(found)} expected folders "
            f"class_1, class_2, … or of these names: {first_few(names, SHOWN)}"
        )
    return dict(sorted(found.items())), strange


def _numbered(path: Path) -> int | None:
    """The class of a folder class_N, from 0 on."""
    text = path.name.removeprefix("class_")
    if text == path.name or not text.isnumeric():
        return None
    if not re.fullmatch(rf"[0-9]{{1,{MAX_CLASS_DIGITS}}}", text) or not int(text):
        raise InputError(f"{path}: is no number of a class; expected class_1, class_2, …")
    return int(text) - 1


def _class_in_words(k: int, names: Sequence[str]) -> str:
    return f"class {k + 1}" + (f", {names[k]!r}" if k < len(names) else "")


def _first(found: dict[int, Path]) -> str:
    return next(iter(found.values())).name


def require_class_folders(
    root: Path,
    folders: Mapping[int, Path],
    names: Sequence[str],
    classes: Sequence[int] | None,
) -> None:
    """InputError unless there is a folder of each class that is scored, and none beyond the last.

    Args:
        root: Where they lie, for messages.
        folders: As `find_class_folders` gives them.
        names: Of all classes of the ground truth.
        classes: Those that are scored; None: all.
    """
    total = len(names)
    alone = [k for k in folders if k < total]
    lacking = [k for k in (range(total) if classes is None else classes) if k not in folders]
    if len(folders) == total and lacking:  # where nothing says K, it is the number of folders
        numbers = first_few((k + 1 for k in folders), 10)
        raise InputError(
            f"{root}: found class folders {numbers}; expected 1, 2, 3, … without a gap; with "
            "--num-classes or --dataset some can be scored alone by --classes"
        )
    if len(alone) < len(folders) or (lacking and classes is None):
        advice = f"the last folder is {folders[max(folders)].name}"
        if len(alone) == len(folders):
            advice = f"score these alone with --classes {' '.join(map(str, alone))}"
        raise InputError(
            f"{root} has predictions of {len(folders)} classes (class folders), the ground truth "
            f"has {total}; {advice}"
        )
    if lacking:
        raise InputError(
            f"{root}: has no folder class_{lacking[0] + 1:03d} or {names[lacking[0]]!r} "
            f"({len(lacking)} of the classes that are scored have none); found "
            f"{first_few((path.name for path in folders.values()), SHOWN)}"
        )
