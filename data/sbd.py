"""SBD, the Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): 11355 images of PASCAL VOC, 20 classes.

As downloaded (benchmark.tgz; the root is its folder `dataset` or one above it):

    img/NAME.jpg  cls/NAME.mat  inst/NAME.mat         image, labels of classes and of instances (`data.sbd_truth`)
    train.txt  val.txt                                a name per line, 8498 and 2857

Prepared, as `python -m data.sbd_gtlabel` and the published MATLAB script leave it; it holds edges, but no label maps:

    image/{train,val}/scale_S/NAME.png                image/test/NAME.png
    label_inst_orig/{train,val}/scale_S/NAME_inst.png label_inst_orig/test/NAME_inst.png
    trainaug_inst_orig.txt, ...                       lists of "/image /label"

Splits: the field tests on SBD's val list, which it calls `test`, and holds a part of SBD's train list out as `val`.
"""

from pathlib import Path

import numpy as np

from data.base import Dataset, Record
from data.edges import decode_png, evaluation_edges
from data.errors import InputError
from data.files import read_list
from data.image_io import read_image
from data.sbd_truth import NUM_CLASSES, read_sbd_truth

CLASSES = (
    *(
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
    ),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
COLORS = (
    *(
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (128, 0, 128),
        (0, 128, 128),
        (128, 128, 128),
    ),
    *(
        (64, 0, 0),
        (192, 0, 0),
        (64, 128, 0),
        (192, 128, 0),
        (64, 0, 128),
        (192, 0, 128),
        (64, 128, 128),
    ),
    *((192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128)),
)
LISTS = {  # of the prepared layout
    "train": "trainaug_inst_orig.txt",
    "val": "val.txt",
    "trainval": "trainvalaug_inst_orig.txt",
    "test": "test_inst_orig.txt",
}
HELD_OUT = 1000  # images of the train list, as published


class SBD(Dataset):
    """Splits train, val, trainval, test. The published numbers come from training on trainval and testing on test.

    holdout: the file that names the images of `val` (see `read_holdout`); None draws them. As downloaded, a sample has
    label and instance; prepared, neither: train with --edge-labels.
    """

    name = "sbd"
    classes = CLASSES
    palette = np.array(COLORS, np.uint8)

    def __init__(self, root: str | Path, split: str, *, holdout: str | Path | None = None) -> None:
        if split not in LISTS:
            raise InputError(f"sbd has no split {split!r}; expected one of {', '.join(LISTS)}")
        root = Path(root)
        self.prepared = (root / "image").is_dir()
        if self.prepared:
            records = _prepared_records(root, split)
        else:
            root = find_root(root)
            self._part_of, records = {}, []
            for part in ("train", "val") if split == "trainval" else (split,):
                for name in part_names(root, part, holdout):
                    self._part_of[name] = part
                    records.append(make_record(root, name))
        super().__init__(root, split, records)

    def read_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(label uint8 (H, W): 0..19 or 255, instance int32 (H, W): 0 = none); (None, None) in the prepared layout."""
        if self.prepared:
            return None, None
        truth = read_sbd_truth(record.label, record.instance)
        return truth.label, truth.instance

    def edge_truth(
        self, index: int, *, thin: bool, scale: float = 1.0, instance_sensitive: bool = True
    ) -> np.ndarray:
        """The published evaluation truth, uint32 (H, W); at another scale than 1, where none was published, by the rule."""
        record = self.records[index]
        if self.prepared:
            return self._prepared_truth(record, thin, scale, instance_sensitive)
        truth = read_sbd_truth(record.label, record.instance)
        if scale == 1:
            return truth.evaluation_edges(thin=thin, instance_sensitive=instance_sensitive)
        label, instance = (
            (truth.own_label, truth.instance) if instance_sensitive else (truth.label, None)
        )
        return evaluation_edges(
            label, instance, num_classes=NUM_CLASSES, thin=thin, scale=scale, ignored_ids=()
        )

    def edge_label_name(self, record: Record, *, instance_sensitive: bool = True) -> Path:
        """The training label of a record at scale 1 (prepared: at its scale), below the folder of labels."""
        kind = "inst" if instance_sensitive else "cls"
        if self.prepared:
            name = record.label.relative_to(self.root)
            stem = name.stem.removesuffix("_inst").removesuffix("_cls")
            return Path(f"label_{kind}_orig", *name.parts[1:-1], f"{stem}_{kind}.png")
        part = self._part_of[record.name]
        return label_path(part, record.name, 1, kind)

    def _prepared_truth(
        self, record: Record, thin: bool, scale: float, instance_sensitive: bool
    ) -> np.ndarray:
        mode, kind = "thin" if thin else "raw", "inst" if instance_sensitive else "cls"
        path = self.root / "gt_eval" / f"gt_{mode}" / kind / f"{record.name}.png"
        if scale != 1 or not path.is_file():
            raise FileNotFoundError(
                f"No {path}, or not at scale {scale:g}: the prepared layout holds the evaluation truth at scale 1 only if "
                "python -m data.sbd_gtlabel was run with --eval; or point --data-root at the data set as downloaded"
            )
        return decode_png(read_image(path))


def find_root(root: Path) -> Path:
    """The folder with img/, cls/ and inst/ at or below `root`."""
    for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir():
            return folder
    raise FileNotFoundError(
        f"No cls/ in {root}, {root / 'dataset'} or {root / 'benchmark_RELEASE' / 'dataset'}. Unpack benchmark.tgz into {root}, "
        "or point the data root at the folder that has img/, cls/ and inst/ (or at one that data.sbd_gtlabel prepared)."
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
    return [record.name for record in read_list(path, lambda line: Record(line.strip(), None))]


def draw_holdout(names: list[str], seed: int = 0) -> list[str]:
    """1000 of the train list's names, an eighth of a shorter list's, by `seed`.

    The published choice was drawn by MATLAB's generator and lies in its authors' seed.mat: see `read_holdout`.
    """
    count = HELD_OUT if len(names) >= 2 * HELD_OUT else len(names) // 8
    return [names[i] for i in sorted(np.random.default_rng(seed).permutation(len(names))[:count])]


def read_holdout(path: Path, names: list[str]) -> list[str]:
    """The held-out names: a text file with a name per line, or the published seed.mat, a logical per line of train.txt."""
    if path.suffix == ".mat":
        import scipy.io

        try:
            chosen = next(
                v for key, v in scipy.io.loadmat(path).items() if not key.startswith("__")
            ).ravel()
        except FileNotFoundError:
            raise
        except Exception as error:  # scipy raises whatever the broken part of the file leads to
            raise InputError(
                f"{path}: cannot be read as a .mat file ({type(error).__name__}: {error})"
            ) from error
        if chosen.size < len(names):
            raise InputError(
                f"{path}: has {chosen.size} entries, but train.txt has {len(names)} names"
            )
        return [
            name for name, held_out in zip(names, chosen[: len(names)], strict=True) if held_out
        ]
    chosen = read_names(path)
    strange = sorted(set(chosen) - set(names))
    if strange:
        raise InputError(
            f"{path}: {strange[0]} and {len(strange) - 1} more are not in SBD's train.txt"
        )
    return chosen


def label_path(part: str, name: str, scale: float, kind: str) -> Path:
    """A training label of the prepared layout, below its root. kind: inst or cls."""
    return Path(f"label_{kind}_orig", *_folders(part, scale), f"{name}_{kind}.png")


def image_path(part: str, name: str, scale: float) -> Path:
    """An image of the prepared layout, below its root."""
    return Path("image", *_folders(part, scale), f"{name}.png")


def _folders(part: str, scale: float) -> tuple[str, ...]:
    return (part,) if part == "test" else (part, f"scale_{scale:g}")


def _prepared_records(root: Path, split: str) -> list[Record]:
    def parse(line: str) -> Record:
        image, *label = (path.lstrip("/") for path in line.split())
        folder, name = Path(image).parent.name, Path(image).stem
        record_name = name if folder in ("scale_1", "test") else f"{name}_{folder}"
        if not label:  # val.txt names images only
            kind = "inst" if (root / "label_inst_orig").is_dir() else "cls"
            label = [label_path("val", name, 1, kind)]
        return Record(record_name, root / image, root / label[0])

    path = root / LISTS[split]
    return read_list(
        path if path.is_file() else path.with_name(path.name.replace("_inst_", "_cls_")), parse
    )
