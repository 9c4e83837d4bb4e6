"""Mapillary Vistas (Neuhold et al., ICCV 2017): street images from all continents, of many sizes.

Layout below the root, as in its zip files; v1.1 has no folder in the place of [VERSION/]:

    config_v1.2.json  config_v2.0.json  (v1.1: config.json)     each version's labels and colours
    {training,validation,testing}/images/NAME.jpg               18000, 2000 and 5000 images
    {training,validation}/[VERSION/]labels/NAME.png             8-bit label ids (paletted): each
                                                                label's position in the list
    {training,validation}/[VERSION/]instances/NAME.png          16-bit: label id * 256 + number
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.base import Dataset, Record, require_split
from data.errors import InputError
from data.files import read_json
from data.image_io import IGNORE, ids_at_or_above, read_index
from data.names import EDGE_LABEL, named_files

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
# The classes of v1.2 as config_v1.2.json lists them, so that predictions can be drawn and a
# checkpoint's classes named without the data set. Its 66th label, "Unlabeled", is no class.
CLASSES_V12 = (
    ("Bird", (165, 42, 42)),
    ("Ground Animal", (0, 192, 0)),
    ("Curb", (196, 196, 196)),
    ("Fence", (190, 153, 153)),
    ("Guard Rail", (180, 165, 180)),
    ("Barrier", (90, 120, 150)),
    ("Wall", (102, 102, 156)),
    ("Bike Lane", (128, 64, 255)),
    ("Crosswalk - Plain", (140, 140, 200)),
    ("Curb Cut", (170, 170, 170)),
    ("Parking", (250, 170, 160)),
    ("Pedestrian Area", (96, 96, 96)),
    ("Rail Track", (230, 150, 140)),
    ("Road", (128, 64, 128)),
    ("Service Lane", (110, 110, 110)),
    ("Sidewalk", (244, 35, 232)),
    ("Bridge", (150, 100, 100)),
    ("Building", (70, 70, 70)),
    ("Tunnel", (150, 120, 90)),
    ("Person", (220, 20, 60)),
    ("Bicyclist", (255, 0, 0)),
    ("Motorcyclist", (255, 0, 100)),
    ("Other Rider", (255, 0, 200)),
    ("Lane Marking - Crosswalk", (200, 128, 128)),
    ("Lane Marking - General", (255, 255, 255)),
    ("Mountain", (64, 170, 64)),
    ("Sand", (230, 160, 50)),
    ("Sky", (70, 130, 180)),
    ("Snow", (190, 255, 255)),
    ("Terrain", (152, 251, 152)),
    ("Vegetation", (107, 142, 35)),
    ("Water", (0, 170, 30)),
    ("Banner", (255, 255, 128)),
    ("Bench", (250, 0, 30)),
    ("Bike Rack", (100, 140, 180)),
    ("Billboard", (220, 220, 220)),
    ("Catch Basin", (220, 128, 128)),
    ("CCTV Camera", (222, 40, 40)),
    ("Fire Hydrant", (100, 170, 30)),
    ("Junction Box", (40, 40, 40)),
    ("Mailbox", (33, 33, 33)),
    ("Manhole", (100, 128, 160)),
    ("Phone Booth", (142, 0, 0)),
    ("Pothole", (70, 100, 150)),
    ("Street Light", (210, 170, 100)),
    ("Pole", (153, 153, 153)),
    ("Traffic Sign Frame", (128, 128, 128)),
    ("Utility Pole", (0, 0, 80)),
    ("Traffic Light", (250, 170, 30)),
    ("Traffic Sign (Back)", (192, 192, 192)),
    ("Traffic Sign (Front)", (220, 220, 0)),
    ("Trash Can", (140, 140, 20)),
    ("Bicycle", (119, 11, 32)),
    ("Boat", (150, 0, 255)),
    ("Bus", (0, 60, 100)),
    ("Car", (0, 0, 142)),
    ("Caravan", (0, 0, 90)),
    ("Motorcycle", (0, 0, 230)),
    ("On Rails", (0, 80, 100)),
    ("Other Vehicle", (128, 64, 64)),
    ("Trailer", (0, 0, 110)),
    ("Truck", (0, 0, 70)),
    ("Wheeled Slow", (0, 0, 192)),
    ("Car Mount", (32, 32, 32)),
    ("Ego Vehicle", (120, 10, 10)),
)


class Label(NamedTuple):
    """One label of the config file; its id is its position in the list."""

    name: str
    color: tuple[int, int, int]
    has_instances: bool
    evaluate: bool


class Mapillary(Dataset):
    """Splits train, val, trainval, and test, which has no labels.

    The classes are the labels that the data set's own config file marks "evaluate", in their
    order; `Mapillary.classes`, without files, are those of v1.2.
    """

    name = "mapillary"
    classes = tuple(name for name, _ in CLASSES_V12)
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
        """Find the files of a split, and the classes.

        Args:
            root: the folder that has training/ and the config file.
            split: one of FOLDERS.
            version: "v1.2" (65 classes) or "v2.0"; None takes v1.2 where there are labels of it.
            images: False opens a folder of labels alone, for label scripts.
            instances: None reads the instance maps where there are any, and then requires one for
                every label; True requires them, False reads none.
        """
        require_split(self.name, split, tuple(FOLDERS))
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

    def read_ground_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the ground truth: (label uint8 (H, W) of train ids, instance int32 (H, W)).

        Each is None where there is no file. Instance ids are those on disk plus 256: id 0 is on
        disk an instance of label 0, but to the edge rule it means no region; and from 256 up no
        id is one of the two, 2 and 3, that the rule ignores.
        """
        label, instance = None, None
        if record.label is not None:
            label = self._train_ids(read_index(record.label), record.label)
        if record.instance is not None:
            instance = read_index(record.instance).astype(np.int32) + 256
        return label, instance

    def _train_ids(self, ids: np.ndarray, path: Path) -> np.ndarray:
        wrong = ids_at_or_above(ids, len(self.labels))
        if wrong.size:
            raise InputError(
                f"{path}: label ids {', '.join(map(str, wrong[:8]))} are not among the "
                f"{len(self.labels)} labels of Mapillary Vistas {self.version}"
            )
        evaluate = np.array([label.evaluate for label in self.labels])
        return np.where(evaluate, np.cumsum(evaluate) - 1, IGNORE).astype(np.uint8)[ids]


def read_config(path: Path) -> tuple[Label, ...]:
    """The labels of a config file, in the order of their ids."""
    config = read_json(path, "config file")
    rows = config.get("labels") if isinstance(config, dict) else None
    if not isinstance(rows, list):
        raise InputError(
            f"{path}: is no config file of Mapillary Vistas (it has no list of labels); replace it"
        )
    labels = tuple(_read_label(path, number, row) for number, row in enumerate(rows))
    if not 1 <= sum(label.evaluate for label in labels) < IGNORE:
        raise InputError(
            f"{path}: has {len(labels)} labels; expected 1 to {IGNORE - 1} that are evaluated"
        )
    return labels


def _read_label(path: Path, number: int, row: Any) -> Label:
    fields = row if isinstance(row, dict) else {}
    name, color = fields.get("readable"), fields.get("color")
    has_instances, evaluate = fields.get("instances"), fields.get("evaluate")
    if (
        isinstance(name, str)
        and name.strip()
        and isinstance(color, list)
        and len(color) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in color)
        and isinstance(has_instances, bool)
        and isinstance(evaluate, bool)
    ):
        return Label(name, (color[0], color[1], color[2]), has_instances, evaluate)
    raise InputError(
        f"{path}: label {number} is {str(row)[:60]}; expected a name `readable`, a `color` of "
        "three numbers from 0 to 255, and `instances` and `evaluate`, each true or false; replace "
        "the file"
    )


def _find_version(root: Path) -> str:
    """The first version that has labels; without labels (a test set) the first with a config."""
    parts = [root / part for part in FOLDERS["trainval"]]
    for version, (folders, _) in VERSIONS.items():
        if any((part / folder / "labels").is_dir() for part in parts for folder in folders):
            return version
    for version, (_, names) in VERSIONS.items():
        if any((root / name).is_file() for name in names):
            return version
    return "v1.2"


def _find_config(root: Path, version: str) -> Path:
    names = VERSIONS[version][1]
    for name in names:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(
        f"No {' or '.join(names)} in {root}: it names the classes of Mapillary Vistas {version}. "
        "Point the data root at the folder that has it and training/, as unzipped."
    )


def _find_records(part: Path, version: str, images: bool, instances: bool | None) -> list[Record]:
    """The samples of training/, validation/ or testing/, by name.

    `Dataset` checks that all files of each are there.
    """
    image_files = named_files(part / "images", ".jpg") if images else {}
    if images and not image_files:
        raise FileNotFoundError(
            f"No *.jpg in {part / 'images'}. Unzip Mapillary Vistas into {part.parent}."
        )
    if part.name == "testing":
        return [Record(name, path) for name, path in sorted(image_files.items())]
    folders = [part / folder for folder in VERSIONS[version][0]]
    above = next((folder for folder in folders if (folder / "labels").is_dir()), folders[0])
    label_files = {
        name: path
        for name, path in named_files(above / "labels", ".png").items()
        if not EDGE_LABEL.search(name)
    }
    if not label_files:
        raise FileNotFoundError(
            f"No *.png in {above / 'labels'}: there are no labels of Mapillary Vistas {version}. "
            f"Unzip it into {part.parent}."
        )
    instance_files = named_files(above / "instances", ".png")
    if instances is None:
        instances = bool(instance_files)
    return [
        Record(
            name,
            image_files.get(name, part / "images" / f"{name}.jpg") if images else None,
            label_files.get(name, above / "labels" / f"{name}.png"),
            instance_files.get(name, above / "instances" / f"{name}.png") if instances else None,
        )
        for name in sorted(image_files.keys() | label_files.keys())
    ]
