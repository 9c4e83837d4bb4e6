"""PyTorch's own compiler as an engine, on CPUs."""

import os
import shutil

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import InputError
from utils.inference.engines import engine_errors
from utils.inference.engines.torch_engine import TorchEngine

COMPILERS = ("g++", "clang++", "cl", "icpx")


class CompileEngine(TorchEngine):
    """A net through `torch.compile`, for any size of image.

    The first image takes a minute or more: C++ is generated and compiled then.

    Args:
        model: ValueError unless it is in evaluation mode; it stays as it is.
        device: InputError unless it is the CPU.
        fast: compile the folded copy, see `models.fast.optimize_for_inference`.
        half: compute in bfloat16.
    """

    name = "compile"

    def __init__(self, model: nn.Module, device: torch.device, *, fast: bool, half: bool) -> None:
        if device.type != "cpu":
            raise InputError(
                f"--engine compile has been run on CPUs only, not on {device}; use --device cpu"
            )
        _require_compiler()
        super().__init__(model, device, fast=fast, half=half)
        self.model = torch.compile(self.model, dynamic=True)

    def __call__(self, crops: np.ndarray, output: str) -> Tensor:
        """See `Engine`."""
        with engine_errors(self.name, f"fails on {len(crops)} x {crops.shape[1]}x{crops.shape[2]}"):
            return super().__call__(crops, output)


def _require_compiler() -> None:
    names = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    if not any(map(shutil.which, names)):
        raise InputError(
            f"--engine compile needs a C++ compiler, and there is no {' or '.join(names)} here; "
            "install one, or use another engine"
        )
