"""What both tasks settle before they score: the data set and its classes beside the network's."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from data import build_dataset, dataset_class, parse_options
from data.base import Dataset
from data.errors import InputError
from data.label_colors import label_colors
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main
from utils.inference.predictor import Predictor

SHOWN = 8  # names of classes that a message lists


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


def required_classes(name: str, num_classes: int | None, dataset: Dataset | None) -> int:
    """`declared_classes` of label maps, which do not say it; InputError if nothing does."""
    found = declared_classes(name, num_classes, dataset)
    if found is None:
        raise InputError(
            "label maps do not say how many classes there are; add --num-classes or --dataset"
        )
    return found


def seg_classes(name: str, num_classes: int, dataset: Dataset | None) -> int:
    """The number of classes that label maps may have; more than those of edges by a background.

    Args:
        name: Of the data set, or "".
        num_classes: Of the edges.
        dataset: The data set itself, if it is open.
    """
    described = dataset.seg_classes if dataset else (dataset_class(name).classes if name else ())
    return max(num_classes, len(described))


def known_colors(name: str, dataset: Dataset | None) -> dict[int, int] | None:
    """What the colours of label maps mean, see `label_colors`; None if no data set says it."""
    described = dataset or (dataset_class(name) if name else None)
    return label_colors(described) if described and described.classes else None


def require_same_classes(checkpoint: Path, predictor: Predictor, dataset: Dataset) -> None:
    """InputError unless the network has the classes of the data set, for segmentation its own.

    Where one of the two is anybody's own data, by their names and order; else, and for a checkpoint
    that names none, by their number.
    """
    info = predictor.info
    ours = tuple(dataset.seg_classes if info.task == "seg" else dataset.classes)
    own_names = "folder" in (info.dataset, dataset.name) and bool(info.dataset)
    if own_names and info.classes != ours:
        raise InputError(
            f"{checkpoint} was trained on other classes than {dataset.name} {dataset.root} has: "
            f"{class_difference(info.classes, ours)}; score it on the data set that it was trained "
            "on, or name the classes alike"
        )
    if len(info.classes) != len(ours):
        raise InputError(
            f"{checkpoint} has {len(info.classes)} classes, {dataset.name} has {len(ours)}; "
            "choose the --dataset that it was trained on"
        )


def class_difference(trained: Sequence[str], found: Sequence[str]) -> str:
    """In what two lists of class names differ, in words."""
    lacking = [name for name in trained if name not in found]
    extra = [name for name in found if name not in trained]
    parts = []
    if lacking:
        parts.append(f"only the checkpoint has {_listed(lacking)}")
    if extra:
        parts.append(f"only the data set has {_listed(extra)}")
    if parts:
        return ", ".join(parts)
    place = next(k for k, pair in enumerate(zip(trained, found, strict=True)) if pair[0] != pair[1])
    return (
        f"the same names in another order: class {place + 1} is {trained[place]!r} in the "
        f"checkpoint and {found[place]!r} in the data set"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def note_data(dataset: Dataset, workers: int, ranks: Ranks) -> None:
    """What may surprise in a data set whose labels are scored against, a line each."""
    for note in from_main(lambda: dataset.notes(workers), ranks):
        if ranks.is_main:
            print(f"note: {note}", file=sys.stderr)


def note_turned(dataset: Dataset, ranks: Ranks) -> None:
    """A note on the main rank, if a network is to run over images that EXIF data ask to turn."""
    if ranks.is_main and (turned := dataset.turned_images()):
        print(
            f"note: {turned} of {len(dataset)} images have an EXIF orientation; their pixels are "
            "taken as stored, as labels are drawn on those",
            file=sys.stderr,
        )


def note_images(
    dataset: Dataset | None, workers: int, ranks: Ranks, *, by_net: bool, as_truth: bool
) -> None:
    """What may surprise in a data set, a line each.

    Args:
        dataset: None: there is nothing to say.
        workers: see `note_data`.
        ranks: the main one prints.
        by_net: a network is to run over the images.
        as_truth: its labels are scored against.
    """
    if dataset and by_net:
        note_turned(dataset, ranks)
    if dataset and as_truth:
        note_data(dataset, workers, ranks)


def report_to(is_main: bool) -> Callable[[str], None]:
    """Where lists of files are printed: on the main rank's stderr, once."""
    return _to_stderr if is_main else _nowhere


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def _nowhere(text: str) -> None:
    """For the other ranks: the main one reports it."""
