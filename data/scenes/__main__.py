"""Draw the street scenes: `python -m data.scenes --root datasets/scenes`."""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import sys
from collections.abc import Sequence

from data.args import LONGEST, Parser, seed, whole
from data.errors import run
from data.scenes.make import make_scenes
from data.scenes.plan import MAX_IMAGES, PARTS, Plan

DEFAULT_ROOT = "datasets/scenes"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `argv`."""
    standard = Plan()
    parser = Parser(prog="python -m data.scenes", description="Draw the street scenes.")
    parser.add_argument(
        "--root", default=DEFAULT_ROOT, help="folder to make (default: %(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=standard.seed, help="default: %(default)s")
    for part in PARTS:
        parser.add_argument(
            f"--{part}",
            type=whole(0, MAX_IMAGES),
            default=standard.count(part),
            metavar="N",
            help="default: %(default)s",
        )
    size = (standard.width, standard.height)
    parser.add_argument("--size", type=_size, default=size, metavar="WxH", help="default: 320x160")
    parser.add_argument(
        "--calm",
        action=argparse.BooleanOptionalAction,
        default=standard.calm,
        help="streets of fewer, nearer and larger objects, of eleven classes",
    )
    parser.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="replace what is there",
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Draw the set and print what it holds."""
    width, height = args.size
    counts = (args.train, args.val, args.test)
    plan = Plan(args.seed, *counts, width, height, calm=args.calm)
    make_scenes(args.root, plan, overwrite=args.overwrite)
    parts = ", ".join(f"{plan.count(part)} {part}" for part in PARTS)
    kind = "calm " if plan.calm else ""
    print(f"{args.root}: {parts} {kind}images of {width}x{height}, seed {plan.seed}")


def _size(text: str) -> tuple[int, int]:
    """(width, height) from "320x160"."""
    try:
        width, height = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"found {text[:LONGEST]!r}, expected WIDTHxHEIGHT as in 320x160"
        ) from error
    return width, height


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
