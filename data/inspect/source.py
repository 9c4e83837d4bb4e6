"""Where the images are: every data set by name, and folders that are not complete yet.

`data.build_dataset` refuses a folder with files missing; here they are listed instead.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data import build_dataset, dataset_class
from data.base import Dataset, Record
from data.dataset_file import DERIVED, NAME, class_pairs, read_dataset_file
from data.errors import InputError, one_line
from data.folder import FIRST_REGION, Folder, FolderFiles, find_folder_files, split_names
from data.inspect.finding import Finding, are, finding, have, plural
from data.mapillary import Mapillary
from data.sbd import SBD

DEFAULT_SPLITS = ("train", "val", "test")  # of the data sets by name
FIRST_OBJECT = 1000  # Cityscapes' instance ids: label id * 1000 + number; below is no object


@dataclass(frozen=True)
class Item:
    """One image of a split."""

    split: str
    record: Record

    @property
    def name(self) -> str:
        return self.record.name


@dataclass(frozen=True)
class Source:
    """A data set, found but not read.

    Args:
        name: of DATASETS.
        root: its folder.
        classes: names, with the background of segmentation, if there is one, at the end.
        palette: uint8 (K, 3), RGB.
        edge_classes: how many of the classes, the first ones, have edges.
        readers: split -> the data set without its records.
        items: all images, split by split.
        has_instances: objects are counted by instance maps.
        findings: about files and splits.
        totals: split -> its images; `items` may be a sample of them.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    palette: np.ndarray
    edge_classes: int
    readers: Mapping[str, Dataset]
    items: Sequence[Item]
    has_instances: bool
    findings: Sequence[Finding] = ()
    totals: Mapping[str, int] = field(default_factory=dict)


class LooseFolder(Folder):
    """A folder's readers without its records, so without any check of which files there are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.split = "all"
        self.records = []
        self.content = read_dataset_file(root)
        self.task = "seg"
        described = self.content.task_classes("seg")
        self.classes = tuple(entry.name for entry in described)
        self.palette = np.array([entry.color for entry in described], np.uint8)
        self._pairs = class_pairs(self.content, "seg")


def open_source(
    name: str, root: Path, splits: Sequence[str] = (), samples: int = 0, **options: Any
) -> Source:
    """Find the images of a data set.

    Errors as `build_dataset` for a data set by name, unless another split is there. A folder is
    only refused if it has no dataset.json, no images, or not the split that was asked for.

    Args:
        name: one of DATASETS.
        root: its folder.
        splits: to look at; none: all that it has.
        samples: images of each split, at equal distances; 0: all.
        options: of the data set's class.
    """
    kind = dataset_class(name)
    if issubclass(kind, Folder):
        if options:
            raise InputError(f"{name} has no option {next(iter(options))!r}; it takes none")
        return _open_folder(root, splits, samples)
    return _open_named(name, root, splits, samples, options)


def object_numbers(reader: Dataset, label: np.ndarray, instance: np.ndarray) -> np.ndarray:
    """int32 (H, W), > 0: which object of its class a pixel belongs to; 0: to none.

    Each data set codes what is no object (road, sky) in its own way.
    """
    if isinstance(reader, Folder):
        return np.maximum((instance - FIRST_REGION) // 256, 0)
    if isinstance(reader, SBD):
        return instance
    if isinstance(reader, Mapillary):
        things = np.zeros(256, bool)
        evaluated = [entry.has_instances for entry in reader.labels if entry.evaluate]
        things[: len(evaluated)] = evaluated
        return np.where(things[label], instance, 0)
    return np.where(instance >= FIRST_OBJECT, instance, 0)


def equally_spaced(count: int, wanted: int) -> list[int]:
    """`wanted` of the numbers 0 to count - 1, at equal distances; all if wanted is 0 or more."""
    if not 0 < wanted < count:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]


def _items(records: Mapping[str, Sequence[Record]], samples: int) -> list[Item]:
    return [
        Item(split, found[i])
        for split, found in records.items()
        for i in equally_spaced(len(found), samples)
    ]


def _open_named(
    name: str, root: Path, splits: Sequence[str], samples: int, options: dict[str, Any]
) -> Source:
    readers: dict[str, Dataset] = {}
    records: dict[str, Sequence[Record]] = {}
    findings: list[Finding] = []
    faults: list[Exception] = []
    for split in splits or DEFAULT_SPLITS:
        try:
            dataset = build_dataset(name, root, split, **options)
        except (InputError, OSError) as error:
            if splits:
                raise
            faults.append(error)
            # Test sets are often not published, or not downloaded.
            findings.append(
                finding(
                    f"The split {split} is left out: {one_line(error)}",
                    "Mend that, or choose splits with --split.",
                    is_problem=split != "test",
                )
            )
            continue
        records[split] = dataset.records
        readers[split] = copy.copy(dataset)
        readers[split].records = []  # what workers need are the readers
    if not readers:
        raise faults[0]
    reader = next(iter(readers.values()))
    return Source(
        name,
        root,
        tuple(reader.classes),
        reader.palette,
        reader.num_classes,
        readers,
        _items(records, samples),
        any(record.instance is not None for found in records.values() for record in found),
        tuple(findings),
        {split: len(found) for split, found in records.items()},
    )


def _open_folder(root: Path, splits: Sequence[str], samples: int) -> Source:
    reader = LooseFolder(root)
    files = find_folder_files(root)
    content = reader.content
    findings: list[Finding] = []
    names: dict[str, list[str]] = {}
    for split in splits or content.splits:
        try:
            names[split] = split_names(root, content, files.images, split)
        except (InputError, FileNotFoundError) as error:
            if split not in (*content.splits, *DERIVED):
                raise
            findings.append(finding(f"The split {split} cannot be used: {one_line(error)}"))
    findings += _pairing(files, names)
    if not splits:
        findings += _splitting(files, names)
    if not names:  # all lists are broken: still there is something to look at
        names = {"all": sorted(files.images)}
    records = {
        split: [
            Record(name, files.images[name], files.labels.get(name), files.instances.get(name))
            for name in found
        ]
        for split, found in names.items()
    }
    return Source(
        reader.name,
        root,
        reader.classes,
        reader.palette,
        len(content.classes),
        dict.fromkeys(records, reader),
        _items(records, samples),
        bool(files.instances),
        tuple(findings),
        {split: len(found) for split, found in records.items()},
    )


def _pairing(files: FolderFiles, splits: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Which files lack their partners."""
    found: list[Finding] = []
    without = {
        split: [n for n in names if n not in files.labels] for split, names in splits.items()
    }
    # A split without any label is one to predict on; a few that lack theirs are a mistake.
    bare = [split for split, names in without.items() if len(names) == len(splits[split])]
    for split in bare:
        found.append(
            finding(
                f"No image of the split {split} has a label map.",
                "It can be predicted, but neither trained on nor scored.",
                is_problem=not files.labels,
            )
        )
    lacking = sorted({n for split, names in without.items() if split not in bare for n in names})
    if lacking:
        found.append(
            finding(
                f"{plural(len(lacking), 'image')} {have(len(lacking))} no label map.",
                "Draw it as labels/NAME.png, or move the image elsewhere: training refuses the "
                "folder as it is.",
                lacking,
            )
        )
    alone = sorted(files.labels.keys() - files.images.keys())
    if alone:
        found.append(
            finding(
                f"{plural(len(alone), 'label map')} {have(len(alone))} no image.",
                "Is a name misspelt, or the image missing? They are not used.",
                alone,
            )
        )
    return found + _instance_pairing(files)


def _instance_pairing(files: FolderFiles) -> list[Finding]:
    found: list[Finding] = []
    alone = sorted(files.instances.keys() - files.labels.keys())
    if alone:
        found.append(
            finding(
                f"{plural(len(alone), 'instance map')} {have(len(alone))} no label map.",
                "Is a name misspelt, or the label map missing? They are not used.",
                alone,
            )
        )
    labelled = files.labels.keys() & files.images.keys()
    lacking = sorted(labelled - files.instances.keys()) if files.instances else []
    if lacking:
        found.append(
            finding(
                f"{plural(len(lacking), 'labelled image')} {have(len(lacking))} no instance map, "
                f"though {plural(len(files.instances), 'other')} {have(len(files.instances))} one.",
                "Give each one, all 0 where there is no object, or remove instances/: training "
                "refuses the folder as it is.",
                lacking,
            )
        )
    return found


def _splitting(files: FolderFiles, splits: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Images in no split, and in several."""
    times = Counter(name for names in splits.values() for name in names)
    found: list[Finding] = []
    outside = sorted(files.images.keys() - times.keys())
    if outside and splits:
        found.append(
            finding(
                f"{plural(len(outside), 'image')} {are(len(outside))} in no split.",
                f'They are never used, and not looked at here; see "splits" in {NAME}.',
                outside,
            )
        )
    twice = sorted(name for name, count in times.items() if count > 1)
    if twice:
        found.append(
            finding(
                f"{plural(len(twice), 'image')} {are(len(twice))} in more than one split.",
                f"Scores on them say nothing about new images; mend the splits in {NAME}.",
                twice,
            )
        )
    return found
