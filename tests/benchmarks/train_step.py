"""One training step of DFF: the definition against its fast form, and what each part takes.

    python tests/benchmarks/train_step.py
    python tests/benchmarks/train_step.py --size 640 --batch-size 2 --steps 3

A step is forward, loss, backward and SGD with momentum, in 32 bits. "plain" is `build_model(...)`
trained as published: contiguous maps, the loss image by image, PyTorch's SGD. "fast" is what
train.py runs on a CPU: `optimize_for_training(build_model(...))`, channels_last, our loss, fused
SGD, freed memory kept. Both have the same weights and get the same crop; that loss and gradients
are the same is asserted first, in 64 bits. Each has its own process, as a user's training has, and
they take turns, a step each.

Memory is a process's high-water mark over its steps above what it held with the net loaded,
gradients and momenta included: with the system's allocator, and with one that hands every freed map
back at once, so that differences in what allocators retain are gone. The bars are a ratio of 1.3 in
time and of 0.8 in memory, and less than a tenth of a step in fusion, losses and targets.
docs/speed.md has what was measured.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data.errors import run
from data.samples.edge import unpack_edges
from data.samples.transforms import normalize
from models import build_model
from models.fast import optimize_for_training
from models.fast.fusion import FastDynamicFusion
from models.losses import edge_losses
from utils.training.backends import keep_freed_memory
from utils.training.optimizer import edge_optimizer

CLASSES = 19
WARM_UP = 3
BARS = {"speed": 1.3, "memory": 0.8, "share": 0.1}


def plain_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """The reweighted loss image by image."""
    terms = []
    for map_, edges, inside in zip(logits, target, valid, strict=True):
        edges = edges * inside
        positives = edges.sum()
        weight = ((inside.sum() - positives) / positives).clamp(min=1)
        weights = torch.where(edges > 0, weight, torch.ones_like(edges)) * inside
        bce = nn.functional.binary_cross_entropy_with_logits(map_, edges, reduction="none")
        terms.append((bce * weights).mean())
    return torch.stack(terms).mean()


class Step:
    """A net with its optimiser; called with a crop, it takes a step."""

    def __init__(self, args: argparse.Namespace, *, plain: bool) -> None:
        torch.manual_seed(0)
        net = build_model("dff", num_classes=CLASSES, backbone=args.backbone)
        if not plain:
            optimize_for_training(net)
        self.plain = plain
        self.layout = torch.contiguous_format if plain else torch.channels_last
        self.net = net.train().to(memory_format=self.layout)
        self.optimizer = edge_optimizer(self.net, lr=1e-7, momentum=0.9, weight_decay=1e-4)
        if plain:
            for group in self.optimizer.param_groups:
                group["fused"] = False

    def loss(self, crop: dict[str, Tensor]) -> Tensor:
        """The sum of both terms."""
        image = normalize(crop["image"]).to(
            next(self.net.parameters()).dtype, memory_format=self.layout
        )
        outputs, valid = self.net(image), crop["valid"]
        if not self.plain:
            terms = edge_losses(outputs, unpack_edges(crop["edges"], CLASSES), valid)
            return terms["side5"] + terms["fuse"]
        target = torch.stack(
            [(crop["edges"] >> k & 1).to(image.dtype) for k in range(CLASSES)], dim=1
        )
        valid = valid.to(image.dtype)
        return plain_loss(outputs["side5"], target, valid) + plain_loss(
            outputs["fuse"], target, valid
        )

    def __call__(self, crop: dict[str, Tensor]) -> float:
        """The loss before the step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(crop)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def draw_crop(args: argparse.Namespace) -> dict[str, Tensor]:
    """What a worker sends: a random image, 1 % of edge pixels a class, padding at the bottom."""
    rng, shape = np.random.default_rng(0), (args.batch_size, args.size, args.size)
    edges = sum((rng.random(shape) < 0.01).astype(np.int32) << k for k in range(CLASSES))
    valid = np.ones((args.batch_size, 1, *shape[1:]), np.uint8)
    valid[:, :, -args.size // 16 :] = 0
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    return {
        "image": torch.from_numpy(image),
        "edges": torch.from_numpy(edges),
        "valid": torch.from_numpy(valid),
    }


def assert_equal(args: argparse.Namespace) -> None:
    """The same loss and gradients in double precision, where rounding cannot hide a difference."""
    crop = draw_crop(argparse.Namespace(batch_size=2, size=64))
    steps = [Step(args, plain=plain) for plain in (True, False)]
    losses = []
    for step in steps:
        step.net.double()
        losses.append(step.loss(crop))
        losses[-1].backward()
    torch.testing.assert_close(*losses, rtol=1e-10, atol=0)
    for (name, one), other in zip(
        steps[0].net.named_parameters(), steps[1].net.parameters(), strict=True
    ):
        if one.grad is not None:
            torch.testing.assert_close(
                one.grad, other.grad, rtol=1e-7, atol=1e-9, msg=f"gradients of {name} differ"
            )


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def shares(crop: dict[str, Tensor], steps: int) -> dict[str, float]:
    """Median seconds of each part of a step, forward and backward, on tensors like those in it."""
    size, count = crop["image"].shape[1:3], len(crop["image"])
    side5, shared, weights = (
        torch.randn(count, channels, *size, requires_grad=True)
        for channels in (CLASSES, 3, 4 * CLASSES)
    )
    target = unpack_edges(crop["edges"], CLASSES)
    fuse = FastDynamicFusion()
    gradient = torch.randn(count, CLASSES, *size)

    def fusion() -> None:
        fuse(weights.unflatten(1, (-1, 4)), side5, shared).backward(gradient)

    def losses() -> None:
        outputs = {"side5": side5, "fuse": gradient.requires_grad_()}
        terms = edge_losses(outputs, target, crop["valid"])
        (terms["side5"] + terms["fuse"]).backward()

    parts = {
        "fusion": fusion,
        "losses": losses,
        "targets": lambda: unpack_edges(crop["edges"], CLASSES),
    }
    for part in parts.values():
        part()
    return {
        name: statistics.median(timed(part) for _ in range(3 * steps))
        for name, part in parts.items()
    }


class Process:
    """A process with one of the two nets, which takes a step at a time on request."""

    def __init__(self, args: argparse.Namespace, which: str, **environment: str) -> None:
        flags = [
            f"--{name}={getattr(args, name.replace('-', '_'))}"
            for name in ("size", "batch-size", "threads", "backbone")
        ]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *flags, "--serve", which],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def step(self) -> float:
        """Take a step and return its seconds."""
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return float(self._answer())

    def end(self) -> float:
        """End the process and return the MiB that it took at most."""
        self.process.stdin.close()
        return float(self._answer())

    def _answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended")
        return line


def serve(args: argparse.Namespace, crop: dict[str, Tensor]) -> None:
    """The other end of a `Process`."""
    if args.serve == "fast":
        keep_freed_memory()
    step = Step(args, plain=args.serve.startswith("plain"))
    before = resident_mib("VmRSS")
    print("ready", flush=True)
    for _ in sys.stdin:
        print(timed(lambda: step(crop)), flush=True)
    print(resident_mib("VmHWM") - before, flush=True)


def measure(args: argparse.Namespace) -> tuple[list[tuple[float, float]], list[float], list[float]]:
    """Seconds of (plain, fast) step by step; MiB of both, with the system's allocator and without.

    Without: with an allocator that returns what is freed.
    """
    both = [Process(args, which) for which in ("plain", "fast")]
    pairs = [tuple(process.step() for process in both) for _ in range(WARM_UP + args.steps)][
        WARM_UP:
    ]
    memory, lean_memory = [process.end() for process in both], []
    for which in ("plain", "fast"):
        process = Process(args, f"{which}-returning-freed", MALLOC_MMAP_THRESHOLD_="65536")
        process.step(), process.step()
        lean_memory.append(process.end())
    return pairs, memory, lean_memory


def resident_mib(which: str) -> float:
    """VmRSS is what is resident now, VmHWM the most so far.

    (getrusage's maximum would begin with that of the process which started this one.)
    """
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[which].split()[0]) / 1024


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=192, help="side of the crop")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--steps", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Print the table."""
    torch.set_num_threads(args.threads)
    crop = draw_crop(args)
    if args.serve:
        serve(args, crop)
        return
    assert_equal(args)
    pairs, memory, lean_memory = measure(args)
    seconds = [statistics.median(column) for column in zip(*pairs, strict=True)]
    ratio = statistics.median(one / other for one, other in pairs)
    print(
        f"DFF over {args.backbone}, {args.batch_size}x3x{args.size}x{args.size}, "
        f"{args.threads} threads"
    )
    print(f"{'':28}{'plain':>10}{'fast':>10}{'ratio':>8}   bar")
    print(
        f"{'seconds a step':28}{seconds[0]:10.3f}{seconds[1]:10.3f}{ratio:8.2f}   "
        f">= {BARS['speed']}"
    )
    for what, (plain, fast) in (
        ("MiB above the net", memory),
        ("the same, freed returned", lean_memory),
    ):
        print(f"{what:28}{plain:10.0f}{fast:10.0f}{fast / plain:8.2f}   <= {BARS['memory']}")
    parts = shares(crop, args.steps)
    for name, value in parts.items():
        print(f"  {name:26}{'':10}{value:10.4f}{value / seconds[1]:8.1%}")
    total = sum(parts.values())
    share = f"{total / seconds[1]:8.1%}   < {BARS['share']:.0%}"
    print(f"  {'together':26}{'':10}{total:10.4f}{share}")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
