"""A process for each variant, which takes a run at a time on request.

Processes of their own have memory of their own to measure, and what one lacks or breaks, such as a
package or the memory, ends no other.
"""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.errors import InputError, one_line, out_of_memory, users_to_mend
from utils.benchmark.matrix_rate import MatrixProduct, synchronize
from utils.benchmark.memory import PeakMemory
from utils.benchmark.variant import DEFINITION, Variant
from utils.export.graph import outputs_for
from utils.inference.device import pick_device
from utils.inference.engines import Engine
from utils.inference.engines.opening import NetChoice, open_net
from utils.inference.engines.torch_engine import TorchEngine

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
END_SECONDS = 30


class Ended(Exception):
    """A process that has no more numbers; the message says why."""


class Process:
    """The near end of a process that runs `serve` with a variant, or measures products.

    Ended from every method if the other end cannot go on.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, *arguments), daemon=True)
        self.process.start()
        other.close()

    def ask(self, request: str) -> Any:
        """Send a request and wait for its answer."""
        try:
            self.pipe.send(request)
        except OSError as error:
            raise Ended(self._fate()) from error
        return self.answer()

    def answer(self) -> Any:
        """The next answer."""
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise Ended(self._fate()) from error
        if kind == "ended":
            raise Ended(value)
        return value

    def end(self) -> None:
        """Close the pipe, on which the process ends."""
        self.pipe.close()
        self.process.join(END_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _fate(self) -> str:
        self.process.join(END_SECONDS)
        if self.process.exitcode == -signal.SIGKILL:
            return "killed, as the system does with a process for which there is not enough memory"
        return f"ended with status {self.process.exitcode}"


def serve_variant(pipe: Connection, variant: Variant) -> None:
    """The far end of a `Process` that measures a variant."""
    serve(pipe, variant, open_variant)


def serve(
    pipe: Connection,
    variant: Variant,
    open_engine: Callable[[Variant], tuple[Engine, tuple[str, ...]]],
) -> None:
    """Answer "run" with seconds, "memory" with bytes, "logits" with an array.

    Args:
        pipe: to the near end.
        variant: what is measured.
        open_engine: variant -> (engine, the outputs that a run gives, the main one first).
    """
    with _answering(pipe):
        torch.set_num_threads(variant.threads)
        engine, outputs = open_engine(variant)
        crops = random_crops(variant)
        peak = PeakMemory(engine.device)
        pipe.send(("ready", None))
        while (request := _request(pipe)) is not None:
            if request == "logits":
                with torch.inference_mode():
                    value = engine(crops, outputs)[outputs[0]].cpu().numpy()
            else:
                value = peak.bytes_above() if request == "memory" else timed(engine, crops, outputs)
            pipe.send((request, value))


def serve_products(pipe: Connection, precision: str, threads: int, device: str) -> None:
    """Answer every request with the FLOP/s of a matrix product."""
    with _answering(pipe):
        torch.set_num_threads(threads)
        product = MatrixProduct(DTYPES[precision], pick_device(device))
        pipe.send(("ready", None))
        while (request := _request(pipe)) is not None:
            pipe.send((request, product()))


def open_variant(variant: Variant) -> tuple[Engine, tuple[str, ...]]:
    """(engine, the outputs that predictions are made of); InputError if there is none."""
    device = pick_device(variant.device)
    if variant.precision != "fp32":
        expected = "fp16" if device.type == "cuda" else "bf16"
        if variant.precision != expected:
            raise InputError(f"on {device} the 16-bit precision is {expected}")
    definition, half = variant.engine == DEFINITION, variant.precision != "fp32"
    net, info, _ = open_net(
        variant.checkpoint,
        NetChoice(variant.model, variant.backbone, variant.dataset, dict(variant.options)),
        engine="torch" if definition else variant.engine,
        device=device,
        device_asked=variant.device != "auto",
        fast=None,
        half=half,
    )
    if isinstance(net, torch.nn.Module):
        # The faster forms on any device: that is what is measured here.
        net = TorchEngine(net, device, fast=not definition, half=half)
    has = [name for name in outputs_for(info) if not net.outputs or name in net.outputs]
    return net, tuple(has)


def random_crops(variant: Variant) -> np.ndarray:
    """uint8 (N, H, W, 3), the same for all variants."""
    shape = (variant.batch_size, *variant.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def timed(engine: Engine, crops: np.ndarray, outputs: tuple[str, ...]) -> float:
    """Seconds from uint8 crops to the logits of the outputs."""
    synchronize(engine.device)
    started = time.perf_counter()
    with torch.inference_mode():
        engine(crops, outputs)
    synchronize(engine.device)
    return time.perf_counter() - started


def _request(pipe: Connection) -> str | None:
    """The next request; None when there are no more."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


@contextlib.contextmanager
def _answering(pipe: Connection) -> Iterator[None]:
    """Whatever goes wrong is the answer, in one line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the near end ends us
    with contextlib.suppress(OSError):
        # If memory runs out, Linux kills this process and not the one with the other results.
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        yield
    except Exception as error:
        reason = one_line(error) if users_to_mend(error) else f"{type(error).__name__}: {error}"
        if out_of_memory(error):
            reason = "not enough memory"
        with contextlib.suppress(OSError):
            pipe.send(("ended", " ".join(reason.split())))
