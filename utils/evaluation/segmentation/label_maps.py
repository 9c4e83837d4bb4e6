"""Label maps of images: from a network, from a data set, or from a folder of PNGs by anybody.

A PNG holds one id per pixel, grey of 8 bits or with a palette: train ids (classes 0.., 255 for
none), or Cityscapes' label ids where its name ends in `_labelIds` or the caller says so. Where a
folder holds files with that ending, the other files of the same images (instances, colours) are
passed by. Which prediction belongs to which ground truth is in `pairing`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data.base import Dataset
from data.cityscapes import TRAIN_LABELS, to_train_ids
from data.errors import InputError
from data.files import file_sha256, first_few
from data.image_io import check_ids, index_header, read_index
from data.names import ENDINGS, base_name, keyed_files
from utils.inference.predictor import Predictor
from utils.seg_metrics.maps import MAX_CLASSES

LABEL_IDS = "_labelIds"
# Taken alone where they lie beside other PNGs of the same images, such as instances and colours.
PREFERRED = (LABEL_IDS, "_labelTrainIds")
COMPANION = re.compile(r"_((label|instance)\w*|color|disparity)$")


class LabelMaps(Protocol):
    """Label maps by the names of their images."""

    @property
    def names(self) -> Sequence[str]:
        """Of all images."""
        ...

    @property
    def origin(self) -> Mapping[str, object]:
        """What the label maps are, for `metrics.json`."""
        ...

    def load(self, name: str) -> np.ndarray:
        """The label map of an image: uint8 (H, W), train ids."""
        ...

    def size(self, name: str) -> tuple[int, int] | None:
        """(H, W) as the headers state it, None where they cannot; InputError if they rule it out.

        Nothing is decoded.
        """
        ...

    def where(self, name: str) -> str:
        """What a message calls the label map of an image: its file."""
        ...


class DatasetLabels:
    """The labels of a data set."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.records = {record.name: record for record in dataset.records}
        self.names = list(self.records)
        if any(record.label is None for record in dataset.records):
            raise InputError(
                f"{dataset.name} {dataset.split}: this split has no ground truth; "
                "choose another --split"
            )
        self.origin = {
            "dataset": dataset.name,
            "data_root": str(dataset.root),
            "split": dataset.split,
        }

    def load(self, name: str) -> np.ndarray:
        label, _ = self.dataset.ground_truth(self.records[name])
        assert label is not None, "the constructor has looked: every record has a label map"
        return label

    def size(self, name: str) -> tuple[int, int] | None:
        record = self.records[name]
        return self.dataset.size(record)

    def where(self, name: str) -> str:
        return str(self.records[name].label)


class FolderLabels:
    """The PNGs below a folder.

    Args:
        root: the folder, or for predictions the one that predict.py wrote to.
        num_classes: at most 255; ids from there on, but for 255, are an InputError.
        what: "labels" or "predictions", for messages and `origin`.
        label_ids: the files hold Cityscapes' label ids; None: those whose names say so do.
    """

    def __init__(
        self, root: str | Path, num_classes: int, *, what: str, label_ids: bool | None = None
    ) -> None:
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"no such folder of {what}: {root}")
        # The folder that predict.py wrote to has the label maps in a folder of its own.
        if what == "predictions" and (root / "labels").is_dir():
            root = root / "labels"
        self.files = _preferred(keyed_files(root, ".png"), root)
        if not self.files:
            raise InputError(f"{root}: found no {what}; expected label maps NAME.png")
        if label_ids and num_classes != len(TRAIN_LABELS):
            raise InputError(
                f"--label-ids is for Cityscapes' {len(TRAIN_LABELS)} classes, "
                f"there are {num_classes} here"
            )
        self.num_classes, self.label_ids = num_classes, label_ids
        self.names = sorted(self.files)
        self.origin = {what: str(root)}

    def load(self, name: str) -> np.ndarray:
        path = self.files[name]
        ids = read_index(path)
        by_name = path.stem.endswith(LABEL_IDS) and self.num_classes == len(TRAIN_LABELS)
        if self.label_ids or (self.label_ids is None and by_name):
            return to_train_ids(ids, path)
        try:
            return check_ids(ids, self.num_classes, path)
        except InputError as error:
            raise InputError(
                f"{error}; if these are Cityscapes' label ids, add --label-ids"
            ) from error

    def size(self, name: str) -> tuple[int, int]:
        return index_header(self.files[name]).size

    def where(self, name: str) -> str:
        return str(self.files[name])


class NetworkLabels:
    """What a network makes of the images of a data set. checkpoint: its file, for `origin`."""

    def __init__(self, checkpoint: Path, predictor: Predictor, dataset: Dataset) -> None:
        self.predictor = predictor
        self.dataset = dataset
        self.records = {record.name: record for record in dataset.records}
        self.names = list(self.records)
        self.origin = {
            "checkpoint": str(checkpoint),
            "sha256": file_sha256(checkpoint),
            **predictor.options_of_scores(),
        }

    def load(self, name: str) -> np.ndarray:
        return self.predictor(self.dataset.read_image(self.records[name]))

    def size(self, name: str) -> tuple[int, int] | None:
        record = self.records[name]
        return None if record.image is None else self.dataset.image_size(record)

    def where(self, name: str) -> str:
        return str(self.records[name].image)


def require_few_classes(num_classes: int) -> None:
    """InputError if label maps cannot hold that many classes."""
    if num_classes > MAX_CLASSES:
        raise InputError(
            f"{num_classes} classes do not fit into label maps of 8 bits, in which 255 is no "
            f"class; expected at most {MAX_CLASSES}"
        )


def _preferred(files: dict[str, Path], root: Path) -> dict[str, Path]:
    """The files with the first of the endings PREFERRED that occurs; all, if none does.

    InputError if a file of another image is left out.
    """
    for ending in PREFERRED:
        chosen = {key: path for key, path in files.items() if key.endswith(ending)}
        if not chosen:
            continue
        images = {_image_of(key) for key in chosen}
        if others := [path for key, path in files.items() if _image_of(key) not in images]:
            raise InputError(
                f"{root}: {len(chosen)} PNGs end in {ending}, and {len(others)} of other images "
                f"do not, such as {first_few(others)}; give a folder with one kind"
            )
        return chosen
    return files


def _image_of(key: str) -> str:
    """The name of the image that a PNG of Cityscapes or its like belongs to."""
    return ENDINGS.sub("", COMPANION.sub("", base_name(key)))
