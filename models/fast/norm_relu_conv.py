"""Batch normalisation, ReLU and convolution in training, in less memory.

Layers in turn keep two maps for each convolution: what its batch normalisation reads, and what the
convolution itself reads, which is as large. The second is one pass over the first, so the backward
pass recomputes it. Besides, a bias in front of a batch normalisation is left out, since the mean
takes it away again: it is a `pending_bias` that only moves the running mean, and its gradient is
exactly 0 (of the layers in turn: rounding noise).
"""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.fast.convolution import (
    Geometry,
    convolve,
    convolve_backward,
    geometry_of,
    has_hooks,
    off_grid,
    on_grid,
)


class PlainNorm(nn.BatchNorm2d):
    """The type of what `is_plain_norm` accepts; nothing is ever of this class."""

    momentum: float
    running_mean: Tensor
    running_var: Tensor


def is_plain_norm(norm: nn.Module | None, x: Tensor) -> TypeGuard[PlainNorm]:
    """Whether a form may compute this batch normalisation of x as a part of something larger.

    It must be in training (not frozen), on its own batch (not joint over ranks), affine with
    running statistics; no hook may be on it, and no compiler may trace.
    """
    if not isinstance(norm, nn.BatchNorm2d) or type(norm) is not nn.BatchNorm2d:
        return False
    if not norm.training or not torch.is_grad_enabled():
        return False
    default = norm.affine and norm.track_running_stats and norm.momentum is not None
    eager = x.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling()
    return default and eager and not has_hooks(norm)


def batch_norm(x: Tensor, norm: PlainNorm, pending_bias: Tensor | None = None) -> Tensor:
    """norm(x + pending_bias) for a plain norm (`is_plain_norm`); pending_bias: (C,).

    In training a constant moves nothing but the running mean, so it is not added to the map.
    """
    if pending_bias is None:
        return norm(x)
    count_batch(norm)
    # A gradient of 0 and not None: the published optimizer lets such a bias decay.
    shift = norm.bias + 0 * pending_bias
    out = F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, shift, True, norm.momentum, norm.eps
    )
    # `.data`: autograd saved `running_mean` and would raise a version-counter error, although
    # training never reads it.
    norm.running_mean.data.add_(pending_bias.detach(), alpha=norm.momentum)
    return out


def norm_relu_conv(
    x: Tensor,
    norm: PlainNorm,
    conv: nn.Conv2d,
    *,
    pending_bias: Tensor | None = None,
    add_bias: bool = True,
) -> Tensor:
    """conv(relu(norm(x + pending_bias))), (N, C, H, W) -> (N, O, H', W').

    Args:
        x: the map.
        norm: a plain one, see `is_plain_norm`.
        conv: one that `is_conv` accepts.
        pending_bias: (C,), the bias that was left out when x was made.
        add_bias: False leaves out conv's bias: it is the next layer's `pending_bias`.
    """
    count_batch(norm)
    dtype = compute_dtype(x)
    weight = conv.weight.to(dtype)
    bias = conv.bias.to(dtype) if add_bias and conv.bias is not None else None
    geometry = geometry_of(conv)
    return _NormReluConv.apply(
        x.to(dtype), norm.weight, norm.bias, weight, bias, pending_bias, norm, geometry
    )


def count_batch(norm: nn.BatchNorm2d) -> None:
    """What nn.BatchNorm2d.forward does beside F.batch_norm."""
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


def compute_dtype(x: Tensor) -> torch.dtype:
    """What convolutions compute in; autocast does not act within an autograd.Function."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def recompute_batch_norm(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, invstd: Tensor
) -> Tensor:
    """The result of batch normalisation up to rounding, from x and the batch's statistics, (C,)."""
    factor = scale * invstd
    constant = shift - mean * factor
    return torch.addcmul(constant[:, None, None], x, factor[:, None, None]).to(x.dtype)


def batch_norm_backward(
    gradient: Tensor, x: Tensor, scale: Tensor, mean: Tensor, invstd: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, scale and shift, from the gradient of batch normalisation's result."""
    return torch.ops.aten.native_batch_norm_backward(
        gradient,
        x,
        scale,
        None,  # running mean and
        None,  # running variance: training does not read them
        mean,
        invstd,
        True,  # training
        eps,
        [True, True, True],  # the gradients of x, scale and shift
    )


class _NormReluConv(torch.autograd.Function):
    """Keeps x and the batch's statistics; what the convolution reads is recomputed."""

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        pending_bias: Tensor | None,
        norm: PlainNorm,
        geometry: Geometry,
    ) -> Tensor:
        ctx.geometry = geometry
        ctx.eps = norm.eps
        ctx.has_bias = bias is not None
        running = norm.running_mean, norm.running_var
        normalised, mean, invstd = torch.native_batch_norm(
            x, scale, shift, *running, True, norm.momentum, norm.eps
        )
        if pending_bias is not None:
            norm.running_mean.add_(pending_bias, alpha=norm.momentum)
        ctx.save_for_backward(x, scale, shift, weight, pending_bias, mean, invstd)
        with torch.autocast(x.device.type, enabled=False):
            return convolve(on_grid(normalised.relu_(), geometry.step), weight, bias, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight, pending_bias, mean, invstd = ctx.saved_tensors
        step = ctx.geometry.step
        read = recompute_batch_norm(on_grid(x, step), scale, shift, mean, invstd).relu_()
        to_read, to_weight = convolve_backward(gradient, read, weight, ctx.geometry)
        torch.ops.aten.threshold_backward.grad_input(to_read, read, 0, grad_input=to_read)
        to_x, to_scale, to_shift = batch_norm_backward(
            off_grid(to_read, x, step), x, scale, mean, invstd, ctx.eps
        )
        to_bias = gradient.sum(dim=(0, 2, 3)) if ctx.has_bias else None
        to_pending = None if pending_bias is None else torch.zeros_like(pending_bias)
        return to_x, to_scale, to_shift, to_weight, to_bias, to_pending, None, None
