"""How fast a net runs on this machine: latency, throughput, memory, share of the possible.

python -m utils.benchmark --model dff --backbone resnet50 --engine definition torch
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from data.errors import InputError, run
from data.files import require_file, write_aside
from utils.benchmark.args import parse_args
from utils.benchmark.flops import count
from utils.benchmark.net_file import read_info, write_net
from utils.benchmark.report import machine_of, report_of
from utils.benchmark.table import plain_row, table_lines
from utils.benchmark.turns import measure, protocol
from utils.benchmark.variant import Variant
from utils.inference.device import pick_device
from utils.model_info import ModelInfo


def main(args: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON file; 2 if there is no number at all."""
    pick_device(args.device)  # a wrong name ends here
    if args.json is not None and args.json.is_dir():
        raise InputError(f"--json {args.json}: is a folder, expected the name of a file to write")
    args.threads = args.threads or os.cpu_count() or 1
    with net_of(args) as (checkpoint, info):
        _, parameters = count(info, args.size[0], 1)
        lines = protocol(args.runs, args.warm_up, args.threads, args.batch_size)
        machine = machine_of(args.device)
        print(f"{info.net}, {info.num_classes} classes: ", end="")
        print(f"{parameters / 1e6:.1f} million parameters; {machine['device']}")
        print("\n".join(lines))
        variants = variants_of(args, checkpoint)
        results, rates = measure(
            variants, info, runs=args.runs, warm_up=args.warm_up, say=_say_progress
        )
    _say_progress("")
    rows = [plain_row(result, rates) for result in results]
    report = report_of(info, parameters, rows, rates, lines, machine)
    print("\n".join(table_lines(rows)))
    for precision, rate in report["matrix_gflop_per_second"].items():
        print(f"matrix product, {precision}: {rate:.0f} GFLOP/s")
    if args.json is not None:
        with write_aside(args.json) as aside:
            aside.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        print(f"numbers: {args.json}")
    return 0 if any(not row["missing"] for row in rows) else 2


@contextmanager
def net_of(args: argparse.Namespace) -> Iterator[tuple[Path, ModelInfo]]:
    """(its file, what it is): the checkpoint, or a net by name for as long as it is measured."""
    if args.checkpoint is not None:
        path = require_file(args.checkpoint, "checkpoint or exported net")
        yield path, read_info(path, args.model, args.backbone, args.dataset)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pth"
        yield path, write_net(path, args.model, args.backbone, args.classes, args.edge_head)


def variants_of(args: argparse.Namespace, checkpoint: Path) -> list[Variant]:
    """Every combination of sizes, engines and precisions."""
    named = args.checkpoint is not None  # a file may not say what it holds
    return [
        Variant(
            checkpoint=checkpoint,
            engine=engine,
            precision=precision,
            size=size,
            batch_size=args.batch_size,
            threads=args.threads,
            device=args.device,
            model=args.model if named else None,
            backbone=args.backbone if named else None,
            dataset=args.dataset,
        )
        for size, engine, precision in product(args.size, args.engine, args.precision)
    ]


def _say_progress(line: str) -> None:
    """On a terminal, in one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
