"""Edge labels of anybody's label maps, and of the data sets that have no label script.

    python -m data.gtlabel --labels DIR [--instances DIR] --num-classes K --out OUT
    python -m data.gtlabel --dataset camvid --root datasets/CamVid --split train --out OUT

Label maps are PNGs of ids: 0..K-1 are the classes, 255 is none; or --id-map FILE.json says which
id is which class: {"7": 0, "8": 1}, and ids that it does not name are none.

Writes OUT/.../NAME_edge.png for each DIR/.../NAME.png, with more than 24 classes also
NAME_edge_24.png and so on; with --eval OUT/gt_eval/{gt_thin,gt_raw}/{inst,cls}/.../NAME.png; and
edges.txt, or SPLIT.txt, "/label map /edge label" per line.
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import copy
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data import build_dataset, parse_options
from data.args import Parser
from data.base import Dataset, Record
from data.edge_files import edge_label_name
from data.errors import InputError, run
from data.files import write_lines
from data.gtlabel.args import add_product_flags, add_work_flags, product_options, work_options
from data.gtlabel.jobs import Job, run_jobs
from data.gtlabel.maps import IGNORED, MapReader, read_class_names, read_id_map
from data.gtlabel.products import GroundTruth, ProductMaker, Rule
from data.image_io import IGNORE
from data.visualize import contrasting_colors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `argv`."""
    parser = Parser(
        prog="python -m data.gtlabel",
        description="Make edge labels of any label maps.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_folder_flags(parser.add_argument_group("your label maps"))
    group = parser.add_argument_group("a data set by name")
    group.add_argument("--dataset", help="camvid, bdd, mapillary, ...")
    group.add_argument("--root", type=Path)
    group.add_argument("--split", default="train")
    group.add_argument(
        "--option",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of the set, as in version=v2.0",
    )
    group = parser.add_argument_group("result")
    group.add_argument("--out", type=Path, required=True, help="the folder for the labels")
    add_product_flags(parser, scale=1)
    add_work_flags(parser)
    return parser.parse_args(argv)


def _add_folder_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--labels", type=Path, metavar="DIR", help="PNGs of ids, in folders of any depth"
    )
    group.add_argument(
        "--instances",
        type=Path,
        metavar="DIR",
        help="PNGs of instance numbers, under the same names",
    )
    group.add_argument("--num-classes", type=int, metavar="K")
    group.add_argument("--id-map", type=Path, metavar="FILE", help='JSON {"id": class}')
    group.add_argument(
        "--class-names", type=Path, metavar="FILE", help="a name per line, for --visualize"
    )
    group.add_argument(
        "--ignored-ids",
        type=int,
        nargs="+",
        default=[],
        metavar="ID",
        help="label ids that are no class, and whose border is no edge",
    )


def main(args: argparse.Namespace) -> int:
    """Make what is missing or stale, and the list; returns the exit status."""
    if (args.labels is None) == (args.dataset is None):
        raise InputError(
            "expected either --labels DIR --num-classes K, or --dataset NAME --root DIR"
        )
    return label_dataset(args) if args.dataset else label_folder(args)


def label_dataset(args: argparse.Namespace) -> int:
    """Label one split of a data set that this repository reads; returns the exit status."""
    if args.root is None:
        raise InputError("--dataset needs --root, the data set's folder")
    out = args.out.resolve()
    options = parse_options(args.option)
    dataset = build_dataset(args.dataset, args.root.resolve(), args.split, **options)
    if any(record.label is None for record in dataset.records):
        raise InputError(
            f"{dataset.name} {args.split}: there are no label maps; choose another --split"
        )
    # What is sent to a worker with each job: the readers, without thousands of records.
    reader = copy.copy(dataset)
    reader.records = []
    rule = Rule(dataset.num_classes, args.instance)
    maker = ProductMaker(out, rule, dataset.classes, dataset.palette, product_options(args))
    jobs, rows = [], []
    for record in dataset.records:
        source = record.label_path()
        label = edge_label_name(source.relative_to(dataset.root))
        inputs = tuple(path for path in (record.label, record.instance) if path)
        products = maker.products(label, record.name)
        jobs.append(Job(record.name, inputs, partial(_read, reader, record), products))
        image = (record.image or source).relative_to(dataset.root)
        rows.append(f"/{image.as_posix()} /{label.as_posix()}")
    status = run_jobs(jobs, work_options(args), "edge labels")
    write_lines(out / f"{args.split}.txt", rows)
    return status


def _read(dataset: Dataset, record: Record) -> GroundTruth:
    label, instance = dataset.read_ground_truth(record)
    if label is None:
        raise InputError(f"{record.label}: holds no label map")
    return label, instance


def label_folder(args: argparse.Namespace) -> int:
    """Label a folder of label maps; returns the exit status."""
    root, out = args.labels.resolve(), args.out.resolve()
    if out == root:
        raise InputError(f"--out {out}: is the folder of label maps; choose another")
    if not args.num_classes or not 1 <= args.num_classes < IGNORE:
        raise InputError(f"--num-classes {args.num_classes}: expected 1 to {IGNORE - 1}")
    maps = find_label_maps(root)
    id_map = read_id_map(args.id_map, args.num_classes)
    reader = MapReader(args.num_classes, id_map, tuple(args.ignored_ids))
    maker = ProductMaker(
        out,
        Rule(args.num_classes, args.instance, (IGNORED,)),
        read_class_names(args.class_names, args.num_classes),
        contrasting_colors(args.num_classes),
        product_options(args),
        settings={
            "id_map": reader.id_map,
            "instances": str(args.instances),
            "ignored": reader.ignored_ids,
        },
    )
    jobs, rows = [], []
    for path in maps:
        source = path.relative_to(root)
        label = edge_label_name(source)
        instance = args.instances.resolve() / source if args.instances else None
        inputs = (path, *([instance] if instance else []))
        products = maker.products(label, source.with_suffix("").as_posix())
        jobs.append(Job(source.as_posix(), inputs, partial(reader, path, instance), products))
        rows.append(f"/{source.as_posix()} /{label.as_posix()}")
    status = run_jobs(jobs, work_options(args), "edge labels")
    write_lines(out / "edges.txt", rows)
    return status


def find_label_maps(root: Path) -> list[Path]:
    """All PNGs below `root`, in folders of any depth, without hidden files and folders."""
    found = sorted(
        path
        for path in root.rglob("*.png")
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    if not found:
        raise FileNotFoundError(f"no *.png below {root}")
    return found


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
