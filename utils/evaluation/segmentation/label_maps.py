"""Label maps of images: from a network, from a data set, or from a folder of PNGs by anybody.

A PNG holds one id per pixel, grey of 8 bits or with a palette: train ids (classes 0.., 255 for
none), or Cityscapes' label ids where its name ends in `_labelIds` or the caller says so. Where a
folder holds files with that ending, the others (instances, colours) are passed by.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data.base import Dataset
from data.cityscapes import TRAIN_LABELS, to_train_ids
from data.errors import InputError
from data.files import file_sha256
from data.image_io import check_ids, read_index
from data.names import ENDINGS, keyed_files, match_names
from utils.inference.predictor import Predictor

LABEL_IDS = "_labelIds"
# Taken alone where they lie beside other PNGs of the same images, such as instances and colours.
PREFERRED = (LABEL_IDS, "_labelTrainIds")
SHOWN = 5
CITYSCAPES_NAME = re.compile(r"[\w-]+_\d{6}_\d{6}")  # <city>_<sequence>_<frame>


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
        label, _ = self.dataset.read_ground_truth(self.records[name])
        assert label is not None, "the constructor has looked: every record has a label map"
        return label


class FolderLabels:
    """The PNGs below a folder.

    Args:
        root: the folder, or for predictions the one that predict.py wrote to.
        num_classes: ids from there on, but for 255, are an InputError.
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
        self.files = _preferred(keyed_files(root, ".png"))
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
            **predictor.options.of_the_scores(),
        }

    def load(self, name: str) -> np.ndarray:
        return self.predictor(self.dataset.read_image(self.records[name]))


def match_maps(
    truth: LabelMaps, predictions: LabelMaps, *, allow_missing: bool, report: Callable[[str], None]
) -> dict[str, str]:
    """Name in the ground truth -> name of its prediction.

    Missing predictions are an InputError, or left out if `allow_missing`; extra ones are reported.
    """
    matches = match_names(truth.names, predictions.names)
    matches |= _match_beginnings(
        [name for name in truth.names if name not in matches], predictions.names
    )
    lacking = [name for name in truth.names if name not in matches]
    extra = sorted(set(predictions.names) - set(matches.values()))
    for names, what in (
        (lacking, "images have no prediction"),
        (extra, "predictions have no truth (not scored)"),
    ):
        if names:
            more = ", …" if len(names) > SHOWN else ""
            report(f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}")
    if not matches or (lacking and not allow_missing):
        raise InputError(
            f"{len(lacking)} of {len(truth.names)} images have no prediction, such as "
            f"{lacking[0]}; complete them, or score the rest with --allow-missing"
        )
    return matches


def _match_beginnings(wanted: Sequence[str], available: Sequence[str]) -> dict[str, str]:
    """Matches by the rule of Cityscapes' server: the one file whose name begins with the image's.

    The image's name is <city>_<sequence>_<frame>; other names match nothing.
    """
    matches = {}
    for name in wanted:
        own = ENDINGS.sub("", name.rsplit("/", 1)[-1])
        if not CITYSCAPES_NAME.fullmatch(own):
            continue
        found = [each for each in available if each.rsplit("/", 1)[-1].startswith(f"{own}_")]
        if len(found) > 1:
            raise InputError(
                f"both {found[0]} and {found[1]} could be the file of {name}; remove one"
            )
        if found:
            matches[name] = found[0]
    return matches


def _preferred(files: dict[str, Path]) -> dict[str, Path]:
    for ending in PREFERRED:
        if chosen := {key: path for key, path in files.items() if key.endswith(ending)}:
            return chosen
    return files
