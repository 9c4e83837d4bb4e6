"""Data sets: a folder in its official layout goes in, samples come out (`data.base.Sample`)."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data.base import Dataset

# name -> module and class. As strings, importing the package costs nothing and `python -m data.X` runs a fresh module.
DATASETS: dict[str, tuple[str, str]] = {
    "camvid": ("data.camvid", "CamVid"),
    "cityscapes": ("data.cityscapes", "Cityscapes"),
    "kitti": ("data.kitti", "KITTI"),
    "sbd": ("data.sbd", "SBD"),
    "scenes": ("data.scenes", "Scenes"),
}


def dataset_class(name: str) -> type["Dataset"]:
    """The class of data set `name`, which knows its `classes` and `palette` without any file; InputError if unknown."""
    from data.base import InputError

    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; expected one of {', '.join(sorted(DATASETS))}")
    module, builder = DATASETS[name]
    return getattr(importlib.import_module(module), builder)


def build_dataset(name: str, root: str | Path, split: str, **options: object) -> "Dataset":
    """The samples of one split of data set `name` below `root`; `options` go to the data set's class.

    Raises InputError for an unknown name or split, FileNotFoundError for missing files: at once, before anything is
    trained or tested.
    """
    return dataset_class(name)(root, split, **options)
