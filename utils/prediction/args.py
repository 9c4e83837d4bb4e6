"""The flags of predict.py, and what they choose."""

import argparse
import sys
from collections.abc import Sequence

from data import DATASETS
from data.args import Parser, file_path, share, size
from data.errors import InputError
from utils.inference.args import add_network_flags
from utils.inference.edge_lines import EdgeChoice
from utils.model_info import ModelInfo
from utils.prediction.metrics_file import read_thresholds
from utils.prediction.outputs import OutputChoice

PROB_FORMATS = ("png", "npz")
EDGE_FLAGS = ("threshold", "thresholds", "thin", "min_length", "nms")


def parse_predict_args(description: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of predict.py, or `argv`."""
    switch = argparse.BooleanOptionalAction
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "inputs", nargs="+", type=file_path, metavar="INPUT", help="an image or a folder of images"
    )
    parser.add_argument(
        "--recursive",
        action=switch,
        default=True,
        help="take the subfolders of folders too (default)",
    )
    parser.add_argument(
        "--upright",
        action=switch,
        help="turn photographs as EXIF says (default: as the checkpoint's own images were)",
    )

    net = parser.add_argument_group("network")
    net.add_argument("--checkpoint", type=file_path, required=True, metavar="FILE")
    text = "for a file that does not say it: the names and colours of the classes"
    net.add_argument("--dataset", choices=sorted(DATASETS), help=text)
    add_network_flags(net)

    out = parser.add_argument_group("output")
    out.add_argument(
        "--out", type=file_path, required=True, metavar="DIR", help="folder to write to"
    )
    out.add_argument(
        "--overlay", action=switch, default=True, help="write NAME_overlay.png (default)"
    )
    out.add_argument(
        "--side-by-side", action=switch, default=False, help="write NAME_side_by_side.png"
    )
    out.add_argument(
        "--save-prob",
        nargs="?",
        choices=PROB_FORMATS,
        const="png",
        help="edges: write prob/class_001/NAME.png … (png, if no format is named) or prob/NAME.npz",
    )
    text = "edges: write no probabilities (default)"
    out.add_argument(
        "--no-save-prob", action="store_const", const=None, dest="save_prob", help=text
    )
    out.add_argument("--save-bits", action=switch, default=False, help="edges: write bits/NAME.png")
    text = "write index.html, a page to look through the results"
    out.add_argument("--page", action=switch, default=False, help=text)
    out.add_argument(
        "--overwrite", action=switch, default=False, help="replace files of an earlier run"
    )
    add_edge_flags(parser.add_argument_group("edges"))
    return parser.parse_args(bare_save_prob(sys.argv[1:] if argv is None else argv))


def add_edge_flags(group: argparse._ArgumentGroup) -> None:
    """The flags that say which edges are drawn."""
    switch = argparse.BooleanOptionalAction
    bounds = group.add_mutually_exclusive_group()
    text = "least probability of an edge, for all classes (default: the checkpoint's, else 0.5)"
    bounds.add_argument("--threshold", type=share, metavar="P", help=text)
    text = "take the best threshold of each class from a metrics.json of test.py"
    bounds.add_argument("--thresholds", type=file_path, metavar="FILE", help=text)
    text = (
        "thin edges to one pixel, as the evaluation does (default: if the thresholds are of "
        "thinned edges, as the checkpoint's are)"
    )
    group.add_argument("--thin", action=switch, help=text)
    text = "leave out thinned lines of fewer pixels (default 0)"
    group.add_argument("--min-length", type=size, default=0, metavar="N", help=text)
    text = "non-maximum suppression: keep the ridges of the probabilities only (default: no)"
    group.add_argument("--nms", action=switch, default=False, help=text)


def bare_save_prob(argv: Sequence[str]) -> list[str]:
    """The words with `--save-prob=png` for a `--save-prob` that no format follows.

    argparse would take the input that follows it for a format.
    """
    words = list(argv)
    for place, word in enumerate(words):
        if word == "--":
            break
        if word == "--save-prob" and words[place + 1 : place + 2] not in (
            [f] for f in PROB_FORMATS
        ):
            words[place] = "--save-prob=png"
    return words


def edge_choice(args: argparse.Namespace, info: ModelInfo) -> EdgeChoice | None:
    """Which edges are drawn; None for segmentation, where a flag of edges is an InputError."""
    if info.task == "seg":
        given = [name for name in EDGE_FLAGS if getattr(args, name) not in (None, 0, False)]
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise InputError(f"{flag} is for edges; the checkpoint holds {info.name}")
        return None
    threshold, thin = args.threshold, args.thin
    if args.thresholds is not None:
        threshold, of_thinned = read_thresholds(args.thresholds, info.classes)
        thin = of_thinned if thin is None else thin
    return EdgeChoice.of(
        info, threshold=threshold, thin=thin, min_length=args.min_length, nms=args.nms
    )


def output_choice(args: argparse.Namespace) -> OutputChoice:
    """Which files are written."""
    return OutputChoice(
        overlay=args.overlay,
        side_by_side=args.side_by_side,
        prob=args.save_prob == "png",
        npz=args.save_prob == "npz",
        bits=args.save_bits,
        page=args.page,
    )
