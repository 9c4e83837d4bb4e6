"""The optimizers of both tasks."""

from collections.abc import Callable

import torch
from torch import nn

from models.joint import JointNet

OPTIMIZERS = ("sgd", "adamw")
# AdamW's average of squares spans the last hundred steps: a run of a few hundred would end before
# the usual thousand.
SQUARES = 0.99
HEAD_FACTOR = 10.0  # an edge net's heads learn this much faster than its backbone, as published


class FusedSGD(torch.optim.SGD):
    """PyTorch's fused SGD without its copies on CPUs.

    There, its kernel copies every weight that is not contiguous, such as channels_last ones, and
    its gradient and momentum, in each step. A permuted view of the same memory is contiguous, and
    SGD does not care about the order of elements. CUDA's kernel takes any dense layout as it is.
    """

    def __init__(
        self, groups: list[dict], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of SGD; weights, gradients and momenta keep their memory layout."""
        weights = [
            parameter
            for group in self.param_groups
            for parameter in group["params"]
            if needs_permutation(parameter)
        ]
        gradients = [weight.grad for weight in weights]
        for weight in weights:
            self._permute(weight, (0, 2, 3, 1))  # NCHW, strided as NHWC -> contiguous NHWC
        try:
            return super().step(closure)
        finally:
            for weight, gradient in zip(weights, gradients, strict=True):
                self._permute(weight, (0, 3, 1, 2))
                weight.grad = gradient  # the same object, which DDP's buckets refer to

    def _permute(self, weight: nn.Parameter, order: tuple[int, int, int, int]) -> None:
        # Autograd checks a gradient's shape against its parameter's: it is taken off meanwhile.
        gradient, weight.grad = weight.grad, None
        weight.data = weight.data.permute(order)
        weight.grad = None if gradient is None else gradient.permute(order)
        state = self.state.get(weight, {})
        if state.get("momentum_buffer") is not None:
            state["momentum_buffer"] = state["momentum_buffer"].permute(order)


def needs_permutation(weight: nn.Parameter) -> bool:
    """Whether the fused kernel would copy this weight: a channels_last one with a gradient, on a
    CPU."""
    return (
        weight.device.type == "cpu"
        and weight.grad is not None
        and weight.dim() == 4
        and weight.is_contiguous(memory_format=torch.channels_last)
        and not weight.is_contiguous()  # kernels of one pixel are both
    )


def seg_optimizer(
    model: nn.Module, *, lr: float, momentum: float, weight_decay: float, kind: str = "sgd"
) -> torch.optim.Optimizer:
    """One learning rate, and decay, for all parameters; SGD as published for DecoupleSegNets.

    An edge head learns HEAD_FACTOR times as fast, as those of edge nets do.
    """
    named = list(model.named_parameters())
    groups = [{"params": [p for name, p in named if not _of_edge_head(name)], "factor": 1.0}]
    if of_head := [p for name, p in named if _of_edge_head(name)]:
        groups.append({"params": of_head, "factor": HEAD_FACTOR})
    optimizer = _optimizer(kind, groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    set_lr(optimizer, lr)
    return optimizer


def _of_edge_head(name: str) -> bool:
    return name.startswith(JointNet.edge_prefixes)


def edge_optimizer(
    model: nn.Module, *, lr: float, momentum: float, weight_decay: float, kind: str = "sgd"
) -> torch.optim.Optimizer:
    """Two groups: the backbone at `lr`, everything else at HEAD_FACTOR times `lr`.

    Decay is on all parameters; SGD as published.
    """
    backbone = list(model.get_submodule("backbone").parameters())
    inside = {id(parameter) for parameter in backbone}
    heads = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    groups = [{"params": backbone, "factor": 1.0}, {"params": heads, "factor": HEAD_FACTOR}]
    optimizer = _optimizer(kind, groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    set_lr(optimizer, lr)
    return optimizer


def _optimizer(
    kind: str, groups: list[dict], *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """kind: of OPTIMIZERS. AdamW (Loshchilov and Hutter, ICLR 2019) averages gradients with
    `momentum`, and decays weights apart from them."""
    if kind == "sgd":
        return FusedSGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    betas = (momentum, SQUARES)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


def load_state(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """`load_state_dict`, with this optimizer's own settings, and momenta in their parameters'
    memory layout.

    PyTorch takes the settings from the state: those of the command that wrote it. And its fused SGD
    on CPUs takes for granted that the layouts agree. Where they do not (a checkpoint of a run
    without `channels_last`), it updates the wrong elements and raises no error.
    """
    own = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    groups = [
        settings | {"params": group["params"]}
        for settings, group in zip(own, state["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give each group `lr` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
