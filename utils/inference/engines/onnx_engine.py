"""ONNX Runtime as an engine: it runs what `python -m utils.export` writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.errors import InputError
from utils.inference.engines import engine_errors, require_outputs
from utils.metadata import IMAGE

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxEngine:
    """An exported net in ONNX Runtime, with as many threads as PyTorch has.

    Args:
        content: the file's path, or its bytes.
        device: "cuda" asks for ONNX Runtime's CUDA provider; InputError if it is not there. The
            logits are in the CPU's memory either way.
    """

    name = "onnx"

    def __init__(self, content: Path | bytes, device: torch.device) -> None:
        library = _onnxruntime()
        self.device = torch.device("cpu")
        provider = _provider(library, device)
        options = library.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # errors are raised; printing them too would say it twice
        where = "the exported net" if isinstance(content, bytes) else content
        with engine_errors(self.name, f"cannot load {where}"):
            self.session = library.InferenceSession(
                content if isinstance(content, bytes) else str(content),
                options,
                providers=[provider],
            )
        if provider not in self.session.get_providers():  # it falls back to the CPU by itself
            raise InputError(f"ONNX Runtime cannot start {provider} here; use --device cpu")
        # Else it computes the outputs that are not asked for, too.
        self.run_options = library.RunOptions()
        self.run_options.only_execute_path_to_fetches = True
        self.outputs: tuple[str, ...] = tuple(out.name for out in self.session.get_outputs())

    def __call__(self, crops: np.ndarray, outputs: Sequence[str]) -> dict[str, Tensor]:
        """See `Engine`."""
        require_outputs(outputs, self.outputs)
        with engine_errors(self.name, f"fails on {len(crops)} x {crops.shape[1]}x{crops.shape[2]}"):
            found = self.session.run(list(outputs), {IMAGE: crops}, self.run_options)
        return {
            name: torch.from_numpy(logits).float()
            for name, logits in zip(outputs, found, strict=True)
        }


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("--engine onnx needs onnxruntime: pip install onnxruntime") from error
    return onnxruntime


def _provider(library: Any, device: torch.device) -> str:
    if device.type == "cpu":
        return CPU
    if device.type != "cuda":
        raise InputError(f"--engine onnx runs on CPUs and CUDA devices, not {device}")
    if CUDA not in library.get_available_providers():
        raise InputError(
            f"--device {device}: this ONNX Runtime has no {CUDA}; use --device cpu, or pip install "
            "onnxruntime-gpu in place of onnxruntime"
        )
    return CUDA
