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
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data.args import Parser
from data.cityscapes import to_train_ids
from data.edge_files import edge_label_name
from data.errors import InputError, run
from data.gtlabel.args import add_product_flags, add_work_flags, product_options, work_options
from data.gtlabel.job import Job
from data.gtlabel.plan import ListFile, Plan, Row, run_plans
from data.gtlabel.products import GroundTruth, ProductMaker, Rule, pair_maps, read_for_image
from data.image_io import read_index
from data.kitti import IMAGES, KITTI, VALIDATION, read_instances, select
from data.names import EDGE_LABEL, find_files, walk_files


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
    root, out = (Path(os.path.realpath(folder)) for folder in (args.root, args.out))
    rule = Rule(len(KITTI.classes), args.instance)
    maker = ProductMaker(out, rule, KITTI.classes, KITTI.palette, product_options(args))
    if args.odometry_labels is not None:
        labels = Path(os.path.realpath(args.odometry_labels))
        sequences = find_sequences(labels, args.sequences)
        instances = args.odometry_instances and Path(os.path.realpath(args.odometry_instances))
        if instances and not instances.is_dir():
            raise FileNotFoundError(f"--odometry-instances {instances}: no such folder")
        plans = [plan_sequence(folder, root, maker, instances) for folder in sequences]
    elif args.sequences or args.odometry_instances:
        raise InputError("--sequences and --odometry-instances need --odometry-labels")
    else:
        plans = [plan_semantics(root, maker)]
    return run_plans(plans, work_options(args))


def plan_semantics(root: Path, maker: ProductMaker) -> Plan:
    """The labels of the 200 images of the semantics benchmark."""
    images = (root / "training" / "image_2").is_dir()
    if not images:
        print(f"There are no images in {root / 'training' / 'image_2'}: labels only")
    dataset = KITTI(root, "trainval", images=images)
    if maker.rule.instance_sensitive and dataset.records[0].instance is None:
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
        read = partial(read_for_image, partial(read_semantics, *inputs), source, record.image)
        jobs.append(Job(record.name, inputs, read, products))
        row: Row = (
            record.name,
            (f"/training/image_2/{source.name}", f"/{label.as_posix()}"),
        )
        row_of[record.name] = row
    lists = [ListFile(maker.out / "trainval.txt", list(row_of.values()))]
    if len(row_of) == IMAGES:
        for cv in range(len(VALIDATION)):
            for split in ("train", "val"):
                chosen = select(dataset.records, split, cv, root)
                rows = [row_of[record.name] for record in chosen]
                lists.append(ListFile(maker.out / f"{split}_cv{cv}.txt", rows))
    else:
        print(f"{len(row_of)} images, not {IMAGES}: no lists of the published splits")
    keep = [record.image for record in dataset.records if record.image]
    return Plan(maker.out, jobs, lists, keep)


def plan_sequence(folder: Path, root: Path, maker: ProductMaker, instances: Path | None) -> Plan:
    """The labels of one odometry sequence.

    Args:
        folder: its label maps; the folder's name is that of the sequence.
        root: the folder that has sequences/NN/image_2/.
        maker: of the products.
        instances: the folder of the instance maps of all sequences; None: there are none.
    """
    sequence = folder.name
    images = root / "sequences" / sequence / "image_2"
    labels = [path for path in find_files(folder, "*.png") if not EDGE_LABEL.search(path.stem)]
    have = {images / path.name for path in labels if (images / path.name).is_file()}
    if lone := len(labels) - len(have):
        print(
            f"{lone} of {len(labels)} label maps of sequence {sequence} have no image in {images}"
        )
    jobs, rows = [], []
    for path in labels:
        instance = instances / sequence / path.name if instances else path
        name = f"{sequence}/{path.stem}"
        label = Path("sequences", sequence, f"{path.stem}_edge.png")
        image = images / path.name
        read = partial(read_frame, path, instance)
        read = partial(read_for_image, read, path, image if image in have else None)
        jobs.append(Job(name, (path, instance), read, maker.products(label, name)))
        row = (f"/sequences/{sequence}/image_2/{path.name}", f"/{label.as_posix()}")
        rows.append((name, row))
    lists = [ListFile(maker.out / "sequences" / f"{sequence}.txt", rows)]
    return Plan(maker.out, jobs, lists, sorted(have), what=f"sequence {sequence}")


def find_sequences(folder: Path, wanted: Sequence[str] | None) -> list[Path]:
    """The folders of label maps, one per sequence."""
    maps = walk_files(folder, (".png",), skip=lambda inner: inner.parent != folder)
    found = sorted({path.parent.name for path in maps if path.parent != folder})
    missing = sorted(set(wanted or []) - set(found))
    if missing or not found:
        raise FileNotFoundError(
            f"{folder}: no label maps for sequence {missing[0] if missing else 'NN'}; expected "
            f"{folder}/NN/NAME.png"
        )
    return [folder / name for name in dict.fromkeys(wanted or found)]


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
