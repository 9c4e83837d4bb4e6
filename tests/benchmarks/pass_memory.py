"""The peak memory of a forward pass in bytes for each pixel: what `utils/inference/memory.py` says.

    python tests/benchmarks/pass_memory.py
    python tests/benchmarks/pass_memory.py --nets dff:resnet50:19 --kinds folded --size 768x1280

Each pass has its own process: the high-water mark of the resident set above the loaded net, over
two runs with one thread. Other work on the machine does not change it. Beside it the estimate,
which should be a tenth above the largest net of its kind.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data.errors import run
from utils.benchmark.args import side_by_side
from utils.benchmark.net_file import write_net
from utils.benchmark.process import Process, serve_variant
from utils.benchmark.variant import Variant
from utils.inference.memory import pass_bytes

NETS = (
    *("dff:resnet18:3", "dff:resnet18:19", "dff:resnet50:3", "dff:resnet50:19"),
    *("dff:resnet101:19", "casenet:resnet18:19", "casenet:resnet50:19"),
    *("fcn:resnet18:19", "pspnet:resnet50:19", "deeplabv3plus:resnet50:19"),
    *("deeplabv3plus_decouple:resnet50:19", "deeplabv3plus_decouple:resnet18:19"),
    *("gffnet:resnet50:19", "deeplabv3plus:wider_resnet38:19"),
)
# Name -> engine and precision.
KINDS = {
    "definition": ("definition", "fp32"),
    "folded": ("torch", "fp32"),
    "folded-bf16": ("torch", "bf16"),
    "definition-bf16": ("definition", "bf16"),
    "onnx": ("onnx", "fp32"),
    "openvino": ("openvino", "fp32"),
}
RUNS = 2


def measure(net: str, kind: str, size: tuple[int, int]) -> tuple[float, float]:
    """Bytes for each pixel: (measured, estimated)."""
    name, backbone, classes = net.split(":")
    engine, precision = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pth"
        info = write_net(path, name, backbone, int(classes))
        variant = Variant(path, engine, precision, size, batch_size=1, threads=1, device="cpu")
        process = Process(serve_variant, variant)
        process.answer()
        for _ in range(RUNS):
            process.ask("run")
        measured = process.ask("memory") / (size[0] * size[1])
        process.end()
    fast = engine != "definition"
    estimated = pass_bytes(
        info, engine=engine if fast else "torch", fast=fast, half=precision == "bf16"
    )
    return measured, estimated


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", nargs="+", default=NETS, metavar="NET:BACKBONE:CLASSES")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS][:3])
    parser.add_argument("--size", type=side_by_side, default=(512, 512), metavar="HxW")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Print a line for each."""
    for net in args.nets:
        for kind in args.kinds:
            measured, estimated = measure(net, kind, args.size)
            size = "x".join(map(str, args.size))
            print(f"{net:36} {kind:16} {size:10} {measured:7.0f} B  ", end="")
            print(f"estimated {estimated:6.0f}, {estimated / measured:.2f} of it", flush=True)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
