"""Edge labels of Cityscapes, and of every data set in its folder layout and label ids.

    python -m data.cityscapes_gtlabel --root datasets/cityscapes --out OUT --eval --workers 8

Writes below OUT, as published:

    gtFine/<split>/<city>/NAME_gtFine_edge.png      training label: a 24-bit PNG, a bit a class
    train.txt  val.txt  test.txt                    "/image /label" per line; test.txt "/image"
    gt_eval/{gt_thin,gt_raw}/{inst,cls}/NAME_leftImg8bit.png
                                                    with --eval: ground truth for evaluation,
                                                    at half size

Label maps are gtFine's labelIds and instanceIds; where these are missing, its polygons, drawn by
cityscapesscripts.
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data.args import Parser
from data.cityscapes import Cityscapes, to_train_ids
from data.edge_files import edge_label_name
from data.errors import InputError, run
from data.gtlabel.args import add_product_flags, add_work_flags, product_options, work_options
from data.gtlabel.job import Job
from data.gtlabel.plan import ListFile, Plan, Row, run_plans
from data.gtlabel.polygons import draw_polygons
from data.gtlabel.products import GroundTruth, ProductMaker, Rule, pair_maps, read_for_image
from data.image_io import read_index
from data.names import find_files, named_files

IMAGES = "leftImg8bit"
LABELS = "gtFine"
SPLITS = ("train", "val")  # test has no published labels


class Frame(NamedTuple):
    """The files of one image, there or not. label: labelIds.png or polygons.json."""

    split: str
    city: str
    name: str
    image: Path
    label: Path
    instance: Path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `argv`."""
    parser = Parser(
        prog="python -m data.cityscapes_gtlabel",
        description="Make edge labels of Cityscapes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    group = parser.add_argument_group("data")
    group.add_argument(
        "--root", type=Path, default=Path("datasets/cityscapes"), help="the folder that has gtFine/"
    )
    group.add_argument(
        "--out", type=Path, required=True, help="the folder for the labels; may be ROOT"
    )
    group.add_argument(
        "--split", nargs="+", choices=SPLITS, help="what to label; all that is there if not given"
    )
    add_product_flags(parser, scale=0.5)
    add_work_flags(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Make what is missing or stale, and the lists; returns the exit status."""
    root, out = (Path(os.path.realpath(folder)) for folder in (args.root, args.out))
    found = [split for split in SPLITS if (root / LABELS / split).is_dir()]
    splits = dict.fromkeys(args.split or found or SPLITS)
    frames = [frame for split in splits for frame in find_frames(root, split)]
    rule = Rule(len(Cityscapes.classes), args.instance)
    options = product_options(args)
    maker = ProductMaker(out, rule, Cityscapes.classes, Cityscapes.palette, options)
    report_missing_files(frames, root, args.instance)
    jobs = [make_job(frame, root, maker) for frame in frames]
    lists = make_lists(frames, root, out, mat=args.mat, evaluation=args.eval)
    images = [frame.image for frame in frames]
    status = run_plans([Plan(out, jobs, lists, images)], work_options(args))
    if out != root:
        link_images(root, out)
    return status


def find_frames(root: Path, split: str) -> list[Frame]:
    """All frames of a split that have a label map or polygons, by city and name."""
    folder = root / LABELS / split
    frames = {}
    for ending in ("_polygons.json", "_labelIds.png"):  # the later one takes precedence
        for key, label in named_files(folder, f"_{LABELS}{ending}", above=1).items():
            city, name = key.split("/")
            image = root / IMAGES / split / city / f"{name}_{IMAGES}.png"
            instance = label.with_name(f"{name}_{LABELS}_instanceIds.png")
            frames[city, name] = Frame(split, city, name, image, label, instance)
    if not frames:
        raise FileNotFoundError(
            f"No <city>/*_gtFine_labelIds.png or *_gtFine_polygons.json in {folder}. Unzip "
            f"gtFine_trainvaltest.zip into {root}, or point --root at the folder that has gtFine/."
        )
    return [frames[key] for key in sorted(frames)]


def report_missing_files(frames: list[Frame], root: Path, instance_sensitive: bool) -> None:
    """Print how many frames have no image, polygons only, or no instance map.

    InputError if instance maps are missing that `instance_sensitive` edges need.
    """
    total = len(frames)
    lone = [frame for frame in frames if not frame.image.is_file()]
    drawn = [frame for frame in frames if is_polygons(frame.label)]
    flat = [f for f in frames if not is_polygons(f.label) and not f.instance.is_file()]
    if lone:
        print(f"{len(lone)} of {total} label maps have no image in {root / IMAGES}: labels only")
    if drawn:
        print(f"{len(drawn)} of {total} frames have polygons but no label map: they are drawn")
    if flat and instance_sensitive:
        raise InputError(
            f"{len(flat)} of {total} label maps have no instance map, the first is "
            f"{flat[0].label}; --no-instance makes labels without edges between instances"
        )
    if flat:
        print(
            f"{len(flat)} of {total} label maps have no instance map: edges come from the label "
            "ids alone"
        )


def make_job(frame: Frame, root: Path, maker: ProductMaker) -> Job[GroundTruth]:
    """The work on one frame."""
    name = edge_label_name(frame.label.relative_to(root))
    inputs: tuple[Path, ...] = (frame.label,)
    read: Callable[[], GroundTruth] = partial(read_polygons, frame.label)
    if not is_polygons(frame.label):
        instance = frame.instance if frame.instance.is_file() else frame.label
        inputs = (frame.label, instance)
        read = partial(read_ground_truth, frame.label, instance)
    image = frame.image if frame.image.is_file() else None
    read = partial(read_for_image, read, frame.label, image)
    return Job(str(name), inputs, read, maker.products(name, f"{frame.name}_{IMAGES}"))


def is_polygons(label: Path) -> bool:
    """Whether a frame has polygons in place of a label map."""
    return label.suffix.lower() == ".json"


def read_ground_truth(label: Path, instance: Path) -> GroundTruth:
    """(train ids uint8 (H, W), instance ids (H, W)) from the files of label and instance ids."""
    ids = read_index(label)
    return pair_maps(to_train_ids(ids, label), read_index(instance), instance)


def read_polygons(path: Path) -> GroundTruth:
    """(train ids uint8 (H, W), instance ids int32 (H, W)) from *_polygons.json."""
    ids, numbers = draw_polygons(path)
    return GroundTruth(to_train_ids(ids, path), numbers)


def link_images(root: Path, out: Path) -> None:
    """Make OUT/leftImg8bit a link to ROOT's, because the paths in OUT's lists start at OUT."""
    link = out / IMAGES
    if not (root / IMAGES).is_dir() or link.exists() or link.is_symlink():
        return
    try:
        link.symlink_to(os.path.relpath(root / IMAGES, out), target_is_directory=True)
    except OSError as error:
        print(
            f"{link} cannot be made a link ({error}); copy {root / IMAGES} there, if the lists "
            "are to be used"
        )


def make_lists(
    frames: list[Frame], root: Path, out: Path, *, mat: bool, evaluation: bool
) -> list[ListFile]:
    """The published list files.

    Args:
        frames: of all splits that are labelled.
        root: the data set's folder.
        out: the folder of labels.
        mat: also the lists that the MATLAB code reads.
        evaluation: with `mat`, also those of the evaluation ground truth.
    """
    rows: dict[str, list[Row]] = {frame.split: [] for frame in frames}
    names: dict[str, list[Row]] = {split: [] for split in rows}
    for frame in frames:
        label = edge_label_name(frame.label.relative_to(root))
        image = frame.image.relative_to(root)
        row = (f"/{image.as_posix()}", f"/{label.as_posix()}")
        rows[frame.split].append((str(label), row))
        names[frame.split].append((str(label), (f"{frame.name}_{IMAGES}",)))
    tested = find_files(root / IMAGES / "test", f"*/*_{IMAGES}.png")
    if tested:
        rows["test"] = [("", (f"/{image.relative_to(root).as_posix()}",)) for image in tested]
    lists = []
    for split, lines in rows.items():
        lists.append(ListFile(out / f"{split}.txt", lines))
        if mat:
            mats = [(job, tuple(map(_mat_name, row))) for job, row in lines]
            lists.append(ListFile(out / f"{split}.mat", mats))
        if mat and evaluation and split != "test":
            lists += [
                ListFile(out / "gt_eval" / folder / f"{split}.mat", names[split])
                for folder in ("gt_thin", "gt_raw")
            ]
    return lists


def _mat_name(path: str) -> str:
    return path.replace("_edge.png", "_edge.mat")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
