"""Data sets: a folder in its official layout goes in, samples come out (`data.base.Sample`)."""

import importlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data.base import Dataset


# name -> module and class. As strings, importing the package costs nothing and `python -m data.X` runs a fresh module.
DATASETS: dict[str, tuple[str, str]] = {
    "bdd": ("data.bdd", "BDD"),
    "camvid": ("data.camvid", "CamVid"),
    "cityscapes": ("data.cityscapes", "Cityscapes"),
    "kitti": ("data.kitti", "KITTI"),
    "mapillary": ("data.mapillary", "Mapillary"),
    "sbd": ("data.sbd", "SBD"),
    "scenes": ("data.scenes.dataset", "Scenes"),
}


def dataset_class(name: str) -> type["Dataset"]:
    """The class of data set `name`, which knows its `classes` and `palette` without any file; InputError if unknown."""
    from data.errors import InputError

    if name not in DATASETS:
        raise InputError(
            f"unknown data set {name!r}; expected one of {', '.join(sorted(DATASETS))}"
        )
    module, builder = DATASETS[name]
    return getattr(importlib.import_module(module), builder)


def build_dataset(name: str, root: str | Path, split: str, **options: object) -> "Dataset":
    """The samples of one split of data set `name` below `root`; `options` go to the data set's class.

    Raises InputError for an unknown name, split or option, FileNotFoundError for missing files: at once, before anything
    is trained or tested.
    """
    from data.errors import InputError

    kind = dataset_class(name)
    # `Scenes` hands its options on, so those of the classes that it is made of count too.
    parameters = [
        p
        for each in kind.__mro__[:-1]
        for p in inspect.signature(each.__init__).parameters.values()
    ]
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise InputError(
            f"{name} has no option {unknown[0]!r}; it takes {', '.join(known) or 'none'}"
        )
    return kind(root, split, **options)


def parse_options(words: Iterable[str]) -> dict[str, bool | int | str]:
    """Options of a data set as they stand on a command line: ["cv=1", "instances=false"] -> {"cv": 1, "instances": False}."""
    from data.errors import InputError

    options: dict[str, bool | int | str] = {}
    for word in words:
        option, equals, value = word.partition("=")
        if not (option and equals and value):
            raise InputError(
                f"{word!r} is no option of a data set; expected NAME=VALUE, as in version=v2.0"
            )
        options[option] = {"true": True, "false": False}.get(
            value, int(value) if value.isdecimal() else value
        )
    return options
