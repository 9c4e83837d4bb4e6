"""Convolutions with what follows them in one pass, for evaluation without gradients.

oneDNN adds a residual and applies ReLU while a result is still in the cache; PyTorch's own
compiler calls the same operators.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fast.convolution import geometry_of, has_geometry, on_grid
from models.resnet import BasicBlock, Bottleneck
from models.wider_resnet import PreActivationBlock


class FusedConv2d(nn.Conv2d):
    """nn.Conv2d, with `relu` followed by ReLU."""

    relu = False

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, H', W')."""
        if not applies(input, self):
            out = super().forward(input)
            return F.relu(out) if self.relu else out
        return convolve_relu(input, self)


class FusedBasicBlock(BasicBlock):
    """The sum and the last ReLU are part of the second convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, width, h / stride, w / stride)."""
        if not (applies(x, self.conv1) and _are_folded(self.bn1, self.bn2)):
            return super().forward(x)
        out = convolve_relu(x, self.conv1)
        return add_relu(out, self.conv2, x if self.downsample is None else self.downsample(x))


class FusedBottleneck(Bottleneck):
    """The sum and the last ReLU are part of the third convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 4 width, h / stride, w / stride)."""
        if not (applies(x, self.conv1) and _are_folded(self.bn1, self.bn2, self.bn3)):
            return super().forward(x)
        out = convolve_relu(convolve_relu(x, self.conv1), self.conv2)
        return add_relu(out, self.conv3, x if self.downsample is None else self.downsample(x))


class FusedPreActivationBlock(PreActivationBlock):
    """The sum is part of the last convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, widths[-1], h / stride, w / stride)."""
        *layers, last = self.convs
        if not isinstance(last, nn.Conv2d) or not applies(x, last):
            return super().forward(x)
        activated = self.bn1(x)
        shortcut = x if self.proj_conv is None else self.proj_conv(activated)
        for layer in layers:
            activated = layer(activated)
        return add_relu(activated, last, shortcut, relu=False)


def convolve_relu(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv(x), with `conv.relu` followed by ReLU."""
    geometry = geometry_of(conv)
    x = on_grid(x, geometry.step)
    activation = "relu" if conv.relu else "none"
    return torch.ops.mkldnn._convolution_pointwise(
        *(x, conv.weight, conv.bias),
        *(geometry.padding, geometry.stride, geometry.dilation, geometry.groups),
        *(activation, [], ""),
    )


def add_relu(x: Tensor, conv: nn.Conv2d, shortcut: Tensor, *, relu: bool = True) -> Tensor:
    """relu(conv(x) + shortcut), written over `shortcut`.

    A block's input may be written over: whoever else reads it, has read it by then.
    """
    geometry = geometry_of(conv)
    return torch.ops.mkldnn._convolution_pointwise_.binary(
        *(shortcut, on_grid(x, geometry.step), conv.weight, conv.bias),
        *(geometry.padding, geometry.stride, geometry.dilation, geometry.groups),
        *("add", 1.0, "relu" if relu else None, [], None),
    )


def applies(x: Tensor, conv: nn.Module) -> bool:
    """Whether oneDNN's operators take the map and the convolution; no gradients are wanted."""
    return (
        # First: torch.compile would break its graph at some of the other questions.
        not torch.compiler.is_compiling()
        and type(conv) is FusedConv2d
        and x.dim() == 4
        and x.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and not torch.is_grad_enabled()
        and x.dtype == conv.weight.dtype
        and x.dtype in (torch.float32, torch.bfloat16)
        and has_geometry(conv)
    )


def _are_folded(*norms: nn.Module) -> bool:
    return all(type(norm) is nn.Identity for norm in norms)
