"""Training in less memory: normalise, rectify, convolve, without keeping what the convolution reads.

A chain of layers keeps two maps for each convolution, what its batch normalisation reads and what it reads itself, as large again. The
second costs one pass over the first, so the backward pass makes it anew. Everything else, the forward pass included, is what the layers
would compute in turn. It is left to them in evaluation, where batch normalisation is not PyTorch's plain one (frozen, or joint over several
ranks), and where a compiler looks on, which saves memory in its own ways.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.fast.convolution import Convolution, convolve, convolve_backward, off_grid, on_grid


def norm_relu_conv(
    x: Tensor, norm: nn.BatchNorm2d, conv: Convolution, before: Tensor | None = None
) -> Tensor:
    """conv(relu(norm(x + before))), leaving out conv's own bias. (N, C, H, W) -> (N, O, H', W').

    before: (C,), the bias that was left out when x was made.
    """
    if not (torch.is_grad_enabled() and is_plain(norm, x)):
        read = F.relu(normalise(x, norm, before), inplace=True)
        return convolve(on_grid(read, conv.step), conv.weight, None, conv.geometry)
    dtype = working_type(x)
    norm.num_batches_tracked.add_(1)
    return _NormReluConv.apply(
        x.to(dtype), norm.weight, norm.bias, conv.weight.to(dtype), before, norm, conv
    )


def normalise(x: Tensor, norm: nn.BatchNorm2d, before: Tensor | None) -> Tensor:
    """norm(x + before). In training a constant moves nothing but the running mean, so that it need not be added to the map."""
    if before is None:
        return norm(x)
    if not is_plain(norm, x):
        return norm(x + before[:, None, None])
    norm.num_batches_tracked.add_(1)
    shift = (
        norm.bias + 0 * before
    )  # a gradient of 0, not none at all: the published optimiser lets this bias decay
    out = F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, shift, True, norm.momentum, norm.eps
    )
    # Not in autograd's sight, which keeps the running mean, though training does not read it, and would call it spoilt.
    norm.running_mean.data.add_(before.detach(), alpha=norm.momentum)
    return out


def is_plain(norm: nn.BatchNorm2d, x: Tensor) -> bool:
    """Whether a map's batch normalisation can be made a part of something larger."""
    plain = norm.training and type(norm) is nn.BatchNorm2d and x.device.type in ("cpu", "cuda")
    return plain and not torch.compiler.is_compiling()


def working_type(x: Tensor) -> torch.dtype:
    """What convolutions compute in; autocast does not look into a function of our own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def normalised_anew(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, invstd: Tensor
) -> Tensor:
    """What batch normalisation made of x, up to rounding; all but x are (C,)."""
    factor = scale * invstd
    constant = shift - mean * factor
    return torch.addcmul(constant[:, None, None], x, factor[:, None, None]).to(x.dtype)


def norm_backward(
    gradient: Tensor, x: Tensor, scale: Tensor, mean: Tensor, invstd: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """A gradient of batch normalisation's result as gradients of x, scale and shift."""
    back, wanted = torch.ops.aten.native_batch_norm_backward, [True, True, True]
    return back(gradient, x, scale, None, None, mean, invstd, True, eps, wanted)


class _NormReluConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        before: Tensor | None,
        norm: nn.BatchNorm2d,
        conv: Convolution,
    ) -> Tensor:
        ctx.step, ctx.geometry, ctx.eps = conv.step, conv.geometry, norm.eps
        running = norm.running_mean, norm.running_var
        read, mean, invstd = torch.native_batch_norm(
            x, scale, shift, *running, True, norm.momentum, norm.eps
        )
        if before is not None:
            norm.running_mean.add_(before, alpha=norm.momentum)
        ctx.save_for_backward(x, scale, shift, weight, before, mean, invstd)
        with torch.autocast(x.device.type, enabled=False):
            return convolve(on_grid(read.relu_(), conv.step), weight, None, conv.geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight, before, mean, invstd = ctx.saved_tensors
        read = normalised_anew(on_grid(x, ctx.step), scale, shift, mean, invstd).relu_()
        to_read, to_weight = convolve_backward(gradient, read, weight, ctx.geometry)
        torch.ops.aten.threshold_backward.grad_input(to_read, read, 0, grad_input=to_read)
        to_x, to_scale, to_shift = norm_backward(
            off_grid(to_read, x, ctx.step), x, scale, mean, invstd, ctx.eps
        )
        return (
            to_x,
            to_scale,
            to_shift,
            to_weight,
            None if before is None else torch.zeros_like(before),
            None,
            None,
        )
