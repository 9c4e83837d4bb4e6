"""Layers that several nets share, with the initial values that the papers give them.

Shapes: N images, C channels, H x W pixels of an image, h x w of a feature map.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONTEXT_CHANNELS = 256
IMAGE_CHANNELS = 3
STEM_CHANNELS = 32


def conv1x1(
    in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = False
) -> nn.Conv2d:
    """1x1 convolution."""
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=bias)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """3x3 convolution without bias that keeps the size (divided by the stride)."""
    return nn.Conv2d(
        in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False
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


def bilinear_upsample(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Learned up-sampling by `factor` that starts as bilinear interpolation (CASENet).

    A transposed convolution without bias, kernel 2f (2f - 1 of an odd factor), stride f. At the
    start every channel is interpolated by itself; training may mix them.
    (N, C, h, w) -> (N, C, f h, f w).
    """
    taps = 2 * factor - factor % 2
    layer = nn.ConvTranspose2d(
        channels, channels, taps, stride=factor, padding=factor // 2, bias=False
    )
    # Weights of linear interpolation at the distances of the output pixels from an input pixel.
    ramp = 1 - (torch.arange(taps) - (taps - 1) / 2).abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = torch.outer(ramp, ramp)
    return layer


def full_size_stem() -> nn.Sequential:
    """Two 3x3 convolutions at the image's size, where a backbone begins with a coarser stage.

    (N, 3, H, W) -> (N, 32, H, W).
    """
    stem = nn.Sequential(
        *conv_bn_relu(IMAGE_CHANNELS, STEM_CHANNELS, 3),
        *conv_bn_relu(STEM_CHANNELS, STEM_CHANNELS, 3),
    )
    initialise_heads(stem)
    return stem


def seg_classifier(in_channels: int, num_classes: int) -> nn.Sequential:
    """DeepLabV3+'s classifier: two 3x3 convolutions to 256 channels and a 1x1 to the classes."""
    return nn.Sequential(
        *conv_bn_relu(in_channels, 256, 3),
        *conv_bn_relu(256, 256, 3),
        conv1x1(256, num_classes),  # number 6, the only weight that depends on the classes
    )


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling at stride 8 and its projection (DeepLabV3+, ECCV 2018)."""

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
        """(N, C, h, w) -> (N, 256, h, w), with neither batch normalisation nor ReLU at the end."""
        image = self.image(F.adaptive_avg_pool2d(x, 1)).expand(-1, -1, *x.shape[-2:])
        return self.project(torch.cat([image, *(branch(x) for branch in self.branches)], dim=1))


class PyramidPooling(nn.Module):
    """Pyramid pooling (PSPNet, CVPR 2017) as DecoupleSegNets published it.

    Between a pooled map's batch normalisation and its resize there is no ReLU.
    """

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
    """He initialisation by fan-in, biases 0: for everything that is trained from scratch."""
    for root in modules:
        for module in root.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def initialise_backbone(backbone: nn.Module) -> None:
    """He initialisation by fan-out, as the published ImageNet nets started."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear with aligned corners, as in all segmentation nets."""
    if x.shape[-2:] == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad (N, C, H, W) with zeros, right and bottom, until H and W are multiples of `multiple`.

    Zero is the mean colour of a normalised image; the published training pads its crops with it.
    """
    if multiple == 1:
        return image
    height, width = image.shape[-2:]
    # Of sizes that torch.export leaves open this form becomes simple sums, and nothing below zero
    # is divided, which ONNX would round the other way.
    right, bottom = (
        (side + multiple - 1) // multiple * multiple - side for side in (width, height)
    )
    return _pad(image, right=right, bottom=bottom)


def pad_to_least(image: Tensor, least: int) -> Tensor:
    """Pad (N, C, H, W) with zeros, right and bottom, until H and W are at least `least`."""
    height, width = image.shape[-2:]
    right, bottom = (cast("int", torch.sym_max(least - side, 0)) for side in (width, height))
    return _pad(image, right=right, bottom=bottom)


def _pad(image: Tensor, *, right: int, bottom: int) -> Tensor:
    # Sizes that torch.export leaves open are torch.SymInt, and a graph that asks whether they are 0
    # is one for such sizes alone.
    if type(right) is type(bottom) is int and right == bottom == 0:
        return image
    return F.pad(image, (0, right, 0, bottom))


def crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """The top left (N, C, *size) of a map.

    A map of that size is left as it is: the gradient of a slice is in another memory layout. Sizes
    that torch.export leaves open are not compared.
    """
    height, width = size
    if type(height) is type(width) is int and x.shape[-2:] == (height, width):
        return x
    return x[..., :height, :width]


def crop_to(maps: dict[str, Tensor], height: int, width: int) -> dict[str, Tensor]:
    """Undo the padding: the top left (N, C, height, width) of every map."""
    return {name: logits[..., :height, :width] for name, logits in maps.items()}
