"""The flags of the comparison."""

import argparse
from collections.abc import Sequence

from data.args import Parser, file_path, number, seed, text, whole
from data.errors import InputError
from data.files import first_few
from utils.compare.measures import MEASURES
from utils.compare.names import own_names
from utils.compare.words import counted

MAX_SAMPLES = 100_000
MAX_BOUND = 10_000  # pixels

DESCRIPTION = """\
Results of test.py beside each other: a table by class, and the differences with their intervals.

python -m utils.compare casenet-scores dff-scores --out comparison
python -m utils.compare runs/camvid/*/default/best-scores --metric ods ois --markdown

The results must be of one protocol, the same classes and the same images. Intervals are those of a
paired bootstrap over images: they say how far the difference depends on the images that were
scored, not how far it depends on the seed of a training.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = Parser(
        prog="python -m utils.compare",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "results", nargs="+", type=file_path, metavar="DIR", help="folders that test.py left"
    )
    what = parser.add_argument_group("what is compared")
    what.add_argument(
        "--metric",
        nargs="+",
        choices=[*MEASURES],
        help="default: ods ap (edge), miou boundary-f (seg)",
    )
    what.add_argument(
        "--bound",
        nargs="+",
        type=number(0, MAX_BOUND, above=True),
        metavar="B",
        help="tolerances of boundary F that are shown (default: the first in pixels)",
    )
    what.add_argument(
        "--common",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="compare the images that are in all results; without it, other images are refused",
    )
    what.add_argument("--names", nargs="+", type=text, metavar="NAME", help="default: the folders")
    what.add_argument(
        "--baseline", type=text, metavar="NAME", help="the others' differences are to this one "
        "(default: the first)"
    )  # fmt: skip
    interval = parser.add_argument_group("intervals: bootstrap over images")
    interval.add_argument(
        "--samples", type=whole(100, MAX_SAMPLES), default=2000, metavar="N", help="default: 2000"
    )
    interval.add_argument(
        "--level",
        type=number(0, 100, above=True, below=True),
        default=95.0,
        metavar="PERCENT",
        help="of the intervals (default: 95)",
    )
    interval.add_argument("--seed", type=seed, default=0, metavar="N", help="default: 0")
    output = parser.add_argument_group("output, besides the tables that are printed")
    output.add_argument(
        "--out", type=file_path, metavar="DIR", help="write compare.csv, .json and .html there"
    )
    output.add_argument(
        "--by-class",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="print a table by class for each measure (default), or the means alone",
    )
    output.add_argument(
        "--markdown",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="print the tables as Markdown",
    )
    args = parser.parse_args(argv)
    _require_sense(args)
    return args


def _require_sense(args: argparse.Namespace) -> None:
    """InputError for flags that do not go together; fills in names."""
    if len(args.results) < 2:
        raise InputError(f"found one folder of results, {args.results[0]}; give two or more")
    if args.names is None:
        args.names = own_names(args.results)
    if len(args.names) != len(args.results):
        raise InputError(
            f"--names: found {counted(len(args.names), 'name')} for {len(args.results)} folders, "
            f"{first_few(args.names)}; give one for each folder, in their order"
        )
    if len(set(args.names)) < len(args.names):
        raise InputError(f"--names {' '.join(args.names)}: a name occurs twice; give each its own")
    args.baseline = args.names[0] if args.baseline is None else args.baseline
    if args.baseline not in args.names:
        raise InputError(
            f"--baseline {args.baseline}: is none of the results; expected one of "
            f"{', '.join(args.names)}"
        )
    for flag in ("metric", "bound"):
        if given := getattr(args, flag):
            setattr(args, flag, list(dict.fromkeys(given)))
