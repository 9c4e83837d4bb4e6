"""Which id each class has in the folder: its own, or that which an earlier import gave it.

Readers draw class k as k + 1. A table translates that into the folder's ids, so that a second
source adds to a folder, whatever order its classes have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.dataset_file import Color, DatasetFile, LabelClass
from data.errors import InputError
from data.importer.annotations import FIRST_CLASS_ID, IGNORED_ID, NONE_ID, FoundClass
from data.importer.labels import label_name
from data.visualize import contrasting_colors

MAX_CLASSES = IGNORED_ID - FIRST_CLASS_ID  # 254: maps have 8 bits, 0 is none and 255 ignored
BACKGROUND = "background"
NO_BACKGROUND = "none"


@dataclass(frozen=True)
class Merged:
    """content: of dataset.json. table: uint8 (256,), id of a drawing -> id in the folder."""

    content: DatasetFile
    table: np.ndarray
    notes: tuple[str, ...] = ()


def merge_classes(
    found: Sequence[FoundClass],
    base: DatasetFile | None,
    background: str | None,
    covers: bool,
    former: DatasetFile | None = None,
) -> Merged:
    """Give the classes of a source their ids. Splits and upright are left to the caller.

    Args:
        found: the classes of the source; those of one name become one.
        base: what dataset.json says already; its ids and colours stay.
        background: of --background: a name, "none", or None for the default.
        covers: see `Annotations.covers`.
        former: what dataset.json said that is to be replaced. Its classes keep their ids, and no
            other class gets them: label maps may stay that are not made again.

    InputError for too many classes, and for two sources that differ in what 0 is.
    """
    if len(found) > MAX_CLASSES:
        raise InputError(
            f"found {len(found)} classes; expected at most {MAX_CLASSES}, choose them with "
            "--classes"
        )
    if base:
        _require_ids(base)
        content = _same_background(base, background, covers)
    else:
        name = background or (NO_BACKGROUND if covers else BACKGROUND)
        beneath = None if name == NO_BACKGROUND else LabelClass(name, (0, 0, 0), (NONE_ID,))
        content = DatasetFile((), background=beneath, none=() if beneath else (NONE_ID,))
    content = replace(content, ignored=tuple(dict.fromkeys((*content.ignored, IGNORED_ID))))
    return _numbered(found, content, former)


def _numbered(
    found: Sequence[FoundClass], content: DatasetFile, former: DatasetFile | None
) -> Merged:
    table = np.zeros(256, np.uint8)
    table[IGNORED_ID] = IGNORED_ID
    ids = {entry.name: entry.values[0] for entry in content.classes}
    notes: list[str] = []
    if content.background:
        ids[content.background.name] = NONE_ID
    new: list[FoundClass] = []
    ours = range(FIRST_CLASS_ID, IGNORED_ID)
    kept = {e.name: e.values[0] for e in former.classes if e.values[0] in ours} if former else {}
    used = content.known() | (former.known() if former else set())
    free = (k for k in ours if k not in used)
    for k, entry in enumerate(found):
        name = label_name(entry.name)
        if name not in ids:
            number = kept.get(name) or next(free, None)
            if number is None:
                raise InputError(
                    f"with {name!r} there would be more than {MAX_CLASSES} classes; choose them "
                    "with --classes"
                )
            ids[name] = number
            new.append(FoundClass(name, entry.color))
        elif ids[name] == NONE_ID:
            notes.append(f"the label {name!r} is the background (--background gives it a name)")
        table[k + FIRST_CLASS_ID] = ids[name]
    classes = [*content.classes]
    colors = _new_colors(new, [entry.color for entry in classes])
    classes += [
        LabelClass(entry.name, color, (ids[entry.name],))
        for entry, color in zip(new, colors, strict=True)
    ]
    return Merged(replace(content, classes=tuple(classes)), table, tuple(notes))


def _new_colors(new: Sequence[FoundClass], taken: Sequence[Color]) -> list[Color]:
    """The format's own colours, and for classes without one a colour that no other has."""
    used = {*taken, *(entry.color for entry in new if entry.color)}
    # As many more as there are, since any of them may be taken.
    spare = [(r, g, b) for r, g, b in contrasting_colors(len(new) + len(used)).tolist()]
    unused = iter([color for color in spare if color not in used])
    return [entry.color or next(unused) for entry in new]


def _require_ids(base: DatasetFile) -> None:
    if base.colored:
        raise InputError(
            "dataset.json of --out says that label maps are in colours; an import writes ids, so "
            "choose another --out"
        )
    for entry in base.classes:
        if not NONE_ID < entry.values[0] < IGNORED_ID:
            raise InputError(
                f"dataset.json of --out gives {entry.name!r} the id {entry.values[0]}; an import "
                f"writes ids from {FIRST_CLASS_ID} to {IGNORED_ID - 1}: put one of them first, or "
                "choose another --out"
            )


def _same_background(base: DatasetFile, background: str | None, covers: bool) -> DatasetFile:
    """The base, if this source means by 0 what the others did."""
    present = base.background.name if base.background else NO_BACKGROUND
    default = base.background.name if base.background else BACKGROUND
    wanted = background or (NO_BACKGROUND if covers else default)
    if wanted != present:
        what = "no class" if present == NO_BACKGROUND else f"the class {present!r}"
        here = "no class" if wanted == NO_BACKGROUND else f"the class {wanted!r}"
        raise InputError(
            f"what has no label is {what} in --out so far, and {here} in this source; give "
            f"--background {present} to take it as in --out, or choose another --out"
        )
    return base


def check_background(path: Path, content: DatasetFile, background: str | None) -> DatasetFile:
    """--background of label maps that stay as they are.

    path: of the folder, for messages.
    """
    if background is None:
        return content
    old = content.background
    values = old.values if old else ()
    if background == NO_BACKGROUND:
        return replace(content, background=None, none=(*content.none, *values))
    same = [entry for entry in content.classes if entry.name == background]
    if same:
        values = (*values, *same[0].values)
        classes = tuple(entry for entry in content.classes if entry.name != background)
        if not classes:
            raise InputError(f"{path}: {background!r} is the only class; expected others")
        content = replace(content, classes=classes)
    elif not old:
        values = (NONE_ID,)
        if NONE_ID in {v for entry in content.classes for v in entry.values}:
            raise InputError(
                f"--background {background}: 0 is a class; give the name of a class, or none"
            )
        content = replace(content, none=tuple(v for v in content.none if v != NONE_ID))
    color = old.color if old else (same[0].color if same else (0, 0, 0))
    return replace(content, background=LabelClass(background, color, values))
