"""Edge labels of anybody's label maps, and of the data sets that have no label script.

    python -m data.gtlabel --labels DIR [--instances DIR] --num-classes K --out OUT
    python -m data.gtlabel --dataset camvid --root datasets/CamVid --split train --out OUT

Label maps are PNGs of ids: 0..K-1 are the classes, 255 is none; or --id-map FILE.json says which
id is which class: {"7": 0, "8": 1, "9": null}. Ids that it does not name are none, as null is, but
with a note.

Writes OUT/.../NAME_edge.png for each DIR/.../NAME.png, with more than 24 classes also
NAME_edge_24.png and so on; with --eval OUT/gt_eval/{gt_thin,gt_raw}/{inst,cls}/.../NAME.png; and
edges.txt, or SPLIT.txt, "/label map /edge label" per line. (A data set whose names have spaces
gets no list: train.py needs none.)
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import copy
import os
import sys
from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from data import build_dataset, parse_options
from data.args import Parser, whole
from data.base import Dataset, Record
from data.edge_files import edge_label_name
from data.errors import InputError, run
from data.gtlabel.args import add_product_flags, add_work_flags, product_options, work_options
from data.gtlabel.job import Job
from data.gtlabel.maps import (
    IGNORED,
    MAX_ID,
    MapReader,
    find_label_maps,
    note_ids,
    present_ids,
    read_class_names,
    read_id_map,
    read_ids,
)
from data.gtlabel.plan import ListFile, Plan, Row, run_plans
from data.gtlabel.products import GroundTruth, ProductMaker, Rule
from data.gtlabel.stamp import MEANING
from data.image_io import IGNORE
from data.names import names_with_spaces
from data.visualize import contrasting_colors

LABELS_ONLY = ("--instances", "--num-classes", "--id-map", "--class-names", "--ignored-ids")
DATASET_ONLY = ("--root", "--split", "--option")


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
    group.add_argument("--split", help="train if not given")
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
    group.add_argument("--num-classes", type=whole(1, IGNORE - 1), metavar="K")
    group.add_argument("--id-map", type=Path, metavar="FILE", help='JSON {"id": class or null}')
    group.add_argument(
        "--class-names", type=Path, metavar="FILE", help="a name per line, for --visualize"
    )
    group.add_argument(
        "--ignored-ids",
        type=whole(0, MAX_ID),
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
    others = LABELS_ONLY if args.dataset else DATASET_ONLY
    given = [name for name in others if getattr(args, name.lstrip("-").replace("-", "_"))]
    if given:
        kinds = ("--labels", "--dataset") if args.dataset else ("--dataset", "--labels")
        raise InputError(f"{given[0]} goes with {kinds[0]}, not with {kinds[1]}; leave it out")
    plan = plan_dataset(args) if args.dataset else plan_folder(args)
    return run_plans([plan], work_options(args))


def plan_dataset(args: argparse.Namespace) -> Plan:
    """The labels of one split of a data set that this repository reads."""
    if args.root is None:
        raise InputError("--dataset needs --root, the data set's folder")
    split = args.split or "train"
    out = Path(os.path.realpath(args.out))
    options: dict[str, Any] = parse_options(args.option)
    dataset = build_dataset(args.dataset, os.path.realpath(args.root), split, **options)
    if not dataset.has_label_maps or any(record.label is None for record in dataset.records):
        raise InputError(
            f"{dataset.name} {split}: there are no label maps; choose another --split or --root"
        )
    # What is sent to a worker with each job: the readers, without thousands of records.
    reader = copy.copy(dataset)
    reader.records = []
    rule = Rule(dataset.num_classes, args.instance)
    meaning = {MEANING: dataset.meaning()} if dataset.meaning() else {}
    maker = ProductMaker(
        out, rule, dataset.classes, dataset.palette, product_options(args), settings=meaning
    )
    jobs, rows = [], []
    for record in dataset.records:
        source = record.label_path()
        label = edge_label_name(source.relative_to(dataset.root))
        inputs = tuple(path for path in (record.label, record.instance) if path)
        products = maker.products(label, record.name)
        jobs.append(Job(record.name, inputs, partial(_read, reader, record), products))
        image = (record.image or source).relative_to(dataset.root)
        rows.append((record.name, (f"/{image.as_posix()}", f"/{label.as_posix()}")))
    images = [record.image for record in dataset.records if record.image]
    keep = [*images, *dataset.list_files()]
    return Plan(out, jobs, _lists(out / f"{split}.txt", rows), keep)


def _lists(path: Path, rows: list[Row]) -> list[ListFile]:
    """The list of a split, with a note and without one if it cannot hold the names.

    train.py finds the labels by their names; lists are for other code.
    """
    spaced = names_with_spaces(name.lstrip("/") for _, row in rows for name in row[:1])
    if not spaced:
        return [ListFile(path, rows)]
    print(
        f"note: no {path.name}, which would separate names by spaces: {len(spaced)} have some, "
        f"such as {spaced[0]!r}",
        file=sys.stderr,
    )
    return []


def _read(dataset: Dataset, record: Record) -> GroundTruth:
    label, instance = dataset.ground_truth(record)
    if label is None:
        raise InputError(f"{record.label}: holds no label map")
    return GroundTruth(label, instance)


def plan_folder(args: argparse.Namespace) -> Plan:
    """The labels of a folder of label maps."""
    root, out = (Path(os.path.realpath(folder)) for folder in (args.labels, args.out))
    if out == root:
        raise InputError(f"--out {out}: is the folder of label maps; choose another")
    maps = find_label_maps(root, out)
    if args.instances and not args.instances.is_dir():
        raise FileNotFoundError(f"--instances {args.instances}: no such folder")
    if args.num_classes is None:
        raise InputError(f"--labels needs --num-classes K, the number of classes{_hint(maps[0])}")
    reader = MapReader(
        args.num_classes, read_id_map(args.id_map, args.num_classes), tuple(args.ignored_ids)
    )
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
        instance = Path(os.path.realpath(args.instances), source) if args.instances else None
        inputs = (path, *([instance] if instance else []))
        products = maker.products(label, source.with_suffix("").as_posix())
        read = partial(reader, path, instance)
        jobs.append(Job(source.as_posix(), inputs, read, products, attrgetter("ids")))
        rows.append((source.as_posix(), (f"/{source.as_posix()}", f"/{label.as_posix()}")))
    lists = [ListFile(out / "edges.txt", rows)]
    keep = [path for path in (args.id_map, args.class_names) if path]
    conclude = partial(note_ids, reader, args.id_map and args.id_map.name)
    return Plan(out, jobs, lists, keep, conclude=conclude)


def _hint(path: Path) -> str:
    """What the ids of a label map suggest."""
    try:
        ids = present_ids(read_ids(path))
    except (InputError, OSError):
        return ""
    shown = ", ".join(map(str, ids[:8])) + (", …" if len(ids) > 8 else "")
    return f": ids 0 to K-1 are the classes, {IGNORE} is none; {path.name} has {shown}"


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
