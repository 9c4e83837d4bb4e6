"""Edge labels of SBD: training images and labels at five scales, and ground truth for evaluation.

    python -m data.sbd_gtlabel --root datasets/sbd --out datasets/sbd_edges --eval --workers 8

Writes the prepared layout of `data.sbd` below OUT: images, labels with edges between instances
(label_inst_orig) and without (label_cls_orig), and the published lists; with --eval the
evaluation ground truth gt_eval/{gt_thin,gt_raw}/{inst,cls}.

Published oddity, not repeated: for the held-out and the test images the published script writes
the instance-sensitive PNG under the instance-insensitive name.
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from data.args import Parser, seed
from data.edge_files import write_edges
from data.errors import InputError, run
from data.gtlabel.args import (
    add_mat_and_view_flags,
    add_work_flags,
    radius,
    scale_factor,
    work_options,
)
from data.gtlabel.job import Job, Product
from data.gtlabel.mat import write_gt_cls, write_gt_inst, write_label_edge
from data.gtlabel.plan import ListFile, Plan, Row, run_plans
from data.gtlabel.products import COMPRESSION, draw_groups, palette_colors
from data.gtlabel.stamp import Stamp
from data.image_io import image_size, read_image, require_size, write_png
from data.imresize import imresize
from data.names import require_unique
from data.sbd import (
    SBD,
    draw_holdout,
    find_root,
    image_path,
    label_path,
    make_record,
    read_holdout,
    read_names,
)
from data.sbd_ground_truth import NUM_CLASSES, SBDGroundTruth, read_sbd_ground_truth

SCALES = (0.5, 0.75, 1, 1.25, 1.5)


@dataclass(frozen=True)
class ScaledImage:
    """The image at one scale."""

    source: Path
    path: Path
    stamp: Stamp
    scale: float

    def files(self) -> list[Path]:
        return [self.path]

    def make(self, labels: SBDGroundTruth) -> None:
        write_png(self.path, imresize(read_image(self.source), self.scale))


@dataclass(frozen=True)
class ScaledLabel:
    """The training label at one scale.

    With `view` also a coloured image of it, with `mat` the published structure `labelEdge`.
    """

    path: Path
    stamp: Stamp
    kind: str
    scale: float
    radius: float
    mat: Path | None
    view: Path | None

    def files(self) -> list[Path]:
        return [path for path in (self.path, self.mat, self.view) if path is not None]

    def make(self, labels: SBDGroundTruth) -> None:
        edges = labels.training_edges(
            self.scale, instance_sensitive=self.kind == "inst", radius=self.radius
        )
        write_edges(self.path, [edges], compression=COMPRESSION)
        if self.mat:
            write_label_edge(self.mat, edges, NUM_CLASSES)
        if self.view:
            image = draw_groups([edges], SBD.classes, palette_colors(SBD.palette))
            write_png(self.view, image)


@dataclass(frozen=True)
class SBDEvaluationLabel:
    """What predictions are scored against; with `mat` also the published GTinst or GTcls."""

    path: Path
    stamp: Stamp
    kind: str
    thin: bool
    mat: bool

    def files(self) -> list[Path]:
        return [self.path, *([self.path.with_suffix(".mat")] if self.mat else [])]

    def make(self, labels: SBDGroundTruth) -> None:
        edges = labels.evaluation_edges(thin=self.thin, instance_sensitive=self.kind == "inst")
        write_edges(self.path, [edges], compression=COMPRESSION)
        mat = self.path.with_suffix(".mat")
        if self.mat and self.kind == "inst":
            write_gt_inst(mat, edges, labels.instance_class, labels.instance, NUM_CLASSES)
        elif self.mat:
            write_gt_cls(mat, edges, labels.label, NUM_CLASSES)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `argv`."""
    parser = Parser(
        prog="python -m data.sbd_gtlabel",
        description="Make edge labels of SBD.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    group = parser.add_argument_group("data")
    group.add_argument(
        "--root",
        type=Path,
        default=Path("datasets/sbd"),
        help="the folder with img/, cls/ and inst/",
    )
    group.add_argument(
        "--out", type=Path, required=True, help="the folder for images and labels; not ROOT"
    )
    group.add_argument(
        "--val-list",
        type=Path,
        metavar="FILE",
        help="held-out names of train.txt, or the published seed.mat",
    )
    group.add_argument(
        "--val-seed", type=seed, default=0, help="draws the held-out images without --val-list"
    )
    group = parser.add_argument_group("products")
    group.add_argument(
        "--instance",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="both kinds of labels; else without edges between instances only",
    )
    group.add_argument("--radius", type=radius, default=2, help="of training labels, in pixels")
    group.add_argument(
        "--scales",
        type=scale_factor,
        nargs="+",
        default=SCALES,
        metavar="S",
        help="of what is trained on",
    )
    add_mat_and_view_flags(group)
    add_work_flags(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Make what is missing or stale, and the lists; returns the exit status."""
    root, out = (Path(os.path.realpath(folder)) for folder in (find_root(args.root), args.out))
    if out == root:
        raise InputError(
            f"--out {out}: is the data set's own folder, whose val.txt would be lost; choose "
            "another"
        )
    require_unique((f"scale_{scale:g}" for scale in args.scales), "--scales")
    names = read_parts(root, args)
    stamp = Stamp.of(out, {"radius": args.radius})
    images = (root / "img").is_dir()
    if not images:
        print(f"There is no {root / 'img'}: labels only")
    jobs = []
    for name, part in names:
        record = make_record(root, name)
        labels = (record.label_path(), record.instance_path())
        image = record.image if images else None
        inputs = (*labels, *([image] if image else []))
        products = tuple(make_products(out, part, name, image, stamp, args))
        jobs.append(Job(name, inputs, partial(read_files, *labels, image), products))
    keep = [root / "train.txt", root / "val.txt", *([args.val_list] if args.val_list else [])]
    return run_plans([Plan(out, jobs, make_lists(out, names, args), keep)], work_options(args))


def read_files(cls: Path, inst: Path, image: Path | None) -> SBDGroundTruth:
    """The ground truth in two .mat files, if it has the size of the image, where there is one."""
    ground_truth = read_sbd_ground_truth(cls, inst)
    if image is not None:
        require_size(ground_truth.label, image_size(image), "label", cls, image)
    return ground_truth


def read_parts(root: Path, args: argparse.Namespace) -> list[tuple[str, str]]:
    """(name, part) of all images in the order of SBD's lists; the part is train, val or test."""
    names, tested = read_names(root / "train.txt"), read_names(root / "val.txt")
    if not names and not tested:
        raise InputError(f"{root}: train.txt and val.txt name no images")
    from_file = args.val_list is not None
    chosen = read_holdout(args.val_list, names) if from_file else draw_holdout(names, args.val_seed)
    held_out = set(chosen)
    require_unique((*names, *tested), f"{root}: train.txt and val.txt")
    parts = [(name, "val" if name in held_out else "train") for name in names]
    return parts + [(name, "test") for name in tested]


def make_products(
    out: Path, part: str, name: str, image: Path | None, stamp: Stamp, args: argparse.Namespace
) -> Iterator[Product[SBDGroundTruth]]:
    """Yield all products of one image. The test part has the published single scale."""
    for scale in part_scales(part, args):
        if image:
            yield ScaledImage(image, out / image_path(part, name, scale), stamp, scale)
        for kind in edge_kinds(args):
            label = label_path(part, name, scale, kind)
            mat = out / label.with_name(f"{name}.mat") if args.mat else None
            view = out / "view" / label if args.visualize else None
            yield ScaledLabel(out / label, stamp, kind, scale, args.radius, mat, view)
    if args.eval:
        for mode, kind in product(("thin", "raw"), edge_kinds(args)):
            path = out / "gt_eval" / f"gt_{mode}" / kind / f"{name}.png"
            yield SBDEvaluationLabel(path, stamp, kind, mode == "thin", args.mat)


def make_lists(out: Path, names: list[tuple[str, str]], args: argparse.Namespace) -> list[ListFile]:
    """The published lists, of (image, label) or (image,) a row."""
    rows: dict[str, list[Row]] = {}
    for wanted in ("val", "test"):
        rows[wanted] = [(name, (_image(part, name, 1),)) for name, part in names if part == wanted]
    for kind in edge_kinds(args):
        each = [
            (part, (name, _row(part, name, scale, kind)))
            for name, part in names
            for scale in part_scales(part, args)
        ]
        rows[f"trainaug_{kind}_orig"] = [row for part, row in each if part == "train"]
        rows[f"trainvalaug_{kind}_orig"] = [row for part, row in each if part != "test"]
        rows[f"test_{kind}_orig"] = [row for part, row in each if part == "test"]
        rows[f"trainvaltest_{kind}_orig"] = [
            (name, _row(part, name, 1, kind)) for name, part in names
        ]
    lists = [ListFile(out / f"{name}.txt", listed) for name, listed in rows.items()]
    if args.mat:
        for name, listed in rows.items():
            mats = [(job, tuple(map(_mat_name, row))) for job, row in listed]
            lists.append(ListFile(out / f"{name}.mat", mats))
    return lists


def edge_kinds(args: argparse.Namespace) -> tuple[str, ...]:
    """With edges between instances (inst) and without (cls), or without alone."""
    return ("inst", "cls") if args.instance else ("cls",)


def part_scales(part: str, args: argparse.Namespace) -> Sequence[float]:
    """The scales of the images of a part."""
    return (1,) if part == "test" else args.scales


def _image(part: str, name: str, scale: float) -> str:
    return f"/{image_path(part, name, scale).as_posix()}"


def _row(part: str, name: str, scale: float, kind: str) -> tuple[str, str]:
    return _image(part, name, scale), f"/{label_path(part, name, scale, kind).as_posix()}"


def _mat_name(name: str) -> str:
    return name.replace("_inst.png", ".mat").replace("_cls.png", ".mat")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
