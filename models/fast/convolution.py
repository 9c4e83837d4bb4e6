"""Convolutions with nn.Conv2d's numbers in less time.

Shapes: N images, C channels in, O channels out, H x W pixels.
"""

from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules import module as nn_module


class Geometry(NamedTuple):
    """A kernel reads the grid of every `step`-th pixel; the rest is how it lies on that grid."""

    step: int
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


class FastConv2d(nn.Conv2d):
    """nn.Conv2d on the pixels that it reads; with one tap and on a CPU, as a product of matrices.

    A kernel of one tap, or one whose taps lie as far apart as the stride is wide, reads only the
    pixels on the stride's grid: it is a convolution of these, without stride and dilation. And one
    tap is a matrix product: in the forward pass MKL is about as fast as oneDNN, and for the
    gradient of the weights it takes from 1.2 to 0.4 of its time, the less the more channels.

    Applies unless the padding is not of zeros, the input has no batch dimension, or a compiler
    traces.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, H', W')."""
        if input.dim() != 4 or not has_geometry(self) or torch.compiler.is_compiling():
            return super().forward(input)
        geometry = geometry_of(self)
        return convolve(on_grid(input, geometry.step), self.weight, self.bias, geometry)


def has_hooks(module: nn.Module) -> bool:
    """Whether a module must be called, since hooks watch or change what goes through it."""
    own = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(own) or bool(nn_module._has_any_global_hook())


def is_conv(module: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Whether a form may take the module's weights and leave the module out."""
    if not isinstance(module, nn.Conv2d) or type(module) not in (nn.Conv2d, FastConv2d):
        return False
    return has_geometry(module) and not has_hooks(module)


def has_geometry(conv: nn.Conv2d) -> bool:
    """Whether `geometry_of` describes the convolution: numbers as padding, filled with zeros."""
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def geometry_of(conv: nn.Conv2d) -> Geometry:
    """The grid, and the kernel on it."""
    square = conv.stride[0] == conv.stride[1]
    one_tap = conv.kernel_size == (1, 1) and conv.padding == (0, 0) and square
    # Taps as far apart as the stride is wide, padding as wide: all of them on the same grid.
    aligned = square and conv.stride == conv.dilation == conv.padding
    step = conv.stride[0] if one_tap or aligned else 1
    stride, padding, dilation = (
        # An unpadded kernel stays unpadded; everything else is at least 1.
        [max(int(value) // step, min(int(value), 1)) for value in pair]
        for pair in (conv.stride, conv.padding, conv.dilation)
    )
    return Geometry(step, stride, padding, dilation, conv.groups)


def on_grid(x: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column of (N, C, H, W), the first ones included."""
    return x if step == 1 else _OnGrid.apply(x, step)


def off_grid(values: Tensor, like: Tensor, step: int) -> Tensor:
    """The adjoint of `on_grid`: values on the grid of a map like `like`, zeros elsewhere."""
    if step == 1:
        return values
    whole = torch.zeros_like(like, dtype=values.dtype, device=values.device)
    whole[:, :, ::step, ::step] = values
    return whole


class _OnGrid(torch.autograd.Function):
    """Rows and columns in one: autograd's backward of two slices makes two maps of zeros."""

    @staticmethod
    def forward(ctx, x: Tensor, step: int) -> Tensor:
        ctx.like = torch.empty_like(x, device="meta")  # shape and layout, without the memory
        ctx.step = step
        return x[:, :, ::step, ::step].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return off_grid(gradient, ctx.like, ctx.step), None


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """The convolution of a map that is on the grid already."""
    if not _is_product(x, weight, geometry):
        return F.conv2d(x, weight, bias, *geometry[1:])
    if x.stride(1) == 1:  # channels_last
        return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    matrix = weight.flatten(1).expand(len(x), -1, -1)  # (N, O, C)
    pixels = x.flatten(2)  # (N, C, H W)
    if bias is None:
        return torch.bmm(matrix, pixels).unflatten(2, x.shape[2:])
    return torch.baddbmm(bias[:, None], matrix, pixels).unflatten(2, x.shape[2:])


def convolve_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    accumulate: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The gradients of x and weight, from the gradient of what `convolve` returned.

    Args:
        gradient: of the result, (N, O, H', W').
        x: the map on the grid, (N, C, H, W).
        weight: (O, C / groups, kernel, kernel).
        geometry: of the convolution.
        accumulate: another gradient of x, to which this one is added in place; it is returned.
    """
    if not _is_product(x, weight, geometry):
        to_x, to_weight = torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            None,  # no bias
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            False,  # not transposed
            [0, 0],  # output padding
            geometry.groups,
            [True, True, False],  # the gradients of x and weight, not of a bias
        )[:2]
    elif x.stride(1) == 1:  # channels_last
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2)  # (N H W, O)
        pixels = x.permute(0, 2, 3, 1)  # (N, H, W, C)
        to_weight = (rows.T @ pixels.flatten(0, 2)).view_as(weight)
        if accumulate is not None and accumulate.is_contiguous(memory_format=torch.channels_last):
            # The product adds to `accumulate` by itself, without a map of its own.
            accumulate.permute(0, 2, 3, 1).flatten(0, 2).addmm_(rows, weight.flatten(1))
            return accumulate, to_weight
        to_x = (rows @ weight.flatten(1)).view(pixels.shape).permute(0, 3, 1, 2)
    else:
        maps = gradient.flatten(2)  # (N, O, H W)
        matrix = weight.flatten(1).T.expand(len(x), -1, -1)  # (N, C, O)
        to_weight = torch.bmm(maps, x.flatten(2).mT).sum(dim=0).view_as(weight)
        to_x = torch.bmm(matrix, maps).view_as(x)
    return to_x if accumulate is None else accumulate.add_(to_x), to_weight


def _is_product(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    one_tap = weight.shape[2:] == (1, 1) and geometry[1:] == ([1, 1], [0, 0], [1, 1], 1)
    # A single pixel lies in both memory layouts at once, so the strides do not tell which is meant.
    return one_tap and x.device.type == "cpu" and x.shape[2:] != (1, 1)
