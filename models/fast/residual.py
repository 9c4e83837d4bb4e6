"""Residual blocks in training, each as one autograd function that keeps its convolutions' results.

Block k turns r_{k-1} into r_k = relu(norm_n(y_n) + skip), where y_i = conv_i(z_{i-1}),
z_i = relu(norm_i(y_i)), z_0 = r_{k-1}, and skip is z_0 or a convolution of it, normalised. Its
backward pass needs every y_i, z_i and r_k. It recomputes the z_i from the y_i, and r_k from y_n and
r_{k-1}. So what is kept are the y_i, and, of a layer's blocks, the first one's input and the last
one's output. The price is one pass over each. (PyTorch's selective activation checkpointing keeps
more and runs each batch normalisation twice, which moves the running statistics twice.)
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.fast.convolution import (
    convolve,
    convolve_backward,
    geometry_of,
    has_hooks,
    is_conv,
    off_grid,
    on_grid,
)
from models.fast.norm_relu_conv import (
    PlainNorm,
    batch_norm_backward,
    compute_dtype,
    count_batch,
    is_plain_norm,
    recompute_batch_norm,
)
from models.resnet import BasicBlock, Bottleneck

ConvNorm = tuple[nn.Conv2d, PlainNorm]


class FastBasicBlock(BasicBlock):
    """Applies in training with plain batch normalisation: see `runs_whole`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, width, h / stride, w / stride)."""
        return residual_block(self, x) if runs_whole(self, x) else super().forward(x)


class FastBottleneck(Bottleneck):
    """Applies in training with plain batch normalisation: see `runs_whole`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 4 width, h / stride, w / stride)."""
        return residual_block(self, x) if runs_whole(self, x) else super().forward(x)


def runs_whole(block: BasicBlock | Bottleneck, x: Tensor) -> bool:
    """Whether `residual_block` applies to a block and its input.

    Gradients are recorded, all of the block's batch normalisations are plain (`is_plain_norm`), its
    convolutions can be taken over (`is_conv`), and no hook is on the shortcut.
    """
    layers = _path(block) + _shortcut(block)
    applies = all(is_plain_norm(norm, x) and is_conv(conv) for conv, norm in layers)
    return applies and (block.downsample is None or not has_hooks(block.downsample))


def residual_block(
    block: BasicBlock | Bottleneck, x: Tensor, *, keep_output: bool = True
) -> Tensor:
    """The block's forward pass in training.

    Args:
        block: one that `runs_whole`; its own hooks are the caller's business.
        x: (N, C, h, w).
        keep_output: False if the result goes to another such block and to nothing else that would
            keep it: then the backward pass recomputes it.
    """
    shortcut = _shortcut(block)
    pairs = _path(block) + shortcut
    dtype = compute_dtype(x)
    x = x.to(dtype)
    # Autograd's node of a function's result is its `ctx`: the previous block can recompute its
    # result, which is our input.
    node: Any = x.grad_fn
    is_ours = isinstance(node, _Residual._backward_cls)
    previous = node if is_ours and not node.keep_output else None
    for _, norm in pairs:
        count_batch(norm)
    parameters = [
        value for conv, norm in pairs for value in (conv.weight.to(dtype), norm.weight, norm.bias)
    ]
    return _Residual.apply(x, pairs, bool(shortcut), keep_output, previous, *parameters)


def _path(block: BasicBlock | Bottleneck) -> list[ConvNorm]:
    pairs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    if isinstance(block, Bottleneck):
        pairs.append((block.conv3, block.bn3))
    return cast("list[ConvNorm]", pairs)


def _shortcut(block: BasicBlock | Bottleneck) -> list[ConvNorm]:
    if block.downsample is None:
        return []
    return cast("list[ConvNorm]", [(block.downsample[0], block.downsample[1])])


class _Kept(NamedTuple):
    """A convolution and its batch normalisation, their parameters, and what they made."""

    conv: nn.Conv2d
    norm: PlainNorm
    weight: Tensor
    scale: Tensor
    shift: Tensor
    y: Tensor
    mean: Tensor
    invstd: Tensor

    def normalised(self, step: int = 1) -> Tensor:
        """norm(y) on a grid, recomputed."""
        y = on_grid(self.y, step)
        return recompute_batch_norm(y, self.scale, self.shift, self.mean, self.invstd)

    def backward(
        self, gradient: Tensor, read: Tensor, accumulate: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The gradients of `read`, and of weight, scale and shift, from that of norm(conv(read)).

        accumulate: another gradient of `read`, to which this one is added in place.
        """
        to_y, to_scale, to_shift = batch_norm_backward(
            gradient, self.y, self.scale, self.mean, self.invstd, self.norm.eps
        )
        to_read, to_weight = convolve_backward(
            to_y, read, self.weight, geometry_of(self.conv), accumulate
        )
        return to_read, (to_weight, to_scale, to_shift)

    @property
    def step(self) -> int:
        """The grid of the convolution's input that it reads."""
        return geometry_of(self.conv).step


class _Residual(torch.autograd.Function):
    """A block; its parameters come as weight, scale and shift of every pair in turn.

    The attributes are those of an instance, PyTorch's `ctx`.
    """

    pairs: Sequence[ConvNorm]  # the path's, then the shortcut's
    has_shortcut: bool
    keep_output: bool
    previous: "_Residual | None"  # the block that can recompute our input
    recomputed: Tensor | None  # our result, between the next block's backward pass and our own

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        pairs: Sequence[ConvNorm],
        has_shortcut: bool,
        keep_output: bool,
        previous: "_Residual | None",
        *parameters: Tensor,
    ) -> Tensor:
        ctx.pairs = pairs
        ctx.has_shortcut = has_shortcut
        ctx.keep_output = keep_output
        ctx.previous = previous
        ctx.recomputed = None
        last_of_path = len(pairs) - 1 - has_shortcut  # what comes after it is the shortcut
        read, summands, kept = x, [], []
        with torch.autocast(x.device.type, enabled=False):
            for number, (conv, norm) in enumerate(pairs):
                weight, scale, shift = parameters[3 * number : 3 * number + 3]
                geometry = geometry_of(conv)
                y = convolve(on_grid(read, geometry.step), weight, None, geometry)
                running = norm.running_mean, norm.running_var
                normalised, mean, invstd = torch.native_batch_norm(
                    y, scale, shift, *running, True, norm.momentum, norm.eps
                )
                kept += [y, mean, invstd]
                if number < last_of_path:
                    read = normalised.relu_()
                else:
                    read = x
                    summands.append(normalised)
        result = _add_relu_(summands[0], summands[1] if has_shortcut else x)
        ctx.save_for_backward(
            *parameters, *kept, *([result] if keep_output else []), *([] if previous else [x])
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
        ctx.recomputed = result = None  # the memory is needed
        to_normalised, to_parameters = to_sum, []
        for kept, earlier in zip(reversed(path[1:]), reversed(path[:-1]), strict=True):
            read = earlier.normalised(kept.step).relu_()
            to_read, gradients = kept.backward(to_normalised, read)
            torch.ops.aten.threshold_backward.grad_input(to_read, read, 0, grad_input=to_read)
            to_normalised = off_grid(to_read, earlier.y, kept.step)
            to_parameters = [*gradients, *to_parameters]
        # Without a shortcut the sum's gradient is one of x already.
        to_x, gradients = _backward_to_input(
            path[0], to_normalised, x, to_sum if shortcut is None else None
        )
        to_parameters = [*gradients, *to_parameters]
        if shortcut is not None:
            to_x, gradients = _backward_to_input(shortcut, to_sum, x, to_x)
            to_parameters += gradients
        return to_x, None, None, None, None, *to_parameters


def _backward_to_input(
    kept: _Kept, gradient: Tensor, x: Tensor, accumulate: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """`_Kept.backward` for a convolution of the block's whole input x."""
    step = kept.step
    if step == 1:
        return kept.backward(gradient, x, accumulate)
    to_read, gradients = kept.backward(gradient, on_grid(x, step))
    if accumulate is None:
        return off_grid(to_read, x, step), gradients
    accumulate[:, :, ::step, ::step].add_(to_read)
    return accumulate, gradients


def _kept(ctx: _Residual) -> tuple[list[_Kept], _Kept | None]:
    """What was kept of the path, and of the shortcut."""
    saved, count = ctx.saved_tensors, 3 * len(ctx.pairs)
    kept = [
        _Kept(*pair, *saved[first : first + 3], *saved[first + count : first + count + 3])
        for pair, first in zip(ctx.pairs, range(0, count, 3), strict=True)
    ]
    return (kept[:-1], kept[-1]) if ctx.has_shortcut else (kept, None)


def _input(ctx: _Residual) -> Tensor:
    """r_{k-1} of this block k."""
    return ctx.saved_tensors[-1] if ctx.previous is None else _result(ctx.previous)


def _result(ctx: _Residual) -> Tensor:
    """r_k of this block, recomputed once: the next block's backward pass asks before its own."""
    if ctx.keep_output:
        return ctx.saved_tensors[6 * len(ctx.pairs)]
    if ctx.recomputed is None:
        path, shortcut = _kept(ctx)
        summand = shortcut.normalised() if shortcut else _input(ctx)
        ctx.recomputed = _add_relu_(path[-1].normalised(), summand)
    return ctx.recomputed


def _add_relu_(x: Tensor, other: Tensor) -> Tensor:
    """relu(x + other), in place; where there is such an operation, in one pass."""
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        return torch.ops.aten._add_relu_(x, other)
    return x.add_(other).relu_()
