"""From a file of weights to a Predictor: which net it is, on which engine, with which options."""

import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from data.errors import InputError
from models import OPTIONS
from utils.export.graph import outputs_for
from utils.inference.device import pick_device
from utils.inference.engines.opening import NetChoice, open_net
from utils.inference.options import InferenceOptions
from utils.inference.predictor import Predictor
from utils.inference.temperature import chosen_temperature, fit_note, info_at
from utils.inference.words import keywords_for_flags

# What `load` takes beside its own parameters: options of some networks, and options of the run.
NET_OPTIONS = tuple(dict.fromkeys(option for names in OPTIONS.values() for option in names))
RUN_OPTIONS = tuple(option.name for option in fields(InferenceOptions))


def load(
    checkpoint: str | Path,
    device: str | torch.device = "auto",
    *,
    model: str | None = None,
    backbone: str | None = None,
    dataset: str | None = None,
    fast: bool | None = None,
    engine: str = "auto",
    **options: Any,
) -> Predictor:
    """The network of a checkpoint, ready to be called with images.

    Raises, each with one line: CheckpointError for a file that cannot be read, does not fit or does
    not say what it holds; InputError for a value that makes no sense; TypeError for an option that
    does not exist.

    Args:
        checkpoint: ours or a published one, or a net that `python -m utils.export` wrote as ONNX.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1".
        model, backbone: for a file that does not say what it holds, such as the published ones.
        dataset: likewise; it gives the classes their names and colours.
        fast: run equal, faster forms of the layers; None: on CPUs, the devices they have run on.
        engine: "torch", "compile", "onnx" or "openvino"; "auto": `utils.inference.engines.choose`.
        options: the fields of `InferenceOptions` (`base_size` is the checkpoint's unless given),
            and `align_corners` and `fusion` as in `models.OPTIONS`. None stands for the default.
            `temperature` is also the path of a `temperature.json`; the checkpoint's thresholds
            move with it. A warning says that it was fitted for another checkpoint, or with other
            options.
    """
    with keywords_for_flags():
        predictor = load_predictor(
            checkpoint,
            device,
            model=model,
            backbone=backbone,
            dataset=dataset,
            fast=fast,
            engine=engine,
            device_asked=str(device) != "auto",
            **options,
        )
    if predictor.warning:
        warnings.warn(predictor.warning, stacklevel=2)
    return predictor


def load_predictor(
    checkpoint: str | Path,
    device: str | torch.device,
    *,
    model: str | None,
    backbone: str | None,
    dataset: str | None,
    fast: bool | None,
    engine: str = "auto",
    device_asked: bool = True,
    names_flags: bool = False,
    **options: Any,
) -> Predictor:
    """`load`, whose errors name the flags of the command line; names_flags: the Predictor's too.

    device_asked: see `utils.inference.engines.opening.open_net`.
    """
    if unknown := sorted(options.keys() - {*NET_OPTIONS, *RUN_OPTIONS}):
        taken = ", ".join(
            ("model", "backbone", "dataset", "fast", "engine", *NET_OPTIONS, *RUN_OPTIONS)
        )
        raise TypeError(f"load() has no option {unknown[0]!r}; it has {taken}")
    given = {name: value for name, value in options.items() if value is not None}
    net_options = {name: given[name] for name in NET_OPTIONS if name in given}
    run_options = {name: given[name] for name in RUN_OPTIONS if name in given}
    temperature = run_options.pop("temperature", None)
    place = pick_device(str(device))
    net, info, note = open_net(
        checkpoint,
        NetChoice(model, backbone, dataset, net_options),
        engine=engine,
        device=place,
        device_asked=device_asked,
        fast=fast,
        half=InferenceOptions(**run_options).half,
    )
    if temperature is not None:
        run_options["temperature"] = chosen_temperature(temperature, info)
        info = info_at(info, run_options["temperature"])
    run = replace(InferenceOptions(base_size=info.base_size), **run_options)
    predictor = Predictor(net, info, device=place, options=run, fast=fast, names_flags=names_flags)
    if temperature is not None and info.task == "seg" and not predictor.has_edge_head:
        raise InputError(
            f"--temperature is for edges; {checkpoint} was exported without those of its edge "
            f"head: export it again with --outputs {' '.join(outputs_for(info))}"
        )
    predictor.note = note
    if isinstance(temperature, str | Path):
        predictor.warning = fit_note(temperature, checkpoint, info, run.of_the_scores())
    return predictor
