"""Residual blocks (He et al., CVPR 2016) in training, in one piece each, for the memory.

Block k turns r_{k-1} into r_k = relu(norm_n(y_n) + skip), where y_i = conv_i(z_{i-1}), z_i = relu(norm_i(y_i)), z_0 = r_{k-1}, and skip
is z_0 or a convolution of it, normalised. Its backward pass needs every y_i, z_i and r_k. It makes the z_i anew of the y_i, and r_k of
y_n and r_{k-1}. So what is kept are the y_i, and of a layer's blocks the first one's input and the last one's output. The price is a
pass over each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.fast.convolution import Convolution, convolve, convolve_backward, off_grid, on_grid
from models.fast.norm_relu_conv import is_plain, norm_backward, normalised_anew, working_type

ConvNorm = tuple[Convolution, nn.BatchNorm2d]


def residual_block(
    x: Tensor, path: Sequence[ConvNorm], shortcut: nn.Sequential | None, *, last: bool
) -> Tensor:
    """(N, C, H, W) -> (N, O, H', W'): the convolutions of `path`, ReLU between them; the sum with x, or with `shortcut` of x; ReLU.

    shortcut: convolution and normalisation. last: of its layer. The layers run in turn
    where training cannot be lean, see `models.fast.norm_relu_conv`.
    """
    pairs = [*path, tuple(shortcut)] if shortcut else [*path]
    if not (torch.is_grad_enabled() and all(is_plain(norm, x) for _, norm in pairs)):
        return _in_turn(x, path, shortcut)
    dtype = working_type(x)
    x = x.to(dtype)
    # Autograd's node of a function's result is its `ctx`: that of the block before can make our input anew.
    node = x.grad_fn
    before = node if isinstance(node, _Residual._backward_cls) and not node.last else None
    for _, norm in pairs:
        norm.num_batches_tracked.add_(1)
    parameters = [
        value for conv, norm in pairs for value in (conv.weight.to(dtype), norm.weight, norm.bias)
    ]
    return _Residual.apply(x, pairs, shortcut is not None, last, before, *parameters)


def _in_turn(x: Tensor, path: Sequence[ConvNorm], shortcut: nn.Sequential | None) -> Tensor:
    out = x
    for conv, norm in path[:-1]:
        out = F.relu(norm(conv(out)), inplace=True)
    conv, norm = path[-1]
    return F.relu(norm(conv(out)).add_(shortcut(x) if shortcut else x), inplace=True)


class _Kept(NamedTuple):
    """A convolution and its normalisation, their parameters, and what came of them."""

    conv: Convolution
    norm: nn.BatchNorm2d
    weight: Tensor
    scale: Tensor
    shift: Tensor
    y: Tensor
    mean: Tensor
    invstd: Tensor

    def normal(self, step: int = 1) -> Tensor:
        """norm(y) on a grid, made anew."""
        return normalised_anew(
            on_grid(self.y, step), self.scale, self.shift, self.mean, self.invstd
        )

    def backward(
        self, gradient: Tensor, read: Tensor, onto: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """A gradient of norm(conv(read)) as that of `read`, added to `onto` in place, and those of weight, scale and shift."""
        to_y, to_scale, to_shift = norm_backward(
            gradient, self.y, self.scale, self.mean, self.invstd, self.norm.eps
        )
        to_read, to_weight = convolve_backward(to_y, read, self.weight, self.conv.geometry, onto)
        return to_read, (to_weight, to_scale, to_shift)


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        pairs: Sequence[ConvNorm],
        has_shortcut: bool,
        last: bool,
        before: "_Residual | None",
        *parameters: Tensor,
    ) -> Tensor:
        ctx.pairs, ctx.has_shortcut, ctx.last, ctx.before, ctx.made = (
            pairs,
            has_shortcut,
            last,
            before,
            None,
        )
        ends = (
            len(pairs) - 1 - has_shortcut
        )  # the path's last pair; what is behind it is the shortcut
        read, outputs, kept = x, [], []
        with torch.autocast(x.device.type, enabled=False):
            for number, (conv, norm) in enumerate(pairs):
                weight, scale, shift = parameters[3 * number : 3 * number + 3]
                y = convolve(on_grid(read, conv.step), weight, None, conv.geometry)
                running = norm.running_mean, norm.running_var
                normal, mean, invstd = torch.native_batch_norm(
                    y, scale, shift, *running, True, norm.momentum, norm.eps
                )
                kept += [y, mean, invstd]
                if number < ends:
                    read = normal.relu_()
                else:
                    read = x
                    outputs.append(normal)
        result = _add_relu_(*outputs) if has_shortcut else _add_relu_(outputs[0], x)
        ctx.save_for_backward(
            *parameters, *kept, *([result] if last else []), *([] if before else [x])
        )
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        path, shortcut = _kept(ctx)
        x, result = _input(ctx), _result(ctx)
        to_sum = torch.ops.aten.threshold_backward.grad_input(
            gradient, result, 0, grad_input=torch.empty_like(result)
        )
        ctx.made = result = None
        to_made, to_parameters = to_sum, []
        for kept, earlier in zip(reversed(path[1:]), reversed(path[:-1]), strict=True):
            read = earlier.normal(kept.conv.step).relu_()
            to_read, gradients = kept.backward(to_made, read)
            torch.ops.aten.threshold_backward.grad_input(to_read, read, 0, grad_input=to_read)
            to_made = off_grid(to_read, earlier.y, kept.conv.step)
            to_parameters = [*gradients, *to_parameters]
        to_x, gradients = _onto_input(path[0], to_made, x, to_sum if shortcut is None else None)
        to_parameters = [*gradients, *to_parameters]
        if shortcut is not None:
            to_x, gradients = _onto_input(shortcut, to_sum, x, to_x)
            to_parameters += gradients
        return to_x, None, None, None, None, *to_parameters


def _onto_input(
    kept: _Kept, gradient: Tensor, x: Tensor, onto: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """`_Kept.backward` for a convolution of the block's input."""
    step = kept.conv.step
    if step == 1:
        return kept.backward(gradient, x, onto)
    to_read, gradients = kept.backward(gradient, on_grid(x, step))
    if onto is None:
        return off_grid(to_read, x, step), gradients
    onto[:, :, ::step, ::step].add_(to_read)
    return onto, gradients


def _kept(ctx: _Residual) -> tuple[list[_Kept], _Kept | None]:
    """Of the path, and of the shortcut."""
    saved, count = ctx.saved_tensors, 3 * len(ctx.pairs)
    threes = [
        (saved[first : first + 3], saved[first + count : first + count + 3])
        for first in range(0, count, 3)
    ]
    kept = [
        _Kept(*pair, *given, *came) for pair, (given, came) in zip(ctx.pairs, threes, strict=True)
    ]
    return (kept[:-1], kept[-1]) if ctx.has_shortcut else (kept, None)


def _input(ctx: _Residual) -> Tensor:
    """r_{k-1} of this block k."""
    return ctx.saved_tensors[-1] if ctx.before is None else _result(ctx.before)


def _result(ctx: _Residual) -> Tensor:
    """r_k of this block."""
    if ctx.last:
        return ctx.saved_tensors[6 * len(ctx.pairs)]
    if ctx.made is None:
        path, shortcut = _kept(ctx)
        ctx.made = _add_relu_(path[-1].normal(), shortcut.normal() if shortcut else _input(ctx))
    return ctx.made


def _add_relu_(x: Tensor, other: Tensor) -> Tensor:
    """relu(x + other), in place; where there is such an operation, in one pass."""
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        return torch.ops.aten._add_relu_(x, other)
    return x.add_(other).relu_()
