"""Edge predictions as files, in the layouts that the field uses, found by the names of the images.

Below one folder, for an image NAME (subfolders are allowed where the names have them):

    class_001/NAME.png ... published: a grey PNG per class, from 1 on; 8 bits are score * 255, 16
    bits score * 65536 NAME.npz or NAME.npy one array (K, H, W) or (H, W, K): float in 0..1, bool,
    or uint8 or uint16 as in the PNGs NAME.png, RGB our 24-bit edge image (`data.edges.encode_png`):
    every edge has score 1 NAME.png, grey of a data set with one class, such as BSDS500; 8 or 16
    bits as above
"""

import contextlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from data.edges import decode_png
from data.errors import InputError
from data.image_io import read_image, read_index
from data.names import keyed_files

PNG_GREY = 0  # the colour type in a PNG's header


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
        self.layout, self.files = _find_layout(self.root, self.class_folders)
        found = self._count_classes()
        if num_classes is None and found is None:
            raise InputError(
                f"{self.root}: 24-bit edge images do not say how many classes they hold; "
                "add --num-classes"
            )
        if None not in (num_classes, found) and num_classes != found:
            raise InputError(
                f"{self.root} has predictions of {found} classes ({self.layout}), "
                f"the ground truth has {num_classes}"
            )
        self.num_classes = num_classes or found or 0

    @property
    def names(self) -> list[str]:
        """The names of all predictions, by which `paths`, `sizes` and `read` find them."""
        return sorted(self.files)

    def paths(self, key: str) -> list[Path]:
        """The files of one prediction: one, or one per class; those that are missing too."""
        if self.layout == "class folders":
            return [folder / f"{key}.png" for folder in self.class_folders]
        return [self.files[key]]

    def missing(self, key: str) -> list[Path]:
        """The files of one prediction that are not there."""
        return [path for path in self.paths(key) if not path.is_file()]

    def sizes(self, key: str) -> set[tuple[int, int]]:
        """The sizes (h, w) of a prediction's files, from their headers."""
        if self.layout == "arrays":
            first, second, third = _array_shape(self.files[key])
            return {(second, third) if first == self.num_classes else (first, second)}
        return {_png_header(path)[0] for path in self.paths(key)}

    def read(self, key: str) -> Iterator[np.ndarray]:
        """Yield the scores (h, w) of each class: uint8 or uint16 as in the PNG, or float32."""
        if self.layout == "arrays":
            yield from _read_array(self.files[key], self.num_classes)
        elif self.layout == "edge images":
            bits = decode_png(read_image(self.files[key]))
            for k in range(self.num_classes):
                yield (bits >> np.uint32(k) & np.uint32(1)).astype(np.float32)
        else:
            for path in self.paths(key):
                yield read_index(path)

    def _count_classes(self) -> int | None:
        if self.layout == "class folders":
            return len(self.class_folders)
        if self.layout == "arrays":
            shape = _array_shape(next(iter(self.files.values())))
            return shape[-1] if shape[-1] < shape[0] else shape[0]
        return None if self.layout == "edge images" else 1


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
    numbered = {
        int(path.name[6:]): path
        for path in root.glob("class_*")
        if path.name[6:].isdigit() and path.is_dir()
    }
    absent = [number for number in range(1, max(numbered, default=0) + 1) if number not in numbered]
    if absent or 0 in numbered:
        raise InputError(
            f"{root}: found class folders {sorted(numbered)}; expected 1, 2, 3, … without a gap"
        )
    return [numbered[number] for number in sorted(numbered)]


def _find_layout(root: Path, class_folders: list[Path]) -> tuple[str, dict[str, Path]]:
    """(name of the layout, a file of each prediction by name); see the head of this module."""
    if class_folders:
        keyed = [keyed_files(folder, ".png") for folder in class_folders]
        layout, files = "class folders", {key: path for each in keyed for key, path in each.items()}
    elif arrays := keyed_files(root, ".npz", ".npy"):
        layout, files = "arrays", arrays
    else:
        files = keyed_files(root, ".png")
        is_grey = bool(files) and _png_header(next(iter(files.values())))[1] == PNG_GREY
        layout = "grey images" if is_grey else "edge images"
    if not files:
        raise InputError(
            f"{root}: found no predictions; expected class_001/NAME.png …, NAME.npz, NAME.npy "
            "or NAME.png"
        )
    return layout, files


def _png_header(path: Path) -> tuple[tuple[int, int], int]:
    """((height, width), colour type) of a PNG without decoding it."""
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(f"{path}: the file is empty, cut off or no PNG; replace it")
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
    return (height, width), header[25]


def _array_shape(path: Path) -> tuple[int, int, int]:
    """The shape of the array in an .npy or .npz file, from its header, without reading the rest."""
    with _opened(path) as array_file:
        version = np.lib.format.read_magic(array_file)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape = read_header(array_file)[0]
    if len(shape) != 3:
        raise InputError(
            f"{path}: found an array of shape {shape}; expected (classes, height, width)"
        )
    first, second, third = shape
    return first, second, third


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The stream of the one array in an .npy or .npz file; a broken file is an InputError."""
    try:
        if path.suffix == ".npy":
            with path.open("rb") as stream:
                yield stream
        else:
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name.endswith(".npy")]
                if len(members) != 1:
                    raise InputError(
                        f"{path}: found {len(members)} arrays; expected one, "
                        "(classes, height, width)"
                    )
                with archive.open(members[0]) as stream:
                    yield stream
    except InputError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: the file cannot be read ({error}); replace it") from error


def _read_array(path: Path, num_classes: int) -> Iterator[np.ndarray]:
    with _opened(path) as stream:
        scores = np.lib.format.read_array(stream, allow_pickle=False)
    if scores.shape[0] != num_classes:
        scores = np.moveaxis(scores, -1, 0)
    if len(scores) != num_classes:
        raise InputError(
            f"{path}: found an array of shape {scores.shape}; expected {num_classes} classes"
        )
    for score in scores:
        if score.dtype not in (np.uint8, np.uint16):
            score = score.astype(np.float32)
            if not (score.min() >= 0 and score.max() <= 1):  # NaN fails both
                raise InputError(
                    f"{path}: scores from {score.min():g} to {score.max():g}; "
                    "expected probabilities, 0..1"
                )
        yield np.ascontiguousarray(score)
