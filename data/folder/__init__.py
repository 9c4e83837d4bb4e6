"""The data set `folder`: anybody's own images and labels.

    dataset.json                  classes, ids, splits: see `data.dataset_file`
    images/[FOLDER/]...NAME.*     images of any kind and size
    labels/[FOLDER/]...NAME.png   a map of ids, 8 or 16 bits, or of colours, for each image
    instances/[...]NAME.png       if there are any: a number for each object, 0 where there is none

A label has its image's name, with the same folders above it. `python -m data.importer` makes such
a folder from other formats, `python -m data.inspect` shows what is in it.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.base import Dataset, Record
from data.dataset_file import NAME, class_pairs, read_dataset_file
from data.errors import InputError
from data.files import first_few
from data.folder.files import FolderFiles, find_folder_files
from data.folder.notes import folder_notes
from data.folder.splits import share_of, split_names
from data.folder.values import (
    LOSSLESS,
    pack_colors,
    read_values,
    require_lossless,
    shown_size,
    train_ids,
)
from data.image_io import Header, index_header, read_header, read_image, read_index, require_size

__all__ = [
    "FIRST_REGION",
    "LOSSLESS",
    "Folder",
    "FolderFiles",
    "find_folder_files",
    "pack_colors",
    "share_of",
    "shown_size",
    "split_names",
]

REGION_OF_IGNORED = 2  # an instance id that the edge rule ignores, see `data.edges.rule`
FIRST_REGION = 4  # above 0 (no region) and the ids that the rule ignores


class Folder(Dataset):
    """One split of a folder of anybody's own data; "trainval" and "all" are there besides its own.

    A split none of whose images has a label map has no ground truth; if only some lack one, that
    is an error.
    """

    name = "folder"
    classes: tuple[str, ...] = ()  # of each folder its own
    palette = np.zeros((0, 3), np.uint8)

    def __init__(self, root: str | Path, split: str, *, task: str | None = None) -> None:
        """Find the files of a split.

        Args:
            root: the folder that has dataset.json, images/ and labels/.
            split: one that dataset.json names, "trainval" or "all".
            task: "seg" has the background as its last class, if dataset.json names one.
        """
        root = Path(root)
        self.content = read_dataset_file(root)
        self.upright = self.content.upright
        self.task = task
        described = self.content.task_classes(task)
        if task == "seg" and len(described) < 2:  # softmax of one is 1: right, and of no use
            raise InputError(
                f"{root / NAME}: has one class, {self.content.classes[0].name!r}, and no "
                "background, so that segmentation has nothing to tell apart; add a second class, "
                'or "background": {"name": "background", "ids": [0]}, with the ids of the rest'
            )
        self.classes = tuple(entry.name for entry in described)
        self.palette = np.array([entry.color for entry in described], np.uint8)
        self._pairs = class_pairs(self.content, task)
        files = find_folder_files(root)
        names = split_names(root, self.content, files.images, split)
        super().__init__(root, split, _records(root, files, names, split))

    @property
    def seg_classes(self) -> tuple[str, ...]:
        """The classes of segmentation, with the background if dataset.json names one."""
        return tuple(entry.name for entry in self.content.task_classes("seg"))

    def list_files(self) -> list[Path]:
        """dataset.json and the lists of splits."""
        lists = [rule for rule in self.content.splits.values() if isinstance(rule, str)]
        return [self.root / name for name in (NAME, *lists)]

    def read_image(self, record: Record) -> np.ndarray:
        """Read the image: uint8 (H, W, 3), RGB, upright if dataset.json says so."""
        if record.image is None:
            raise InputError(f"{self.name}: {record.name} has no image, only labels")
        return read_image(record.image, upright=self.content.upright)

    def image_size(self, record: Record) -> tuple[int, int]:
        """(H, W) of the image as `read_image` returns it, from its header."""
        if record.image is None:
            return super().image_size(record)  # which says so
        return shown_size(read_header(record.image), upright=self.content.upright)

    def label_header(self, path: Path) -> Header:
        """The header of a label map; InputError for a file that cannot be one."""
        if not self.content.colored:
            return index_header(path)
        header = read_header(path)
        require_lossless(header, path)
        return header

    def turned_images(self) -> int:
        """The number of images whose EXIF data ask to be turned and that are not."""
        return 0 if self.content.upright else super().turned_images()

    def meaning(self) -> str:
        """A digest of what dataset.json says of values and of EXIF data."""
        said = (self._pairs, self.content.colored, self.content.upright)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]

    def notes(self, workers: int = 0) -> list[str]:
        """Values that dataset.json does not name, labels without image, images in no split."""
        return folder_notes(self.root, self.content, self.split, self._label_maps(), workers)

    def _label_maps(self) -> list[Path]:
        return [record.label for record in self.records if record.label is not None]

    def read_ground_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the ground truth: (label uint8 (H, W) of train ids, regions int32 (H, W)).

        Regions have a number for each pair of class and object. They are None where there are
        neither objects nor ignored pixels: then each class is one region.
        """
        if record.label is None:
            return None, None
        values = self.read_values(record.label)
        label = train_ids(values, self._pairs)
        ignored = None
        for value in self.content.ignored:
            found = values == value
            ignored = found if ignored is None else ignored | found
        if ignored is not None and not ignored.any():
            ignored = None
        if record.instance is None and ignored is None:
            return label, None
        regions = label.astype(np.int32) + FIRST_REGION
        if record.instance is not None:
            numbers = read_index(record.instance)
            require_size(numbers, label.shape, "instance map", record.instance, record.label)
            regions += numbers.astype(np.int32) * 256
        if ignored is not None:
            regions[ignored] = REGION_OF_IGNORED
        return label, regions

    def read_values(self, path: Path) -> np.ndarray:
        """The values of a label map, integers (H, W): ids, or packed colours."""
        return read_values(path, colored=self.content.colored)


def _records(root: Path, files: FolderFiles, names: Sequence[str], split: str) -> list[Record]:
    lacking = [name for name in names if name not in files.labels]
    if len(lacking) == len(names):
        return [Record(name, files.images[name]) for name in names]
    if lacking:
        shown = first_few(str(files.images[name].relative_to(root)) for name in lacking)
        raise FileNotFoundError(
            f"folder {split}: {len(lacking)} of {len(names)} images have no label map below "
            f"{root / 'labels'}: {shown}; draw them, or move the images elsewhere"
        )
    missing = root / "instances"
    return [
        Record(
            name,
            files.images[name],
            files.labels[name],
            # Any that is missing where there are some is an error, which `Dataset` raises.
            files.instances.get(name, missing / f"{name}.png") if files.instances else None,
        )
        for name in names
    ]
