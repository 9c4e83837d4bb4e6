"""Equal forms of the layers whose definitions `torch.export` would fix to the example's size.

Each overrides `forward` alone. They are for graphs; in PyTorch the definitions are faster.
"""

import copy

import torch
from torch import Tensor, nn

from models.decouple import BodyEdgeSplit, warp
from models.layers import resize
from utils.export.windows import is_window_block, open_windows


class OpenAveragePool(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling as two products of matrices, whose weights the graph computes.

    The definition becomes a slice for each bin, with bounds that are numbers. Bin i of b along a
    side of n pixels holds the pixels from floor(i n / b) to below ceil((i + 1) n / b).
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, b, b)."""
        bins = self.output_size
        assert isinstance(bins, int)
        height, width = input.shape[-2:]
        columns = input @ pooling_weights(width, bins, input).T  # (N, C, h, b)
        return pooling_weights(height, bins, input) @ columns


class OpenBodyEdgeSplit(BodyEdgeSplit):
    """The split by a flow, whose grid is as long as the graph's input is large.

    The number of steps of `torch.linspace` is no open size in PyTorch's own signature.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, h, w), h and w at least 7 -> body and edge of the same shape."""
        coarse = resize(self.down(x), x.shape[-2:])
        flow = self.flow_make(torch.cat([x, coarse], dim=1))
        body = warp(x, flow, align_corners=self.align_corners, linspace=linspace)
        return body, x - body


OPEN_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.AdaptiveAvgPool2d: OpenAveragePool,
    BodyEdgeSplit: OpenBodyEdgeSplit,
}


def with_open_sizes(model: nn.Module) -> nn.Module:
    """A copy of a net in evaluation mode that can be exported for images of any size."""
    opened = copy.deepcopy(model).eval().requires_grad_(False)
    for module in opened.modules():
        module.__class__ = OPEN_FORMS.get(type(module), type(module))
        if is_window_block(module):
            open_windows(module)
    return opened


def pooling_weights(size: int, bins: int, like: Tensor) -> Tensor:
    """(bins, size), of the type of `like`: row i averages the pixels of bin i."""
    bin_ = torch.arange(bins, device=like.device)[:, None]
    pixel = torch.arange(size, device=like.device)
    first, end = bin_ * size // bins, -(-(bin_ + 1) * size // bins)
    inside = (pixel >= first) & (pixel < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)


def linspace(
    start: float, end: float, steps: int, *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """`torch.linspace` to a rounding error, from both ends as there; at least 2 steps."""
    index = torch.arange(steps, device=device).to(dtype)
    step = (end - start) / (steps - 1)
    return torch.where(index < steps // 2, start + index * step, end - (steps - 1 - index) * step)
