"""Edge predictions as files, in the layouts that the field uses, found by the names of the images.

Below one folder, for an image NAME (subfolders are allowed where the names have them):

    class_001/NAME.png ...  published: a grey PNG per class, from 1 on; 8 bits are score * 255, 16
                            bits score * 65536. Folders may also have the names of the classes,
                            road/NAME.png, and be of those classes alone that are scored
    NAME.npz or NAME.npy    one array (K, H, W) or (H, W, K): float in 0..1, bool, or uint8 or
                            uint16 as in the PNGs
    NAME.png, RGB           our 24-bit edge image (`data.edges.encode_png`), with more classes in
                            NAME_24.png, ...: every edge has score 1
    NAME.png, grey          of a data set with one class, such as BSDS500, or of the one class that
                            is scored; bits as above

Grey images may be BMP or TIFF as well, and all of them RGB with three equal channels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.edge_files import edge_size, first_groups, group_paths, read_edge_groups
from data.edges import class_edges
from data.errors import InputError
from data.files import first_few
from data.image_io import read_header
from data.names import keyed_files
from data.visualize import default_class_names
from utils.evaluation.class_choice import choose_classes
from utils.evaluation.edges.predictions.arrays import read_array, read_array_header
from utils.evaluation.edges.predictions.class_folders import (
    find_class_folders,
    require_class_folders,
)
from utils.evaluation.edges.predictions.images import ENDINGS, are_grey, read_scores, score_header


class PredictionFolder:
    """The predictions below `root`.

    num_classes: K. classes: those that are scored, whose scores `read` yields; None: all.

    Args:
        root: The folder.
        num_classes: None: as many as the files have.
        names: Of the classes, which folders may have; none where they are unknown.
        classes: Numbers or names of those that are scored, see `choose_classes`; None: all.
    """

    num_classes: int
    classes: tuple[int, ...] | None

    def __init__(
        self,
        root: str | Path,
        num_classes: int | None = None,
        *,
        names: Sequence[str] = (),
        classes: Sequence[str] | None = None,
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"no such folder of predictions: {self.root}")
        if (self.root / "prob").is_dir():  # the --out of a predict.py --save-prob
            self.root = self.root / "prob"
        self.class_folders, self.strange_folders = find_class_folders(self.root, names)
        one_class = num_classes in (None, 1) or len(classes or ()) == 1
        self.layout, self.files = self._find_layout(one_class)
        self.num_classes = num_classes or self._count_classes()
        all_names = names or default_class_names(self.num_classes)
        self.classes = choose_classes(classes, all_names)
        self._require_classes(all_names)
        self.class_files = {
            k: keyed_files(self.class_folders[k], *ENDINGS)
            for k in self.scored
            if k in self.class_folders
        }
        if self.layout == "class folders":
            self.files = {
                key: path for each in self.class_files.values() for key, path in each.items()
            }
        if self.layout == "edge images":
            self.files = first_groups(self.files, self.num_classes)
        if not self.files:
            raise self._nothing_found()

    @property
    def scored(self) -> tuple[int, ...]:
        """The classes that are scored, each by its number."""
        return tuple(range(self.num_classes)) if self.classes is None else self.classes

    @property
    def names(self) -> list[str]:
        """The names of all predictions, by which `paths`, `sizes` and `read` find them."""
        return sorted(self.files)

    def note(self) -> str | None:
        """What to say before the work: that there are folders that are not read."""
        if self.layout != "class folders" or not self.strange_folders:
            return None
        shown = first_few(path.name for path in self.strange_folders)
        return (
            f"{self.root}: {len(self.strange_folders)} folders are of no class, not read: {shown}"
        )

    def paths(self, key: str) -> list[Path]:
        """The files of one prediction: one, or one per class; those that are missing too."""
        if self.layout == "class folders":
            return [
                files.get(key, self.class_folders[k] / f"{key}.png")
                for k, files in self.class_files.items()
            ]
        if self.layout == "edge images":
            return group_paths(self.files[key], self.num_classes)
        return [self.files[key]]

    def missing(self, key: str) -> list[Path]:
        """The files of one prediction that are not there."""
        return [path for path in self.paths(key) if not path.is_file()]

    def sizes(self, key: str) -> set[tuple[int, int]]:
        """The sizes (h, w) of a prediction's files; InputError if their headers are no scores'."""
        if self.layout == "arrays":
            return {read_array_header(self.files[key]).size(self.num_classes)}
        if self.layout == "edge images":
            return {edge_size(self.files[key], self.num_classes)}
        return {score_header(path).size for path in self.paths(key)}

    def read(self, key: str) -> Iterator[np.ndarray]:
        """Yield the scores (h, w) of each class that is scored, in the order of their numbers.

        uint8 or uint16 as in the PNG, or float32.
        """
        if self.layout == "arrays":
            for k, plane in enumerate(read_array(self.files[key], self.num_classes)):
                if self.classes is None or k in self.classes:
                    yield plane
        elif self.layout == "edge images":
            groups = read_edge_groups(self.files[key], self.num_classes)
            for k in self.scored:
                yield class_edges(groups, k).astype(np.float32)
        else:
            for path in self.paths(key):
                yield read_scores(path)

    def are_binary(self, keys: Iterable[str]) -> bool:
        """Whether these predictions' files can hold nothing but edge or no edge."""
        if self.layout == "arrays":
            return all(read_array_header(self.files[key]).dtype.kind == "b" for key in keys)
        return self.layout == "edge images"

    def _find_layout(self, one_class: bool) -> tuple[str, dict[str, Path]]:
        """(name of the layout, a file of each prediction by name); see the head of this module.

        Of class folders the files are looked for when it is known which are scored. one_class: grey
        scores of a single class are possible.
        """
        if self.class_folders:
            return "class folders", {}
        if files := keyed_files(self.root, ".npz", ".npy"):
            return "arrays", files
        files = keyed_files(self.root, *ENDINGS)
        if not files:
            raise self._nothing_found()
        return _image_layout(sorted(files.values()), one_class), files

    def _nothing_found(self) -> InputError:
        return InputError(
            f"{self.root}: found no predictions; expected class_001/NAME.png …, NAME.npz, "
            "NAME.npy or NAME.png"
        )

    def _count_classes(self) -> int:
        """The number of classes that the files have."""
        if self.layout == "edge images":
            raise InputError(
                f"{self.root}: 24-bit edge images do not say how many classes they hold; "
                "add --num-classes"
            )
        if self.layout == "arrays":
            return read_array_header(next(iter(self.files.values()))).likely_classes()
        return len(self.class_folders) or 1

    def _require_classes(self, names: Sequence[str]) -> None:
        """InputError unless the files have the classes that are scored."""
        if self.layout == "class folders":
            require_class_folders(self.root, self.class_folders, names, self.classes)
            return
        found = self.num_classes
        if self.layout == "arrays":
            header = read_array_header(next(iter(self.files.values())))
            if self.num_classes not in (header.shape[0], header.shape[-1]):
                found = header.likely_classes()
        elif self.layout == "grey images" and len(self.scored) > 1:
            found = 1
        if found != self.num_classes:
            raise InputError(
                f"{self.root} has predictions of {found} classes ({self.layout}), the ground truth "
                f"has {self.num_classes}{self._advice(names)}"
            )

    def _advice(self, names: Sequence[str]) -> str:
        if self.layout != "grey images":
            return ""
        return (
            "; expected a folder per class, class_001/NAME.png … or "
            f"{first_few(names, 2)}, or with --classes the one class that these are of; label maps "
            "are scored with --task seg, their edges with --prediction-kind labels"
        )


@dataclass(frozen=True)
class PredictionFiles:
    """The files of the images that are scored. keys: index of an image -> name in the folder."""

    folder: PredictionFolder
    keys: dict[int, str]

    def paths(self, index: int) -> list[Path]:
        """The files of one image."""
        return self.folder.paths(self.keys[index])

    def read(self, index: int) -> Iterator[np.ndarray]:
        """Scores (h, w) of each class that is scored, in turn."""
        return self.folder.read(self.keys[index])


def _image_layout(paths: Sequence[Path], one_class: bool) -> str:
    """InputError if some are grey and some are not: they are not of one kind.

    one_class: images of three equal channels are taken for grey ones; else an edge image may have
    them, of classes 0, 8 and 16.
    """
    grey: Path | None = None
    color: Path | None = None
    for path in paths:
        if read_header(path).channels == 1:
            grey = grey or path
        else:
            color = color or path
        if grey and color:
            raise InputError(
                f"{grey} is grey, {color} is in colour; expected predictions of one kind: grey "
                "scores of one class, or 24-bit edge images"
            )
    return "grey images" if grey or (one_class and are_grey(paths)) else "edge images"
