"""OpenVINO as an engine: it runs what `python -m utils.export` writes, on CPUs."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.errors import InputError
from utils.inference.engines import engine_errors, require_outputs
from utils.metadata import IMAGE


class OpenVinoEngine:
    """An exported net in OpenVINO, with as many threads as PyTorch has.

    Args:
        content: the file's path, or its bytes.
        device: InputError unless it is the CPU.
        half: compute in bfloat16; InputError on a processor without it.
    """

    name = "openvino"

    def __init__(self, content: Path | bytes, device: torch.device, *, half: bool) -> None:
        if device.type != "cpu":
            raise InputError(f"--engine openvino runs on CPUs, not on {device}; use --device cpu")
        library = _openvino()
        self.device = torch.device("cpu")
        where = "the exported net" if isinstance(content, bytes) else content
        with engine_errors(self.name, f"cannot load {where}"):
            core = library.Core()
            able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if half and "BF16" not in able:
                raise InputError(
                    "--half: OpenVINO finds no bfloat16 in this processor; leave it out"
                )
            settings = {
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                # Its own default is bfloat16 wherever the processor has it.
                "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
                "PERFORMANCE_HINT": "LATENCY",
            }
            self.net = core.read_model(content)
            self.outputs: tuple[str, ...] = tuple(out.get_any_name() for out in self.net.outputs)
            self._compile = partial(core.compile_model, device_name="CPU", config=settings)
            self._part = library.Model
        self._compiled: dict[tuple[str, ...], Any] = {}
        self.compiled_for(self.outputs[:1])  # errors come now

    def __call__(self, crops: np.ndarray, outputs: Sequence[str]) -> dict[str, Tensor]:
        """See `Engine`."""
        require_outputs(outputs, self.outputs)
        compiled = self.compiled_for(outputs)
        with engine_errors(self.name, f"fails on {len(crops)} x {crops.shape[1]}x{crops.shape[2]}"):
            # Shared results would be written over by the next call.
            results = compiled({IMAGE: crops}, share_outputs=False)
        return {name: torch.from_numpy(results[i]).float() for i, name in enumerate(outputs)}

    def compiled_for(self, outputs: Sequence[str]) -> Any:
        """The part of the graph that leads to the outputs, compiled once: all of it always runs."""
        key = tuple(outputs)
        if key not in self._compiled:
            with engine_errors(self.name, "cannot compile the net"):
                results = [self.net.outputs[self.outputs.index(name)].node for name in key]
                part = self._part(results, self.net.get_parameters())
                self._compiled[key] = self._compile(part)
        return self._compiled[key]


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise InputError("--engine openvino needs openvino: pip install openvino") from error
    return openvino
