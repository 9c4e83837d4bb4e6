"""Edge labels of KITTI: the 200 images of its semantics benchmark, and odometry sequences.

    python -m data.kitti_gtlabel --root datasets/kitti --out OUT --eval --workers 8
    python -m data.kitti_gtlabel --root datasets/odometry --odometry-labels LABELS --out OUT

The first writes below OUT:

    training/semantic/NAME_edge.png                     training label: a 24-bit PNG, a bit a class
    {train,val}_cv{0,1,2}.txt  trainval.txt             the published splits, "/image /label" lines
    gt_eval/{gt_thin,gt_raw}/{inst,cls}/NAME.png        with --eval: ground truth for evaluation

The second takes maps of Cityscapes label ids LABELS/NN/NAME.png, one folder per sequence, for the
images ROOT/sequences/NN/image_2, and writes, one sequence after the other,
sequences/NN/NAME_edge.png and NN.txt.
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data.args import Parser
from data.cityscapes import to_train_ids
from data.edge_files import edge_label_name
from data.errors import InputError, run
from data.files import write_lines
from data.gtlabel.args import add_product_flags, add_work_flags, product_options, work_options
from data.gtlabel.jobs import Job, run_jobs
from data.gtlabel.products import GroundTruth, ProductMaker, Rule, pair_maps
from data.image_io import read_index
from data.kitti import IMAGES, KITTI, VALIDATION, read_instances, select
from data.names import find_files


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `argv`."""
    parser = Parser(
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
    rule = Rule(len(KITTI.classes), args.instance)
    maker = ProductMaker(out, rule, KITTI.classes, KITTI.palette, product_options(args))
    if args.odometry_labels is not None:
        sequences = find_sequences(args.odometry_labels.resolve(), args.sequences)
        return max([label_sequence(folder, root, maker, args) for folder in sequences])
    if args.sequences or args.odometry_instances:
        raise InputError("--sequences and --odometry-instances need --odometry-labels")
    return label_semantics(root, maker, args)


def label_semantics(root: Path, maker: ProductMaker, args: argparse.Namespace) -> int:
    """Label the 200 images of the semantics benchmark; returns the exit status."""
    images = (root / "training" / "image_2").is_dir()
    if not images:
        print(f"There are no images in {root / 'training' / 'image_2'}: labels only")
    dataset = KITTI(root, "trainval", images=images)
    if args.instance and dataset.records[0].instance is None:
        raise InputError(
            f"No {root / 'training' / 'instance'}; --no-instance makes labels without edges "
            "between instances"
        )
    jobs, row_of = [], {}
    for record in dataset.records:
        source = record.label_path()
        inputs = (source, record.instance or source)
        label = edge_label_name(source.relative_to(root))
        products = maker.products(label, record.name)
        jobs.append(Job(record.name, inputs, partial(read_semantics, *inputs), products))
        row_of[record.name] = f"/training/image_2/{record.name}.png /{label.as_posix()}"
    status = run_jobs(jobs, work_options(args), "edge labels")
    write_lines(maker.out / "trainval.txt", row_of.values())
    if len(row_of) != IMAGES:
        print(f"{len(row_of)} images, not {IMAGES}: no lists of the published splits")
        return status
    for cv in range(len(VALIDATION)):
        for split in ("train", "val"):
            chosen = select(dataset.records, split, cv, root)
            rows = [row_of[record.name] for record in chosen]
            write_lines(maker.out / f"{split}_cv{cv}.txt", rows)
    return status


def label_sequence(folder: Path, root: Path, maker: ProductMaker, args: argparse.Namespace) -> int:
    """Label one odometry sequence, whose label maps `folder` holds; returns the exit status."""
    sequence = folder.name
    images = root / "sequences" / sequence / "image_2"
    labels = find_files(folder, "*.png")
    lone = sum(not (images / path.name).is_file() for path in labels)
    if lone:
        print(
            f"{lone} of {len(labels)} label maps of sequence {sequence} have no image in {images}"
        )
    jobs, rows = [], []
    for path in labels:
        instance = path
        if args.odometry_instances:
            instance = args.odometry_instances.resolve() / sequence / path.name
        name = f"{sequence}/{path.stem}"
        label = Path("sequences", sequence, f"{path.stem}_edge.png")
        read = partial(read_frame, path, instance)
        jobs.append(Job(name, (path, instance), read, maker.products(label, name)))
        rows.append(f"/sequences/{sequence}/image_2/{path.name} /{label.as_posix()}")
    status = run_jobs(jobs, work_options(args), f"sequence {sequence}")
    write_lines(maker.out / "sequences" / f"{sequence}.txt", rows)
    return status


def find_sequences(folder: Path, wanted: Sequence[str] | None) -> list[Path]:
    """The folders of label maps, one per sequence."""
    found = sorted(
        path.name for path in folder.glob("*") if path.is_dir() and any(path.glob("*.png"))
    )
    missing = sorted(set(wanted or []) - set(found))
    if missing or not found:
        raise FileNotFoundError(
            f"{folder}: no label maps for sequence {missing[0] if missing else 'NN'}; expected "
            f"{folder}/NN/NAME.png"
        )
    return [folder / name for name in (wanted or found)]


def read_semantics(label: Path, instance: Path) -> GroundTruth:
    """(train ids, instance ids) of an image of the semantics benchmark.

    `instance` is `label` where there is no instance map: then label ids are instance ids.
    """
    ids = read_index(label)
    numbers = ids if instance == label else read_instances(instance)
    return pair_maps(to_train_ids(ids, label), numbers, instance)


def read_frame(label: Path, instance: Path) -> GroundTruth:
    """(train ids, instance ids) of an odometry frame, whose files are as Cityscapes' are."""
    return pair_maps(to_train_ids(read_index(label), label), read_index(instance), instance)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
