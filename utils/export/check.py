"""Whether an exported graph computes what PyTorch does, at several sizes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from data.errors import InputError, one_line
from data.samples.transforms import normalize
from utils.metadata import IMAGE

# (N, H, W): the least, sides that no stride divides, several images, below and above what
# decoupled nets are padded to, and a larger one.
SIZES = ((1, 32, 32), (1, 165, 323), (2, 33, 47), (1, 257, 391))
BOUND = 1e-4  # of the largest logit
NOT_CHECKED = "not checked against PyTorch: needs onnxruntime: pip install onnxruntime"

Runner = Callable[[np.ndarray], Sequence[Any]]


class Checked(NamedTuple):
    """The largest difference of any output at one size, as a share of that output's largest."""

    size: tuple[int, int, int]
    error: float


def check_graph(
    content: bytes,
    model: nn.Module,
    outputs: Sequence[str],
    sizes: Sequence[tuple[int, int, int]] = SIZES,
) -> list[Checked] | None:
    """Compare a graph with its net; None if ONNX Runtime is not installed.

    InputError if an error is above BOUND, or the graph does not run at a size.

    Args:
        content: the ONNX file.
        model: in evaluation mode on the CPU.
        outputs: of the graph, in its order.
        sizes: (N, H, W) of the images, of random pixels.
    """
    run = _runner(content)
    if run is None:
        return None
    random = np.random.default_rng(0)
    checked = []
    for size in sizes:
        images = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = model(normalize(torch.from_numpy(images)))
        try:
            found = run(images)
        except Exception as error:
            raise InputError(
                f"the graph does not run at {size} ({one_line(error)}); nothing is written"
            ) from error
        error = max(
            _relative_error(logits, expected[name].numpy())
            for name, logits in zip(outputs, found, strict=True)
        )
        # Not "error > BOUND", which NaN would pass.
        if not error <= BOUND:
            raise InputError(
                f"the graph differs from PyTorch by {error:.1e} of the largest output at {size}, "
                f"more than {BOUND:.0e}; nothing is written"
            )
        checked.append(Checked(size, error))
    return checked


def _runner(content: bytes) -> Runner | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {IMAGE: images})


def _relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return float("inf")
    difference = np.abs(found.astype(np.float64) - expected).max()
    return float(difference / max(np.abs(expected).max(), np.finfo(np.float32).tiny))
