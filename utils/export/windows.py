"""Attention in windows (Liu et al., Swin Transformer, ICCV 2021) for maps of any open size.

timm's block finds the number of windows by dividing a padded side, and PyTorch's exporter proves
again at each of its steps that nothing is left over: a graph of Swin-Tiny was not written within
minutes. Here the number of windows comes first and the padded side is a multiple of it, so there is
nothing to prove.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HOME = "timm.models.swin_transformer"


def is_window_block(module: nn.Module) -> bool:
    """Whether it is timm's block of Swin (its first version), without importing timm."""
    return (type(module).__module__, type(module).__name__) == (HOME, "SwinTransformerBlock")


def open_windows(block: Any) -> None:
    """Give a block of Swin its open form, in place."""
    block._attn = OpenWindows(block)


class OpenWindows:
    """The attention of a block of Swin, called with its normalised map in its stead."""

    def __init__(self, block: Any) -> None:
        self.block = block

    def __call__(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        count, height, width, channels = x.shape
        high, wide = self.block.window_size
        down, right = self.block.shift_size
        # Nothing below zero is divided: ONNX would round it the other way.
        rows, columns = (height + high - 1) // high, (width + wide - 1) // wide
        if down or right:
            x = torch.roll(x, (-down, -right), (1, 2))
        x = F.pad(x, (0, 0, 0, columns * wide - width, 0, rows * high - height))
        mask = self.block.get_attn_mask(x) if down or right else None
        windows = x.view(count, rows, high, columns, wide, channels).transpose(2, 3)
        windows = windows.reshape(count * rows * columns, high * wide, channels)
        windows = self.block.attn(windows, mask=mask)
        windows = windows.view(count, rows, columns, high, wide, channels).transpose(2, 3)
        x = windows.reshape(count, rows * high, columns * wide, channels)[:, :height, :width]
        return torch.roll(x, (down, right), (1, 2)) if down or right else x
