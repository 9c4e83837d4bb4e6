"""Look at a data set before anything is trained: a table, and a page that shows it.

    python -m data.inspect --dataset folder --data-root datasets/mine
    python -m data.inspect --dataset camvid --data-root datasets/CamVid --split train val

Prints for each class and split the images that have it, its pixels, instances, median width and
edge pixels, and what is wrong; writes inspect-NAME.html, one file that needs no network. A folder
may be incomplete: what is missing or broken is listed. Status 2 if nothing can be looked at, or,
with --strict, if there is a problem.
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data import DATASETS, parse_options
from data.args import MAX_WORKERS, Parser, data_option, file_path, text, whole
from data.errors import InputError, run
from data.files import require_writable
from data.inspect.page import write_page
from data.inspect.report import make_report
from data.inspect.source import open_source
from data.inspect.table import class_table, finding_lines, image_lines, verdict

MAX_SHEET = 1000  # images of the contact sheet
USUAL_WORKERS = 8


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `argv`."""
    parser = Parser(
        prog="python -m data.inspect", description="Look at a data set: a table and a page."
    )
    group = parser.add_argument_group("data")
    group.add_argument("--dataset", required=True, choices=sorted(DATASETS))
    group.add_argument("--data-root", type=file_path, required=True, metavar="DIR")
    group.add_argument("--split", type=text, nargs="+", default=[], help="default: all splits")
    group.add_argument(
        "--data-option",
        type=data_option,
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of the data set, e.g. version=v2.0",
    )
    group.add_argument(
        "--samples",
        type=whole(0),
        default=0,
        metavar="N",
        help="look at N images of each split, at equal distances (default: 0, all)",
    )
    group = parser.add_argument_group("result")
    group.add_argument(
        "--out", type=file_path, metavar="FILE", help="the page (default: inspect-NAME.html here)"
    )
    group.add_argument(
        "--sheet",
        type=whole(0, MAX_SHEET),
        default=48,
        metavar="N",
        help="images on the contact sheet (default 48)",
    )
    group.add_argument(
        "--strict",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="exit status 2 if a problem was found",
    )
    usual = max(1, min(USUAL_WORKERS, os.cpu_count() or 1))
    group.add_argument(
        "--workers",
        type=whole(1, MAX_WORKERS),
        default=usual,
        metavar="N",
        help=f"processes (default: {usual}, the cores of this machine)",
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Look, print and write; returns the exit status."""
    out = page_path(args.out, args.dataset, args.data_root)
    options: dict[str, Any] = parse_options(args.data_option)
    source = open_source(args.dataset, args.data_root, args.split, args.samples, **options)
    require_writable(out.parent, "--out")
    report = make_report(source, sheet=args.sheet, workers=args.workers)
    print(class_table(source, report.splits))
    print()
    for line in image_lines(report.total):
        print(line)
    print(f"\n{verdict(report.findings)}")
    for line in finding_lines(report.findings):
        print(line)
    write_page(out, report)
    print(f"\npage: {out}")
    return 2 if args.strict and report.problems() else 0


def page_path(given: Path | None, dataset: str, root: Path) -> Path:
    """Where the page goes; InputError for a file of another kind, which may be somebody's data."""
    if given is None:
        place = Path(os.path.realpath(root))
        name = place.name if dataset == "folder" else dataset
        path = Path(f"inspect-{name or dataset}.html")
        if Path.cwd().is_relative_to(place):
            raise InputError(
                f"{path} would be written into the data set, {place}; give --out, or run this "
                "elsewhere"
            )
        return path
    if given.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {given}: expected the path of a page, such as inspect.html")
    if given.is_dir():
        raise InputError(f"--out {given}: is a folder; expected the path of a page")
    return given


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
