"""Process-wide switches of a training run: PyTorch's, put back at its end, and the allocator's.

`--deterministic` asks for deterministic kernels, and PyTorch warns where there is none (warn_only)
instead of ending the run: by its documentation, on CUDA the gradients of PSPNet's adaptive average
pooling and of the decoupled nets' `grid_sample` have none. Bilinear up-sampling gets a slower
decomposition that has. CPU runs repeat bit for bit without the flag. Nothing of this was run on a
GPU yet; `make test-gpu` does.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

# Of cuBLAS: a workspace of fixed size, without which its results depend on the stream.
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# Of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
MAX_MMAP_THRESHOLD = 32 << 20  # bytes; glibc refuses more


@dataclass(frozen=True)
class Backends:
    """What is switched on. cudnn_benchmark: cuDNN times its kernels at each new shape and keeps the
    fastest. tf32: float32 products and convolutions with 10 bits of mantissa."""

    cudnn_benchmark: bool = False
    tf32: bool = False
    deterministic: bool = False


def choose_backends(device: str, *, tf32: bool, deterministic: bool) -> Backends:
    """The switches of a training run, all of whose crops have one size.

    Deterministic kernels exclude both of the others: a benchmark may choose another kernel in the
    next run, and TF32 is left out so that the flag alone says what the numbers are.
    """
    fast = device == "cuda" and not deterministic
    return Backends(cudnn_benchmark=fast, tf32=fast and tf32, deterministic=deterministic)


@contextlib.contextmanager
def backend_switches(backends: Backends) -> Iterator[None]:
    """Set PyTorch's switches within the `with` block.

    To be entered before the first CUDA call: cuBLAS reads its environment variable once.
    """
    before = (
        torch.backends.cudnn.benchmark,
        bool(torch.backends.cudnn.allow_tf32),
        bool(torch.backends.cuda.matmul.allow_tf32),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    if backends.deterministic:
        os.environ.setdefault(*WORKSPACE)
    try:
        _switch(
            backends.cudnn_benchmark, backends.tf32, backends.tf32, backends.deterministic, True
        )
        yield
    finally:
        _switch(*before)


@contextlib.contextmanager
def without_benchmark() -> Iterator[None]:
    """For images of many sizes, as in validation: a benchmark of each would take longer than it."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _switch(
    benchmark: bool, convolution_tf32: bool, product_tf32: bool, deterministic: bool, warn: bool
) -> None:
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.allow_tf32 = convolution_tf32
    torch.backends.cuda.matmul.allow_tf32 = product_tf32
    torch.use_deterministic_algorithms(deterministic, warn_only=warn)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next request, until the process ends.

    A training step on a CPU frees hundreds of megabytes at its end and requests them again in the
    next. In between glibc returns them to the kernel, which clears them page by page: about a
    twentieth of a step. Blocks above 32 MiB are still returned. Does nothing without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAX_MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, -1)  # as an unsigned number, the largest there is
