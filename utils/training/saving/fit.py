"""Whether a checkpoint's tensors fit the net and the optimizer that resume from it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from utils.checkpoint import CheckpointError


def require_tensors(found: Mapping[str, object], own: Mapping[str, Tensor], what: str) -> None:
    """CheckpointError that names the first tensor which is missing, unknown or of another shape."""
    for name in own.keys() - found.keys():
        raise CheckpointError(f"{what}: {name} is missing")
    for name, value in found.items():
        if name not in own:
            raise CheckpointError(f"{what}: found {name}, which the net does not have")
        _require_like(value, own[name], f"{what}: {name}")


def require_optimizer_state(state: dict, optimizer: torch.optim.Optimizer) -> None:
    """CheckpointError unless groups and momenta are those of this optimizer's parameters."""
    groups = [len(group["params"]) for group in optimizer.param_groups]
    found = [len(group["params"]) for group in state["param_groups"]]
    if found != groups:
        raise CheckpointError(f"optimizer: found groups of {found} parameters, expected {groups}")
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, values in state["state"].items():
        for name, value in values.items():
            if value is not None and name != "step":  # a count, which some optimizers keep
                _require_like(value, parameters[number], f"optimizer: {name} of {number}")


def require_sums(sums: dict[str, float], step: int, terms: tuple[str, ...]) -> None:
    """CheckpointError unless the sums of an epoch that has begun are of the loss's terms."""
    if sums.keys() != set(terms) and (sums or step):
        raise CheckpointError(f"sums of {', '.join(sums) or 'nothing'}; expected {terms}")


def _require_like(value: object, own: Tensor, what: str) -> None:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        raise CheckpointError(f"{what} is no dense tensor")
    if value.shape != own.shape:
        raise CheckpointError(f"{what} is {tuple(value.shape)}, expected {tuple(own.shape)}")
    if value.is_floating_point() != own.is_floating_point() or value.is_complex():
        raise CheckpointError(f"{what} is of {value.dtype}, expected {own.dtype}")
