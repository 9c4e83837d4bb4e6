"""Learned up-sampling with nn.ConvTranspose2d's numbers in half the time."""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fast.convolution import has_hooks


class FastConvTranspose2d(nn.ConvTranspose2d):
    """Up-sampling by an even factor f as products of matrices.

    Applies to kernel 2f, stride f, padding f / 2, one group and no bias, as `bilinear_upsample`
    makes them, and where no compiler traces.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, h, w) -> (N, O, f h, f w), contiguous."""
        applies = output_size is None and input.dim() == 4 and doubles_its_stride(self)
        if not applies or torch.compiler.is_compiling():
            return super().forward(input, output_size)
        return upsample_convolve(input, self)


def is_upsample(module: nn.Module | None) -> TypeGuard[nn.ConvTranspose2d]:
    """Whether a form may take the module's weights and leave the module out."""
    if not isinstance(module, nn.ConvTranspose2d):
        return False
    if type(module) not in (nn.ConvTranspose2d, FastConvTranspose2d):
        return False
    return doubles_its_stride(module) and not has_hooks(module)


def doubles_its_stride(layer: nn.ConvTranspose2d) -> bool:
    """Whether the layer up-samples by an even factor f with kernel 2f and padding f / 2."""
    factor = layer.stride[0]
    return (
        factor % 2 == 0
        and layer.stride == (factor, factor)
        and layer.kernel_size == (2 * factor, 2 * factor)
        and layer.padding == (factor // 2, factor // 2)
        and layer.output_padding == (0, 0)
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.bias is None
    )


def upsample_convolve(x: Tensor, up: nn.ConvTranspose2d, conv: nn.Conv2d | None = None) -> Tensor:
    """conv(up(x)) without conv's bias, (N, C, h, w) -> (N, O, f h, f w); `conv` has one tap.

    Of each block of f x f output pixels, all pixels of a quadrant depend on the same 2 x 2 input
    pixels: so four products of matrices, (f / 2)^2 O rows by 4 C columns, give the four quadrants.
    A linear map of every output pixel (`conv`) can be applied to the weights, which are fewer.
    """
    height, width = x.shape[2:]
    half = up.stride[0] // 2  # the side of a quadrant
    weight = up.weight.permute(0, 2, 3, 1)  # (C, 2f, 2f, O)
    if conv is not None:
        weight = F.linear(weight, conv.weight.flatten(1))
    # Along each axis the 2f taps are: input pixel (2; the later one first), quadrant (2), f / 2.
    taps = weight.unflatten(2, (2, 2, half)).unflatten(1, (2, 2, half)).flip(1, 2, 4, 5)
    taps = taps.permute(2, 5, 1, 4, 0, 3, 6, 7)  # (quadrant y, x, pixel y, x, C, f / 2, f / 2, O)
    taps = taps.reshape(4, 4 * x.shape[1], -1)
    padded = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (N, h + 2, w + 2, C)

    def shifted(down: int, right: int) -> Tensor:
        return padded[:, down : down + height, right : right + width]

    inputs = [
        torch.cat([shifted(y + down, x_ + right) for down in (0, 1) for right in (0, 1)], dim=3)
        for y in (0, 1)
        for x_ in (0, 1)
    ]  # of each quadrant: (N, h, w, 4 C)
    columns = torch.stack(inputs).flatten(1, 3).transpose(1, 2)  # (4, 4 C, N h w)
    quadrants = torch.bmm(taps.transpose(1, 2), columns)
    blocks = quadrants.view(2, 2, half, half, -1, len(x), height, width)
    whole = blocks.permute(5, 4, 6, 0, 2, 7, 1, 3)  # (N, O, h, 2, f / 2, w, 2, f / 2)
    return whole.reshape(len(x), -1, 2 * half * height, 2 * half * width)
