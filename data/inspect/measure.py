"""Everything that is measured on one image; run in worker processes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.base import Dataset, Record
from data.edges import class_groups, label_to_edges
from data.errors import InputError, one_line
from data.folder import Folder
from data.image_io import read_header
from data.inspect.duplicates import content_digest, perceptual_hash
from data.inspect.gradients import EdgeFit, edge_fit
from data.inspect.regions import NONE, border_gap, components, ridge_widths, speck_limit
from data.inspect.source import object_numbers

EDGE_RADIUS = 2  # pixels, of training targets
IGNORED_IDS = (2, 3)  # instance ids that the edge rule ignores, see `data.edges.rule`
KEPT_VALUES = 200  # values without a meaning that are listed of one image
KEPT_SPECKS = 40  # of one image, the smallest ones, with their places
BROKEN_IMAGE, BROKEN_LABEL, WRONG_SIZE = "image", "label", "size"  # kinds of faults


class Fault(NamedTuple):
    """Something wrong with an image's files. kind: BROKEN_IMAGE, BROKEN_LABEL or WRONG_SIZE."""

    kind: str
    text: str


@dataclass
class ClassCounts:
    """Of one class in one image. widths: see `ridge_widths`."""

    pixels: int
    instances: int
    edges: int = 0
    widths: Counter[int] = field(default_factory=Counter)


class Speck(NamedTuple):
    """A small component. label: its class, NONE for pixels without one."""

    label: int
    area: int
    y: int
    x: int


@dataclass
class Measured:
    """What was found in one image.

    Args:
        number: of the item.
        size: (H, W) of the image as it is read.
        kind: of its file, in words.
        turned: its EXIF data ask to be turned, and it is not.
        faults: of its files.
        has_label: a label map was read.
        classes: those that occur.
        none: pixels without a class.
        ignored: those of them whose border is no edge.
        unnamed: value -> pixels, of values that dataset.json does not name.
        specks: the smallest ones.
        speck_counts: class, or NONE -> specks of more than one pixel.
        island_counts: the same, of one pixel.
        fit: see `edge_fit`.
        gap: see `border_gap`.
        digest: of the pixels.
        code: the perceptual hash.
    """

    number: int
    size: tuple[int, int] | None = None
    kind: str = ""
    turned: bool = False
    faults: list[Fault] = field(default_factory=list)
    has_label: bool = False
    classes: dict[int, ClassCounts] = field(default_factory=dict)
    none: int = 0
    ignored: int = 0
    unnamed: dict[int, int] = field(default_factory=dict)
    specks: list[Speck] = field(default_factory=list)
    speck_counts: Counter[int] = field(default_factory=Counter)
    island_counts: Counter[int] = field(default_factory=Counter)
    fit: EdgeFit | None = None
    gap: float = 0.0
    digest: bytes | None = None
    code: int | None = None

    def is_broken(self) -> bool:
        """Whether its image cannot be read."""
        return any(fault.kind == BROKEN_IMAGE for fault in self.faults)


class Task(NamedTuple):
    """Images of one split to measure.

    Args:
        reader: the data set without its records.
        records: by number of item.
        edge_classes: how many classes have edges.
        hashing: perceptual hashes are computed.
    """

    reader: Dataset
    records: Sequence[tuple[int, Record]]
    edge_classes: int
    hashing: bool


def measure_task(task: Task) -> list[Measured]:
    """Measure the images of a task."""
    return [
        measure(number, task.reader, record, task.edge_classes, hashing=task.hashing)
        for number, record in task.records
    ]


def measure(
    number: int, reader: Dataset, record: Record, edge_classes: int, *, hashing: bool = True
) -> Measured:
    """Measure one image. What cannot be read is among the result's faults.

    The arguments are those of `Task`.
    """
    found = Measured(number)
    image = _measure_image(found, reader, record, hashing)
    if record.label is None or not reader.has_label_maps:
        return found
    try:
        label, instance = reader.read_ground_truth(record)
        if label is None:
            return found
        found.has_label = True
        if isinstance(reader, Folder):
            found.unnamed = unnamed_values(reader, record.label)
    except (InputError, OSError, MemoryError) as error:
        found.faults.append(Fault(BROKEN_LABEL, one_line(error)))
        return found
    for what, ids, path in (
        ("label map", label, record.label),
        ("instance map", instance, record.instance),
    ):
        size = found.size or label.shape
        # A folder has regions even without instance maps.
        if ids is not None and path is not None and ids.shape != size:
            text = f"{path}: the {what} is {_in_words(ids.shape)}, its image {_in_words(size)}"
            found.faults.append(Fault(WRONG_SIZE, text))
    if instance is not None and instance.shape != label.shape:
        instance = None
    _measure_label(found, reader, label, instance, edge_classes)
    if image is not None and image.shape[:2] == label.shape:
        found.fit = edge_fit(image, label)
    return found


def _in_words(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"


def _measure_image(
    found: Measured, reader: Dataset, record: Record, hashing: bool
) -> np.ndarray | None:
    """The image, or None if it cannot be read."""
    if record.image is None:
        return None
    try:
        header = read_header(record.image)
        found.size = reader.image_size(record)
        bits = f" x {header.bits} bits" if header.bits else ""
        colours = "palette" if header.palette else f"{header.channels}{bits}"
        found.kind = f"{header.kind} ({colours})"
        upright = isinstance(reader, Folder) and reader.content.upright
        found.turned = header.orientation != 1 and not upright
        image = reader.read_image(record)
    except (InputError, OSError, MemoryError) as error:
        found.faults.append(Fault(BROKEN_IMAGE, one_line(error)))
        return None
    found.digest = content_digest(image)
    if hashing:
        found.code = perceptual_hash(image)
    return image


def _measure_label(
    found: Measured,
    reader: Dataset,
    label: np.ndarray,
    instance: np.ndarray | None,
    edge_classes: int,
) -> None:
    pixels = np.bincount(label.ravel(), minlength=256)
    none = label >= reader.num_classes
    ignored = np.zeros_like(none)
    if instance is not None:
        ignored = none & np.isin(instance, IGNORED_IDS)
    found.none = int(np.count_nonzero(none))
    found.ignored = int(np.count_nonzero(ignored))
    numbers = None if instance is None else object_numbers(reader, label, instance)
    small = speck_limit(label.shape)
    for k in np.flatnonzero(pixels[: reader.num_classes]).tolist():
        mask = label == k
        count, parts = components(mask)
        _note_specks(found, k, parts, small)
        if numbers is not None:
            count = count_objects(mask, numbers, count)
        found.classes[k] = ClassCounts(int(pixels[k]), count)
    _note_specks(found, NONE, components(none & ~ignored)[1], small)
    found.specks = sorted(found.specks, key=lambda speck: speck.area)[:KEPT_SPECKS]
    for k, widths in ridge_widths(label).items():
        if k in found.classes:
            found.classes[k].widths = widths
    for k, count in edge_pixels(label, instance, edge_classes).items():
        found.classes[k].edges = count
    # To edges the background is none, too.
    found.gap = border_gap((label >= edge_classes) & ~ignored)


def _note_specks(found: Measured, k: int, parts: np.ndarray, small: int) -> None:
    specks = parts[parts[:, 0] < small]
    islands = int(np.count_nonzero(specks[:, 0] == 1))
    # Unary plus leaves out what has no count.
    found.island_counts = +(found.island_counts + Counter({k: islands}))
    found.speck_counts = +(found.speck_counts + Counter({k: len(specks) - islands}))
    order = np.argsort(specks[:, 0], kind="stable")[:KEPT_SPECKS]
    found.specks += [Speck(k, *row) for row in specks[order].tolist()]


def count_objects(mask: np.ndarray, numbers: np.ndarray, parts: int) -> int:
    """Objects of a class: numbers in its mask, and components of its pixels without a number.

    parts: the components of the mask, for a class without any number.
    """
    inside = numbers[mask]
    objects = np.unique(inside[inside > 0]).size
    if not objects:
        return parts
    if (inside > 0).all():
        return objects
    return objects + components(mask & (numbers <= 0))[0]


def edge_pixels(label: np.ndarray, instance: np.ndarray | None, num_classes: int) -> dict[int, int]:
    """Class -> its edge pixels by the rule of training targets, for any number of classes."""
    found: dict[int, int] = {}
    first = 0
    for part, ids, rule in class_groups(label, instance, num_classes=num_classes):
        bits = label_to_edges(part, ids, radius=EDGE_RADIUS, **rule)
        bits = bits[bits != 0]
        for k in range(rule["num_classes"]):
            if count := int(np.count_nonzero(bits & np.uint32(1 << k))):
                found[first + k] = count
        first += rule["num_classes"]
    return found


def unnamed_values(reader: Folder, path: Path) -> dict[int, int]:
    """Value -> pixels of a label map, of values that dataset.json does not name."""
    values = reader.read_values(path)
    known = _known_table(tuple(sorted(reader.content.known())), reader.content.colored)
    found, counts = np.unique(values[~known[values]], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:KEPT_VALUES]
    return dict(zip(found[most].tolist(), counts[most].tolist(), strict=True))


@lru_cache(maxsize=2)
def _known_table(values: Iterable[int], colored: bool) -> np.ndarray:
    table = np.zeros(1 << 24 if colored else 1 << 16, bool)
    table[list(values)] = True
    return table
