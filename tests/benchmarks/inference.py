"""Inference of DFF, CASENet and the decoupled DeepLabV3+: the published forward against ours.

    python tests/benchmarks/inference.py
    python tests/benchmarks/inference.py --nets dff --backbone resnet18 --size 128x256 --rounds 3

"published" restates what the authors' evaluation does, written from the papers (Hu et al., IJCAI
2019; Yu et al., CVPR 2017; Li et al., ECCV 2020): contiguous maps in 32 bits without gradients,
batch normalisation, ReLU and sums as layers of their own, and for the edge nets the shared
concatenation, a loop over the classes that stacks [side5_k, side1, side2, side3] to 4 K maps at
full size, which are weighted and summed (DFF) or go through a 1x1 convolution with a group for each
class (CASENet). Of the decoupled net it is the definition as it is. The backbone is that of
`build_model`.

Before anything is timed, outputs are asserted to be equal: in 32 bits within 1e-4 of the largest
one. bfloat16 is reported. That run is the warm-up. Each variant has its own process, and they take
turns, a run each, from uint8 crops to the logits that predictions are made of. Memory is the high-
water mark above the loaded net. The two last columns are the ratio to "published": how many times
faster, and its share of the memory. docs/speed.md has what was measured.
"""

import argparse
import json
import multiprocessing.connection
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MethodType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import run
from data.files import write_aside
from utils.benchmark import process as processes
from utils.benchmark.args import side_by_side
from utils.benchmark.flops import count
from utils.benchmark.net_file import write_net
from utils.benchmark.process import Ended, Process, serve_products
from utils.benchmark.report import machine_of
from utils.benchmark.variant import DEFINITION, Variant
from utils.inference.engines import Engine

PUBLISHED = "published"
NETS = {"dff": "DFF", "casenet": "CASENet", "deeplabv3plus_decouple": "decoupled DeepLabV3+"}
TOLERANCE = 1e-4
BARS_OF = "of 19 classes over resnet50, 512x1024, two threads"
EDGE_BARS = {"fp32, torch": 1.8, "fp32, best": 2.3, "bf16, best": 4.0, "memory, torch": 0.55}
BARS = {"dff": EDGE_BARS, "casenet": EDGE_BARS, "deeplabv3plus_decouple": {"fp32, best": 1.5}}


def publish(net: nn.Module) -> nn.Module:
    """The net with the published fusion: in place, as a new `forward` of the instance."""
    forwards = {"DFF": dff_forward, "CASENet": casenet_forward}
    if forward := forwards.get(type(net).__name__):
        net.forward = MethodType(forward, net)
    return net


def shared_concatenation(side5: Tensor, *shared: Tensor) -> Tensor:
    """[side5_k, side1, side2, side3] for every class k: (N, 4 K, H, W)."""
    maps = []
    for k in range(side5.shape[1]):
        maps += [side5[:, k : k + 1], *shared]
    return torch.cat(maps, dim=1)


def dff_forward(net: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """DFF's forward pass."""
    x1, x2, x3, _, x5 = net.backbone(image)
    side1, side2, side3, side5 = net.side1(x1), net.side2(x2), net.side3(x3), net.side5(x5)
    learner = net.weight_learner
    weights = learner.refine(learner.project(x5)).unflatten(1, (-1, 4))  # (N, K, 4, H, W)
    stacked = shared_concatenation(side5, side1, side2, side3).unflatten(1, (-1, 4))
    return {"side5": side5, "fuse": (stacked * weights).sum(dim=2)}


def casenet_forward(net: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """CASENet's forward pass."""
    x1, x2, x3, _, x5 = net.backbone(image)
    side1, side2, side3, side5 = net.side1(x1), net.side2(x2), net.side3(x3), net.side5(x5)
    stacked = shared_concatenation(side5, side1, side2, side3)
    fuse = nn.functional.conv2d(stacked, net.fuse.weight, net.fuse.bias, groups=side5.shape[1])
    return {"side5": side5, "fuse": fuse}


def open_variant(variant: Variant) -> tuple[Engine, str]:
    """`utils.benchmark.process.open_variant`, which also knows "published"."""
    if variant.engine != PUBLISHED:
        return processes.open_variant(variant)
    fields = {name: getattr(variant, name) for name in variant.__dataclass_fields__}
    engine, output = processes.open_variant(Variant(**fields | {"engine": DEFINITION}))
    publish(engine.model)
    return engine, output


def serve(pipe: multiprocessing.connection.Connection, variant: Variant) -> None:
    """The other end of a `Process`; "logits" is answered with those of the variant's crops."""
    processes.serve(pipe, variant, open_variant)


class Row:
    """A variant with its process and what it has measured."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.seconds: list[float] = []
        self.mib = float("nan")
        self.error = float("nan")  # largest, as a share of the largest output
        self.missing = ""
        self.process = Process(serve, variant)
        self.attempt(self.process.answer)

    def attempt(self, work: Callable[[], object]) -> object:
        """What `work` returns; None if the variant has no numbers (any more)."""
        if self.missing:
            return None
        try:
            return work()
        except Ended as error:
            self.missing = str(error)
            return None

    def ask(self, request: str) -> object:
        """The answer of its process."""
        return self.attempt(lambda: self.process.ask(request))


def variants_of(args: argparse.Namespace, net: str, path: Path) -> list[Variant]:
    """The published one first."""
    wanted = [(PUBLISHED, "fp32"), (DEFINITION, "fp32")]
    if net not in ("dff", "casenet"):
        wanted = wanted[:1]  # both are the same
    wanted += [(engine, "fp32") for engine in args.engine]
    wanted += [(engine, "bf16") for engine in args.engine if engine != "onnx"]
    common = {"size": args.size, "batch_size": 1, "threads": args.threads, "device": "cpu"}
    return [Variant(path, engine, precision, **common) for engine, precision in wanted]


def compare_outputs(rows: list[Row]) -> None:
    """AssertionError unless all in 32 bits are equal to the first."""
    reference = rows[0].ask("logits")
    assert isinstance(reference, np.ndarray), rows[0].missing
    for row in rows:
        logits = row.ask("logits")
        if isinstance(logits, np.ndarray):
            row.error = float(np.abs(logits - reference).max() / np.abs(reference).max())
            if row.variant.precision == "fp32":
                assert row.error <= TOLERANCE, f"{row.variant.label}: error {row.error:.1e}"


def measure(args: argparse.Namespace, net: str) -> tuple[list[Row], dict[str, list[float]], float]:
    """(rows, FLOP/s of the matrix product in each precision, FLOP of the definition)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pth"
        info = write_net(path, net, args.backbone, args.classes)
        rows = [Row(variant) for variant in variants_of(args, net, path)]
        products = {
            name: Process(serve_products, name, args.threads, "cpu") for name in ("fp32", "bf16")
        }
        for product in products.values():
            product.answer()
        compare_outputs(rows)
        rates: dict[str, list[float]] = {name: [] for name in products}
        for _ in range(args.rounds):
            for row in rows:
                if isinstance(seconds := row.ask("run"), float):
                    row.seconds.append(seconds)
            for name, product in products.items():
                rates[name].append(product.ask("run"))
        for row in rows:
            if isinstance(taken := row.ask("memory"), int):
                row.mib = taken / 2**20
        for each in [*(row.process for row in rows), *products.values()]:
            each.end()
    return rows, rates, count(info, args.size, 1)[0]


def speed(row: Row, published: Row) -> float:
    """How many times faster: the median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(published.seconds, row.seconds, strict=True))


def bar_lines(net: str, rows: list[Row]) -> list[str]:
    """Each bar with what was reached."""
    published, *others = [row for row in rows if not row.missing]
    fp32 = {
        row.variant.engine: speed(row, published)
        for row in others
        if row.variant.precision == "fp32" and row.variant.engine != DEFINITION
    }
    bf16 = [speed(row, published) for row in others if row.variant.precision == "bf16"]
    memory = [
        row.mib / published.mib
        for row in others
        if (row.variant.engine, row.variant.precision) == ("torch", "fp32")
    ]
    reached = {
        "fp32, torch": fp32.get("torch"),
        "fp32, best": max(fp32.values(), default=None),
        "bf16, best": max(bf16, default=None),
        "memory, torch": memory[0] if memory else None,
    }
    lines = []
    for what, bar in BARS[net].items():
        value, sign = reached[what], "<=" if what.startswith("memory") else ">="
        if value is None:
            lines.append(f"  {what:16} {sign} {bar:<5} not measured")
            continue
        held = value <= bar if sign == "<=" else value >= bar
        lines.append(f"  {what:16} {sign} {bar:<5} {value:5.2f}  {'held' if held else 'MISSED'}")
    return lines


def table_lines(
    rows: list[Row], rates: dict[str, list[float]], flop: float
) -> tuple[list[str], list[dict]]:
    """The table, and its rows as plain data."""
    published, lines, plain = rows[0], [], []
    lines.append(
        f"{'':24}{'seconds':>9}{'(range)':>16}{'MiB':>7}{'error':>9}{'share':>7}"
        f"{'faster':>8}{'memory':>8}"
    )
    for row in rows:
        name = f"{row.variant.engine} {row.variant.precision}"
        if row.missing:
            lines.append(f"{name:24} missing: {row.missing}")
            plain.append({"variant": name, "missing": row.missing})
            continue
        seconds = statistics.median(row.seconds)
        share = flop / seconds / statistics.median(rates[row.variant.precision])
        span = f"{min(row.seconds):.2f}..{max(row.seconds):.2f}"
        times, memory = speed(row, published), row.mib / published.mib
        lines.append(
            f"{name:24}{seconds:9.3f}{span:>16}{row.mib:7.0f}{row.error:9.1e}{share:7.0%}"
            f"{times:8.2f}{memory:8.2f}"
        )
        plain.append(
            {
                **{"variant": name, "seconds": row.seconds, "mib": row.mib, "error": row.error},
                **{"share_of_matrix_rate": share, "faster": times, "memory_ratio": memory},
            }
        )
    return lines, plain


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", nargs="+", choices=NETS, default=[*NETS])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--size", type=side_by_side, default=(512, 1024), metavar="HxW")
    parser.add_argument("--engine", nargs="+", default=["torch", "onnx", "openvino"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Print a table and the bars for each net."""
    machine = machine_of("cpu")
    height, width = args.size
    print(f"{machine['device']}, {args.threads} threads, PyTorch {machine['torch']}, ", end="")
    print(f"commit {machine['commit']}, {machine['time']}")
    found = {}
    for net in args.nets:
        rows, rates, flop = measure(args, net)
        print(
            f"\n{NETS[net]} over {args.backbone}, {args.classes} classes, {height}x{width}: ",
            end="",
        )
        print(
            f"{flop / 1e9:.0f} GFLOP, median of {args.rounds} rounds in turn; the products'", end=""
        )
        limits = {name: flop / statistics.median(values) for name, values in rates.items()}
        for name, seconds in limits.items():
            rate = statistics.median(rates[name]) / 1e9
            print(f" {name} {rate:.0f} GFLOP/s, which is {seconds:.2f} s;", end="")
        print()
        lines, plain = table_lines(rows, rates, flop)
        print("\n".join([*lines, f"bars ({BARS_OF}):", *bar_lines(net, rows)]), flush=True)
        found[net] = {"rows": plain, "flop": flop, "matrix_flop_per_second": rates}
    if args.json is not None:
        report = {"machine": machine, "size": args.size, "rounds": args.rounds, "nets": found}
        with write_aside(args.json) as aside:
            aside.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
