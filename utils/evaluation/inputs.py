"""What both tasks settle before they score: the data set and its classes beside the network's."""

import sys
from collections.abc import Sequence
from pathlib import Path

from data import build_dataset, dataset_class, parse_options
from data.base import Dataset
from data.errors import InputError
from utils.distributed.environment import Ranks
from utils.inference.predictor import Predictor


def open_dataset(
    name: str, *, root: Path | None, split: str, task: str, options: Sequence[str] = ()
) -> Dataset:
    """A split of the data set called `name`.

    Args:
        name: one of `data.DATASETS`.
        root: its folder; None is datasets/NAME.
        split: one of its splits.
        task: "edge" or "seg", on which the classes of some data sets depend.
        options: NAME=VALUE.
    """
    root = root or Path(f"datasets/{name}")
    return build_dataset(name, root, split, task=task, **parse_options(options))


def declared_classes(
    name: str, num_classes: int | None, dataset: Dataset | None = None
) -> int | None:
    """The number of classes of the ground truth as the command says it: None if it does not.

    Args:
        name: Of the data set, or "".
        num_classes: What --num-classes says; InputError if the data set has another number.
        dataset: The data set itself, if it is open: its files may say what its classes are.
    """
    # `folder` has no classes but those of its files.
    if not name or not (dataset or dataset_class(name)).classes:
        return num_classes
    found = dataset.num_classes if dataset else len(dataset_class(name).classes)
    if num_classes not in (None, found):
        raise InputError(f"--num-classes is {num_classes}, but {name} has {found} classes")
    return found


def require_same_classes(checkpoint: Path, predictor: Predictor, dataset: Dataset) -> None:
    """InputError unless the network has as many classes as the data set."""
    found = len(predictor.classes)
    if found != dataset.num_classes:
        raise InputError(
            f"{checkpoint} has {found} classes, {dataset.name} has {dataset.num_classes}; "
            "choose the --dataset that it was trained on"
        )


def note_turned(dataset: Dataset, ranks: Ranks) -> None:
    """A note on the main rank, if a network is to run over images that EXIF data ask to turn."""
    if ranks.is_main and (turned := dataset.turned_images()):
        print(
            f"note: {turned} of {len(dataset)} images have an EXIF orientation; their pixels are "
            "taken as stored, as labels are drawn on those",
            file=sys.stderr,
        )
