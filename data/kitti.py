"""KITTI semantics (Alhaija et al., IJCV 2018): 200 labelled street images, Cityscapes' classes and label ids.

Layout below the root, as unzipped from data_semantics.zip:

    training/image_2/NAME.png      RGB image, about 1242x375
    training/semantic/NAME.png     8-bit map of label ids, those of Cityscapes
    training/instance/NAME.png     16-bit map: label id in the high byte, number of the instance in the low byte, 0 = none
    testing/image_2/NAME.png       200 images without labels
"""

from pathlib import Path

import numpy as np

from data.base import Dataset, Record
from data.cityscapes import Cityscapes, to_train_ids
from data.errors import InputError
from data.image_io import read_index

IMAGES = 200
# Validation images of the three published cross-validation splits (Zhu et al., CVPR 2019), places in the sorted list.
VALIDATION = (
    (1, 5, 11, 29, 35, 49, 57, 68, 72, 82, 93, 115, 119, 130, 145, 154, 156, 167, 169, 189, 198),
    (0, 12, 24, 31, 42, 50, 63, 71, 84, 96, 101, 112, 121, 133, 141, 155, 164, 171, 187, 191, 197),
    (3, 6, 13, 21, 41, 54, 61, 73, 88, 91, 110, 121, 126, 131, 142, 149, 150, 163, 173, 183, 199),
)
SPLITS = ("train", "val", "trainval", "test")


class KITTI(Dataset):
    """Splits train and val (179 and 21 images, by cross-validation split `cv`, 0..2), trainval (200), test (no labels).

    instances: None (default) reads the instance maps where there are any; then every label must have one.
    """

    name = "kitti"
    classes = Cityscapes.classes
    palette = Cityscapes.palette

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        cv: int = 0,
        images: bool = True,
        instances: bool | None = None,
    ):
        if split not in SPLITS:
            raise InputError(f"kitti has no split {split!r}; expected one of {', '.join(SPLITS)}")
        if cv not in range(len(VALIDATION)):
            raise InputError(
                f"kitti has no cross-validation split {cv}; expected 0 to {len(VALIDATION) - 1}"
            )
        root = Path(root)
        if split == "test":
            records = [Record(path.stem, path) for path in _pngs(root / "testing" / "image_2")]
        else:
            records = _labelled(root, images, instances)
        super().__init__(root, split, select(records, split, cv, root))

    def read_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(label uint8 (H, W) of train ids, instance int32 (H, W) in Cityscapes' numbers), each None without a file."""
        if record.label is None:
            return None, None
        instance = None if record.instance is None else read_instances(record.instance)
        return to_train_ids(read_index(record.label), record.label), instance


def select(records: list[Record], split: str, cv: int, root: Path) -> list[Record]:
    """The records of train or val; all of them for trainval and test."""
    if split not in ("train", "val"):
        return records
    if len(records) != IMAGES:
        raise InputError(
            f"{root}: found {len(records)} labelled images; the published splits choose among {IMAGES}. "
            "Unzip data_semantics.zip whole, or use split trainval"
        )
    return [
        record
        for place, record in enumerate(records)
        if (place in VALIDATION[cv]) == (split == "val")
    ]


def read_instances(path: Path) -> np.ndarray:
    """Instance ids as Cityscapes numbers them, int32 (H, W): label id * 1000 + number, or the label id alone.

    So the ids of Cityscapes that take part in no edge, 2 and 3, mean the same here.
    """
    coded = read_index(path).astype(np.int32)
    label, number = coded >> 8, coded & 255
    return np.where((number > 0) & (label > 0), label * 1000 + number, label)


def _labelled(root: Path, images: bool, instances: bool | None) -> list[Record]:
    training = root / "training"
    labels = _pngs(training / "semantic")
    if instances is None:
        instances = (training / "instance").is_dir()
    return [
        Record(
            path.stem,
            training / "image_2" / path.name if images else None,
            path,
            training / "instance" / path.name if instances else None,
        )
        for path in labels
    ]


def _pngs(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*.png") if not path.name.startswith("."))
    if not found:
        raise FileNotFoundError(
            f"No PNG in {folder}. Unzip data_semantics.zip, and point the data root at the folder that has training/."
        )
    return found
