"""What a run's checkpoint says about the run, validated once: types, ranges, agreement.

Whether its tensors fit the net and the optimizer is asked when they are built
(`utils.training.saving.fit`).
"""

import math
from collections.abc import Iterable, Mapping

from torch import Tensor

from data.args import MAX_COUNT
from models import MODELS
from utils.checkpoint import CheckpointError

# A checkpoint has all of these, or is older than them and of a whole number of epochs.
WITHIN_EPOCH = ("step", "sums", "seconds", "waited")
Plain = None | bool | int | float | str


def require_run_state(state: dict, where: object) -> None:
    """CheckpointError in one line, with the file `where`, for a field that no run has written."""
    fault = _fault(state)
    if fault is not None:
        raise CheckpointError(f"{where}: is no checkpoint of a run: {fault}")


def _fault(state: dict) -> str | None:
    required = ["weights", "optimizer", "epoch", "best", "args"]
    if "steps" in state or any(name in state for name in WITHIN_EPOCH):
        required += WITHIN_EPOCH
    missing = [name for name in required if name not in state]
    if missing:
        return f"without {', '.join(missing)}"
    return _args_fault(state["args"]) or _progress_fault(state) or _weights_fault(state)


def _weights_fault(state: dict) -> str | None:
    for name in ("weights", "average"):
        tensors = state.get(name, {"": Tensor()})
        if not (isinstance(tensors, Mapping) and tensors and _all(tensors.values(), Tensor)):
            return f"{name} is no dictionary of tensors"
    optimizer = state["optimizer"]
    if not isinstance(optimizer, Mapping) or not isinstance(optimizer.get("state"), Mapping):
        return "optimizer is no state of an optimizer"
    groups = optimizer.get("param_groups")
    if not isinstance(groups, list) or not groups or not _all(groups, Mapping):
        return "optimizer has no parameter groups"
    numbers = [number for group in groups for number in _list(group.get("params"))]
    if numbers != list(range(len(numbers))) or len(numbers) > len(state["weights"]):
        return "optimizer does not count the parameters of the weights"
    if not set(optimizer["state"]) <= set(numbers) or not _all(optimizer["state"].values(), dict):
        return "optimizer has a state of parameters that it does not count"
    begun = state["epoch"] or state.get("step", 0)
    if begun and state["args"].get("momentum") and not optimizer["state"]:
        return "optimizer has no momenta"
    return _scaler_fault(state.get("scaler", {}))


def _scaler_fault(scaler: object) -> str | None:
    if not isinstance(scaler, Mapping):
        return "scaler is no dictionary"
    names = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
    if scaler and (scaler.keys() != names or not all(map(_amount, scaler.values()))):
        return f"scaler has {_shown(dict(scaler))}; expected numbers for {', '.join(names)}"
    return None


def _args_fault(args: object) -> str | None:
    if not isinstance(args, Mapping) or not _all(args, str):
        return "args is no dictionary of flags"
    for name, value in args.items():
        if not _plain(value):
            return f"args has {name} {_shown(value)}; expected a plain value"
    if args.get("model") not in MODELS:
        return f"args has model {_shown(args.get('model'))}; expected one of {', '.join(MODELS)}"
    return None


def _progress_fault(state: dict) -> str | None:
    for name in ("epoch", "step", "steps"):
        value = state.get(name, 0)
        if not _count(value):
            return f"{name} is {_shown(value)}; expected a whole number, 0 to {MAX_COUNT}"
    epochs, steps = state["args"].get("epochs"), state.get("steps", 0)
    if _count(epochs) and state["epoch"] > epochs:
        return f"epoch is {state['epoch']} of {epochs}"
    if steps and state["step"] > steps:
        return f"step is {state['step']} of {steps}"
    best = state["best"]
    if not (_finite(best) or (isinstance(best, float) and best == -math.inf)):
        return f"best is {_shown(best)}; expected a number"
    for name in ("seconds", "waited"):
        if not _amount(state.get(name, 0.0)):
            return f"{name} is {_shown(state[name])}; expected a number from 0"
    sums = state.get("sums", {})
    if not isinstance(sums, Mapping) or not _all(sums, str) or not all(map(_finite, sums.values())):
        return f"sums is {_shown(sums)}; expected a number for each term of the loss"
    return None


def _all(values: Iterable[object], kind: type) -> bool:
    return all(isinstance(value, kind) for value in values)


def _list(value: object) -> list:
    return value if isinstance(value, list) else [value]


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _amount(value: object) -> bool:
    return isinstance(value, int | float) and _finite(value) and value >= 0


def _plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return isinstance(value, Plain)


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:40]}…"
