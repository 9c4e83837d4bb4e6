"""Names and colours of the classes that are scored, for tables and reports."""

import numpy as np

from data import dataset_class
from data.base import Dataset
from data.visualize import default_class_names, distinct_colors
from utils.checkpoint import ModelInfo


def class_names(
    info: ModelInfo | None, name: str, num_classes: int, dataset: Dataset | None = None
) -> tuple[tuple[str, ...], np.ndarray]:
    """(names, palette uint8 (K, 3)) as the checkpoint, else the data set says, else numbers.

    Args:
        info: What the checkpoint says of itself; None where files are scored.
        name: Of the data set; empty if none was given.
        num_classes: K, used where neither of the two says it.
        dataset: The data set itself, if it is open: its files may say what its classes are.
    """
    # A checkpoint that does not say what it was trained on has numbers for names.
    if info is not None and (info.dataset or not dataset):
        return info.classes, info.palette
    described = dataset or (dataset_class(name) if name else None)
    if described and described.classes:
        return tuple(described.classes), np.asarray(described.palette, np.uint8)
    return default_class_names(num_classes), distinct_colors(num_classes)


def known_names(name: str, dataset: Dataset | None = None) -> tuple[str, ...]:
    """The names of a data set's classes; none where nothing says them. Arguments as above."""
    described = dataset or (dataset_class(name) if name else None)
    return tuple(described.classes) if described else ()
