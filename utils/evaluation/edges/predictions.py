"""Edge predictions as files, in the layouts that the field uses, found by the names of the images.

Below one folder, for an image NAME (subfolders are allowed where the names have them):

    class_001/NAME.png ...  published: a grey PNG per class, from 1 on; 8 bits are score * 255, 16
                            bits score * 65536
    NAME.npz or NAME.npy    one array (K, H, W) or (H, W, K): float in 0..1, bool, or uint8 or
                            uint16 as in the PNGs
    NAME.png, RGB           our 24-bit edge image (`data.edges.encode_png`), with more classes in
                            NAME_24.png, ...: every edge has score 1
    NAME.png, grey          of a data set with one class, such as BSDS500; bits as above
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.edge_files import edge_size, first_groups, group_paths, read_edge_groups
from data.edges import class_edges
from data.errors import InputError
from data.files import first_few
from data.image_io import Header, read_header, read_index
from data.names import keyed_files
from utils.evaluation.edges.prediction_arrays import read_array, read_array_header

MAX_CLASS_DIGITS = 6  # of a class folder's number


class PredictionFolder:
    """The predictions below `root`. num_classes: K; None: as many as the files have."""

    num_classes: int

    def __init__(self, root: str | Path, num_classes: int | None = None) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"no such folder of predictions: {self.root}")
        if (self.root / "prob").is_dir():  # the --out of a predict.py --save-prob
            self.root = self.root / "prob"
        self.class_folders = _class_folders(self.root)
        self.class_files = [keyed_files(folder, ".png") for folder in self.class_folders]
        self.layout, self.files = self._find_layout()
        found = self._count_classes(num_classes)
        if num_classes is None and found is None:
            raise InputError(
                f"{self.root}: 24-bit edge images do not say how many classes they hold; "
                "add --num-classes"
            )
        if None not in (num_classes, found) and num_classes != found:
            raise InputError(
                f"{self.root} has predictions of {found} classes ({self.layout}), "
                f"the ground truth has {num_classes}{self._advice()}"
            )
        self.num_classes = num_classes or found or 0
        if self.layout == "edge images":
            self.files = first_groups(self.files, self.num_classes)

    @property
    def names(self) -> list[str]:
        """The names of all predictions, by which `paths`, `sizes` and `read` find them."""
        return sorted(self.files)

    def paths(self, key: str) -> list[Path]:
        """The files of one prediction: one, or one per class; those that are missing too."""
        if self.layout == "class folders":
            return [
                files.get(key, folder / f"{key}.png")
                for folder, files in zip(self.class_folders, self.class_files, strict=True)
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
        return {_score_header(path).size for path in self.paths(key)}

    def read(self, key: str) -> Iterator[np.ndarray]:
        """Yield the scores (h, w) of each class: uint8 or uint16 as in the PNG, or float32."""
        if self.layout == "arrays":
            yield from read_array(self.files[key], self.num_classes)
        elif self.layout == "edge images":
            groups = read_edge_groups(self.files[key], self.num_classes)
            for k in range(self.num_classes):
                yield class_edges(groups, k).astype(np.float32)
        else:
            for path in self.paths(key):
                yield _read_scores(path)

    def are_binary(self, keys: Iterable[str]) -> bool:
        """Whether these predictions' files can hold nothing but edge or no edge."""
        if self.layout == "arrays":
            return all(read_array_header(self.files[key]).dtype.kind == "b" for key in keys)
        return self.layout == "edge images"

    def _find_layout(self) -> tuple[str, dict[str, Path]]:
        """(name of the layout, a file of each prediction by name); see the head of this module."""
        if self.class_folders:
            files = {key: path for each in self.class_files for key, path in each.items()}
            layout = "class folders"
        elif files := keyed_files(self.root, ".npz", ".npy"):
            layout = "arrays"
        else:
            files = keyed_files(self.root, ".png")
            layout = _image_layout(list(files.values()))
        if not files:
            raise InputError(
                f"{self.root}: found no predictions; expected class_001/NAME.png …, NAME.npz, "
                "NAME.npy or NAME.png"
            )
        return layout, files

    def _count_classes(self, expected: int | None) -> int | None:
        if self.layout == "class folders":
            return len(self.class_folders)
        if self.layout == "arrays":
            header = read_array_header(next(iter(self.files.values())))
            ends = (header.shape[0], header.shape[-1])
            return expected if expected in ends else header.likely_classes()
        return None if self.layout == "edge images" else 1

    def _advice(self) -> str:
        if self.layout != "grey images":
            return ""
        return (
            "; expected a folder per class, class_001/NAME.png …; label maps are scored with "
            "--task seg, their edges with --prediction-kind labels"
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
        """Scores (h, w) of each class in turn."""
        return self.folder.read(self.keys[index])


def _class_folders(root: Path) -> list[Path]:
    """The folders class_1, class_2, ... in their order; leading zeros do not matter."""
    numbered: dict[int, Path] = {}
    for path in sorted(root.glob("class_*")):
        text = path.name.removeprefix("class_")
        if not path.is_dir() or not text.isnumeric():
            continue
        if not re.fullmatch(rf"[0-9]{{1,{MAX_CLASS_DIGITS}}}", text):
            raise InputError(f"{path}: is no number of a class; expected class_1, class_2, …")
        if int(text) in numbered:
            raise InputError(f"both {numbered[int(text)]} and {path} are class {int(text)}")
        numbered[int(text)] = path
    numbers = sorted(numbered)
    if numbers != list(range(1, len(numbers) + 1)):
        raise InputError(
            f"{root}: found class folders {first_few(numbers, 10)}; expected 1, 2, 3, … without a "
            "gap"
        )
    return [numbered[number] for number in numbers]


def _image_layout(paths: list[Path]) -> str:
    """InputError if some are grey and some are not: they are not of one kind."""
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
    return "grey images" if grey else "edge images"


def _score_header(path: Path) -> Header:
    """The header of a grey PNG of scores; InputError for other images."""
    header = read_header(path)
    if header.kind != "PNG":
        raise InputError(f"{path}: is a {header.kind}; expected a grey PNG of scores")
    if header.channels != 1 or header.palette:
        found = "a palette" if header.palette else f"{header.channels} channels"
        raise InputError(f"{path}: has {found}; expected a grey PNG of scores")
    return header


def _read_scores(path: Path) -> np.ndarray:
    """uint8 or uint16 (h, w); grey of 1, 2 and 4 bits is spread over 0..255."""
    bits = _score_header(path).bits
    stored = read_index(path)
    return stored * np.uint8(255 // (2**bits - 1)) if bits < 8 else stored
