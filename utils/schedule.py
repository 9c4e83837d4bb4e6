"""Learning-rate schedules and the published optimisers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

HEAD_FACTOR = 10.0

# (epoch, iteration within it, iterations per epoch) -> learning rate.
Schedule = Callable[[int, int, int], float]


def poly(base: float, step: int, steps: int, power: float = 0.9) -> float:
    """base * (1 - step / steps) ** power, DFF's schedule; `step` counts iterations from 0 over the whole run."""
    return base * (1 - step / steps) ** power


def per_iteration(base: float, epochs: int) -> Schedule:
    """DFF's `poly` over all iterations of a run."""
    return lambda epoch, step, steps: poly(base, epoch * steps + step, epochs * steps)


@dataclass(frozen=True)
class PerEpoch:
    """DecoupleSegNets' schedules, one value for each whole epoch.

    poly: base * (1 - e / epochs) ** power. With a `restart` epoch, their "scl-poly": from there on base * rescale *
    (1 - (e - restart) / (epochs - restart)) ** repoly.
    quirks: their loop steps its scheduler before each epoch, so that epoch e has the value of e + 1 and the last epoch that of the end,
    0: there only the batch statistics still move.
    """

    base: float
    epochs: int
    power: float = 1.0
    restart: int | None = None
    rescale: float = 1.0
    repoly: float = 1.5
    quirks: bool = True

    def __call__(self, epoch: int, step: int = 0, steps: int = 1) -> float:
        """The learning rate of an epoch, the same in all its iterations."""
        return self.at(epoch + 1 if self.quirks else epoch)

    def at(self, epoch: int) -> float:
        """The formula; `epoch` runs from 0 to `epochs`."""
        if self.restart is None or epoch < self.restart:
            return poly(self.base, epoch, self.epochs, self.power)
        return self.rescale * poly(self.base, epoch - self.restart, self.epochs - self.restart, self.repoly)


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


def _is_last(weight: nn.Parameter) -> bool:
    last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return last and not weight.is_contiguous() and weight.grad is not None and weight.device.type == "cpu"


def seg_optimizer(model: nn.Module, *, lr: float, momentum: float, weight_decay: float) -> FusedSGD:
    """SGD with one learning rate, and decay, for all parameters, as published for DecoupleSegNets."""
    groups = [{"params": list(model.parameters()), "factor": 1.0}]
    return FusedSGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)


def edge_optimizer(model: nn.Module, *, lr: float, momentum: float, weight_decay: float) -> FusedSGD:
    """SGD over two groups, the trunk at `lr` and everything else at ten times as much; decay on all parameters, as published."""
    trunk = list(model.backbone.parameters())
    inside = {id(parameter) for parameter in trunk}
    heads = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    groups = [{"params": trunk, "factor": 1.0}, {"params": heads, "factor": HEAD_FACTOR}]
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
