"""The flags of `test.py`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from data import DATASETS
from data.args import positive, size
from data.errors import InputError
from utils.evaluation.edges.protocols import PROTOCOLS, Protocol, find_protocol
from utils.evaluation.segmentation.scores import PIXEL_BOUNDS, PUBLISHED_BOUNDS
from utils.inference.args import add_network_flags

TASKS = ("edge", "seg")


def score_parser(description: str) -> argparse.ArgumentParser:
    """The flags of `test.py`, grouped."""
    parser = argparse.ArgumentParser(
        prog="test.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    boolean = argparse.BooleanOptionalAction
    parser.add_argument(
        "--task",
        choices=TASKS,
        help="default: what the checkpoint is for; edge for prediction files",
    )

    what = parser.add_argument_group("what is scored (one of these)")
    what.add_argument("--checkpoint", type=Path, metavar="FILE", help="a network, run here")
    text = (
        "anybody's prediction files; edge: DIR/class_001/NAME.png …, seg: label maps DIR/NAME.png"
    )
    what.add_argument("--predictions", type=Path, metavar="DIR", help=text)

    truth = parser.add_argument_group("against what")
    truth.add_argument(
        "--dataset", choices=DATASETS, help="default: the one that the checkpoint was trained on"
    )
    truth.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder of the data set (default: datasets/<dataset>)",
    )
    truth.add_argument(
        "--data-option",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of the data set, e.g. cv=1",
    )
    truth.add_argument("--split", help="default: val; test with --submit")
    text = "true edges or label maps as files, in place of a data set's labels"
    truth.add_argument("--labels", type=Path, metavar="DIR", help=text)
    truth.add_argument(
        "--num-classes",
        type=positive,
        metavar="K",
        help="of the files, where neither they nor --dataset say it",
    )
    truth.add_argument(
        "--allow-missing",
        action=boolean,
        default=False,
        help="score the images that have a prediction",
    )

    net = parser.add_argument_group("network")
    add_network_flags(net)

    edge = parser.add_argument_group(
        "protocol (edge task); a flag overrides the protocol's own value"
    )
    edge.add_argument("--protocol", choices=PROTOCOLS, default="dff", help="default: dff")
    edge.add_argument(
        "--max-dist",
        type=float,
        metavar="FRACTION",
        help="matching tolerance, of the image's diagonal",
    )
    edge.add_argument(
        "--thresholds", type=positive, metavar="N", help="how many thresholds (all protocols: 99)"
    )
    edge.add_argument(
        "--eval-scale",
        type=float,
        metavar="S",
        help="size of the truth made from a data set's labels",
    )
    edge.add_argument(
        "--margin", type=size, metavar="PX", help="pixels left out along the image's border"
    )
    edge.add_argument("--thin", action=boolean, help="thinned predictions against thin truth")
    edge.add_argument("--raw", action=boolean, help="predictions as they are against thick truth")
    edge.add_argument(
        "--instance", action=boolean, help="edges between instances of one class count"
    )
    edge.add_argument(
        "--skip-absent", action=boolean, help="skip a class in the images that have none of it"
    )
    edge.add_argument(
        "--kill-internal",
        action=boolean,
        help="predicted pixels inside an object, far from its edge, do not count",
    )
    edge.add_argument(
        "--ap",
        choices=("first", "last"),
        help="which of several points of equal recall the AP keeps",
    )

    seg = parser.add_argument_group("scores (seg task)")
    shown = " ".join(f"{bound:g}" for bound in (*PIXEL_BOUNDS, *PUBLISHED_BOUNDS))
    text = f"tolerances of boundary F: pixels from 1 on, fractions of the diagonal below (default: {shown})"
    seg.add_argument(
        "--bounds", type=float, nargs="+", default=[*PIXEL_BOUNDS, *PUBLISHED_BOUNDS], help=text
    )
    text = "width of boundary IoU's regions, in the same units (default 0.005)"
    seg.add_argument("--boundary-iou", type=float, default=0.005, metavar="BOUND", help=text)
    text = "the files hold Cityscapes' label ids (default: those that end in _labelIds do)"
    seg.add_argument("--label-ids", action=boolean, help=text)
    text = "write label maps for Cityscapes' server, check them and zip them to DIR.zip, in place of scores"
    seg.add_argument("--submit", type=Path, metavar="DIR", help=text)

    run = parser.add_argument_group("run")
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="default: beside the checkpoint or the predictions"
    )
    workers = default_workers()
    text = f"processes that count, for each rank (default: one for each core, here {workers}); 0: this one counts"
    run.add_argument("--workers", type=size, default=workers, metavar="N", help=text)
    run.add_argument("--report", action=boolean, default=True, help="write report.html (default)")
    run.add_argument(
        "--pictures",
        type=size,
        default=3,
        metavar="N",
        help="best and worst images in the report (default 3)",
    )
    return parser


def parse_score_args(description: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the defaults that follow from other flags."""
    parser = score_parser(description)
    args = parser.parse_args(argv)
    if (args.checkpoint is None) == (args.predictions is None):
        parser.error("give either --checkpoint FILE or --predictions DIR")
    if args.predictions and not (args.labels or args.dataset):
        parser.error(
            "--predictions needs a truth: --labels DIR, or --dataset NAME --data-root DIR --split NAME"
        )
    if args.checkpoint and args.labels and not args.dataset:
        parser.error(
            "--checkpoint with --labels needs the images: --dataset NAME --data-root DIR --split NAME"
        )
    if args.submit and not args.checkpoint:
        parser.error("--submit needs a network: --checkpoint FILE")
    args.split = args.split or ("test" if args.submit else "val")
    if args.out is None:
        source = args.checkpoint.with_suffix("") if args.checkpoint else args.predictions
        args.out = source.parent / f"{source.name}-scores"
    return args


def default_workers() -> int:
    """A process for each core that this rank can call its own, at most 16 (each takes up to half a gigabyte)."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(16, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def chosen_protocol(args: argparse.Namespace, dataset: str) -> Protocol:
    """The protocol by name with the knobs that were given."""
    return find_protocol(
        args.protocol,
        dataset,
        max_dist=args.max_dist,
        thresholds=args.thresholds,
        scale=args.eval_scale,
        margin=args.margin,
        thin=args.thin,
        raw=args.raw,
        instance=args.instance,
        skip_absent=args.skip_absent,
        kill_internal=args.kill_internal,
        ap=args.ap,
    )


def chosen_task(args: argparse.Namespace, checkpoint_task: str | None) -> str:
    """The task of this run; a checkpoint for the other one is an InputError."""
    task = args.task or checkpoint_task or "edge"
    if checkpoint_task not in (None, task):
        raise InputError(
            f"{args.checkpoint} is for the task {checkpoint_task}, but --task says {task}; leave --task out"
        )
    return task
