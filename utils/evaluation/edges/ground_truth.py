"""The true edges that predictions are scored against: made by a data set from its labels, or read from files.

Files lie below one folder as our label scripts and the published ones write them:

    gt_thin/inst/NAME  gt_thin/cls/NAME  gt_raw/inst/NAME  gt_raw/cls/NAME      (or with no inst/ and cls/ between)
    NAME                                                                        (one truth for every mode)

NAME.png is a 24-bit image with a bit per class (`data.edges.encode_png`). NAME.mat holds one of the published
structures: `GTcls` (Boundaries per class), `GTinst` (Boundaries per instance, their Categories) or the `groundTruth` of
BSDS500 (Boundaries per annotator).
"""

from dataclasses import dataclass
from math import ceil
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from PIL import Image, UnidentifiedImageError

from data.base import Dataset
from data.edge_files import group_paths, read_edges
from data.edges import resize_nearest
from data.errors import InputError
from utils.evaluation.edges.protocols import Protocol
from utils.evaluation.file_names import keyed_files


@dataclass(frozen=True, slots=True)
class ImageTruth:
    """The truth of one image.

    edges: mode -> uint32 (h, w), bit k = edge of class k; or (A, h, w) for A annotators. label: uint8 (h, w), the class
    of each pixel, other values for none; or None where the files do not say.
    """

    edges: dict[str, np.ndarray]
    label: np.ndarray | None


class DatasetTruth:
    """Truth that a data set makes from its label maps, at the protocol's scale."""

    def __init__(self, dataset: Dataset, protocol: Protocol) -> None:
        self.dataset, self.protocol = dataset, protocol
        self.names = [record.name for record in dataset.records]
        if any(record.label is None for record in dataset.records):
            raise InputError(
                f"{dataset.name} {dataset.split}: this split has no ground truth; choose another --split"
            )

    @property
    def origin(self) -> dict[str, str]:
        """What it is, for `metrics.json`."""
        return {
            "dataset": self.dataset.name,
            "data_root": str(self.dataset.root),
            "split": self.dataset.split,
        }

    def paths(self, index: int) -> list[Path]:
        """The files that the truth of one image is made from."""
        record = self.dataset.records[index]
        return [path for path in (record.label, record.instance) if path is not None]

    def size(self, index: int) -> tuple[int, int]:
        """(h, w) of the truth, from the header of the image or label."""
        record = self.dataset.records[index]
        return tuple(
            ceil(side * self.protocol.scale) for side in _image_size(record.image or record.label)
        )

    def load(self, index: int) -> ImageTruth:
        protocol = self.protocol
        options = {"scale": protocol.scale, "instance_sensitive": protocol.instance}
        edges = {
            mode: self.dataset.edge_truth(index, thin=mode == "thin", **options)
            for mode in protocol.modes
        }
        return ImageTruth(
            edges, self._label(index) if protocol.kill_internal or protocol.skip_absent else None
        )

    def _label(self, index: int) -> np.ndarray | None:
        record = self.dataset.records[index]
        label = self.dataset.read_truth(record)[0]
        if label is None and self.protocol.kill_internal:
            raise InputError(
                f"{self.dataset.name}: {record.name} has no label map; --kill-internal needs the class of each pixel"
            )
        return None if label is None else resize_nearest(label, self.protocol.scale)


class FolderTruth:
    """Truth read from files below `root`."""

    def __init__(self, root: str | Path, protocol: Protocol, num_classes: int) -> None:
        self.root, self.protocol, self.num_classes = Path(root), protocol, num_classes
        if not self.root.is_dir():
            raise FileNotFoundError(f"no such folder of labels: {self.root}")
        self.folders = {mode: self._mode_folder(mode) for mode in protocol.modes}
        files = {mode: self._label_files(folder) for mode, folder in self.folders.items()}
        first = files[protocol.modes[0]]
        self.names = sorted(first)
        if not self.names:
            raise InputError(
                f"{self.folders[protocol.modes[0]]}: found no NAME.png or NAME.mat with true edges"
            )
        for mode, keyed in files.items():
            lacking = sorted(first.keys() ^ keyed.keys())
            if lacking:
                raise InputError(
                    f"{self.folders[mode]}: {lacking[0]} ({len(lacking)} in all) is only here or only in "
                    f"{self.folders[protocol.modes[0]]}; make both anew, or score one with --no-thin or --no-raw"
                )
        self.files = files

    @property
    def origin(self) -> dict[str, str]:
        origin = {"labels": str(self.root)}
        shared = len(self.folders) > len(set(self.folders.values()))
        return (
            origin | {"note": "thin and raw are scored against the same files"}
            if shared
            else origin
        )

    def paths(self, index: int) -> list[Path]:
        return list(dict.fromkeys(self.files[mode][self.names[index]] for mode in self.files))

    def size(self, index: int) -> tuple[int, int]:
        path = self.paths(index)[0]
        return (
            read_mat(path, self.num_classes)[0].shape[-2:]
            if path.suffix == ".mat"
            else _image_size(path)
        )

    def load(self, index: int) -> ImageTruth:
        loaded = {mode: self._read(self.files[mode][self.names[index]]) for mode in self.files}
        label = next(iter(loaded.values()))[1]
        if label is None and self.protocol.kill_internal:
            raise InputError(
                f"{self.paths(index)[0]}: --kill-internal needs the class of each pixel, which this file lacks; "
                "give GTcls .mat files as --labels, or a --dataset"
            )
        return ImageTruth({mode: bits for mode, (bits, _) in loaded.items()}, label)

    def _mode_folder(self, mode: str) -> Path:
        sensitivity = "inst" if self.protocol.instance else "cls"
        # The folder that a label script wrote holds the evaluation truth below gt_eval, beside the training labels.
        root = self.root / "gt_eval" if (self.root / "gt_eval").is_dir() else self.root
        candidates = (
            Path(f"gt_{mode}") / sensitivity,
            Path(f"gt_{mode}"),
            Path(sensitivity),
            Path(),
        )
        return next(root / folder for folder in candidates if (root / folder).is_dir())

    def _label_files(self, folder: Path) -> dict[str, Path]:
        files = keyed_files(folder, ".png", ".mat")
        later = {
            other for path in files.values() for other in group_paths(path, self.num_classes)[1:]
        }
        return {key: path for key, path in files.items() if path not in later}

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        if path.suffix == ".mat":
            return read_mat(path, self.num_classes)
        return read_edges(path, self.num_classes), None


Truth = DatasetTruth | FolderTruth


def read_mat(path: Path, num_classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(edges uint32 (h, w) or (A, h, w), label uint8 (h, w) or None) of a published ground-truth file."""
    try:
        contents = scipy.io.loadmat(path)
        kind = next((name for name in ("GTcls", "GTinst") if name in contents), "groundTruth")
        return (
            _annotators(contents[kind])
            if kind == "groundTruth"
            else _boundaries(contents[kind][0, 0], num_classes)
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # scipy raises whatever the broken part of the file leads to
        expected = "expected GTcls or GTinst with Boundaries, or groundTruth, saved as MATLAB version 7 or older"
        raise InputError(
            f"{path}: cannot be read as ground truth ({type(error).__name__}: {error}); {expected}"
        ) from error


def _annotators(cells: np.ndarray) -> tuple[np.ndarray, None]:
    maps = [np.asarray(cell["Boundaries"][0, 0]) != 0 for cell in cells.ravel()]
    return np.stack(maps).astype(np.uint32), None


def _boundaries(truth: np.void, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    # The published scripts store an absent class as an empty map, at times of another size: it is no edge.
    cells = truth["Boundaries"].ravel()
    names = truth.dtype.names
    segmentation = np.asarray(truth["Segmentation"])
    maps = [cell.toarray() if hasattr(cell, "toarray") else np.asarray(cell) for cell in cells]
    classes = np.arange(1, len(cells) + 1)
    if (
        "Categories" in names
        and truth["Categories"].size == len(cells)
        and _one_per_region(maps, segmentation)
    ):
        classes = truth["Categories"].ravel()
    if classes.size and classes.max() > num_classes:
        raise InputError(f"holds class {classes.max()}; expected at most {num_classes}")
    size = next((edge.shape for edge in maps if edge.any()), segmentation.shape)
    bits = np.zeros(size, np.uint32)
    for number, edge in zip(classes.tolist(), maps, strict=True):
        if edge.any():
            bits |= (edge != 0).astype(np.uint32) << np.uint32(number - 1)
    # GTinst numbers its instances, so its Segmentation says no class.
    has_label = "Categories" not in names and segmentation.shape == size
    label = np.where(
        (segmentation > 0) & (segmentation <= num_classes), segmentation - 1, 255
    ).astype(np.uint8)
    return bits, label if has_label else None


def _one_per_region(maps: list[np.ndarray], segmentation: np.ndarray) -> bool:
    """Does map i surround region i of the segmentation (SBD's GTinst)? Else map i is that of class i (Cityscapes' GTinst), which
    only the maps can tell where there are as many regions as classes."""
    for number, edge in enumerate(maps, start=1):
        if edge.any() and edge.shape == segmentation.shape:
            around = cv2.dilate(
                (segmentation == number).astype(np.uint8), np.ones((5, 5), np.uint8)
            )
            if not around[edge != 0].all():
                return False
    return True


def _image_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (UnidentifiedImageError, SyntaxError, OSError) as error:
        raise InputError(f"{path}: the file cannot be read ({error}); replace it") from error
