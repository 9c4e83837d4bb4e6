"""Data sets: a folder in its official layout goes in, samples come out (`data.base.Sample`)."""

import importlib
from collections.abc import Iterable

# Not the module: importing `data.inspect` puts that under the name here.
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import InputError

if TYPE_CHECKING:
    from data.base import Dataset


# name -> module and class. As strings, so that importing the package takes no time, and
# `python -m data.X` does not find data.X imported already.
DATASETS: dict[str, tuple[str, str]] = {
    "bdd": ("data.bdd", "BDD"),
    "camvid": ("data.camvid", "CamVid"),
    "cityscapes": ("data.cityscapes", "Cityscapes"),
    "folder": ("data.folder", "Folder"),
    "kitti": ("data.kitti", "KITTI"),
    "mapillary": ("data.mapillary", "Mapillary"),
    "sbd": ("data.sbd", "SBD"),
    "scenes": ("data.scenes.dataset", "Scenes"),
}

MAX_DIGITS = 18  # of a number in an option


def dataset_class(name: str) -> type["Dataset"]:
    """The class of data set `name`, whose `classes` and `palette` need no files.

    InputError that lists the names if there is no such data set.
    """
    if name not in DATASETS:
        raise InputError(
            f"unknown data set {name!r}; expected one of {', '.join(sorted(DATASETS))}"
        )
    module, class_name = DATASETS[name]
    return getattr(importlib.import_module(module), class_name)


def build_dataset(
    name: str, root: str | Path, split: str, *, task: str | None = None, **options: Any
) -> "Dataset":
    """The samples of one split of data set `name` below `root`.

    InputError for an unknown name, split or option, FileNotFoundError for missing files: at once,
    before anything is trained or tested.

    Args:
        name: one of DATASETS.
        root: the data set's folder, in its official layout.
        split: train, val, test, ...; which there are depends on the data set.
        task: "edge", "seg" or None; the classes of some data sets depend on it.
        options: keyword arguments of the data set's class (`cv=1`, `version="v2.0"`, ...).
    """
    kind = dataset_class(name)
    # Over all base classes: `Scenes` takes **options and passes them to `Cityscapes`.
    signatures = [signature(base.__init__) for base in kind.__mro__[:-1]]
    parameters = [p for found in signatures for p in found.parameters.values()]
    accepted = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    unknown = [option for option in options if option not in accepted]
    if unknown:
        raise InputError(
            f"{name} has no option {unknown[0]!r}; it takes {', '.join(accepted) or 'none'}"
        )
    if task is not None and "task" in accepted:
        options.setdefault("task", task)
    return kind(root, split, **options)


def parse_options(words: Iterable[str]) -> dict[str, bool | int | str]:
    """Options of a data set as a command line has them.

    ["cv=1", "instances=false"] -> {"cv": 1, "instances": False}
    """
    options: dict[str, bool | int | str] = {}
    for word in words:
        option, equals, value = word.partition("=")
        if not (option and equals and value):
            raise InputError(
                f"{word!r} is no option of a data set; expected NAME=VALUE, as in version=v2.0"
            )
        if value.isdecimal() and len(value) > MAX_DIGITS:
            raise InputError(f"{word[:40]}…: the number has {len(value)} digits")
        number = int(value) if value.isdecimal() else value
        options[option] = {"true": True, "false": False}.get(value, number)
    return options
