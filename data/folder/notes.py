"""What may surprise in a folder of anybody's own data, said before a net is trained or scored."""

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from data.dataset_file import NAME, DatasetFile, value_name
from data.errors import InputError, one_line
from data.files import first_few
from data.folder.files import find_folder_files
from data.folder.splits import split_names
from data.folder.values import read_values
from data.system.cache import CacheEntry, cached_array
from data.system.chunks import map_chunks

VERSION = 1  # of the kept counts
SHOWN = 8  # values that a note lists


def folder_notes(
    root: Path, content: DatasetFile, split: str, labels: Sequence[Path], workers: int
) -> list[str]:
    """A line each: values named nowhere, labels without image, images in no split or in two.

    Args:
        root: the folder.
        content: its dataset.json.
        split: whose label maps are read.
        labels: these label maps.
        workers: processes that read them.
    """
    files = find_folder_files(root)
    counts = count_values(root, content, split, labels, workers)
    notes = [*unnamed_values(content, split, counts), *absent_classes(content, split, counts)]
    if lonely := [path for name, path in files.labels.items() if name not in files.images]:
        shown = first_few(path.relative_to(root).as_posix() for path in lonely)
        notes.append(f"{_counted(len(lonely), 'label map')} without image, not used: {shown}")
    splits: dict[str, set[str]] = {}
    for name in content.splits:
        try:
            splits[name] = set(split_names(root, content, files.images, name))
        except (InputError, OSError) as error:
            notes.append(one_line(error))
    for one, other in combinations(splits, 2):
        if shared := splits[one] & splits[other]:
            images = _counted(len(shared), "image")
            notes.append(f"{one} and {other} share {images}: {first_few(sorted(shared))}")
    used = set().union(*splits.values())
    if idle := [path for name, path in files.images.items() if name not in used]:
        shown = first_few(path.relative_to(root).as_posix() for path in idle)
        notes.append(f"{_counted(len(idle), 'image')} in no split of {NAME}, not used: {shown}")
    return notes


def absent_classes(content: DatasetFile, split: str, counts: np.ndarray) -> list[str]:
    """The note on classes that no label map of a split has, or nothing.

    counts: what `count_values` returns.
    """
    present = {value for value, _ in counts.tolist()}
    absent = [c.name for c in content.classes if not present.intersection(c.values)]
    if not absent or not present:
        return []
    pronoun = "it" if len(absent) == 1 else "they"
    shown = first_few(absent, SHOWN)
    return [
        f"folder {split}: no label map has {shown}, so {pronoun} can neither be learned nor scored "
        "there"
    ]


def unnamed_values(content: DatasetFile, split: str, counts: np.ndarray) -> list[str]:
    """The note on values that dataset.json does not name, or nothing.

    counts: what `count_values` returns.
    """
    known = content.known()
    found = [(images, value) for value, images in counts.tolist() if value not in known]
    if not found:
        return []
    found.sort(key=lambda each: (-each[0], each[1]))
    parts = [
        f"{value_name(value, colored=content.colored)} ({_counted(images, 'image')})"
        for images, value in found[:SHOWN]
    ]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    verb = "is" if len(found) == 1 else "are"
    kind = "colors" if content.colored else "ids"
    return [
        f"folder {split}: {', '.join(parts)}{more} {verb} named by no class and taken for none; "
        f'add {"it" if len(found) == 1 else "them"} to {NAME}: to a class, "none_{kind}" or '
        f'"ignored_{kind}"'
    ]


def count_values(
    root: Path, content: DatasetFile, split: str, labels: Sequence[Path], workers: int
) -> np.ndarray:
    """int64 (M, 2): each value of the label maps, and the number of maps that hold it.

    Kept, see `data.system.cache`.
    """
    entry = CacheEntry(
        "label_values",
        f"folder-{split}-values",
        root,
        f"{VERSION} {content.colored}",
        labels,
    )
    return cached_array(entry, partial(_count, content, split, labels, workers), _are_counts)


def _count(content: DatasetFile, split: str, labels: Sequence[Path], workers: int) -> np.ndarray:
    parts = map_chunks(
        partial(_values_of_maps, content.colored),
        labels,
        workers=workers,
        title=f"values of {split}",
        what=f"folder {split}",
    )
    values, counts = np.unique(np.concatenate([np.empty(0, np.int64), *parts]), return_counts=True)
    return np.stack([values, counts], axis=1).astype(np.int64)


def _values_of_maps(colored: bool, labels: Sequence[Path]) -> np.ndarray:
    return np.concatenate([values_of(read_values(path, colored=colored)) for path in labels])


def values_of(values: np.ndarray) -> np.ndarray:
    """The values that occur in a map, int64, sorted."""
    if values.dtype in (np.uint8, np.uint16):  # np.unique, which sorts, takes ten times as long
        return np.flatnonzero(np.bincount(values.ravel()))
    # Where a row repeats the pixel before, nothing new is met.
    flat = values.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    return np.unique(flat[starts]).astype(np.int64)


def _are_counts(kept: np.ndarray) -> bool:
    return kept.dtype == np.int64 and kept.ndim == 2 and kept.shape[1] == 2


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
