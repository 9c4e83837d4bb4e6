"""The optimizers of both tasks."""

from collections.abc import Callable

import torch
from torch import nn


class FusedSGD(torch.optim.SGD):
    """PyTorch's fused SGD, which on CPUs makes a copy for every weight that is not contiguous, such as channels_last ones. Of views that
    are contiguous it needs none."""

    def __init__(self, groups: list[dict], **options: float) -> None:
        super().__init__(groups, fused=True, **options)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """As SGD's."""
        weights = [p for group in self.param_groups for p in group["params"] if _is_last(p)]
        gradients = [weight.grad for weight in weights]
        for weight in weights:
            self._turn(weight, (0, 2, 3, 1))
        try:
            return super().step(closure)
        finally:
            for weight, gradient in zip(weights, gradients, strict=True):
                self._turn(weight, (0, 3, 1, 2))
                weight.grad = gradient

    def _turn(self, weight: nn.Parameter, order: tuple[int, int, int, int]) -> None:
        gradient, weight.grad = weight.grad, None
        weight.data = weight.data.permute(order)
        weight.grad = gradient.permute(order)
        state = self.state.get(weight, {})
        if state.get("momentum_buffer") is not None:
            state["momentum_buffer"] = state["momentum_buffer"].permute(order)


def seg_optimizer(model: nn.Module, *, lr: float, momentum: float, weight_decay: float) -> FusedSGD:
    """SGD with one learning rate, and decay, for all parameters, as published for DecoupleSegNets."""
    groups = [{"params": list(model.parameters()), "factor": 1.0}]
    return FusedSGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)


def edge_optimizer(
    model: nn.Module, *, lr: float, momentum: float, weight_decay: float
) -> FusedSGD:
    """SGD over two groups, the backbone at `lr` and everything else at ten times as much; decay on all parameters, as published."""
    backbone = list(model.backbone.parameters())
    inside = {id(parameter) for parameter in backbone}
    heads = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    groups = [{"params": backbone, "factor": 1.0}, {"params": heads, "factor": HEAD_FACTOR}]
    optimizer = FusedSGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    set_lr(optimizer, lr)
    return optimizer


def load_state(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """`load_state_dict`, with momenta in their parameters' memory layout: PyTorch's fused SGD on CPUs takes them to be in it and, where
    they are not (a checkpoint of a run without `channels_last`), updates the wrong elements without a word."""
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give each group `lr` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


HEAD_FACTOR = 10.0


def _is_last(weight: nn.Parameter) -> bool:
    last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return (
        last
        and not weight.is_contiguous()
        and weight.grad is not None
        and weight.device.type == "cpu"
    )
