"""What every data set returns, and the checks that all of them share.

A data set returns what is on disk and nothing else: augmentation and training targets are made in
`data.samples`, files of edge labels are found in `data.edge_files`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.edges import MAX_CLASSES, class_groups, evaluation_edges, to_groups
from data.errors import InputError
from data.files import first_few
from data.image_io import (
    Header,
    check_ids,
    image_size,
    index_header,
    read_header,
    read_image,
    read_index,
    require_same_size,
    require_size,
)
from data.names import require_unique


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its ground truth.

    image: uint8 (H, W, 3), RGB.
    label: uint8 (H, W), train ids, 255 = ignore; None where the split has no ground truth.
    instance: int32 (H, W), the data set's own instance ids. Every region that has a boundary of
        its own has its own id, void regions included (as in Cityscapes' instanceIds). None where
        the data set has no instances.
    """

    image: np.ndarray
    label: np.ndarray | None
    instance: np.ndarray | None
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """The files of one sample; None for each that the sample lacks.

    `name` is unique within the split and names the files that are written for the sample.
    """

    name: str
    image: Path | None
    label: Path | None = None
    instance: Path | None = None

    def label_path(self) -> Path:
        """The label file; InputError if the record has none."""
        if self.label is None:
            raise InputError(f"{self.name} has no label map")
        return self.label

    def instance_path(self) -> Path:
        """The instance file; InputError if the record has none."""
        if self.instance is None:
            raise InputError(f"{self.name} has no instance map")
        return self.instance


class Dataset:
    """A list of records, and the readers that turn a record into a `Sample`.

    A subclass fills `records` and overrides the readers whose files differ. All files are looked
    for at construction, so a missing one stops the run before it starts.
    """

    name: str
    classes: tuple[str, ...]
    palette: np.ndarray  # uint8 (num_classes, 3), RGB
    has_label_maps: bool = True  # False: its labels are files of edges
    upright: bool = False  # True: images are turned as their EXIF data say

    def __init__(self, root: str | Path, split: str, records: Sequence[Record]) -> None:
        self.root = Path(root)
        self.split = split
        self.records = list(records)
        if not self.records:
            raise InputError(f"{self.name}: no samples of split {split!r} in {root}")
        require_unique((record.name for record in self.records), f"{self.name} {split} in {root}")
        self._require_files()

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def seg_classes(self) -> tuple[str, ...]:
        """The classes of segmentation: those of the edges, and after them any background."""
        return self.classes

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        image = self.read_image(record)
        label, instance = self.read_ground_truth(record)
        _require_sizes(record, image.shape[:2], label, instance)
        return Sample(image, label, instance, record.name)

    def read_image(self, record: Record) -> np.ndarray:
        """Read the image: uint8 (H, W, 3), RGB. InputError if the record has none."""
        if record.image is None:
            raise InputError(f"{self.name}: {record.name} has no image, only labels")
        return read_image(record.image)

    def read_ground_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the ground truth: (label uint8 (H, W) of train ids, instance int32 (H, W)).

        Each is None where the record has no such file.
        """
        label, instance = None, None
        if record.label is not None:
            label = check_ids(read_index(record.label), self.num_classes, record.label)
        if record.instance is not None:
            instance = read_index(record.instance).astype(np.int32)
        return label, instance

    def ground_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """`read_ground_truth`, compared with the size of the image, if there is one."""
        label, instance = self.read_ground_truth(record)
        if record.image is not None:
            _require_sizes(record, self.image_size(record), label, instance)
        return label, instance

    def image_size(self, record: Record) -> tuple[int, int]:
        """(H, W) of the image as `read_image` returns it, from its header."""
        if record.image is None:
            raise InputError(f"{self.name}: {record.name} has no image, only labels")
        return image_size(record.image)

    def label_header(self, path: Path) -> Header:
        """The header of a label that is a PNG; InputError for a file that cannot be one."""
        return index_header(path) if self.has_label_maps else read_header(path)

    def size(self, record: Record) -> tuple[int, int]:
        """(H, W) of a record's image, or of its label map where it has none, from the headers.

        InputError if its label or instance map has another size. Only PNGs say theirs at once.
        """
        size = None if record.image is None else self.image_size(record)
        for what, path in (("label", record.label), ("instance map", record.instance)):
            if path is None or path.suffix.lower() != ".png":
                continue
            found = (self.label_header if what == "label" else index_header)(path).size
            require_same_size(found, size or found, what, path, record.image)
            size = size or found
        if size is None:
            raise InputError(f"{self.name}: {record.name} has no file that says its size")
        return size

    def meaning(self) -> str:
        """Stands for all that samples depend on beside their files; "" for a published data set."""
        return ""

    def notes(self, workers: int = 0) -> list[str]:
        """What may surprise in the files, a line each, to be shown before anything is trained.

        workers: processes that read them, if they have to be read.
        """
        return []

    def turned_images(self) -> int:
        """The number of images whose EXIF data ask to be turned, from their headers.

        Pixels are taken as they are stored, since labels are drawn on those; whoever looks at such
        an image sees it turned.
        """
        images = [record.image for record in self.records if record.image is not None]
        return sum(read_header(path).orientation != 1 for path in images)

    def edge_ground_truth(
        self, index: int, *, thin: bool, scale: float = 1.0, instance_sensitive: bool = True
    ) -> np.ndarray:
        """The edges to score predictions of this sample against, by the published rules.

        A data set that comes with edges overrides this. uint32 (ceil(H * scale), ceil(W * scale)),
        for up to 32 classes; see `edge_groups`.

        Args:
            thin: edges of one pixel, else the thick ones (see `data.edges.evaluation_edges`).
            scale: size of the result relative to the image.
            instance_sensitive: also edges between two instances of one class.
        """
        label, instance = self._scored_ground_truth(index)
        return evaluation_edges(
            label,
            instance,
            num_classes=self.num_classes,
            thin=thin,
            scale=scale,
            instance_sensitive=instance_sensitive,
        )

    def edge_groups(
        self, index: int, *, thin: bool, scale: float = 1.0, instance_sensitive: bool = True
    ) -> list[np.ndarray]:
        """`edge_ground_truth` of any number of classes, in groups of 24 (`data.edges.bits`)."""
        if self.num_classes <= MAX_CLASSES:
            bits = self.edge_ground_truth(
                index, thin=thin, scale=scale, instance_sensitive=instance_sensitive
            )
            return to_groups(bits, self.num_classes)
        groups = class_groups(
            *self._scored_ground_truth(index),
            num_classes=self.num_classes,
            instance_sensitive=instance_sensitive,
        )
        return [
            evaluation_edges(label, instance, thin=thin, scale=scale, **rule)
            for label, instance, rule in groups
        ]

    def _scored_ground_truth(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        label, instance = self.ground_truth(self.records[index])
        if label is None:
            raise InputError(
                f"{self.name} {self.split}: {self.records[index].name} has no ground truth to "
                "score against"
            )
        return label, instance

    def edge_label_name(self, record: Record, *, instance_sensitive: bool = True) -> Path | None:
        """Path of a record's training label below the folder of edge labels.

        None: named by the rule of `data.edge_files`. A data set with another published layout
        overrides this.
        """
        return None

    def list_files(self) -> Sequence[Path]:
        """The files that say which samples there are. No script may replace them."""
        return []

    def _require_files(self) -> None:
        wanted = [path for r in self.records for path in (r.image, r.label, r.instance) if path]
        missing = [path for path in wanted if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.name} {self.split}: {len(missing)} of {len(wanted)} files are missing "
                f"below {self.root}: {first_few(missing)}"
            )


def require_split(name: str, split: str, splits: Sequence[str]) -> None:
    """InputError unless `split` is one of the splits of data set `name`."""
    if split not in splits:
        raise InputError(f"{name} has no split {split!r}; expected one of {', '.join(splits)}")


def require_fold(name: str, cv: int, count: int) -> None:
    """InputError unless `cv` is one of the published cross-validation splits, 0 to `count` - 1."""
    if cv not in range(count):
        raise InputError(f"{name} has no cross-validation split {cv}; expected 0 to {count - 1}")


def _require_sizes(
    record: Record, size: tuple[int, int], label: np.ndarray | None, instance: np.ndarray | None
) -> None:
    require_size(label, size, "label", record.label, record.image)
    require_size(instance, size, "instance map", record.instance, record.image)
