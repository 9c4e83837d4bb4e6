"""From a file and a choice to an engine that is ready to run."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from data.errors import InputError
from models.fast import tried_on
from utils.checkpoint import load_model, require_agreement
from utils.export.graph import MAIN, outputs_for, to_onnx
from utils.export.onnx_file import is_onnx, read_onnx_info
from utils.inference.engines import Engine
from utils.inference.engines.choose import EXPORTED, choose_engine
from utils.inference.engines.compile_engine import CompileEngine
from utils.inference.engines.onnx_engine import OnnxEngine
from utils.inference.engines.openvino_engine import OpenVinoEngine
from utils.model_info import ModelInfo


@dataclass(frozen=True)
class NetChoice:
    """What the caller says about a net, for files that do not say it; None: nothing.

    options: of the net, see `models.OPTIONS`.
    """

    model: str | None
    backbone: str | None
    dataset: str | None
    options: dict[str, bool | str]


def open_net(
    checkpoint: str | Path,
    choice: NetChoice,
    *,
    engine: str,
    device: torch.device,
    device_asked: bool,
    fast: bool | None,
    half: bool,
) -> tuple[nn.Module | Engine, ModelInfo, str | None]:
    """(net, what it is, a line about the engine): an nn.Module and None for PyTorch as it is.

    Args:
        checkpoint: a weight file, or an exported net.
        choice: what it holds.
        engine: of `choose.ENGINES`, or "auto".
        device: where it runs.
        device_asked: the caller named it; else an exported net runs on the CPU.
        fast: see `load`; InputError for an engine with nothing to choose.
        half: 16-bit floats.
    """
    exported = is_onnx(checkpoint)
    name, reason = choose_engine(engine, Path(checkpoint), exported=exported)
    if name in EXPORTED:
        device = device if device_asked else torch.device("cpu")
        if fast is not None:
            flag = "--fast" if fast else "--no-fast"
            raise InputError(f"{flag}: is for PyTorch's engines; leave it out with {name}")
        if half and name == "onnx":
            raise InputError("--half: ONNX Runtime runs nets in float32 here; use another engine")
    if exported:
        info = read_onnx_info(checkpoint)
        _require_same_net(checkpoint, info, choice)
        net = _open_exported(name, Path(checkpoint), device, half=half)
        if MAIN[info.task] not in net.outputs:
            raise InputError(
                f"{checkpoint}: found the outputs {', '.join(net.outputs)}, and predictions need "
                f"{MAIN[info.task]}; export it again without --outputs, or with that one among them"
            )
        return net, info, f"engine: {name} ({reason})"
    model, info = load_model(
        checkpoint,
        name=choice.model,
        backbone=choice.backbone,
        dataset=choice.dataset,
        options=choice.options,
    )
    if name == "torch":
        return model, info, None
    if name == "compile":
        folded = tried_on(device.type) if fast is None else fast
        net = CompileEngine(model, device, fast=folded, half=half)
    else:
        content = to_onnx(model, info, outputs_for(info))
        net = _open_exported(name, content, device, half=half)
    return net, info, f"engine: {name} ({reason})"


def _open_exported(name: str, content: Path | bytes, device: torch.device, *, half: bool) -> Engine:
    if name == "onnx":
        return OnnxEngine(content, device)
    return OpenVinoEngine(content, device, half=half)


def _require_same_net(checkpoint: str | Path, info: ModelInfo, choice: NetChoice) -> None:
    """InputError if the caller asks for another net than the graph is."""
    require_agreement(
        checkpoint, info, name=choice.model, backbone=choice.backbone, dataset=choice.dataset
    )
    for option, value in choice.options.items():
        flag = f"--{option.replace('_', '-')}"
        if option not in info.options or info.options[option] != value:
            raise InputError(
                f"{checkpoint}: was not exported with {flag} {value}, and a graph cannot be "
                "changed; leave it out, or export the checkpoint again with it"
            )
