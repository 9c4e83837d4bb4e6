"""The flags of `test.py`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from data import DATASETS
from data.args import Parser, number, size, whole, workers
from data.args import text as text_type
from data.files import resolved
from data.image_io import IGNORE
from utils.evaluation.edges.derived import HARD, RULES
from utils.evaluation.edges.protocols import (
    MAX_PIXELS_APART,
    PROTOCOLS,
    EdgeProtocol,
    Tolerance,
    find_protocol,
    with_tolerances,
)
from utils.evaluation.segmentation.scores import PIXEL_BOUNDS, PUBLISHED_BOUNDS
from utils.inference.args import add_network_flags

ScoreArgs = argparse.Namespace  # of `parse_score_args`
TASKS = ("edge", "seg")
BOUNDS = (*PIXEL_BOUNDS, *PUBLISHED_BOUNDS)
REGION = 0.005  # of boundary IoU
PROTOCOL = "dff"
FITS = ("all", "class")  # a temperature of all classes, or of each
KINDS = ("edges", "labels")
MAX_CLASSES = 10_000
MAX_THRESHOLDS = 9_999
MAX_BOUND = 10_000  # pixels


def score_parser(description: str | None) -> argparse.ArgumentParser:
    """The flags of `test.py`, in groups."""
    parser = Parser(
        prog="test.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = (
        "default: what the checkpoint is for, both for a net with an edge head; edge for "
        "prediction files"
    )
    parser.add_argument("--task", choices=TASKS, help=text)
    _add_prediction_flags(parser)
    _add_ground_truth_flags(parser)
    add_network_flags(parser.add_argument_group("network"))
    _add_protocol_flags(parser)
    _add_seg_flags(parser)
    _add_run_flags(parser)
    return parser


def _add_prediction_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is scored (one of these)")
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help="a network, run here")
    text = (
        "anybody's prediction files; edge: DIR/class_001/NAME.png … or DIR/road/NAME.png …, seg: "
        "label maps DIR/NAME.png"
    )
    group.add_argument("--predictions", type=Path, metavar="DIR", help=text)
    text = (
        "edge task, what the files hold: edges (default), or labels, label maps of any "
        "segmentation in ids or in the colours of --dataset, whose edges are scored"
    )
    group.add_argument("--prediction-kind", choices=KINDS, default="edges", help=text)
    text = (
        "edge task, how edges are derived from a segmentation, in one pass: hard, from its label "
        "map, soft, from its class probabilities (default: both; of a net with an edge head, none)"
    )
    group.add_argument("--derived", choices=tuple(RULES), nargs="+", help=text)


def _add_ground_truth_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("against what")
    text = "default: the one that the checkpoint was trained on"
    group.add_argument("--dataset", choices=DATASETS, help=text)
    text = "folder of the data set (default: datasets/<dataset>)"
    group.add_argument("--data-root", type=Path, metavar="DIR", help=text)
    group.add_argument(
        "--data-option",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of the data set, e.g. cv=1",
    )
    group.add_argument("--split", help="default: val; test with --submit")
    text = (
        "score these alone (edge task): names, or numbers from 0 on; the means are over them "
        "(default: all)"
    )
    group.add_argument("--classes", type=text_type, nargs="+", metavar="CLASS", help=text)
    text = "true edges or label maps as files, in place of a data set's labels"
    group.add_argument("--labels", type=Path, metavar="DIR", help=text)
    text = "number of classes of the files, where neither they nor --dataset say it"
    group.add_argument("--num-classes", type=whole(1, MAX_CLASSES), metavar="K", help=text)
    group.add_argument(
        "--allow-missing",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="score only the images that have a prediction",
    )


def _add_protocol_flags(parser: argparse.ArgumentParser) -> None:
    """Apart from --protocol, a flag's default is None: the protocol's own value."""
    boolean = argparse.BooleanOptionalAction
    title = "protocol (edge task); a flag overrides the protocol's own value"
    group = parser.add_argument_group(title)
    group.add_argument(
        "--protocol", choices=PROTOCOLS, default=PROTOCOL, help=f"default: {PROTOCOL}"
    )
    text = (
        "matching tolerances, counted in one pass: fractions of the image's diagonal, or pixels of "
        "the ground truth (3px); of several each gets a folder in --out"
    )
    group.add_argument("--max-dist", type=tolerance, nargs="+", metavar="DIST", help=text)
    text = "number of thresholds (all protocols: 99)"
    group.add_argument("--thresholds", type=whole(1, MAX_THRESHOLDS), metavar="N", help=text)
    text = "size of the ground truth made from a data set's labels, relative to them"
    group.add_argument("--eval-scale", type=number(0.01, 1), metavar="S", help=text)
    text = "pixels cropped off along the image's border"
    group.add_argument("--margin", type=size, metavar="PX", help=text)
    text = "score thinned predictions against thin ground truth"
    group.add_argument("--thin", action=boolean, help=text)
    text = "score predictions as they are against thick ground truth"
    group.add_argument("--raw", action=boolean, help=text)
    text = (
        "score predictions as they are against thin ground truth, too, and measure their crispness "
        "(default: no)"
    )
    group.add_argument("--crisp", action=boolean, help=text)
    text = "edges between instances of one class count"
    group.add_argument("--instance", action=boolean, help=text)
    text = "skip a class in the images that have none of it"
    group.add_argument("--skip-absent", action=boolean, help=text)
    text = "predicted pixels inside an object, far from its edge, do not count"
    group.add_argument("--kill-internal", action=boolean, help=text)
    text = "which of several points of equal recall the AP keeps"
    group.add_argument("--ap", choices=("first", "last"), help=text)
    text = (
        "measure how far probabilities are the share of true edges, against thick ground truth "
        "(default: no)"
    )
    group.add_argument("--calibration", action=boolean, help=text)
    text = (
        "fit a temperature for these probabilities and write temperature.json for predict.py "
        "--temperature: one for all classes (without a value), or one for each class; includes "
        "--calibration"
    )
    group.add_argument("--fit-temperature", nargs="?", const="all", choices=FITS, help=text)
    text = "fit none (default)"
    group.add_argument(
        "--no-fit-temperature",
        action="store_const",
        const=None,
        dest="fit_temperature",
        help=text,
    )


def _add_seg_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scores (seg task)")
    shown = " ".join(f"{each:g}" for each in BOUNDS)
    bound = number(0, MAX_BOUND, above=True)
    text = (
        "tolerances of boundary F: pixels from 1 on, fractions of the diagonal below "
        f"(default: {shown})"
    )
    group.add_argument("--bounds", type=bound, nargs="+", default=BOUNDS, help=text)
    text = f"width of boundary IoU's regions, in the same units (default {REGION:g})"
    group.add_argument("--boundary-iou", type=bound, default=REGION, metavar="BOUND", help=text)
    text = "the files hold Cityscapes' label ids (default: those that end in _labelIds do)"
    group.add_argument("--label-ids", action=argparse.BooleanOptionalAction, help=text)
    text = (
        "write label maps for Cityscapes' server, check them and zip them to DIR.zip, "
        "in place of scores"
    )
    group.add_argument("--submit", type=Path, metavar="DIR", help=text)


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    text = "default: beside the checkpoint or the predictions"
    group.add_argument("--out", type=Path, metavar="DIR", help=text)
    usual = default_workers()
    text = (
        f"processes of each rank that count (default: one per core, here {usual}); "
        "0: the main process counts"
    )
    group.add_argument("--workers", type=workers, default=usual, metavar="N", help=text)
    text = "write report.html (default)"
    group.add_argument("--report", action=argparse.BooleanOptionalAction, default=True, help=text)
    text = "number of best and of worst images in the report (default 3)"
    group.add_argument("--pictures", dest="examples", type=size, default=3, metavar="N", help=text)


def parse_score_args(
    description: str | None, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """The command line, with the defaults that follow from other flags.

    Flags that contradict each other end the program with status 2, as argparse does it.
    """
    parser = score_parser(description)
    args = parser.parse_args(argv)
    data = "--dataset NAME --data-root DIR --split NAME"
    if (args.checkpoint is None) == (args.predictions is None):
        parser.error("give either --checkpoint FILE or --predictions DIR")
    if args.predictions and not (args.labels or args.dataset):
        parser.error(f"--predictions needs a ground truth: --labels DIR, or {data}")
    if args.checkpoint and args.labels and not args.dataset:
        parser.error(f"--checkpoint with --labels needs the images: {data}")
    if args.submit and not args.checkpoint:
        parser.error("--submit needs a network: --checkpoint FILE")
    if args.predictions and args.data_root and not args.dataset:
        parser.error(
            "--data-root needs --dataset NAME, which says how the folder is laid out; without it "
            "the files alone are scored"
        )
    _require_derivable(parser, args)
    _require_no_idle_flags(parser, args)
    args.split = args.split or ("test" if args.submit else "val")
    if args.out is None:
        source = args.checkpoint.with_suffix("") if args.checkpoint else args.predictions
        if source.name in ("", ".."):  # "." and the like have no name of their own
            source = resolved(source)
        args.out = source.parent / f"{source.name}-scores"
    return args


def _require_derivable(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse flags of derived edges where there are none."""
    labels = args.prediction_kind == "labels"
    if labels and not args.predictions:
        parser.error("--prediction-kind labels is for files: --predictions DIR")
    if args.derived and args.task == "seg":
        parser.error("--derived is for the edge task, but --task says seg")
    if args.derived and args.predictions and not labels:
        parser.error("--derived needs a segmentation: add --prediction-kind labels")
    if args.derived and args.predictions and set(args.derived) != {HARD}:
        parser.error(
            "--derived soft needs the class probabilities of a network; label maps give hard edges"
        )


def _require_no_idle_flags(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse numbers that something else decides already."""
    if args.labels and args.eval_scale is not None:
        parser.error(
            "--eval-scale is for the ground truth that a data set makes; --labels are scored at "
            "the size of their files"
        )
    if args.fit_temperature and args.temperature is not None:
        parser.error(
            "--fit-temperature is fitted on the net's own probabilities: leave out --temperature"
        )
    if args.temperature is not None and args.predictions:
        parser.error("--temperature is for a network: files are scored as they are; leave it out")
    if args.submit and args.task == "edge":
        parser.error("--submit writes label maps, but --task says edge; leave --task out")
    if args.fit_temperature and args.classes:
        parser.error(
            "--fit-temperature is fitted on all classes of a checkpoint, to which it is applied: "
            "leave out --classes"
        )
    if args.num_classes and args.task == "seg" and args.num_classes > IGNORE:
        parser.error(f"--num-classes {args.num_classes}: label maps hold at most {IGNORE} classes")


def default_workers() -> int:
    """A process per core of this rank's share, at most 16: each takes up to half a gigabyte."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores that a container or a job may use
        cores = len(os.sched_getaffinity(0))
    return max(1, min(16, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def tolerance(text: str) -> Tolerance:
    """A type for matching distances: 0.02 of the diagonal, or 3px."""
    if text.endswith("px"):
        return Tolerance(number(0, MAX_PIXELS_APART)(text.removesuffix("px")), pixels=True)
    try:
        return Tolerance(number(0, 1, above=True, below=True)(text))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or pixels such as 3px") from error


def chosen_protocols(args: argparse.Namespace, dataset: str) -> tuple[EdgeProtocol, ...]:
    """The protocol by name for a data set, with the knobs that were given, at each tolerance."""
    protocol = find_protocol(
        args.protocol,
        dataset,
        thresholds=args.thresholds,
        scale=args.eval_scale,
        margin=args.margin,
        thin=args.thin,
        raw=args.raw,
        crisp=args.crisp,
        calibration=True if args.fit_temperature else args.calibration,
        instance=args.instance,
        skip_absent=args.skip_absent,
        kill_internal=args.kill_internal,
        ap=args.ap,
    )
    return with_tolerances(protocol, args.max_dist)
