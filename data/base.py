"""What every data set returns, and how its files are read and written.

A data set hands out what is on disk and nothing else: targets are made by `data.samples.edge`, augmentation by `data.samples.transforms`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.edges import evaluation_edges
from data.errors import InputError
from data.files import read_list, write_aside
from data.image_io import IGNORE, check_ids, read_image, read_index, write_png

__all__ = [
    "IGNORE",
    "Dataset",
    "InputError",
    "Record",
    "Sample",
    "check_ids",
    "read_image",
    "read_index",
    "read_list",
    "write_aside",
    "write_png",
]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its ground truth.

    image: uint8 (H, W, 3), RGB. label: uint8 (H, W), train ids, 255 = ignore; None where the split has no ground truth.
    instance: int32 (H, W), the data set's own instance ids, in which every region that has a boundary of its own has a
    number of its own (Cityscapes: `instanceIds`, void regions included); None where the data set has no instances.
    """

    image: np.ndarray
    label: np.ndarray | None
    instance: np.ndarray | None
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """The files of one sample. `name` is unique within the split and names the sample's output files."""

    name: str
    image: Path | None
    label: Path | None = None
    instance: Path | None = None


class Dataset:
    """A list of records and the readers that turn one into a `Sample`.

    A subclass fills `records` and overrides the readers whose files differ. Every file is looked for at construction, so that
    a missing one stops the run before it starts.
    """

    name: str
    classes: tuple[str, ...]
    palette: np.ndarray  # uint8 (num_classes, 3), RGB

    def __init__(self, root: str | Path, split: str, records: Sequence[Record]) -> None:
        self.root, self.split, self.records = Path(root), split, list(records)
        if not self.records:
            raise InputError(f"{self.name}: no samples of split {split!r} in {root}")
        self._require_files()

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        image = self.read_image(record)
        label, instance = self.read_truth(record)
        for what, array, path in (
            ("label", label, record.label),
            ("instance map", instance, record.instance),
        ):
            if array is not None and array.shape != image.shape[:2]:
                raise InputError(
                    f"{path}: the {what} is {_size(array)}, but its image {record.image} is {_size(image)}; "
                    "each label must have the size of its image"
                )
        return Sample(image, label, instance, record.name)

    def read_image(self, record: Record) -> np.ndarray:
        """uint8 (H, W, 3), RGB."""
        if record.image is None:
            raise InputError(f"{self.name}: {record.name} has no image, only labels")
        return read_image(record.image)

    def read_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(label uint8 (H, W) of train ids, instance int32 (H, W)), each None where the record has no such file."""
        label = (
            None
            if record.label is None
            else check_ids(read_index(record.label), self.num_classes, record.label)
        )
        instance = None if record.instance is None else read_index(record.instance).astype(np.int32)
        return label, instance

    def edge_truth(
        self, index: int, *, thin: bool, scale: float = 1.0, instance_sensitive: bool = True
    ) -> np.ndarray:
        """The edges to score predictions of this sample against, uint32 (ceil(H * scale), ceil(W * scale)).

        By the published rules (`data.edges.evaluation_edges`) from the labels; a data set with edges of its own overrides it.
        """
        label, instance = self.read_truth(self.records[index])
        if label is None:
            raise InputError(
                f"{self.name} {self.split}: {self.records[index].name} has no ground truth to score against"
            )
        return evaluation_edges(
            label,
            instance,
            num_classes=self.num_classes,
            thin=thin,
            scale=scale,
            instance_sensitive=instance_sensitive,
        )

    def _require_files(self) -> None:
        wanted = [
            path
            for r in self.records
            for path in (r.image, r.label, r.instance)
            if path is not None
        ]
        missing = [path for path in wanted if not path.is_file()]
        if missing:
            shown = ", ".join(str(path) for path in missing[:3]) + (
                ", …" if len(missing) > 3 else ""
            )
            raise FileNotFoundError(
                f"{self.name} {self.split}: {len(missing)} of {len(wanted)} files are missing below {self.root}: {shown}"
            )


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
