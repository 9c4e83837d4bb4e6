"""The flags of `test.py`."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from data import DATASETS
from data.base import InputError
from models import ALL_BACKBONES, MODELS
from models.gffnet import FUSIONS
from utils.args import positive, size
from utils.inference import Modes, ModeValue
from utils.protocols import PROTOCOLS, Protocol, find_protocol
from utils.seg_scores import PIXEL_BOUNDS, PUBLISHED_BOUNDS

TASKS = ("edge", "seg")


def score_parser(description: str) -> argparse.ArgumentParser:
    """The flags of `test.py`, grouped."""
    parser = argparse.ArgumentParser(
        prog="test.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    boolean = argparse.BooleanOptionalAction
    parser.add_argument("--task", choices=TASKS, help="default: what the checkpoint is for; edge for prediction files")

    what = parser.add_argument_group("what is scored (one of these)")
    what.add_argument("--checkpoint", type=Path, metavar="FILE", help="a network, run here")
    text = "anybody's prediction files; edge: DIR/class_001/NAME.png …, seg: label maps DIR/NAME.png"
    what.add_argument("--predictions", type=Path, metavar="DIR", help=text)

    truth = parser.add_argument_group("against what")
    truth.add_argument("--dataset", choices=DATASETS, help="default: the one that the checkpoint was trained on")
    truth.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the data set (default: datasets/<dataset>)"
    )
    truth.add_argument("--data-option", nargs="+", default=[], metavar="NAME=VALUE", help="of the data set, e.g. cv=1")
    truth.add_argument("--split", help="default: val; test with --submit")
    text = "true edges or label maps as files, in place of a data set's labels"
    truth.add_argument("--labels", type=Path, metavar="DIR", help=text)
    truth.add_argument(
        "--num-classes", type=positive, metavar="K", help="of the files, where neither they nor --dataset say it"
    )
    truth.add_argument(
        "--allow-missing", action=boolean, default=False, help="score the pictures that have a prediction"
    )

    net = parser.add_argument_group("network")
    add_network_flags(net)

    edge = parser.add_argument_group("protocol (edge task); a flag overrides the protocol's own value")
    edge.add_argument("--protocol", choices=PROTOCOLS, default="dff", help="default: dff")
    edge.add_argument(
        "--max-dist", type=float, metavar="FRACTION", help="matching tolerance, of the picture's diagonal"
    )
    edge.add_argument("--thresholds", type=positive, metavar="N", help="how many thresholds (all protocols: 99)")
    edge.add_argument("--eval-scale", type=float, metavar="S", help="size of the truth made from a data set's labels")
    edge.add_argument("--margin", type=size, metavar="PX", help="pixels left out along the picture's border")
    edge.add_argument("--thin", action=boolean, help="thinned predictions against thin truth")
    edge.add_argument("--raw", action=boolean, help="predictions as they are against thick truth")
    edge.add_argument("--instance", action=boolean, help="edges between instances of one class count")
    edge.add_argument("--skip-absent", action=boolean, help="skip a class in the pictures that have none of it")
    edge.add_argument(
        "--kill-internal", action=boolean, help="predicted pixels inside an object, far from its edge, do not count"
    )
    edge.add_argument("--ap", choices=("first", "last"), help="which of several points of equal recall the AP keeps")

    seg = parser.add_argument_group("scores (seg task)")
    shown = " ".join(f"{bound:g}" for bound in (*PIXEL_BOUNDS, *PUBLISHED_BOUNDS))
    text = f"tolerances of boundary F: pixels from 1 on, fractions of the diagonal below (default: {shown})"
    seg.add_argument("--bounds", type=float, nargs="+", default=[*PIXEL_BOUNDS, *PUBLISHED_BOUNDS], help=text)
    text = "width of boundary IoU's regions, in the same units (default 0.005)"
    seg.add_argument("--boundary-iou", type=float, default=0.005, metavar="BOUND", help=text)
    text = "the files hold Cityscapes' label ids (default: those that end in _labelIds do)"
    seg.add_argument("--label-ids", action=boolean, help=text)
    text = "write label maps for Cityscapes' server, check them and zip them to DIR.zip, in place of scores"
    seg.add_argument("--submit", type=Path, metavar="DIR", help=text)

    run = parser.add_argument_group("run")
    run.add_argument("--out", type=Path, metavar="DIR", help="default: beside the checkpoint or the predictions")
    workers = default_workers()
    text = f"processes that count, for each rank (default: one for each core, here {workers}); 0: this one counts"
    run.add_argument("--workers", type=size, default=workers, metavar="N", help=text)
    run.add_argument("--report", action=boolean, default=True, help="write report.html (default)")
    run.add_argument(
        "--pictures", type=size, default=3, metavar="N", help="best and worst pictures in the report (default 3)"
    )
    return parser


def add_network_flags(net: argparse._ArgumentGroup) -> None:
    """The flags of a network that is run: what it is, where it runs and how pictures go through it."""
    boolean = argparse.BooleanOptionalAction
    text = "for a checkpoint that does not say it, such as the published ones"
    net.add_argument("--model", choices=MODELS, help=text)
    net.add_argument("--backbone", choices=ALL_BACKBONES, help="likewise")
    text = "likewise, of a decoupled net's warp (default: yes; see models/decouple.py)"
    net.add_argument("--align-corners", action=boolean, help=text)
    net.add_argument(
        "--fusion", choices=FUSIONS, help="likewise, of gffnet (default: sequential; see models/gffnet.py)"
    )
    net.add_argument("--device", default="auto", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1")
    text = "long side for the network, 0: as on disk; default: the checkpoint's"
    net.add_argument("--base-size", type=size, metavar="N", help=text)
    net.add_argument("--window", type=positive, metavar="N", help="side of a sliding window (published: 832)")
    text = "share of a window that the next one covers again (default: a third, as published)"
    net.add_argument("--overlap", type=float, default=1 / 3, metavar="SHARE", help=text)
    text = "average over these sizes of the picture (default: 1; published: 0.5 0.75 1 1.25 1.5 1.75 2)"
    net.add_argument("--scales", type=float, nargs="+", default=[1.0], metavar="S", help=text)
    text = "average over the picture and its mirror image (default: no; published with windows: yes)"
    net.add_argument("--mirror", action=boolean, default=False, help=text)
    net.add_argument("--batch-size", type=positive, default=1, metavar="N", help="windows at once (default 1)")
    net.add_argument("--half", action=boolean, default=False, help="16-bit floats in the network")
    text = "weigh windows as the published code does, by mistake; matters with several scales (default: no)"
    net.add_argument("--quirks", action=boolean, default=False, help=text)


def described_network(args: argparse.Namespace) -> dict[str, object]:
    """The keyword arguments of `load_model`: what the flags say of the network."""
    options = {name: getattr(args, name) for name in ("align_corners", "fusion")}
    given = {name: value for name, value in options.items() if value is not None}
    return {"name": args.model, "backbone": args.backbone, "dataset": args.dataset, "options": given}


def chosen_modes(args: argparse.Namespace, base_size: int) -> dict[str, ModeValue]:
    """The keyword arguments of `predict_edges` and `predict_labels`. base_size: the checkpoint's."""
    modes = Modes(
        base_size=base_size if args.base_size is None else args.base_size,
        window=args.window,
        overlap=args.overlap,
        scales=tuple(args.scales),
        mirror=args.mirror,
        batch_size=args.batch_size,
        half=args.half,
        quirks=args.quirks,
    )
    return asdict(modes)


def parse_score_args(description: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the defaults that follow from other flags."""
    parser = score_parser(description)
    args = parser.parse_args(argv)
    if (args.checkpoint is None) == (args.predictions is None):
        parser.error("give either --checkpoint FILE or --predictions DIR")
    if args.predictions and not (args.labels or args.dataset):
        parser.error("--predictions needs a truth: --labels DIR, or --dataset NAME --data-root DIR --split NAME")
    if args.checkpoint and args.labels and not args.dataset:
        parser.error("--checkpoint with --labels needs the pictures: --dataset NAME --data-root DIR --split NAME")
    if args.submit and not args.checkpoint:
        parser.error("--submit needs a network: --checkpoint FILE")
    args.split = args.split or ("test" if args.submit else "val")
    if args.out is None:
        source = args.checkpoint.with_suffix("") if args.checkpoint else args.predictions
        args.out = source.parent / f"{source.name}-scores"
    return args


def default_workers() -> int:
    """A process for each core that this rank can call its own, at most 16 (each takes up to half a gigabyte)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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
