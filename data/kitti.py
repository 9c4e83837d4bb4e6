"""KITTI semantics (Alhaija et al., IJCV 2018): 200 labelled street images, Cityscapes' label ids.

Layout below the root, as unzipped from data_semantics.zip:

    training/image_2/NAME.png    RGB image, about 1242x375
    training/semantic/NAME.png   8-bit map of label ids, those of Cityscapes
    training/instance/NAME.png   16-bit map: label id in the high byte, number of the instance in
                                 the low byte, 0 = none
    testing/image_2/NAME.png     200 images without labels
"""

from pathlib import Path

import numpy as np

from data.base import Dataset, Record, require_fold, require_split
from data.cityscapes import Cityscapes, to_train_ids
from data.errors import InputError
from data.image_io import read_index
from data.names import EDGE_LABEL, find_files

IMAGES = 200
# Validation images of the three published cross-validation splits (Zhu et al., CVPR 2019), as
# positions in the sorted list.
VALIDATION = (
    (1, 5, 11, 29, 35, 49, 57, 68, 72, 82, 93, 115, 119, 130, 145, 154, 156, 167, 169, 189, 198),
    (0, 12, 24, 31, 42, 50, 63, 71, 84, 96, 101, 112, 121, 133, 141, 155, 164, 171, 187, 191, 197),
    (3, 6, 13, 21, 41, 54, 61, 73, 88, 91, 110, 121, 126, 131, 142, 149, 150, 163, 173, 183, 199),
)
SPLITS = ("train", "val", "trainval", "test")


class KITTI(Dataset):
    """Splits train and val (179 and 21 images), trainval (200), test (200, no labels)."""

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
    ) -> None:
        """Find the files of a split.

        Args:
            root: the folder that has training/ and testing/.
            split: one of SPLITS.
            cv: which published cross-validation split says what is train and what val, 0 to 2.
            images: False opens a folder of labels alone, for label scripts.
            instances: None reads the instance maps where there are any, and then requires one for
                every label; True requires them, False reads none.
        """
        require_split(self.name, split, SPLITS)
        require_fold(self.name, cv, len(VALIDATION))
        root = Path(root)
        if split == "test":
            records = [Record(path.stem, path) for path in _pngs(root / "testing" / "image_2")]
        else:
            records = _labelled(root, images, instances)
        super().__init__(root, split, select(records, split, cv, root))

    def read_ground_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the ground truth: (label uint8 (H, W) of train ids, instance int32 (H, W)).

        Instance ids are numbered as Cityscapes'. Each is None where there is no file.
        """
        if record.label is None:
            return None, None
        instance = None if record.instance is None else read_instances(record.instance)
        return to_train_ids(read_index(record.label), record.label), instance


def select(records: list[Record], split: str, cv: int, root: Path) -> list[Record]:
    """The records of train or val by cross-validation split `cv`; all of them for other splits."""
    if split not in ("train", "val"):
        return records
    if len(records) != IMAGES:
        raise InputError(
            f"{root}: found {len(records)} labelled images; the published splits choose among "
            f"{IMAGES}. Unzip data_semantics.zip whole, or use split trainval"
        )
    is_val = split == "val"
    return [r for position, r in enumerate(records) if (position in VALIDATION[cv]) == is_val]


def read_instances(path: Path) -> np.ndarray:
    """Read instance ids in Cityscapes' numbers: label id * 1000 + number, or the label id alone.

    int32 (H, W). So Cityscapes' ids that take part in no edge, 2 and 3, mean the same here.
    InputError for a map of 8 bits, which has lost the label ids.
    """
    stored = read_index(path)
    if stored.dtype == np.uint8 and stored.any():
        raise InputError(
            f"{path}: is an instance map of 8 bits; expected one of 16, with the label id "
            "in the high byte; unzip data_semantics.zip again"
        )
    coded = stored.astype(np.int32)
    label = coded >> 8
    number = coded & 255
    return np.where((number > 0) & (label > 0), label * 1000 + number, label)


def _labelled(root: Path, images: bool, instances: bool | None) -> list[Record]:
    training = root / "training"
    if instances is None:
        instances = (training / "instance").is_dir()
    return [
        Record(
            path.stem,
            training / "image_2" / path.name if images else None,
            path,
            training / "instance" / path.name if instances else None,
        )
        for path in _pngs(training / "semantic")
    ]


def _pngs(folder: Path) -> list[Path]:
    found = [path for path in find_files(folder, "*.png") if not EDGE_LABEL.search(path.stem)]
    if not found:
        raise FileNotFoundError(
            f"No PNG in {folder}. Unzip data_semantics.zip, and point the data root at the folder "
            "that has training/."
        )
    return found
