"""Edge labels of anybody's label maps, and of the data sets that have no label script of their own.

    python -m data.gtlabel --labels DIR [--instances DIR] --num-classes K --out OUT
    python -m data.gtlabel --dataset camvid --root datasets/CamVid --split train --out datasets/CamVid_edges

Label maps are PNGs of ids: 0..K-1 are the classes, 255 is none; or --id-map FILE.json says which id is which class:
{"7": 0, "8": 1}, and ids that it does not name are none. An instance map has the path of its label map, below its own
folder; any two pixels with other instance numbers or other labels belong to two regions.

Writes OUT/.../NAME_edge.png for each DIR/.../NAME.png, with more than 24 classes also NAME_edge_24.png and so on; with
--eval OUT/gt_eval/{gt_thin,gt_raw}/{inst,cls}/.../NAME.png; and edges.txt, or SPLIT.txt, "/label map /edge label" per line.
"""

import argparse
import colorsys
import copy
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data import build_dataset, parse_options
from data.edge_files import edge_label_name
from data.errors import InputError, run
from data.files import write_lines
from data.gtlabel.jobs import Job, add_work_flags, run_jobs
from data.gtlabel.products import ProductMaker, Rule, Truth, add_product_flags
from data.image_io import IGNORE, check_ids, read_index

IGNORED = 2  # what the reader below writes for --ignored-ids; regions have greater numbers


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m data.gtlabel",
        description="Make edge labels of any label maps.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    group = parser.add_argument_group("your label maps")
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


def main(args: argparse.Namespace) -> int:
    """Make what is missing or stale, and the list; returns the exit status."""
    if (args.labels is None) == (args.dataset is None):
        raise InputError(
            "expected either --labels DIR --num-classes K, or --dataset NAME --root DIR"
        )
    return label_dataset(args) if args.dataset else label_folder(args)


def label_dataset(args: argparse.Namespace) -> int:
    """The split of a data set that this repository reads."""
    if args.root is None:
        raise InputError("--dataset needs --root, the data set's folder")
    out = args.out.resolve()
    dataset = build_dataset(
        args.dataset, args.root.resolve(), args.split, **parse_options(args.option)
    )
    if any(record.label is None for record in dataset.records):
        raise InputError(
            f"{dataset.name} {args.split}: there are no label maps; choose another --split"
        )
    reader = copy.copy(dataset)
    reader.records = []  # what is sent to a worker
    maker = ProductMaker(
        out, Rule(dataset.num_classes, args.instance), dataset.classes, dataset.palette, args
    )
    jobs, rows = [], []
    for record in dataset.records:
        source = record.label.relative_to(dataset.root)
        label, inputs = (
            edge_label_name(source),
            tuple(path for path in (record.label, record.instance) if path),
        )
        jobs.append(
            Job(
                record.name,
                inputs,
                partial(reader.read_truth, record),
                maker.products(label, record.name),
            )
        )
        image = record.image if record.image is not None else record.label
        rows.append(f"/{image.relative_to(dataset.root).as_posix()} /{label.as_posix()}")
    status = run_jobs(jobs, args, "edge labels")
    write_lines(out / f"{args.split}.txt", rows)
    return status


def label_folder(args: argparse.Namespace) -> int:
    """A folder of label maps."""
    root, out = args.labels.resolve(), args.out.resolve()
    if out == root:
        raise InputError(f"--out {out}: is the folder of label maps; choose another")
    if not args.num_classes or not 1 <= args.num_classes < IGNORE:
        raise InputError(f"--num-classes {args.num_classes}: expected 1 to {IGNORE - 1}")
    labels = sorted(
        p
        for p in root.rglob("*.png")
        if not any(part.startswith(".") for part in p.relative_to(root).parts)
    )
    if not labels:
        raise FileNotFoundError(f"no *.png below {root}")
    reader = MapReader(
        args.num_classes, read_id_map(args.id_map, args.num_classes), tuple(args.ignored_ids)
    )
    names = read_class_names(args.class_names, args.num_classes)
    rule = Rule(args.num_classes, args.instance, (IGNORED,))
    settings = {
        "id_map": reader.id_map,
        "instances": str(args.instances),
        "ignored": reader.ignored_ids,
    }
    maker = ProductMaker(out, rule, names, palette(args.num_classes), args, settings)
    jobs, rows = [], []
    for path in labels:
        source = path.relative_to(root)
        label = edge_label_name(source)
        instance = args.instances.resolve() / source if args.instances else None
        inputs = (path, *([instance] if instance else []))
        products = maker.products(label, source.with_suffix("").as_posix())
        jobs.append(Job(source.as_posix(), inputs, partial(reader, path, instance), products))
        rows.append(f"/{source.as_posix()} /{label.as_posix()}")
    status = run_jobs(jobs, args, "edge labels")
    write_lines(out / "edges.txt", rows)
    return status


@dataclass(frozen=True)
class MapReader:
    """Reads anybody's label map. id_map: (id, class) pairs, or None where ids are classes."""

    num_classes: int
    id_map: tuple[tuple[int, int], ...] | None
    ignored_ids: tuple[int, ...]

    def __call__(self, label_path: Path, instance_path: Path | None) -> Truth:
        ids = read_index(label_path)
        label = self._classes(ids, label_path)
        numbers = (
            np.zeros(ids.shape, np.int32)
            if instance_path is None
            else read_index(instance_path).astype(np.int32)
        )
        if numbers.shape != ids.shape:
            raise InputError(
                f"{instance_path}: is {numbers.shape} (H, W), its label map {ids.shape}"
            )
        regions = (
            numbers * 256 + label + (IGNORED + 1)
        )  # a number of its own for each pair, none of them 0 or IGNORED
        regions[np.isin(ids, self.ignored_ids)] = IGNORED
        return label, regions

    def _classes(self, ids: np.ndarray, path: Path) -> np.ndarray:
        if self.id_map is None:
            known = np.where(np.isin(ids, self.ignored_ids), ids.dtype.type(IGNORE), ids)
            return check_ids(known, self.num_classes, path)
        table = np.full(np.iinfo(ids.dtype).max + 1, IGNORE, np.uint8)
        for one, k in self.id_map:
            if one < table.size:
                table[one] = k
        table[[one for one in self.ignored_ids if one < table.size]] = IGNORE
        return table[ids]


def read_id_map(path: Path | None, num_classes: int) -> tuple[tuple[int, int], ...] | None:
    """The (id, class) pairs of a JSON file {"id": class}; None without a file."""
    if path is None:
        return None
    try:
        pairs = sorted(
            (int(one), int(k)) for one, k in json.loads(path.read_text(encoding="utf-8")).items()
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f'{path}: cannot be read as JSON like {{"7": 0, "8": 1}} ({error})'
        ) from error
    for one, k in pairs:
        if not 0 <= one <= 65535 or not (0 <= k < num_classes or k == IGNORE):
            raise InputError(
                f"{path}: maps id {one} to class {k}; expected ids 0..65535, classes 0..{num_classes - 1} or {IGNORE}"
            )
    return tuple(pairs)


def read_class_names(path: Path | None, num_classes: int) -> tuple[str, ...]:
    """The lines of a file, or "class 0" and so on."""
    if path is None:
        return tuple(f"class {k}" for k in range(num_classes))
    names = tuple(
        line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
    )
    if len(names) != num_classes:
        raise InputError(f"{path}: has {len(names)} names; expected {num_classes}")
    return names


def palette(num_classes: int) -> np.ndarray:
    """Colours that neighbours in the list do not share, uint8 (K, 3): hues by the golden ratio, in three shades."""
    colours = [
        colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.9, (0.9, 0.65, 0.45)[k % 3])
        for k in range(num_classes)
    ]
    return np.rint(255 * np.array(colours)).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
