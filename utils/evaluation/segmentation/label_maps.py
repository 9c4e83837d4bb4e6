"""Label maps of images: from a network or from a data set.

Those of files are in `utils.evaluation.label_files`, which prediction belongs to which ground truth
in `pairing`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data.base import Dataset
from data.errors import InputError
from data.files import file_sha256
from utils.inference.predictor import Predictor
from utils.seg_metrics.maps import MAX_CLASSES


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


class NetworkLabels:
    """What a network makes of the images of a data set. checkpoint: its file, for `origin`."""

    def __init__(self, checkpoint: Path, predictor: Predictor, dataset: Dataset) -> None:
        self.predictor = predictor
        self.dataset = dataset
        self.records = {record.name: record for record in dataset.records}
        self.names = list(self.records)
        self.origin = {
            "model": predictor.info.name,
            "backbone": predictor.info.backbone,
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
