"""The flags of the benchmark."""

import argparse
import re
from collections.abc import Sequence

from data.args import Parser, file_path, positive, size, text, whole
from data.errors import InputError
from models import MODELS
from models.joint import EDGE_HEAD_CHOICES
from utils.args import backbone
from utils.benchmark.variant import DEFINITION, PRECISIONS
from utils.inference.engines.choose import ENGINES
from utils.inference.options import MIN_SIDE

MAX_SIDE = 1 << 16
MAX_RUNS = 10_000

DESCRIPTION = """\
How fast a net runs on this machine, and in how much memory: a table, with the protocol above it.

python -m utils.benchmark --model dff --backbone resnet50 --engine definition torch
python -m utils.benchmark --checkpoint best.pth --engine torch openvino --precision fp32 bf16
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = Parser(
        prog="python -m utils.benchmark",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    net = parser.add_argument_group("the net: by name with random weights, or a file")
    net.add_argument("--checkpoint", type=file_path, metavar="FILE", help="best.pth or net.onnx")
    net.add_argument("--model", choices=[*MODELS], help="the net (default: dff)")
    text_ = "its backbone (default: resnet50)"
    net.add_argument("--backbone", type=backbone, metavar="NAME", help=text_)
    net.add_argument("--classes", type=positive, metavar="K", help="of a net by name (default: 19)")
    head = "of a segmentation net by name (default: none); both tasks are measured in one run"
    net.add_argument("--edge-head", choices=EDGE_HEAD_CHOICES, help=head)
    net.add_argument("--dataset", type=text, help="of a file that does not say its classes")
    what = parser.add_argument_group("what is measured: every combination is a row")
    what.add_argument(
        "--engine",
        nargs="+",
        choices=(DEFINITION, *ENGINES),
        default=["torch"],
        help="definition: the net as in models/; torch: its folded form (default); or others",
    )
    what.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        default=["fp32"],
        help="bf16 on CPUs, fp16 on CUDA devices (default: fp32)",
    )
    what.add_argument(
        "--size",
        nargs="+",
        type=side_by_side,
        default=[(512, 1024)],
        metavar="HxW",
        help="height and width of the crops (default: 512x1024)",
    )
    what.add_argument("--batch-size", type=whole(1, 1024), default=1, metavar="N")
    how = parser.add_argument_group("how")
    how.add_argument("--runs", type=whole(1, MAX_RUNS), default=5, metavar="N", help="that count")
    how.add_argument(
        "--warm-up", type=whole(0, MAX_RUNS), default=1, metavar="N", help="runs before them"
    )
    how.add_argument("--threads", type=size, default=0, metavar="N", help="0: all cores (default)")
    how.add_argument("--device", type=text, default="auto", help="auto, cpu, cuda, cuda:1")
    how.add_argument("--json", type=file_path, metavar="FILE", help="write the numbers there too")
    args = parser.parse_args(argv)
    _require_sense(args)
    return args


def side_by_side(given: str) -> tuple[int, int]:
    """A type for HxW: (H, W)."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", given, re.ASCII)
    sides = tuple(map(int, match.groups())) if match else ()
    if len(sides) != 2 or not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        expected = f"expected HxW, such as 512x1024, of sides from {MIN_SIDE} to {MAX_SIDE}"
        raise argparse.ArgumentTypeError(f"found {given[:40]!r}, {expected}")
    return sides[0], sides[1]


def _require_sense(args: argparse.Namespace) -> None:
    """InputError for flags that do not go together; fills in defaults."""
    if args.checkpoint is None:
        if args.dataset is not None:
            raise InputError("--dataset: is for --checkpoint; give the number of --classes")
        args.model = args.model or "dff"
        args.backbone = args.backbone or "resnet50"
        args.classes = args.classes or 19
        args.edge_head = args.edge_head or "none"
        if args.edge_head != "none" and MODELS[args.model].task != "seg":
            raise InputError(f"--edge-head: is of a segmentation net, and {args.model} is none")
    elif args.classes is not None:
        raise InputError("--classes: is for a net by name; a checkpoint has its own classes")
    elif args.edge_head is not None:
        raise InputError("--edge-head: is for a net by name; a checkpoint has its own")
    for flag in ("engine", "precision", "size"):
        setattr(args, flag, list(dict.fromkeys(getattr(args, flag))))
