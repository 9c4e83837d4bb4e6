"""Mapillary Vistas (Neuhold et al., ICCV 2017): street images from all continents, of many sizes.

Layout below the root, as in its zip files; what is left out between the brackets is the layout of v1.1:

    config_v1.2.json  config_v2.0.json  (v1.1: config.json)           the labels of each version, their names and colours
    {training,validation,testing}/images/NAME.jpg                     18000, 2000 and 5000 images
    {training,validation}/[{v1.2,v2.0}/]labels/NAME.png               8-bit map of label ids (paletted), places in the list
    {training,validation}/[{v1.2,v2.0}/]instances/NAME.png            16-bit map: label id * 256 + number of the instance

The classes are the labels that the file marks "evaluate", in their order: of v1.2 all 66 but the last, "Unlabeled".
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.base import Dataset, Record
from data.errors import InputError
from data.files import find_names
from data.image_io import IGNORE, read_index
from data.mapillary_labels import CLASSES_V12

FOLDERS = {
    "train": ("training",),
    "val": ("validation",),
    "trainval": ("training", "validation"),
    "test": ("testing",),
}
# Of each version: the folders above labels/ and the names of its file, the usual one first.
VERSIONS = {
    "v1.2": (("v1.2", "."), ("config_v1.2.json", "config_v1.1.json", "config.json")),
    "v2.0": (("v2.0",), ("config_v2.0.json",)),
}


class Label(NamedTuple):
    """One label of the config file; its id is its place in the list."""

    name: str
    color: tuple[int, int, int]
    has_instances: bool
    evaluate: bool


class Mapillary(Dataset):
    """Splits train, val, trainval, and test, which has no labels.

    version: "v1.2" (65 classes) or "v2.0"; None (default) is v1.2 where there are labels of it. instances: True reads the
    instance maps and asks for all of them, False reads none, None (default) reads them where there are any.
    """

    name = "mapillary"
    classes = tuple(
        name for name, _ in CLASSES_V12
    )  # of v1.2, for who has no files; a sample's are those of the file
    palette = np.array([color for _, color in CLASSES_V12], np.uint8)

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        version: str | None = None,
        images: bool = True,
        instances: bool | None = None,
    ) -> None:
        if split not in FOLDERS:
            raise InputError(
                f"mapillary has no split {split!r}; expected one of {', '.join(FOLDERS)}"
            )
        if version is not None and version not in VERSIONS:
            raise InputError(
                f"mapillary has no version {version!r}; expected one of {', '.join(VERSIONS)}"
            )
        root = Path(root)
        self.version = version or _find_version(root)
        self.labels = read_config(_find_config(root, self.version))
        evaluated = [label for label in self.labels if label.evaluate]
        self.classes = tuple(label.name for label in evaluated)
        self.palette = np.array([label.color for label in evaluated], np.uint8)
        parts = [
            _find_records(root / folder, self.version, images, instances)
            for folder in FOLDERS[split]
        ]
        super().__init__(root, split, [record for part in parts for record in part])

    def read_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(label uint8 (H, W) of train ids, instance int32 (H, W)), each None without a file.

        Instance ids are those on disk plus 256: label 0 is a label as any other, but 0 must mean no region, and with
        256 as the least no id is one of the two that Cityscapes' edge rule ignores.
        """
        label = (
            None
            if record.label is None
            else self._train_ids(read_index(record.label), record.label)
        )
        instance = (
            None if record.instance is None else read_index(record.instance).astype(np.int32) + 256
        )
        return label, instance

    def _train_ids(self, ids: np.ndarray, path: Path) -> np.ndarray:
        wrong = np.flatnonzero(np.bincount(ids.ravel())[len(self.labels) :]) + len(self.labels)
        if wrong.size:
            raise InputError(
                f"{path}: label ids {', '.join(map(str, wrong[:8]))} are not among the {len(self.labels)} labels of "
                f"Mapillary Vistas {self.version}"
            )
        evaluate = np.array([label.evaluate for label in self.labels])
        return np.where(evaluate, np.cumsum(evaluate) - 1, IGNORE).astype(np.uint8)[ids]


def read_config(path: Path) -> tuple[Label, ...]:
    """The labels of a config file, in the order of their ids."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["labels"]
        labels = tuple(
            Label(r["readable"], tuple(r["color"]), bool(r["instances"]), bool(r["evaluate"]))
            for r in rows
        )
        np.array([label.color for label in labels], np.uint8).reshape(-1, 3)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path}: is no config file of Mapillary Vistas ({reason}); replace it"
        ) from error
    if not 1 <= sum(label.evaluate for label in labels) < IGNORE:
        raise InputError(
            f"{path}: has {len(labels)} labels; expected 1 to {IGNORE - 1} that are evaluated"
        )
    return labels


def _find_version(root: Path) -> str:
    """The first version that has labels at `root`; where there are none (images to test on) the first with a config."""
    places = [root / part for part in FOLDERS["trainval"]]
    for version, (folders, _) in VERSIONS.items():
        if any((place / folder / "labels").is_dir() for place in places for folder in folders):
            return version
    named = [
        version
        for version, (_, names) in VERSIONS.items()
        if any((root / name).is_file() for name in names)
    ]
    return named[0] if named else "v1.2"


def _find_config(root: Path, version: str) -> Path:
    names = VERSIONS[version][1]
    for name in names:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(
        f"No {' or '.join(names)} in {root}: it names the classes of Mapillary Vistas {version}. Point the data root at the "
        "folder that has it and training/, as unzipped."
    )


def _find_records(part: Path, version: str, images: bool, instances: bool | None) -> list[Record]:
    """The samples of training/, validation/ or testing/, by name. That their files are there is checked by `Dataset`."""
    image_names = find_names(part / "images", ".jpg") if images else set()
    if images and not image_names:
        raise FileNotFoundError(
            f"No *.jpg in {part / 'images'}. Unzip Mapillary Vistas into {part.parent}."
        )
    if part.name == "testing":
        return [Record(name, part / "images" / f"{name}.jpg") for name in sorted(image_names)]
    folders = [part / folder for folder in VERSIONS[version][0]]
    above = next((folder for folder in folders if (folder / "labels").is_dir()), folders[0])
    labels = find_names(above / "labels", ".png")
    if not labels:
        raise FileNotFoundError(
            f"No *.png in {above / 'labels'}: there are no labels of Mapillary Vistas {version}. Unzip it into {part.parent}."
        )
    if instances is None:
        instances = bool(find_names(above / "instances", ".png"))
    return [
        Record(
            name,
            part / "images" / f"{name}.jpg" if images else None,
            above / "labels" / f"{name}.png",
            above / "instances" / f"{name}.png" if instances else None,
        )
        for name in sorted(image_names | labels)
    ]
