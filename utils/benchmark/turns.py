"""The protocol: every variant takes a run in turn, so that a busy machine slows all."""

from collections.abc import Callable, Sequence

from data.system.memory import available_memory, in_gigabytes
from utils.benchmark.flops import count
from utils.benchmark.process import Ended, Process, serve_products, serve_variant
from utils.benchmark.variant import DEFINITION, Result, Variant
from utils.inference.memory import pass_bytes
from utils.model_info import ModelInfo

PROTOCOL = (
    "{runs} runs of each variant in turn after {warm_up} of warm-up; {threads} threads; batch of "
    "{batch_size}; each variant in its own process",
    "a run: from uint8 crops in memory to the float32 logits of the output that predictions are "
    "made of, normalisation included; not reading, resizing, sigmoid or writing",
    "memory: the most above the process with its net loaded, engine's buffers included",
    "GFLOP: convolutions and matrix products of the definition, multiplication and addition as "
    "two; share: of this machine's rate for a product of 2048x2048 matrices in the same precision, "
    "which takes turns with the variants (an engine that does fewer operations may pass 100 %)",
)


def protocol(runs: int, warm_up: int, threads: int, batch_size: int) -> list[str]:
    """What was done, line by line."""
    values = {"runs": runs, "warm_up": warm_up, "threads": threads, "batch_size": batch_size}
    return [line.format(**values) for line in PROTOCOL]


def measure(
    variants: Sequence[Variant],
    info: ModelInfo,
    *,
    runs: int,
    warm_up: int,
    say: Callable[[str], None] = print,
) -> tuple[list[Result], dict[str, list[float]]]:
    """(a result for each variant, FLOP/s of the matrix product in each precision, run by run).

    A variant that cannot be measured, or no longer, has the reason in `missing`; others go on.

    Args:
        variants: what is measured; threads and device are the same for all.
        info: their net.
        runs: that count.
        warm_up: runs before them.
        say: is called with lines about the progress.
    """
    results = [Result(variant) for variant in variants]
    processes: dict[int, Process] = {}
    products: dict[str, Process] = {}
    rates: dict[str, list[float]] = {}
    try:
        for index, result in enumerate(results):
            if not _too_large(result, info):
                say(f"loading {result.variant.label}")
                _attempt(result, lambda i=index: _start(processes, i, results[i].variant))
        _start_products(products, results)
        for turn in range(warm_up + runs):
            say(f"run {turn + 1} of {warm_up + runs}")
            _take_turns(results, processes, products, rates, counts=turn >= warm_up)
        for index, process in processes.items():
            _attempt(results[index], lambda r=results[index], p=process: _ask_memory(r, p))
    finally:
        for process in [*processes.values(), *products.values()]:
            process.end()
    for result in results:
        if not result.missing:
            result.flop, _ = count(info, result.variant.size, result.variant.batch_size)
    return results, rates


def _too_large(result: Result, info: ModelInfo) -> bool:
    """Whether a run would not fit into memory, which is then why its numbers are missing."""
    variant, available = result.variant, available_memory()
    if variant.device.startswith("cuda") or available is None:
        return False
    half, fast = variant.precision != "fp32", variant.engine != DEFINITION
    each = pass_bytes(info, engine=variant.engine if fast else "torch", fast=fast, half=half)
    needed = each * variant.batch_size * variant.size[0] * variant.size[1]
    if needed <= available:
        return False
    result.missing = f"takes about {in_gigabytes(needed)}, and {in_gigabytes(available)} are free"
    return True


def _attempt(result: Result, work: Callable[[], None]) -> None:
    try:
        work()
    except Ended as error:
        result.missing = str(error)


def _start(processes: dict[int, Process], index: int, variant: Variant) -> None:
    process = Process(serve_variant, variant)
    processes[index] = process
    process.answer()


def _start_products(products: dict[str, Process], results: Sequence[Result]) -> None:
    for result in results:
        variant = result.variant
        if result.missing or variant.precision in products:
            continue
        process = Process(serve_products, variant.precision, variant.threads, variant.device)
        products[variant.precision] = process
        process.answer()


def _take_turns(
    results: Sequence[Result],
    processes: dict[int, Process],
    products: dict[str, Process],
    rates: dict[str, list[float]],
    *,
    counts: bool,
) -> None:
    """A run of each."""
    for index, process in processes.items():
        result = results[index]
        if result.missing:
            continue
        try:
            seconds = process.ask("run")
        except Ended as error:
            result.missing = str(error)
            continue
        if counts:
            result.seconds.append(seconds)
    for precision, process in products.items():
        rate = process.ask("run")
        if counts:
            rates.setdefault(precision, []).append(rate)


def _ask_memory(result: Result, process: Process) -> None:
    if not result.missing:
        result.memory = process.ask("memory")
