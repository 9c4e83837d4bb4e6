"""Batch normalisation, and the ReLU after it, folded into the convolution in front, in place.

In evaluation a batch normalisation is a factor and a summand for each channel, which the
convolution's weights and bias take over; the normalisation becomes nn.Identity. What stays are the
ones without a convolution of their own in front (pre-activation blocks).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import nn

from models.fast.fused import FusedConv2d
from models.gffnet import DenseBlock
from models.resnet import BasicBlock, Bottleneck, ResNet

# Module -> (convolution, its batch normalisation, whether a ReLU follows) by attribute.
PAIRS: dict[type[nn.Module], tuple[tuple[str, str, bool], ...]] = {
    BasicBlock: (("conv1", "bn1", True), ("conv2", "bn2", False)),
    Bottleneck: (("conv1", "bn1", True), ("conv2", "bn2", True), ("conv3", "bn3", False)),
    ResNet: (("conv1", "bn1", False),),
    DenseBlock: (("conv1", "norm2", False),),
}


def fold_batch_norms(model: nn.Module) -> None:
    """Fold every batch normalisation of a net in evaluation mode that has a convolution in front.

    Every nn.Conv2d becomes a `FusedConv2d`.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = FusedConv2d
    for module in [*model.modules()]:
        for conv, norm, relu in PAIRS.get(type(module), ()):
            _fold(_last_conv(getattr(module, conv)), module, norm, relu=relu)
        if type(module) is nn.Sequential:
            _fold_row(module)


def _last_conv(module: nn.Module) -> nn.Module:
    """The convolution itself, or the last layer of a row (the deep stem)."""
    return module[-1] if isinstance(module, nn.Sequential) else module


def _fold_row(row: nn.Sequential) -> None:
    """Fold the layers of a row, and of rows within it, one after the other."""
    for (_, _, first), (parent, name, second) in pairwise(_flatten(row)):
        if isinstance(second, nn.BatchNorm2d):
            _fold(first, parent, name, relu=False)
    layers = [entry for entry in _flatten(row) if type(entry[2]) is not nn.Identity]
    for (_, _, first), (parent, name, second) in pairwise(layers):
        if type(second) is nn.ReLU and type(first) is FusedConv2d:
            first.relu = True
            setattr(parent, name, nn.Identity())


def _flatten(row: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(parent, name, layer) of a row's layers, rows within it opened."""
    for name, layer in row.named_children():
        if type(layer) is nn.Sequential:
            yield from _flatten(layer)
        else:
            yield row, name, layer


@torch.no_grad()
def _fold(conv: nn.Module, parent: nn.Module, name: str, *, relu: bool) -> None:
    """Fold the batch normalisation `parent.name` into `conv`, if they are of the plain kinds."""
    norm = getattr(parent, name)
    # Of others than PyTorch's own, such as joint ones, only those that say so.
    plain = type(norm) is nn.BatchNorm2d or getattr(norm, "plain_in_evaluation", False)
    if type(conv) is not FusedConv2d or not plain or norm.training:
        return
    if norm.running_mean is None or norm.running_var is None:
        return
    # In double precision: the folded weights are then rounded once.
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    summand = -norm.running_mean.double() * factor
    if norm.bias is not None:
        summand = summand + norm.bias.double()
    if conv.bias is not None:
        summand = summand + conv.bias.double() * factor
    weight = conv.weight.double() * factor[:, None, None, None]
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(summand.to(conv.weight.dtype), requires_grad=False)
    conv.relu = relu
    setattr(parent, name, nn.Identity())


def left_over(model: nn.Module) -> Sequence[str]:
    """The names of batch normalisations that no convolution took."""
    return [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
