"""The true edges that predictions are scored against: from a data set's labels, or from files.

Files lie below one folder as our label scripts and the published ones write them:

    gt_thin/inst/NAME  gt_thin/cls/NAME  gt_raw/inst/NAME  gt_raw/cls/NAME
    gt_thin/NAME       gt_raw/NAME       (with neither inst/ nor cls/)
    NAME                                 (one ground truth for every mode)

NAME.png is a 24-bit image with a bit per class (`data.edges.encode_png`). NAME.mat: see `read_mat`.
"""

from math import ceil
from pathlib import Path

import numpy as np

from data.base import Dataset
from data.edge_files import group_paths, read_edges
from data.edges import resize_nearest
from data.errors import InputError
from data.image_io import image_size
from data.names import keyed_files
from utils.evaluation.edges.ground_truth_mat import read_mat
from utils.evaluation.edges.image_counts import ImageGroundTruth
from utils.evaluation.edges.protocols import EdgeProtocol


class DatasetGroundTruth:
    """Ground truth that a data set makes from its label maps, at the protocol's scale."""

    def __init__(self, dataset: Dataset, protocol: EdgeProtocol) -> None:
        self.dataset = dataset
        self.protocol = protocol
        self.names = [record.name for record in dataset.records]
        if any(record.label is None for record in dataset.records):
            raise InputError(
                f"{dataset.name} {dataset.split}: this split has no ground truth; "
                "choose another --split"
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
        """The files that the ground truth of one image is made from."""
        record = self.dataset.records[index]
        return [path for path in (record.label, record.instance) if path is not None]

    def size(self, index: int) -> tuple[int, int]:
        """(h, w) of the ground truth, from the header of the image or label."""
        record = self.dataset.records[index]
        path = record.image or record.label
        assert path is not None  # every record has a label, see __init__
        height, width = image_size(path)
        # Rounded up, as the data sets' `edge_ground_truth` does.
        return ceil(height * self.protocol.scale), ceil(width * self.protocol.scale)

    def load(self, index: int) -> ImageGroundTruth:
        """Make the edges of one image for each mode, and its label map if the protocol needs it."""
        protocol = self.protocol
        edges = {
            mode: self.dataset.edge_ground_truth(
                index,
                thin=mode == "thin",
                scale=protocol.scale,
                instance_sensitive=protocol.instance,
            )
            for mode in protocol.modes
        }
        needs_label = protocol.kill_internal or protocol.skip_absent
        return ImageGroundTruth(edges, self._label(index) if needs_label else None)

    def _label(self, index: int) -> np.ndarray | None:
        record = self.dataset.records[index]
        label = self.dataset.read_ground_truth(record)[0]
        if label is None and self.protocol.kill_internal:
            raise InputError(
                f"{self.dataset.name}: {record.name} has no label map; "
                "--kill-internal needs the class of each pixel"
            )
        return None if label is None else resize_nearest(label, self.protocol.scale)


class FolderGroundTruth:
    """Ground truth read from files below `root`."""

    def __init__(self, root: str | Path, protocol: EdgeProtocol, num_classes: int) -> None:
        self.root = Path(root)
        self.protocol = protocol
        self.num_classes = num_classes
        if not self.root.is_dir():
            raise FileNotFoundError(f"no such folder of labels: {self.root}")
        self.folders = {mode: self._mode_folder(mode) for mode in protocol.modes}
        self.files = {mode: self._label_files(folder) for mode, folder in self.folders.items()}
        # All modes must have the same images; the first one names them.
        first_mode = protocol.modes[0]
        first, first_folder = self.files[first_mode], self.folders[first_mode]
        self.names = sorted(first)
        if not self.names:
            raise InputError(f"{first_folder}: found no NAME.png or NAME.mat with true edges")
        for mode, files in self.files.items():
            unpaired = sorted(first.keys() ^ files.keys())
            if unpaired:
                raise InputError(
                    f"{self.folders[mode]}: {unpaired[0]} ({len(unpaired)} in all) is only here "
                    f"or only in {first_folder}; make both again, or score one with --no-thin "
                    "or --no-raw"
                )

    @property
    def origin(self) -> dict[str, str]:
        """What it is, for `metrics.json`."""
        origin = {"labels": str(self.root)}
        if len(self.folders) > len(set(self.folders.values())):
            origin["note"] = "thin and raw are scored against the same files"
        return origin

    def paths(self, index: int) -> list[Path]:
        """The files with the ground truth of one image, each once."""
        return list(dict.fromkeys(files[self.names[index]] for files in self.files.values()))

    def size(self, index: int) -> tuple[int, int]:
        """(h, w) of the ground truth."""
        path = self.paths(index)[0]
        if path.suffix == ".mat":
            height, width = read_mat(path, self.num_classes)[0].shape[-2:]
            return height, width
        return image_size(path)

    def load(self, index: int) -> ImageGroundTruth:
        """Read the edges of one image for each mode, and its label map if the files have it."""
        loaded = {mode: self._read(files[self.names[index]]) for mode, files in self.files.items()}
        label = next(iter(loaded.values()))[1]
        if label is None and self.protocol.kill_internal:
            raise InputError(
                f"{self.paths(index)[0]}: --kill-internal needs the class of each pixel, which "
                "this file lacks; give GTcls .mat files as --labels, or a --dataset"
            )
        return ImageGroundTruth({mode: bits for mode, (bits, _) in loaded.items()}, label)

    def _mode_folder(self, mode: str) -> Path:
        """The most specific folder that is there."""
        sensitivity = "inst" if self.protocol.instance else "cls"
        # The label scripts write the evaluation's edges below gt_eval, beside the training labels.
        root = self.root / "gt_eval" if (self.root / "gt_eval").is_dir() else self.root
        candidates = (f"gt_{mode}/{sensitivity}", f"gt_{mode}", sensitivity, ".")
        return next(root / folder for folder in candidates if (root / folder).is_dir())

    def _label_files(self, folder: Path) -> dict[str, Path]:
        """The files of a folder by name; of several that hold one image's classes, the first."""
        files = keyed_files(folder, ".png", ".mat")
        later = {
            other for path in files.values() for other in group_paths(path, self.num_classes)[1:]
        }
        return {key: path for key, path in files.items() if path not in later}

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """(edges, label or None), as `read_mat`."""
        if path.suffix == ".mat":
            return read_mat(path, self.num_classes)
        return read_edges(path, self.num_classes), None


EdgeGroundTruth = DatasetGroundTruth | FolderGroundTruth
