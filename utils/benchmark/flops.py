"""Floating-point operations and parameters of a net, counted on its definition."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import build_model
from utils.model_info import ModelInfo


def count(info: ModelInfo, size: tuple[int, int], batch_size: int) -> tuple[int, int]:
    """(FLOP of a batch, parameters) of a net; nothing is computed.

    Args:
        info: which net.
        size: (H, W).
        batch_size: images.
    """
    # On the meta device tensors have shapes and no numbers.
    with torch.device("meta"):
        net = build_model(
            info.name,
            num_classes=info.num_classes,
            backbone=info.backbone,
            pretrained="none",
            **info.options,
        ).eval()
    return flop_of(net, size, batch_size), sum(value.numel() for value in net.parameters())


def flop_of(net: nn.Module, size: tuple[int, int], batch_size: int) -> int:
    """FLOP of convolutions and matrix products, a multiplication and an addition counting as two.

    As PyTorch's counter has it: all taps of a convolution, those on padding too; not normalisation,
    ReLU, sums, pooling and resizes, which are well below a hundredth in these nets.
    """
    image = torch.empty(batch_size, 3, *size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image)
    return counter.get_total_flops()
