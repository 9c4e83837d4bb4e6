"""SBD, the Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): 11355 images of PASCAL VOC.

As downloaded (benchmark.tgz; the root is its folder `dataset` or one above it):

    img/NAME.jpg  cls/NAME.mat  inst/NAME.mat    image, labels of classes and of instances
    train.txt  val.txt                           a name per line, 8498 and 2857

Prepared, as `python -m data.sbd_gtlabel` leaves it; it holds edges, but no label maps:

    image/{train,val}/scale_S/NAME.png                     image/test/NAME.png
    label_inst_orig/{train,val}/scale_S/NAME_inst.png      label_inst_orig/test/NAME_inst.png
    trainaug_inst_orig.txt, ...                            lists of "/image /label"
"""

from pathlib import Path

import numpy as np
import scipy.io

from data.base import Dataset, Record, require_split
from data.edges import decode_png, evaluation_edges
from data.errors import InputError
from data.files import inner_path, paths_of_line, read_list, reading, require_file
from data.image_io import image_size, read_image, require_size
from data.sbd_ground_truth import (
    NUM_CLASSES,
    SBDGroundTruth,
    as_numbers,
    read_sbd_ground_truth,
)

# PASCAL VOC's classes, with their colours as (red, green, blue).
CLASSES = (
    ("aeroplane", (128, 0, 0)),
    ("bicycle", (0, 128, 0)),
    ("bird", (128, 128, 0)),
    ("boat", (0, 0, 128)),
    ("bottle", (128, 0, 128)),
    ("bus", (0, 128, 128)),
    ("car", (128, 128, 128)),
    ("cat", (64, 0, 0)),
    ("chair", (192, 0, 0)),
    ("cow", (64, 128, 0)),
    ("diningtable", (192, 128, 0)),
    ("dog", (64, 0, 128)),
    ("horse", (192, 0, 128)),
    ("motorbike", (64, 128, 128)),
    ("person", (192, 128, 128)),
    ("pottedplant", (0, 64, 0)),
    ("sheep", (128, 64, 0)),
    ("sofa", (0, 192, 0)),
    ("train", (128, 192, 0)),
    ("tvmonitor", (0, 64, 128)),
)
LISTS = {  # of the prepared layout
    "train": "trainaug_inst_orig.txt",
    "val": "val.txt",
    "trainval": "trainvalaug_inst_orig.txt",
    "test": "test_inst_orig.txt",
}
HELD_OUT = 1000  # images of the train list, as published


class SBD(Dataset):
    """Splits train, val, trainval, test, of 20 classes.

    The field tests on SBD's val list, which it calls `test`, and holds a part of SBD's train list
    out as `val`. The published numbers come from training on trainval and testing on test.

    As downloaded, a sample has label and instance. Prepared it has neither: train on it with
    --edge-labels.
    """

    name = "sbd"
    classes = tuple(name for name, _ in CLASSES)
    palette = np.array([color for _, color in CLASSES], np.uint8)

    def __init__(self, root: str | Path, split: str, *, holdout: str | Path | None = None) -> None:
        """Find the files of a split.

        Args:
            root: the folder in either layout.
            split: one of LISTS.
            holdout: the file that names the images of `val` (see `read_holdout`); None draws them.
        """
        require_split(self.name, split, tuple(LISTS))
        root = Path(root)
        self.prepared = (root / "image").is_dir()
        self.has_label_maps = not self.prepared
        self._part_of: dict[str, str] = {}
        if self.prepared:
            records = _prepared_records(root, split)
        else:
            root = find_root(root)
            records = []
            for part in ("train", "val") if split == "trainval" else (split,):
                for name in part_names(root, part, holdout):
                    self._part_of[name] = part
                    records.append(make_record(root, name))
        super().__init__(root, split, records)

    def read_ground_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the ground truth: (label uint8 (H, W) of 0..19 and 255, instance int32 (H, W)).

        Instance 0 is none. (None, None) in the prepared layout.
        """
        if self.prepared:
            return None, None
        files = _read_files(record)
        return files.label, files.instance

    def list_files(self) -> list[Path]:
        """The lists of the layout."""
        if not self.prepared:
            return [self.root / "train.txt", self.root / "val.txt"]
        names = (*LISTS.values(), *(name.replace("_inst_", "_cls_") for name in LISTS.values()))
        return [self.root / name for name in names]

    def edge_ground_truth(
        self, index: int, *, thin: bool, scale: float = 1.0, instance_sensitive: bool = True
    ) -> np.ndarray:
        """The published edges to score against, uint32 (H, W).

        At another scale than 1, where nothing was published, by the rule of `data.edges`; see
        `Dataset.edge_ground_truth` for the arguments.
        """
        record = self.records[index]
        if self.prepared:
            return self._read_prepared_edges(record, thin, scale, instance_sensitive)
        files = _read_files(record)
        if record.image is not None:
            size = self.image_size(record)
            require_size(files.label, size, "label", record.label, record.image)
        if scale == 1:
            return files.evaluation_edges(thin=thin, instance_sensitive=instance_sensitive)
        label, instance = files.label, None
        if instance_sensitive:
            label, instance = files.instance_class, files.instance
        return evaluation_edges(
            label, instance, num_classes=NUM_CLASSES, thin=thin, scale=scale, ignored_ids=()
        )

    def edge_label_name(self, record: Record, *, instance_sensitive: bool = True) -> Path:
        """The training label of a record below the folder of labels, at scale 1.

        In the prepared layout it has the scale of its record.
        """
        kind = "inst" if instance_sensitive else "cls"
        if self.prepared:
            name = record.label_path().relative_to(self.root)
            stem = name.stem.removesuffix("_inst").removesuffix("_cls")
            return Path(f"label_{kind}_orig", *name.parts[1:-1], f"{stem}_{kind}.png")
        return label_path(self._part_of[record.name], record.name, 1, kind)

    def _read_prepared_edges(
        self, record: Record, thin: bool, scale: float, instance_sensitive: bool
    ) -> np.ndarray:
        mode = "thin" if thin else "raw"
        kind = "inst" if instance_sensitive else "cls"
        path = self.root / "gt_eval" / f"gt_{mode}" / kind / f"{record.name}.png"
        if scale != 1 or not path.is_file():
            raise FileNotFoundError(
                f"No {path}, or not at scale {scale:g}: the prepared layout holds the evaluation "
                "ground truth at scale 1 only if python -m data.sbd_gtlabel was run with --eval; "
                "or point --data-root at the data set as downloaded"
            )
        edges = decode_png(read_image(path))
        if record.image is not None:
            require_size(edges, image_size(record.image), "label", path, record.image)
        return edges


def find_root(root: Path) -> Path:
    """The folder with img/, cls/ and inst/ at or below `root`."""
    for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir():
            return folder
    raise FileNotFoundError(
        f"No cls/ in {root}, {root / 'dataset'} or {root / 'benchmark_RELEASE' / 'dataset'}. "
        f"Unpack benchmark.tgz into {root}, or point the data root at the folder that has img/, "
        "cls/ and inst/ (or at one that data.sbd_gtlabel prepared)."
    )


def make_record(root: Path, name: str) -> Record:
    """The files of an image of the downloaded layout."""
    return Record(
        name,
        root / "img" / f"{name}.jpg",
        root / "cls" / f"{name}.mat",
        root / "inst" / f"{name}.mat",
    )


def part_names(root: Path, part: str, holdout: str | Path | None = None) -> list[str]:
    """The names of one of the three parts train, val and test of the downloaded layout."""
    if part == "test":
        return read_names(root / "val.txt")
    names = read_names(root / "train.txt")
    held_out = set(draw_holdout(names) if holdout is None else read_holdout(Path(holdout), names))
    return [name for name in names if (name in held_out) == (part == "val")]


def read_names(path: Path) -> list[str]:
    """The names in a list file of SBD."""
    return read_list(path, _parse_name)


def _parse_name(line: str) -> str:
    (path,) = paths_of_line(line, 1)
    if len(path.parts) != 1:
        raise ValueError(f"{line!r} is no name of an image, which has no folder")
    return path.name


def draw_holdout(names: list[str], seed: int = 0) -> list[str]:
    """1000 of the train list's names, an eighth of a shorter list's, by `seed`.

    The published choice was drawn by MATLAB's generator and lies in its authors' seed.mat: see
    `read_holdout`.
    """
    count = HELD_OUT if len(names) >= 2 * HELD_OUT else len(names) // 8
    return [names[i] for i in sorted(np.random.default_rng(seed).permutation(len(names))[:count])]


def read_holdout(path: Path, names: list[str]) -> list[str]:
    """The held-out names among those of train.txt.

    `path` is a text file with a name per line, or the published seed.mat: a logical for each line
    of train.txt.
    """
    if path.suffix.lower() == ".mat":
        return _read_seed_mat(path, names)
    chosen = read_names(path)
    if not chosen:
        raise InputError(f"{path}: names no image; expected a name of SBD's train.txt per line")
    strange = sorted(set(chosen) - set(names))
    if strange:
        raise InputError(
            f"{path}: {strange[0]} and {len(strange) - 1} more are not in SBD's train.txt"
        )
    return chosen


def _read_seed_mat(path: Path, names: list[str]) -> list[str]:
    require_file(path, "list of held-out images")
    with reading(path):
        variables = scipy.io.loadmat(path)
    arrays = [value for key, value in variables.items() if not key.startswith("__")]
    if not arrays:
        raise InputError(f"{path}: holds nothing; expected a logical for each name of train.txt")
    flags = as_numbers(arrays[0], path, "its first variable", 0, 1).ravel()
    if flags.size < len(names):
        raise InputError(f"{path}: has {flags.size} entries, but train.txt has {len(names)} names")
    return [name for name, held_out in zip(names, flags[: len(names)], strict=True) if held_out]


def label_path(part: str, name: str, scale: float, kind: str) -> Path:
    """A training label of the prepared layout, below its root. kind: inst or cls."""
    return Path(f"label_{kind}_orig", *_folders(part, scale), f"{name}_{kind}.png")


def image_path(part: str, name: str, scale: float) -> Path:
    """An image of the prepared layout, below its root."""
    return Path("image", *_folders(part, scale), f"{name}.png")


def _folders(part: str, scale: float) -> tuple[str, ...]:
    return (part,) if part == "test" else (part, f"scale_{scale:g}")


def _read_files(record: Record) -> SBDGroundTruth:
    return read_sbd_ground_truth(record.label_path(), record.instance_path())


def _prepared_records(root: Path, split: str) -> list[Record]:
    def parse(line: str) -> Record:
        image, *labels = (inner_path(path.lstrip("/")) for path in line.split())
        folder, name = image.parent.name, image.stem
        record_name = name if folder in ("scale_1", "test") else f"{name}_{folder}"
        if labels:
            return Record(record_name, root / image, root / labels[0])
        # val.txt names images only.
        kind = "inst" if (root / "label_inst_orig").is_dir() else "cls"
        return Record(record_name, root / image, root / label_path("val", name, 1, kind))

    path = root / LISTS[split]
    if not path.is_file():  # made with --no-instance
        path = path.with_name(path.name.replace("_inst_", "_cls_"))
    return read_list(path, parse)
