"""Pieces that several nets share. Shapes: N images, C channels, H x W pixels of an image, h x w of a feature map."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fast.convolution import conv1x1

CONTEXT_CHANNELS = 256


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad (N, C, H, W) with zeros at the right and the bottom until H and W are multiples; itself where they are already.

    Zero is the mean colour of a normalised image, with which the published training pads its crops too.
    """
    height, width = image.shape[-2:]
    return _pad(image, -width % multiple, -height % multiple)


def pad_to_least(image: Tensor, least: int) -> Tensor:
    """Pad (N, C, H, W) with zeros at the right and the bottom until H and W are at least `least`; itself where they are already."""
    height, width = image.shape[-2:]
    return _pad(image, max(least - width, 0), max(least - height, 0))


def _pad(image: Tensor, right: int, bottom: int) -> Tensor:
    return F.pad(image, (0, right, 0, bottom)) if right or bottom else image


def crop_to(maps: dict[str, Tensor], height: int, width: int) -> dict[str, Tensor]:
    """Cut every (N, C, H', W') map to its top left (N, C, height, width)."""
    return {name: logits[..., :height, :width] for name, logits in maps.items()}


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear with corner on corner (align_corners), everywhere in the segmentation nets."""
    return (
        x
        if x.shape[-2:] == tuple(size)
        else F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)
    )


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, dilation: int = 1
) -> nn.Sequential:
    """Convolution without bias that keeps the size, batch normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def seg_classifier(in_channels: int, num_classes: int) -> nn.Sequential:
    """Two 3x3 convolutions to 256 channels and a 1x1 to the classes: DeepLabV3+'s last word."""
    return nn.Sequential(
        *conv_bn_relu(in_channels, 256, 3), *conv_bn_relu(256, 256, 3), conv1x1(256, num_classes)
    )  # the classes' weights are number 6


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabV3+, Chen et al., ECCV 2018) for a map at stride 8, and the projection after it."""

    def __init__(self, in_channels: int, *, project_kernel: int = 1) -> None:
        super().__init__()
        width = CONTEXT_CHANNELS
        self.branches = nn.ModuleList([conv_bn_relu(in_channels, width, 1)])
        self.branches += [
            conv_bn_relu(in_channels, width, 3, dilation) for dilation in (12, 24, 36)
        ]
        self.image = conv_bn_relu(in_channels, width, 1)
        self.project = nn.Conv2d(
            5 * width, width, project_kernel, padding=project_kernel // 2, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 256, h, w), neither normalised nor rectified."""
        image = self.image(F.adaptive_avg_pool2d(x, 1)).expand(-1, -1, *x.shape[-2:])
        return self.project(torch.cat([image, *(branch(x) for branch in self.branches)], dim=1))


class PyramidPooling(nn.Module):
    """Pyramid pooling (PSPNet, Zhao et al., CVPR 2017) as DecoupleSegNets published it: no ReLU between a pooled map and the resize."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        width = CONTEXT_CHANNELS
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(bins), conv1x1(in_channels, width), nn.BatchNorm2d(width)
            )
            for bins in (1, 2, 3, 6)
        )
        self.bottleneck = nn.Sequential(
            *conv_bn_relu(in_channels + 4 * width, width, 1), nn.Dropout2d(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 256, h, w)."""
        pooled = [resize(stage(x), x.shape[-2:]) for stage in self.stages]
        return self.bottleneck(torch.cat([*pooled, x], dim=1))


def initialise_heads(*modules: nn.Module) -> None:
    """He initialisation over the inputs, no bias: for what is trained from scratch on top of a backbone."""
    for root in modules:
        for module in root.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
