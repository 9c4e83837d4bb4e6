"""PyTorch's own compiler as an engine, on CPUs."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import InputError
from models.fast import needed_part
from models.joint import EDGE_OUTPUTS
from utils.inference.engines import engine_errors, require_outputs
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
        whole = self.model
        assert isinstance(whole, nn.Module)
        part = needed_part(whole, ())
        self.model = torch.compile(whole, dynamic=True)
        # Another graph, for outputs that need no edge head.
        self.part = self.model if part is whole else torch.compile(part, dynamic=True)

    def __call__(self, crops: np.ndarray, outputs: Sequence[str]) -> dict[str, Tensor]:
        """See `Engine`."""
        what = f"fails on {len(crops)} x {crops.shape[1]}x{crops.shape[2]}"
        if self.outputs:
            require_outputs(outputs, self.outputs)
        with engine_errors(self.name, what), _quiet_compiler():
            return super().__call__(crops, outputs)

    def _forward(self, image: Tensor, outputs: tuple[str, ...]) -> dict[str, Tensor]:
        return (self.model if set(outputs) & set(EDGE_OUTPUTS) else self.part)(image)


@contextlib.contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Hold back what the compiler logs about itself; errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _require_compiler() -> None:
    names = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    if not any(map(shutil.which, names)):
        raise InputError(
            f"--engine compile needs a C++ compiler, and there is no {' or '.join(names)} here; "
            "install one, or use another engine"
        )
