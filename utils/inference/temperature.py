"""The temperature of an edge net: what its probabilities are divided by, as logits.

`test.py --fit-temperature` finds it and writes `temperature.json`:

    temperature   of all classes
    classes       [{"name", "temperature"}, ...]; with --fit-temperature class only, where each
                  class has its own, null for one that could not be fitted
    fit           what it was fitted on, with NLL and ECE before and after

It is applied to the mean probabilities at the image's size, before anything is made of them. A
checkpoint's thresholds were found without it, so they move with the probabilities: the same edges
are drawn, at other numbers.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from data.errors import InputError
from data.files import first_few, read_json
from utils.edge_metrics.calibration import CLIP, COLDEST, HOTTEST, at_temperature, is_temperature
from utils.model_info import ModelInfo, shown

Temperature = float | tuple[float, ...]  # of all classes, or of each


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
