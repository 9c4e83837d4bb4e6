"""Convolutions: nn.Conv2d's numbers, faster where there is a way.

Shapes: N images, C channels in, O channels out, H x W pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def conv3x3(
    in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1
) -> "Convolution":
    """3x3 convolution without bias that keeps the size (divided by the stride)."""
    return Convolution(
        in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False
    )


def conv1x1(
    in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = False
) -> "Convolution":
    """1x1 convolution."""
    return Convolution(in_channels, out_channels, 1, stride, bias=bias)


class Geometry(NamedTuple):
    """How a kernel lies on the pixels that it reads; in F.conv2d's order."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


class Convolution(nn.Conv2d):
    """nn.Conv2d in less time.

    A kernel of one tap, or one whose taps lie as far apart as the stride is wide, reads but the pixels on the stride's grid: so it is a
    convolution of these, without stride and dilation. And one tap on a CPU is a product of matrices: forwards MKL is about as fast
    as oneDNN, and for the gradient of the weights it takes from 1.2 to 0.4 of its time, the less the more channels.

    step: of the grid; 1: all pixels are read. geometry: of the kernel on the grid.
    """

    def __init__(self, *args: int, **options: int | bool) -> None:
        super().__init__(*args, **options)
        one_tap = (
            self.kernel_size == (1, 1)
            and self.padding == (0, 0)
            and self.stride[0] == self.stride[1]
        )
        apart = self.stride == self.dilation == self.padding == (self.stride[0],) * 2
        self.step = self.stride[0] if one_tap or apart else 1
        lists = (
            [max(n // self.step, n and 1) for n in pair]
            for pair in (self.stride, self.padding, self.dilation)
        )
        self.geometry = Geometry(*lists, self.groups)

    def forward(self, x: Tensor) -> Tensor:
        """As Conv2d's."""
        return convolve(on_grid(x, self.step), self.weight, self.bias, self.geometry)


def on_grid(x: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column of (N, C, H, W), the first ones included."""
    if step == 1:
        return x
    return x[:, :, ::step, ::step] if torch.compiler.is_compiling() else _OnGrid.apply(x, step)


def off_grid(values: Tensor, like: Tensor, step: int) -> Tensor:
    """The adjoint of `on_grid`: a map of `like`'s shape and memory layout, 0 but for the values on its grid."""
    if step == 1:
        return values
    whole = torch.zeros_like(like, dtype=values.dtype, device=values.device)
    whole[:, :, ::step, ::step] = values
    return whole


class _OnGrid(torch.autograd.Function):
    """Slices of rows and columns in one: the backward pass of two slices would make two maps of zeros."""

    @staticmethod
    def forward(ctx, x: Tensor, step: int) -> Tensor:
        ctx.like, ctx.step = torch.empty_like(x, device="meta"), step
        return x[:, :, ::step, ::step].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return off_grid(gradient, ctx.like, ctx.step), None


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """F.conv2d."""
    if not _is_product(x, weight, geometry):
        return F.conv2d(x, weight, bias, *geometry)
    if x.stride(1) == 1:  # channels_last
        return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    factor, maps = weight.flatten(1).expand(len(x), -1, -1), x.flatten(2)
    product = (
        torch.bmm(factor, maps) if bias is None else torch.baddbmm(bias[:, None], factor, maps)
    )
    return product.unflatten(2, x.shape[2:])


def convolve_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, onto: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A gradient of what `convolve` returns as gradients of x and weight. onto: what the first is added to, in place."""
    if not _is_product(x, weight, geometry):
        back, wanted = torch.ops.aten.convolution_backward, [True, True, False]
        to_x, to_weight = back(
            gradient, x, weight, None, *geometry[:3], False, [0, 0], geometry.groups, wanted
        )[:2]
    elif x.stride(1) == 1:
        rows, pixels = (
            gradient.permute(0, 2, 3, 1).flatten(0, 2),
            x.permute(0, 2, 3, 1),
        )  # (N H W, O), (N, H, W, C)
        to_weight = (rows.T @ pixels.flatten(0, 2)).view_as(weight)
        if onto is not None and onto.is_contiguous(memory_format=torch.channels_last):
            onto.permute(0, 2, 3, 1).flatten(0, 2).addmm_(rows, weight.flatten(1))
            return onto, to_weight
        to_x = (rows @ weight.flatten(1)).view(pixels.shape).permute(0, 3, 1, 2)
    else:
        maps, factor = gradient.flatten(2), weight.flatten(1).T.expand(len(x), -1, -1)
        to_weight = torch.bmm(maps, x.flatten(2).mT).sum(dim=0).view_as(weight)
        to_x = torch.bmm(factor, maps).view_as(x)
    return to_x if onto is None else onto.add_(to_x), to_weight


def _is_product(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    one_tap = weight.shape[2:] == (1, 1) and geometry == ([1, 1], [0, 0], [1, 1], 1)
    return (
        one_tap and x.device.type == "cpu" and x.shape[2:] != (1, 1)
    )  # a single pixel lies in both layouts at once
