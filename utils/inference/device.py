"""Which device a script computes on, and what to say when its memory is not enough."""

import contextlib
from collections.abc import Iterator

import torch

from data.errors import InputError, out_of_memory

SUPPORTED = ("cpu", "cuda", "mps")


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; InputError if this machine does not have it.

    "auto" is a GPU if there is one, else the CPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"--device {name}: no such kind of device; use auto, cpu, cuda or cuda:1"
        ) from error
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise InputError(
            f"--device {name}: PyTorch finds {gpus} CUDA devices here; use --device cpu or auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            f"--device {name}: PyTorch finds no Metal device here; use --device cpu or auto"
        )
    if device.type not in SUPPORTED:
        raise InputError(f"--device {name}: only auto, cpu, cuda and mps are supported")
    return device


@contextlib.contextmanager
def memory_errors(device: torch.device, height: int, width: int) -> Iterator[None]:
    """Turn "out of memory" while an image goes through a net into one line that says what to do.

    PyTorch reports it in a page of advice, on CPUs as a plain RuntimeError, and OpenCV has an error
    of its own; other errors pass unchanged.
    """
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise InputError(
            f"a {width}x{height} image does not fit into the memory of {device}; cut it up with "
            f"--window N{'' if device.type == 'cpu' else ', use --device cpu'} or shrink it with "
            "--base-size"
        ) from error
