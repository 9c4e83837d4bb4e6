"""Cityscapes (Cordts et al., CVPR 2016), and every data set in its folder layout and label ids.

Layout below the root, as unzipped (leftImg8bit_*.zip, gtFine_trainvaltest.zip, gtCoarse.zip):

    leftImg8bit/<split>/<city>/NAME_leftImg8bit.png      RGB image, 2048x1024
    gtFine/<split>/<city>/NAME_gtFine_labelIds.png       8-bit map of label ids, `id` of LABELS
    gtFine/<split>/<city>/NAME_gtFine_instanceIds.png    16-bit: label id * 1000 + number, or the
                                                         label id alone
    gtCoarse/<split>/<city>/NAME_gtCoarse_*.png          roughly drawn; all that train_extra has
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.base import Dataset, Record, require_fold, require_split
from data.errors import InputError
from data.files import first_few
from data.image_io import IGNORE, ids_at_or_above, read_index
from data.names import named_files


class Label(NamedTuple):
    """One row of the published label table; `train_id` 255 is left out of training and scores."""

    id: int
    name: str
    train_id: int
    has_instances: bool
    color: tuple[int, int, int]


# The published table without "license plate" (id -1), which is never drawn into a map.
LABELS = (
    Label(0, "unlabeled", 255, False, (0, 0, 0)),
    Label(1, "ego vehicle", 255, False, (0, 0, 0)),
    Label(2, "rectification border", 255, False, (0, 0, 0)),
    Label(3, "out of roi", 255, False, (0, 0, 0)),
    Label(4, "static", 255, False, (0, 0, 0)),
    Label(5, "dynamic", 255, False, (111, 74, 0)),
    Label(6, "ground", 255, False, (81, 0, 81)),
    Label(7, "road", 0, False, (128, 64, 128)),
    Label(8, "sidewalk", 1, False, (244, 35, 232)),
    Label(9, "parking", 255, False, (250, 170, 160)),
    Label(10, "rail track", 255, False, (230, 150, 140)),
    Label(11, "building", 2, False, (70, 70, 70)),
    Label(12, "wall", 3, False, (102, 102, 156)),
    Label(13, "fence", 4, False, (190, 153, 153)),
    Label(14, "guard rail", 255, False, (180, 165, 180)),
    Label(15, "bridge", 255, False, (150, 100, 100)),
    Label(16, "tunnel", 255, False, (150, 120, 90)),
    Label(17, "pole", 5, False, (153, 153, 153)),
    Label(18, "polegroup", 255, False, (153, 153, 153)),
    Label(19, "traffic light", 6, False, (250, 170, 30)),
    Label(20, "traffic sign", 7, False, (220, 220, 0)),
    Label(21, "vegetation", 8, False, (107, 142, 35)),
    Label(22, "terrain", 9, False, (152, 251, 152)),
    Label(23, "sky", 10, False, (70, 130, 180)),
    Label(24, "person", 11, True, (220, 20, 60)),
    Label(25, "rider", 12, True, (255, 0, 0)),
    Label(26, "car", 13, True, (0, 0, 142)),
    Label(27, "truck", 14, True, (0, 0, 70)),
    Label(28, "bus", 15, True, (0, 60, 100)),
    Label(29, "caravan", 255, True, (0, 0, 90)),
    Label(30, "trailer", 255, True, (0, 0, 110)),
    Label(31, "train", 16, True, (0, 80, 100)),
    Label(32, "motorcycle", 17, True, (0, 0, 230)),
    Label(33, "bicycle", 18, True, (119, 11, 32)),
)
TRAIN_LABELS = sorted(
    (label for label in LABELS if label.train_id != IGNORE), key=lambda label: label.train_id
)
SPLITS = {"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")}
EXTRA = "train_extra"
# One image of train_extra is black; the download page asks to remove it.
BLACK = "troisdorf_000000_000073"
# Validation cities of the three published splits (Zhu et al., CVPR 2019, and DecoupleSegNets).
# Their list has the 3 cities of val, then the 18 of train in alphabetical order; a split takes the
# first three from the start of the list, from a third of it, and from two thirds.
CV_CITIES = (
    ("frankfurt", "lindau", "munster"),
    ("darmstadt", "dusseldorf", "erfurt"),
    ("monchengladbach", "strasbourg", "stuttgart"),
)


class Cityscapes(Dataset):
    """2975 train, 500 val, 1525 test images of streets, 19 classes.

    Split train_extra has 19997 more, with coarse labels only. The test split may come without
    gtFine; then its samples have no label.
    """

    name = "cityscapes"
    classes = tuple(label.name for label in TRAIN_LABELS)
    palette = np.array([label.color for label in TRAIN_LABELS], np.uint8)

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        images: bool = True,
        instances: bool | None = None,
        coarse: bool = False,
        cv: int = 0,
    ) -> None:
        """Find the files of a split.

        Args:
            root: the folder that has leftImg8bit/ and gtFine/. Each zip may also have been
                unpacked in a folder of its own name (leftImg8bit_trainvaltest/leftImg8bit/...),
                as the code of Zhu et al. and DecoupleSegNets expects.
            split: one of SPLITS, or train_extra.
            images: False opens a folder of labels alone, for label scripts.
            instances: None reads the instance maps where the split has any, and then requires one
                for every label; True requires them, False reads none.
            coarse: read gtCoarse instead of gtFine.
            cv: which cross-validation split says which cities are train and which val, 0 (the
                official one) to 2.
        """
        require_split(self.name, split, (*SPLITS, EXTRA))
        require_fold(self.name, cv, len(CV_CITIES))
        if coarse and split == "test":
            raise InputError(f"{self.name}: the test split has no coarse labels")
        kind = "gtCoarse" if coarse or split == EXTRA else "gtFine"
        by_city = cv > 0 and split in ("train", "val")
        parts = SPLITS["trainval"] if by_city else SPLITS.get(split, (split,))
        found = [
            _find_records(Path(root), part, kind, images=images, instances=instances)
            for part in parts
        ]
        records = [record for part in found for record in part]
        if by_city:
            records = [r for r in records if (_city(r) in CV_CITIES[cv]) == (split == "val")]
        super().__init__(root, split, records)

    def read_ground_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the ground truth: (label uint8 (H, W) of train ids, instance int32 (H, W)).

        Instance ids are as on disk. Each is None where there is no file.
        """
        label, instance = None, None
        if record.label is not None:
            label = to_train_ids(read_index(record.label), record.label)
        if record.instance is not None:
            instance = read_index(record.instance).astype(np.int32)
        if label is not None and instance is not None and label.shape != instance.shape:
            raise InputError(
                f"{record.instance}: the instance map has (rows, columns) {instance.shape}, its "
                f"label {label.shape}"
            )
        return label, instance


def train_id_table() -> np.ndarray:
    """uint8 (256,): the train id of each label id, 255 where there is none."""
    table = np.full(256, IGNORE, np.uint8)
    for label in LABELS:
        table[label.id] = label.train_id
    return table


def to_train_ids(label_ids: np.ndarray, path: str | Path) -> np.ndarray:
    """Label ids (H, W) of any integer type -> train ids uint8 (H, W).

    InputError that names `path` and the ids that are not in the table.
    """
    wrong = ids_at_or_above(label_ids, len(LABELS))
    if wrong.size:
        raise InputError(
            f"{path}: label ids {', '.join(map(str, wrong[:8]))} are not in Cityscapes' table; "
            f"expected 0..{LABELS[-1].id} (labelIds, not trainIds or instanceIds)"
        )
    return train_id_table()[label_ids]


def _find_records(
    root: Path, split: str, kind: str, *, images: bool, instances: bool | None
) -> list[Record]:
    """The samples of one split, sorted by city and name.

    FileNotFoundError if a file lacks its partners. `kind` is gtFine or gtCoarse.
    """
    image_folder = _folder(root, "leftImg8bit", split)
    label_folder = _folder(root, kind, split)
    image_files = _find(image_folder, "_leftImg8bit.png") if images else {}
    labels = _find(label_folder, f"_{kind}_labelIds.png")
    numbers = _find(label_folder, f"_{kind}_instanceIds.png") if instances is not False else {}
    if images and not image_files:
        raise _nothing_found(root, "leftImg8bit", split, "_leftImg8bit.png")
    if not labels and not (images and split == "test"):
        raise _nothing_found(root, kind, split, f"_{kind}_labelIds.png")
    if images and labels:
        partner = f"a label map *_{kind}_labelIds.png"
        _require_partners(image_files, labels, "images", partner, label_folder)
        partner = "an image *_leftImg8bit.png"
        _require_partners(labels, image_files, "label maps", partner, image_folder)
    if numbers or (instances and labels):
        partner = f"an instance map *_{kind}_instanceIds.png (instances=False does without)"
        _require_partners(labels, numbers, "label maps", partner, label_folder)
    return [
        Record(key.split("/")[1], image_files.get(key), labels.get(key), numbers.get(key))
        for key in image_files or labels
    ]


def _folder(root: Path, kind: str, split: str) -> Path:
    """The folder of a split's cities, unzipped in one place or each zip in its own folder."""
    above = (root, root / f"{kind}_trainvaltest", root / f"{kind}_trainextra", root / kind)
    folders = [folder / kind / split for folder in above]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _city(record: Record) -> str:
    return record.label_path().parent.name


def _find(folder: Path, ending: str) -> dict[str, Path]:
    """{"city/NAME": path} of the files <city>/NAME<ending>, sorted."""
    named = named_files(folder, ending, above=1)
    return {key: path for key, path in named.items() if not key.startswith(f"troisdorf/{BLACK}")}


def _nothing_found(root: Path, kind: str, split: str, ending: str) -> FileNotFoundError:
    archive = f"{kind}_{'trainextra' if split == EXTRA else 'trainvaltest'}.zip"
    if kind == "gtCoarse":
        archive = "gtCoarse.zip"
    return FileNotFoundError(
        f"No <city>/*{ending} in {root / kind / split}. Unzip {archive} into {root}, "
        f"or point the data root at the folder that has {kind}/."
    )


def _require_partners(
    have: Iterable[str], partners: dict[str, Path], what: str, partner: str, folder: Path
) -> None:
    """FileNotFoundError that lists the keys of `have` that `partners` lacks."""
    have = list(have)
    lone = [key for key in have if key not in partners]
    if lone:
        raise FileNotFoundError(
            f"{len(lone)} of {len(have)} {what} lack {partner} in {folder}: {first_few(lone)}"
        )
