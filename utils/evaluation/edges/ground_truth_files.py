"""Ground truth of edges from files, as our label scripts and the published ones write them.

Below one folder:

    gt_thin/inst/NAME  gt_thin/cls/NAME  gt_raw/inst/NAME  gt_raw/cls/NAME
    gt_thin/NAME       gt_raw/NAME       (with neither inst/ nor cls/)
    NAME                                 (one ground truth for every mode)

NAME.png is a 24-bit image with a bit per class (`data.edges.encode_png`), with more classes in
NAME_24.png and so on; of one class also a grey image of 0 and 255. NAME.mat: see `read_mat`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.edge_files import edge_size, first_groups, group_paths, read_edge_groups
from data.errors import InputError
from data.image_io import image_size, read_header, read_index
from data.names import keyed_files
from utils.evaluation.edges.ground_truth_mat import read_mat
from utils.evaluation.edges.image_counts import ImageGroundTruth
from utils.evaluation.edges.label_folders import (
    find_mode_folders,
    require_classes,
    stamped_scale,
    training_radius,
)
from utils.evaluation.edges.protocols import EdgeProtocol

THICK = 0.25  # share of blocks: a line has below 0.05, a band two pixels wide about 0.5


class FolderGroundTruth:
    """Ground truth read from files below `root`.

    protocol: the given one, but None for its knobs that files leave no choice of.
    """

    def __init__(self, root: str | Path, protocol: EdgeProtocol, num_classes: int) -> None:
        self.root = Path(root)
        self.num_classes = num_classes
        if not self.root.is_dir():
            raise FileNotFoundError(f"no such folder of labels: {self.root}")
        found = find_mode_folders(self.root, protocol.truths, instance=bool(protocol.instance))
        self.folders = {mode: folder.path for mode, folder in found.items()}
        for folder in dict.fromkeys(self.folders.values()):
            require_classes(folder, num_classes)
        by_kind = all(folder.by_kind for folder in found.values())
        self.protocol = replace(
            protocol, scale=None, instance=protocol.instance if by_kind else None
        )
        self.files = {mode: self._label_files(folder) for mode, folder in self.folders.items()}
        self.names = self._common_names()
        self._sizes: dict[int, tuple[int, int]] = {}
        if protocol.kill_internal:
            self._require_labels()

    @property
    def origin(self) -> dict[str, str]:
        """What it is, for `metrics.json`."""
        origin = {"labels": str(self.root)}
        if len(self.folders) > len(set(self.folders.values())):
            origin["note"] = "thin and raw are scored against the same files"
        return origin

    @property
    def scale(self) -> float | None:
        """Its size relative to the label maps that it was made of, if a label script says it."""
        return next((s for each in self.folders.values() if (s := stamped_scale(each))), None)

    def paths(self, index: int) -> list[Path]:
        """The files with the ground truth of one image, each once."""
        name = self.names[index]
        first_files = dict.fromkeys(files[name] for files in self.files.values())
        return [
            path
            for first in first_files
            for path in ([first] if _is_mat(first) else group_paths(first, self.num_classes))
        ]

    def size(self, index: int) -> tuple[int, int]:
        """(h, w) of the ground truth; InputError if a file's header is not that of edges."""
        if index not in self._sizes:
            self._sizes[index] = self._common_size(self.names[index])
        return self._sizes[index]

    def load(self, index: int) -> ImageGroundTruth:
        """Read the edges of one image for each mode, and its label map if the files have it."""
        loaded = {mode: self._read(files[self.names[index]]) for mode, files in self.files.items()}
        label = next(iter(loaded.values()))[1]
        if label is None and self.protocol.kill_internal:
            raise self._no_labels(self.paths(index)[0])
        return ImageGroundTruth({mode: groups for mode, (groups, _) in loaded.items()}, label)

    def note(self) -> str | None:
        """What to say before the work: that the truth of thin scores is wider than a line.

        Label files without their gtlabel.json say nowhere that they are training labels.
        """
        if "thin" not in self.files:
            return None
        path = self.files["thin"][self.names[0]]
        if thick_share(self._read(path)[0]) < THICK:
            return None
        return (
            f"{path} holds edges wider than a line, and thin scores want thin ones; "
            "data.gtlabel --eval makes both kinds, --no-thin scores raw edges alone"
        )

    def _common_names(self) -> list[str]:
        """The names of the images, sorted. All modes must have the same; the first names them."""
        first_mode = self.protocol.truths[0]
        first, first_folder = self.files[first_mode], self.folders[first_mode]
        if not first:
            raise InputError(f"{first_folder}: found no NAME.png or NAME.mat with true edges")
        for mode, files in self.files.items():
            unpaired = sorted(first.keys() ^ files.keys())
            if unpaired:
                raise InputError(
                    f"{self.folders[mode]}: {unpaired[0]} ({len(unpaired)} in all) is only here "
                    f"or only in {first_folder}; make both again, or score one with --no-thin "
                    "or --no-raw"
                )
        return sorted(first)

    def _common_size(self, name: str) -> tuple[int, int]:
        """(h, w) of an image's file of the first mode; InputError if another is of another image.

        Thin and raw edges may be of two scales.
        """
        sizes = {path: self._file_size(path) for path in (f[name] for f in self.files.values())}
        (first, size), *others = sizes.items()
        for path, (h, w) in others:
            if not same_aspect((h, w), size):
                raise InputError(f"{path}: is {w}x{h}, but {first} is {size[1]}x{size[0]}")
        return size

    def _file_size(self, path: Path) -> tuple[int, int]:
        if _is_mat(path):
            height, width = read_mat(path, self.num_classes)[0][0].shape[-2:]
            return height, width
        return image_size(path) if self._is_mask(path) else edge_size(path, self.num_classes)

    def _require_labels(self) -> None:
        images = [path for files in self.files.values() for path in files.values()]
        if lacking := [path for path in images if not _is_mat(path)]:
            raise self._no_labels(lacking[0])

    def _no_labels(self, path: Path) -> InputError:
        return InputError(
            f"{path}: --kill-internal needs the class of each pixel, which "
            "this file lacks; give GTcls .mat files as --labels, or a --dataset"
        )

    def _label_files(self, folder: Path) -> dict[str, Path]:
        """The files of a folder by name; of several that hold one image's classes, the first.

        Of NAME.png and NAME.mat, which a label script's --mat makes of the same edges, the .mat.
        """
        images = first_groups(keyed_files(folder, ".png"), self.num_classes)
        if training_radius(folder) is not None:  # with drawings of them in view/
            images = {name: path for name, path in images.items() if not name.startswith("view/")}
        return images | keyed_files(folder, ".mat")

    def _read(self, path: Path) -> tuple[list[np.ndarray], np.ndarray | None]:
        """(edges, label or None), as `read_mat`."""
        if _is_mat(path):
            return read_mat(path, self.num_classes)
        if self._is_mask(path):
            return [read_mask(path).astype(np.uint32)], None
        return read_edge_groups(path, self.num_classes), None

    def _is_mask(self, path: Path) -> bool:
        """Whether a file is the edges of a single class as a grey map."""
        if self.num_classes > 1:
            return False
        header = read_header(path)
        return header.channels == 1 and not header.palette


def thick_share(groups: Sequence[np.ndarray]) -> float:
    """The share of edge pixels with edges of their class right, below and right below of them.

    groups: uint32 (h, w) each. Near 0 for lines of one pixel, near 1 for broad bands.
    """
    edges = blocks = 0
    for bits in groups:
        block = bits[:-1, :-1] & bits[1:, :-1] & bits[:-1, 1:] & bits[1:, 1:]
        edges += int(np.bitwise_count(bits).sum())
        blocks += int(np.bitwise_count(block).sum())
    return blocks / max(edges, 1)


def read_mask(path: Path) -> np.ndarray:
    """The edges of one class, bool (h, w), of a grey image that is black or white, not between."""
    stored = read_index(path)
    white = 2 ** read_header(path).bits - 1
    values = np.unique(stored)
    if not np.isin(values, (0, white)).all():
        raise InputError(
            f"{path}: holds values of {values[0]} to {values[-1]}; expected the edges of one class "
            f"as 0 and {white}, or a 24-bit edge image; make edges of label maps with "
            "python -m data.gtlabel"
        )
    return stored == white


def same_aspect(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (h, w) have one aspect ratio to within a pixel."""
    return abs(size[0] * other[1] - size[1] * other[0]) <= max(*size, *other)


def _is_mat(path: Path) -> bool:
    return path.suffix.lower() == ".mat"
