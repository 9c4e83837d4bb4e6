"""Edge labels of KITTI: the 200 images of its semantics benchmark, and odometry sequences.

    python -m data.kitti_gtlabel --root datasets/kitti --out datasets/kitti_edges --eval --workers 8
    python -m data.kitti_gtlabel --root datasets/odometry --odometry-labels LABELS --out datasets/odometry_edges

The first writes below OUT:

    training/semantic/NAME_edge.png                          training label: 24-bit PNG, a bit per class
    {train,val}_cv{0,1,2}.txt  trainval.txt                  the published splits, "/image /label" per line
    gt_eval/{gt_thin,gt_raw}/{inst,cls}/NAME.png             with --eval: the evaluation truth

The second takes maps of Cityscapes label ids LABELS/NN/NAME.png, one folder per sequence, for the images
ROOT/sequences/NN/image_2, and writes, one sequence after the other, sequences/NN/NAME_edge.png and NN.txt.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from data.cityscapes import to_train_ids
from data.edge_files import edge_label_name
from data.errors import InputError, run
from data.files import write_lines
from data.gtlabel.jobs import Job, add_work_flags, run_jobs
from data.gtlabel.products import ProductMaker, Rule, Truth, add_product_flags
from data.image_io import read_index
from data.kitti import IMAGES, KITTI, VALIDATION, read_instances, select


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m data.kitti_gtlabel",
        description="Make edge labels of KITTI.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    group = parser.add_argument_group("data")
    group.add_argument(
        "--root",
        type=Path,
        default=Path("datasets/kitti"),
        help="the folder with training/ or sequences/",
    )
    group.add_argument(
        "--out", type=Path, required=True, help="the folder for the labels; may be ROOT"
    )
    group.add_argument(
        "--odometry-labels",
        type=Path,
        metavar="DIR",
        help="label ids of odometry sequences, DIR/NN/*.png",
    )
    group.add_argument(
        "--odometry-instances",
        type=Path,
        metavar="DIR",
        help="their instance ids, as Cityscapes' instanceIds",
    )
    group.add_argument(
        "--sequences",
        nargs="+",
        metavar="NN",
        help="the sequences; all that have labels if not given",
    )
    add_product_flags(parser, scale=1)
    add_work_flags(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Make what is missing or stale, and the lists; returns the exit status."""
    root, out = args.root.resolve(), args.out.resolve()
    maker = ProductMaker(
        out, Rule(len(KITTI.classes), args.instance), KITTI.classes, KITTI.palette, args
    )
    if args.odometry_labels is not None:
        sequences = find_sequences(args.odometry_labels.resolve(), args.sequences)
        return max([label_sequence(folder, root, out, maker, args) for folder in sequences])
    if args.sequences or args.odometry_instances:
        raise InputError("--sequences and --odometry-instances need --odometry-labels")
    return label_semantics(root, out, maker, args)


def label_semantics(root: Path, out: Path, maker: ProductMaker, args: argparse.Namespace) -> int:
    """The 200 images of the semantics benchmark."""
    images = (root / "training" / "image_2").is_dir()
    if not images:
        print(f"There are no images in {root / 'training' / 'image_2'}: labels only")
    dataset = KITTI(root, "trainval", images=images)
    if args.instance and dataset.records[0].instance is None:
        raise InputError(
            f"No {root / 'training' / 'instance'}; --no-instance makes labels without edges between instances"
        )
    jobs, rows = [], []
    for record in dataset.records:
        label = edge_label_name(record.label.relative_to(root))
        inputs = (record.label, record.instance or record.label)
        jobs.append(
            Job(
                record.name,
                inputs,
                partial(read_semantics, *inputs),
                maker.products(label, record.name),
            )
        )
        rows.append(f"/training/image_2/{record.name}.png /{label.as_posix()}")
    status = run_jobs(jobs, args, "edge labels")
    write_lines(out / "trainval.txt", rows)
    if len(rows) != IMAGES:
        print(f"{len(rows)} images, not {IMAGES}: no lists of the published splits")
        return status
    row_of = dict(zip((record.name for record in dataset.records), rows, strict=True))
    for cv in range(len(VALIDATION)):
        for split in ("train", "val"):
            chosen = select(dataset.records, split, cv, root)
            write_lines(out / f"{split}_cv{cv}.txt", (row_of[record.name] for record in chosen))
    return status


def label_sequence(
    folder: Path, root: Path, out: Path, maker: ProductMaker, args: argparse.Namespace
) -> int:
    """One odometry sequence; `folder` holds its label maps."""
    sequence = folder.name
    images = root / "sequences" / sequence / "image_2"
    labels = sorted(path for path in folder.glob("*.png") if not path.name.startswith("."))
    bare = sum(not (images / path.name).is_file() for path in labels)
    if bare:
        print(
            f"{bare} of {len(labels)} label maps of sequence {sequence} have no image in {images}"
        )
    jobs, rows = [], []
    for path in labels:
        instance = (
            args.odometry_instances.resolve() / sequence / path.name
            if args.odometry_instances
            else path
        )
        label = Path("sequences", sequence, f"{path.stem}_edge.png")
        products = maker.products(label, f"{sequence}/{path.stem}")
        jobs.append(
            Job(
                f"{sequence}/{path.stem}",
                (path, instance),
                partial(read_frame, path, instance),
                products,
            )
        )
        rows.append(f"/sequences/{sequence}/image_2/{path.name} /{label.as_posix()}")
    status = run_jobs(jobs, args, f"sequence {sequence}")
    write_lines(out / "sequences" / f"{sequence}.txt", rows)
    return status


def find_sequences(folder: Path, wanted: Sequence[str] | None) -> list[Path]:
    """The folders of label maps, one per sequence."""
    there = sorted(
        path.name for path in folder.glob("*") if path.is_dir() and any(path.glob("*.png"))
    )
    missing = sorted(set(wanted or []) - set(there))
    if missing or not there:
        raise FileNotFoundError(
            f"{folder}: no label maps for sequence {missing[0] if missing else 'NN'}; expected {folder}/NN/NAME.png"
        )
    return [folder / name for name in (wanted or there)]


def read_semantics(label: Path, instance: Path) -> Truth:
    """(train ids, instance ids) of an image of the semantics benchmark; without instance map the label ids stand for it."""
    ids = read_index(label)
    numbers = ids if instance == label else read_instances(instance)
    return _checked(label, ids, instance, numbers)


def read_frame(label: Path, instance: Path) -> Truth:
    """The same of an odometry frame, whose ids are as Cityscapes has them."""
    return _checked(label, read_index(label), instance, read_index(instance))


def _checked(label: Path, ids: np.ndarray, instance: Path, numbers: np.ndarray) -> Truth:
    if ids.shape != numbers.shape:
        raise InputError(
            f"{instance}: the instance map is {numbers.shape} (H, W), its label map {ids.shape}"
        )
    return to_train_ids(ids, label), numbers


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
