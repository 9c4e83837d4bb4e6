"""The temperature of an edge net: what its probabilities are divided by, as logits.

`test.py --fit-temperature` finds it and writes `temperature.json`:

    temperature   of all classes
    classes       [{"name", "temperature"}, ...]; with --fit-temperature class only, where each
                  class has its own, null for one that could not be fitted
    fit           what it was fitted on, with NLL and ECE before and after; `source`, of a net: its
                  model, backbone, checkpoint and SHA-256, and the options of inference

It is applied to the mean probabilities at the image's size, before anything is made of them. A
checkpoint's thresholds were found without it, so they move with the probabilities: the same edges
are drawn, at other numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from data.errors import InputError, shortened
from data.files import file_sha256, first_few, read_json
from utils.edge_metrics.calibration import CLIP, COLDEST, HOTTEST, at_temperature, is_temperature
from utils.model_info import ModelInfo, shown

Temperature = float | tuple[float, ...]  # of all classes, or of each
# Of `InferenceOptions`, what moves the probabilities: sizes, windows, averages.
OPTIONS_OF_FIT = ("base_size", "window", "scales", "mirror")
EXPORTED = (".onnx", ".safetensors")
LONGEST_NUMBER = 1e15  # of what is printed as it is
SHOWN_SCALES = 12


def chosen_temperature(given: float | str | Path | Sequence[float], info: ModelInfo) -> Temperature:
    """The temperature for a net: a number, one for each class, or from a `temperature.json`.

    InputError for a net without edges, numbers out of range, and files of other classes.
    """
    if info.task == "seg" and not info.has_edge_head:
        raise InputError(f"--temperature is for edges; the checkpoint holds {info.name}")
    value = read_temperature(given, info.classes) if isinstance(given, str | Path) else given
    each = tuple(value) if isinstance(value, Sequence) else (value,) * info.num_classes
    if len(each) != info.num_classes or not all(map(is_temperature, each)):
        raise InputError(
            f"--temperature {given!r}: expected a number, {COLDEST:g} to {HOTTEST:g}, or one for "
            f"each of {info.num_classes} classes"
        )
    return tuple(map(float, each)) if len(set(each)) > 1 else float(each[0])


def read_temperature(path: str | Path, classes: Sequence[str]) -> Temperature:
    """The temperature in a `temperature.json`, of the classes by their names if it has such."""
    contents = read_json(path, "temperature.json")
    common = contents.get("temperature") if isinstance(contents, dict) else None
    if common is None or not is_temperature(common):
        raise InputError(
            f"{path}: is no temperature.json of test.py: found a temperature of {shown(common)}, "
            f"expected a number, {COLDEST:g} to {HOTTEST:g}"
        )
    if contents.get("classes") is None:
        return float(common)
    own = _own_temperatures(path, contents["classes"])
    if missing := [name for name in classes if name not in own]:
        raise InputError(
            f"{path}: its classes are not the checkpoint's: {first_few(missing)} missing"
        )
    found = (own[name] for name in classes)
    return tuple(float(common if value is None else value) for value in found)


def _own_temperatures(path: str | Path, rows: Any) -> dict[str, Any]:
    """The temperatures by the names of the classes, None for those without."""
    try:
        own = {row["name"]: row["temperature"] for row in rows}
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: no temperatures of classes in it; fit them again") from error
    for name, value in own.items():
        if value is not None and not is_temperature(value):
            raise InputError(
                f"{path}: the temperature of {shown(name)} is {shown(value)}; expected a number, "
                f"{COLDEST:g} to {HOTTEST:g}, or null"
            )
    return own


def fit_note(
    path: str | Path, checkpoint: str | Path, info: ModelInfo, options: Mapping[str, Any]
) -> str | None:
    """A line if a `temperature.json` was fitted for another checkpoint or with other options.

    None where it was fitted as it is used, and where the file does not say how it was fitted.

    Args:
        path: of the file, which `read_temperature` has read.
        checkpoint: the file of the net that it is used for.
        info: of that net.
        options: that it is run with, of `InferenceOptions.of_the_scores`.
    """
    contents = read_json(path, "temperature.json")
    fit = contents.get("fit") if isinstance(contents, dict) else None
    source = fit.get("source") if isinstance(fit, dict) else None
    if not isinstance(source, dict):
        return None
    parts = [*_other_net(source, checkpoint, info), *_other_options(source, options)]
    return f"{path} was {'; it was '.join(parts)}" if parts else None


def _other_net(source: Mapping[str, Any], checkpoint: str | Path, info: ModelInfo) -> list[str]:
    """What tells the net that a temperature was fitted for from this one, at most one part."""
    model, backbone, name, sha256 = (
        value if isinstance(value := source.get(key), str) and value.isprintable() else ""
        for key in ("model", "backbone", "checkpoint", "sha256")
    )
    other_net = (model or info.name, backbone or info.backbone) != (info.name, info.backbone)
    if not other_net and (not sha256 or sha256.lower() == file_sha256(checkpoint)):
        return []
    net = f"{model} over {backbone}" if model and backbone else model
    what = ", ".join(shortened(each) for each in (net, name) if each) or "another file"
    this = "another checkpoint"
    if other_net:
        this = info.net
    elif any(str(each).lower().endswith(EXPORTED) for each in (checkpoint, name)):
        this = "another file, perhaps of the same net: one of them is an export"
    return [f"fitted for {what}; this is {this}"]


def _other_options(source: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """The options that differ, at most one part. What the file does not state is not compared."""
    found = []
    for name in OPTIONS_OF_FIT:
        here = _as_json(options[name])
        fitted = source.get(name, here)
        if fitted != here:
            found.append(f"{name.replace('_', ' ')} {_in_words(fitted)} (here {_in_words(here)})")
    return [f"fitted with {', '.join(found)}"] if found else []


def _is_short_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < LONGEST_NUMBER


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _in_words(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", False: "no", True: "yes"}[value]
    if isinstance(value, list) and value and all(_is_short_number(v) for v in value):
        return " ".join(f"{v:g}" for v in value[:SHOWN_SCALES])
    return shown(value)


def apply_temperature(prob: Tensor, temperature: Temperature) -> Tensor:
    """sigmoid(logit(prob) / T), in place: float32 (K, H, W). Nothing is done at 1."""
    for plane, own in zip(prob, _each(temperature, len(prob)), strict=True):
        if own != 1:
            # In 64 bits: near 1, those of 32 are too few for the logit.
            plane.copy_(plane.double().logit_(eps=CLIP).div_(own).sigmoid_())
    return prob


def thresholds_at(thresholds: Sequence[float | None], temperature: Temperature) -> tuple:
    """Thresholds that were found at T = 1, as the probabilities at `temperature` need them."""
    # 0 draws everything and 1 nothing, at any temperature.
    return tuple(
        value
        if value is None or own == 1 or value in (0, 1)
        else float(at_temperature(np.array(value, np.float32), own))
        for value, own in zip(thresholds, _each(temperature, len(thresholds)), strict=True)
    )


def describe(temperature: Temperature) -> str:
    """In a few words, for the terminal."""
    if isinstance(temperature, tuple):
        return f"each class's own, {min(temperature):g} to {max(temperature):g}"
    return f"{temperature:g}"


def info_at(info: ModelInfo, temperature: Temperature) -> ModelInfo:
    """What a net is, with its thresholds at a temperature."""
    if info.thresholds is None:
        return info
    # A class without a threshold gets the mean of the others as they were found.
    filled = info.all_thresholds or info.thresholds
    return replace(info, thresholds=thresholds_at(filled, temperature))


def _each(temperature: Temperature, count: int) -> tuple[float, ...]:
    return temperature if isinstance(temperature, tuple) else (temperature,) * count
