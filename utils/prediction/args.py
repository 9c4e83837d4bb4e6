"""The flags of predict.py, and what they choose."""

import argparse
import sys
from collections.abc import Sequence

from data import DATASETS
from data.args import Parser, file_path, number, positive, share, size, whole
from data.errors import InputError, shortened
from utils.inference.args import add_network_flags
from utils.inference.drawing import Choice
from utils.inference.edge_lines import EdgeChoice
from utils.inference.line_style import MAX_TOLERANCE, MAX_WIDTH, TOLERANCE, LineStyle
from utils.inference.outlines import OutlineChoice
from utils.inference.temperature import Temperature
from utils.model_info import ModelInfo
from utils.prediction.metrics_file import read_thresholds
from utils.prediction.outputs import OutputChoice
from utils.prediction.vector import FORMATS

PROB_FORMATS = ("png", "npz")
# With the values that ask for nothing: a threshold of 0 draws all there is.
PROBABILITY_FLAGS = {
    **dict.fromkeys(("threshold", "thresholds", "temperature"), (None,)),
    "nms": (False,),
}
LINE_FLAGS = {"thin": (None, False), "min_length": (0,), "line_width": (None,)}


def parse_predict_args(description: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of predict.py, or `argv`."""
    switch = argparse.BooleanOptionalAction
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    text = (
        "an image, a video, a folder of such, a quoted pattern ('photos/**/*.jpg'), camera:0, or - "
        "for a list on standard input, one path a line"
    )
    parser.add_argument("inputs", nargs="+", type=file_path, metavar="INPUT", help=text)
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
    text = "of a video or a camera: end after this number of frames"
    parser.add_argument("--max-frames", type=positive, metavar="N", help=text)

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
    add_vector_flags(out)
    text = "write index.html, a page to look through the results"
    out.add_argument("--page", action=switch, default=False, help=text)
    out.add_argument(
        "--overwrite", action=switch, default=False, help="replace files of an earlier run"
    )
    text = (
        "go on with an interrupted run: leave out the inputs whose files are all there (looks at "
        "names alone, so give the same flags)"
    )
    out.add_argument("--skip-existing", action=switch, default=False, help=text)
    text = "of videos: write what an image gets for each frame, too: NAME/000001_edges.png …"
    out.add_argument("--save-frames", action=switch, default=False, help=text)
    add_edge_flags(parser.add_argument_group("edges"))
    args = parser.parse_args(bare_save_prob(sys.argv[1:] if argv is None else argv))
    if args.overwrite and args.skip_existing:
        parser.error("--overwrite writes all files again, --skip-existing none; give one of them")
    return args


def add_vector_flags(group: argparse._ArgumentGroup) -> None:
    """The flags that say which files of polylines are written."""
    text = (
        "edges: write the thinned edges as polylines to vector/NAME.geojson, .svg, .json (LabelMe)"
    )
    several = f"{', '.join(FORMATS)}, or several with commas between"
    group.add_argument(
        "--vector",
        type=vector_formats,
        action="extend",
        metavar="FORMAT",
        help=f"{text}: {several}",
    )
    group.add_argument(
        "--no-vector",
        action="store_const",
        const=None,
        dest="vector",
        help="edges: write no polylines (default)",
    )
    text = (
        f"how far a pixel may be from its polyline (default {TOLERANCE:g}; 0: keep each as a point)"
    )
    group.add_argument("--simplify", type=number(0, MAX_TOLERANCE), metavar="PX", help=text)


def vector_formats(given: str) -> list[str]:
    """A type for names of formats with commas between them."""
    names = given.split(",")
    if wrong := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(
            f"found {shortened(wrong[0])!r}, expected {', '.join(FORMATS)}, with commas between"
        )
    return names


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
    text = "pixels that thinned lines are drawn wide (default: by the width of the image)"
    group.add_argument("--line-width", type=whole(1, MAX_WIDTH), metavar="N", help=text)
    text = "segmentation: write the label map's outlines as edges, thinned unless --no-thin"
    group.add_argument("--outlines", action=switch, default=False, help=text)
    text = (
        "segmentation with an edge head: write the head's edges, too, from the same run of the net"
    )
    group.add_argument("--edges", action=switch, default=False, help=text)


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


def edge_choice(
    args: argparse.Namespace,
    info: ModelInfo,
    temperature: Temperature = 1.0,
    *,
    has_edge_output: bool = True,
) -> Choice | None:
    """Which edges are drawn; None for segmentation without outlines and --edges.

    InputError for a flag of edges where there are none. temperature: of the probabilities; the
    thresholds of `info` are for it. has_edge_output: False for an exported net that lost its edges.
    """
    style = line_style(args)
    if args.edges:
        _require_edge_head(args, info)
    elif info.task == "seg":
        idle = PROBABILITY_FLAGS | ({} if args.outlines else LINE_FLAGS)
        if given := [name for name, values in idle.items() if getattr(args, name) not in values]:
            flag = f"--{given[0].replace('_', '-')}"
            add = ""
            if info.has_edge_head:
                again = "" if has_edge_output else "export it again with --outputs seg fuse, and "
                add = f": {again}add --edges for those of its edge head"
            raise InputError(f"{flag} is for edges; the checkpoint holds {info.name}{add}")
        if not args.outlines:
            return None
        return OutlineChoice.of(info, thin=args.thin, min_length=args.min_length, style=style)
    threshold, thin = args.threshold, args.thin
    if args.thresholds is not None:
        threshold, of_thinned = read_thresholds(args.thresholds, info.classes, temperature)
        thin = of_thinned if thin is None else thin
    return EdgeChoice.of(
        info,
        threshold=threshold,
        thin=thin,
        min_length=args.min_length,
        nms=args.nms,
        style=style,
    )


def _require_edge_head(args: argparse.Namespace, info: ModelInfo) -> None:
    """InputError unless --edges can be: an edge net writes edges with and without it."""
    if info.task == "edge":
        return
    if not info.has_edge_head:
        raise InputError(
            f"--edges: the checkpoint holds {info.name} without an edge head; add --outlines for "
            "the outlines of its label maps"
        )
    if args.outlines:
        raise InputError("--edges and --outlines both write NAME_edges.png; give one of them")


def require_edge_output(args: argparse.Namespace, outputs: Sequence[str]) -> None:
    """InputError if --edges is given for an exported net of which the edges were not exported.

    outputs: those that the net has; empty if that is not known.
    """
    if args.edges and outputs and "fuse" not in outputs:
        raise InputError(
            f"--edges: {args.checkpoint} has the outputs {', '.join(outputs)}; export it again "
            "with --outputs seg fuse"
        )


def line_style(args: argparse.Namespace) -> LineStyle:
    """How lines are drawn; InputError for --simplify where no polylines are written."""
    if args.simplify is not None and not args.vector:
        raise InputError("--simplify is of polylines: add --vector")
    return LineStyle(
        width=args.line_width or 0, simplify=TOLERANCE if args.simplify is None else args.simplify
    )


def output_choice(args: argparse.Namespace) -> OutputChoice:
    """Which files are written."""
    return OutputChoice(
        overlay=args.overlay,
        side_by_side=args.side_by_side,
        prob=args.save_prob == "png",
        npz=args.save_prob == "npz",
        bits=args.save_bits,
        vector=tuple(form for form in FORMATS if form in (args.vector or ())),
        outlines=args.outlines,
        edges=args.edges,
        page=args.page,
    )
