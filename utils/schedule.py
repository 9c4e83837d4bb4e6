"""Learning-rate schedules and the published optimiser."""

import torch
from torch import nn

HEAD_FACTOR = 10.0


def poly(base: float, step: int, steps: int, power: float = 0.9) -> float:
    """base * (1 - step / steps) ** power, DFF's schedule; `step` counts iterations from 0 over the whole run."""
    return base * (1 - step / steps) ** power


def edge_optimizer(model: nn.Module, *, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over two groups, the trunk at `lr` and everything else at ten times as much; decay on all parameters, as published."""
    trunk = list(model.backbone.parameters())
    inside = {id(parameter) for parameter in trunk}
    heads = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    groups = [{"params": trunk, "factor": 1.0}, {"params": heads, "factor": HEAD_FACTOR}]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    set_lr(optimizer, lr)
    return optimizer


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give each group `lr` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
