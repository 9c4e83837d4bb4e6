"""Files of edge labels: where the label scripts put them, and how their bits are read and written.

A training label lies below the folder of labels as its label map lies below the data set, and
ends in `_edge.png`:

    gtFine/train/aachen/NAME_gtFine_labelIds.png  ->  gtFine/train/aachen/NAME_gtFine_edge.png
    trainannot/NAME.png                           ->  trainannot/NAME_edge.png

One PNG holds 24 classes, a bit each (`data.edges.encode_png`). With more, NAME_edge.png holds
classes 0..23, NAME_edge_24.png classes 24..47, and so on: "groups".
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.base import Dataset, Record
from data.edges import MAX_CLASSES, PNG_CLASSES, decode_png, encode_png, present_bits
from data.errors import InputError
from data.files import first_few
from data.image_io import Header, read_header, read_image, write_png

LABEL_ENDINGS = ("_labelIds", "_polygons", "_train_id")
LATER_GROUP = re.compile(r"(.+)_([1-9][0-9]*)")


def edge_label_path(
    folder: str | Path, dataset: Dataset, record: Record, *, instance_sensitive: bool = True
) -> Path:
    """The training label of a record of `dataset` below the folder that a label script filled."""
    if record.label is None:
        raise InputError(
            f"{dataset.name} {dataset.split}: {record.name} has no label map, so it has no edge "
            "label"
        )
    name = dataset.edge_label_name(record, instance_sensitive=instance_sensitive)
    return Path(folder) / (name or edge_label_name(record.label.relative_to(dataset.root)))


def edge_label_name(label: Path) -> Path:
    """The edge label's path below its folder, from the label map's path below its own."""
    stem = label.stem
    for ending in LABEL_ENDINGS:
        stem = stem.removesuffix(ending)
    return label.with_name(f"{stem}_edge.png")


def require_edge_labels(
    folder: str | Path, dataset: Dataset, *, instance_sensitive: bool = True
) -> list[Path]:
    """The training labels of all records, in order.

    FileNotFoundError with the number of missing files and the first of them.
    """
    first_groups = [
        edge_label_path(folder, dataset, record, instance_sensitive=instance_sensitive)
        for record in dataset.records
    ]
    paths = [path for first in first_groups for path in group_paths(first, dataset.num_classes)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} edge labels of {dataset.name} {dataset.split} are "
            f"missing: {first_few(missing)}. Make them with the data set's label script "
            "(python -m data.…gtlabel)"
        )
    return first_groups


def group_paths(path: Path, num_classes: int) -> list[Path]:
    """The files that hold `num_classes` classes: `path`, then NAME_24.png, NAME_48.png, ..."""
    later = [
        path.with_name(f"{path.stem}_{first}{path.suffix}")
        for first in range(PNG_CLASSES, num_classes, PNG_CLASSES)
    ]
    return [path, *later]


def first_groups(files: Mapping[str, Path], num_classes: int) -> dict[str, Path]:
    """Of files by name, those that hold the first classes: the others are their `group_paths`."""
    return {name: path for name, path in files.items() if not _is_later(name, files, num_classes)}


def _is_later(name: str, files: Mapping[str, Path], num_classes: int) -> bool:
    match = LATER_GROUP.fullmatch(name)
    if match is None or match[1] not in files:
        return False
    return int(match[2]) % PNG_CLASSES == 0 and int(match[2]) < num_classes


def edge_header(path: str | Path) -> Header:
    """The header of an edge image; InputError unless it is a PNG of 24 bits."""
    header = read_header(path)
    if header.kind != "PNG":
        raise InputError(f"{path}: is a {header.kind}; expected a PNG of 24 bits with edges")
    if header.channels < 3:
        kind = "a map with a palette" if header.palette else "a grey map"
        raise InputError(
            f"{path}: is {kind}, not a 24-bit edge image; make edges of label maps with "
            "python -m data.gtlabel"
        )
    if header.bits != 8:
        raise InputError(
            f"{path}: has {header.bits} bits in each channel; expected an edge image of 3 x 8 bits"
        )
    return header


def edge_size(path: Path, num_classes: int) -> tuple[int, int]:
    """(H, W) of an edge image's file or files, from their headers.

    InputError if one is no edge image, or has another size than the first; FileNotFoundError if
    one is missing.
    """
    first, *later = group_paths(path, num_classes)
    size = edge_header(first).size
    for source in later:
        if (found := edge_header(source).size) != size:
            raise InputError(
                f"{source}: is {found[1]}x{found[0]}, but {path.name} is {size[1]}x{size[0]}"
            )
    return size


def write_edges(path: Path, groups: Sequence[np.ndarray], *, compression: int = 3) -> None:
    """Write groups of 24 classes, each uint32 (H, W), bit 0 = the group's first class."""
    for target, bits in zip(group_paths(path, PNG_CLASSES * len(groups)), groups, strict=True):
        write_png(target, encode_png(bits), compression=compression)


def read_edge_groups(path: Path, num_classes: int) -> list[np.ndarray]:
    """Read what `write_edges` wrote: groups of 24 classes, each uint32 (H, W).

    InputError if a file is no edge image, holds classes beyond `num_classes`, or has another size
    than the first.
    """
    groups: list[np.ndarray] = []
    edge_size(path, num_classes)
    for number, source in enumerate(group_paths(path, num_classes)):
        bits = decode_png(read_image(source))
        first = number * PNG_CLASSES
        expected = min(PNG_CLASSES, num_classes - first)
        strange = [k for k in present_bits(bits) if k >= expected]
        if strange:
            raise InputError(
                f"{source}: holds class {first + strange[-1]}; expected {num_classes} classes, "
                "from 0"
            )
        groups.append(bits)
    return groups


def read_edges(path: str | Path, num_classes: int) -> np.ndarray:
    """Read the edges of up to 32 classes from their file or files: uint32 (H, W)."""
    if num_classes > MAX_CLASSES:
        raise InputError(
            f"{path}: {num_classes} classes do not fit into {MAX_CLASSES} bits; read them group "
            "by group"
        )
    first, *later = read_edge_groups(Path(path), num_classes)
    for number, group in enumerate(later, start=1):
        first |= group << np.uint32(number * PNG_CLASSES)
    return first
