"""Which device a script computes on."""

import torch

from data.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto": a GPU if there is one, else the CPU. InputError if it is not there."""
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
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"--device {name}: only auto, cpu, cuda and mps are supported")
    return device
