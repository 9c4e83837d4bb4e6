"""Draw a run's learning curves from its log.jsonl as curves.png.

python -m utils.curves runs/scenes/dff-resnet18/default
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.args import Parser
from data.errors import InputError, run
from data.files import require_file
from utils.training.curves import plot_curves


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = Parser(
        prog="python -m utils.curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or its log.jsonl")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: curves.png beside the log"
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Draw, and say where."""
    log = require_file(args.run / "log.jsonl" if args.run.is_dir() else args.run, "log of a run")
    out = args.out or log.with_name("curves.png")
    if out.suffix.lower() != ".png":  # nor does it replace a checkpoint
        raise InputError(f"--out {out}: expected a name that ends in .png")
    if out.exists():
        require_file(out, "PNG file to write")
        if out.samefile(log):
            raise InputError(f"--out {out}: is the log itself; name another file")
    plot_curves(log, out)
    print(f"curves: {out}")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
