"""Residual networks (He et al., CVPR 2016) with dilation, as backbones that return every stage.

Parameter names are torchvision's, so that its ImageNet files load unchanged. Stem, stride and
dilation are set here, by the builder, and nowhere else. The edge nets (CASENet, DFF) keep the full
image size in their first stage: strides 1, 2, 4, 8, 8. The segmentation nets (DecoupleSegNets)
start with three 3x3 convolutions: strides 2, 4, 8, 8, 8.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from models.contract import Backbone
from models.layers import conv1x1, conv3x3, initialise_backbone


@dataclass(frozen=True)
class Depth:
    """Block kind, blocks per layer and torchvision's ImageNet weights of one published depth."""

    block: str
    blocks: tuple[int, int, int, int]
    imagenet: str  # the name that torchvision gives them


DEPTHS = {
    "resnet18": Depth("basic", (2, 2, 2, 2), "ResNet18_Weights.IMAGENET1K_V1"),
    "resnet34": Depth("basic", (3, 4, 6, 3), "ResNet34_Weights.IMAGENET1K_V1"),
    "resnet50": Depth("bottleneck", (3, 4, 6, 3), "ResNet50_Weights.IMAGENET1K_V1"),
    "resnet101": Depth("bottleneck", (3, 4, 23, 3), "ResNet101_Weights.IMAGENET1K_V1"),
    "resnet152": Depth("bottleneck", (3, 8, 36, 3), "ResNet152_Weights.IMAGENET1K_V1"),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the identity, both with the layer's dilation."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride, dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, width, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(out + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside the identity; the 3x3 has the stride and dilation."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _downsample(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 4 width, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(out + shortcut)


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
}


class ResNet(Backbone):
    """A stem and four layers; `channels` and `strides` describe the maps that `forward` returns.

    The stem is one 7x7 convolution to 64 channels, or, with `deep_stem`, three 3x3 ones to 64, 64
    and 128.
    """

    multiple = 1  # of any size
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        depth: Depth,
        *,
        stem_stride: int,
        layer_strides: tuple[int, int, int, int],
        dilations: tuple[int, int, int, int],
        deep_stem: bool = False,
    ) -> None:
        super().__init__()
        block = BLOCKS[depth.block]
        channels = [128 if deep_stem else 64]
        strides = [stem_stride]
        self.conv1 = (
            _deep_stem(stem_stride)
            if deep_stem
            else nn.Conv2d(3, 64, 7, stem_stride, padding=3, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stride = 2 * stem_stride
        for number in range(4):
            width = 64 * 2**number
            blocks = [block(channels[-1], width, layer_strides[number], dilations[number])]
            channels.append(width * block.expansion)
            blocks += [
                block(channels[-1], width, 1, dilations[number])
                for _ in range(1, depth.blocks[number])
            ]
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
            stride *= layer_strides[number]
            strides.append(stride)
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        initialise_backbone(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(N, 3, H, W) -> x1..x5, x_i of (N, channels[i], H / strides[i], W / strides[i])."""
        x1 = self.relu(self.bn1(self.conv1(image)))
        x2 = self.layer1(self.maxpool(x1))
        x3 = self.layer2(x2)
        x4 = self.layer3(x3)
        x5 = self.layer4(x4)
        return x1, x2, x3, x4, x5


def _deep_stem(stride: int) -> nn.Sequential:
    return nn.Sequential(
        *(conv3x3(3, 64, stride), nn.BatchNorm2d(64), nn.ReLU(inplace=True)),
        *(conv3x3(64, 64), nn.BatchNorm2d(64), nn.ReLU(inplace=True)),
        conv3x3(64, 128),
    )


def edge_resnet(backbone: str) -> ResNet:
    """The backbone of CASENet and DFF: strides 1, 2, 4, 8, 8.

    All blocks of the four layers have the dilations 2, 2, 2 and 4.
    """
    return ResNet(
        DEPTHS[backbone], stem_stride=1, layer_strides=(1, 2, 2, 1), dilations=(2, 2, 2, 4)
    )


def seg_resnet(backbone: str) -> ResNet:
    """The backbone of the segmentation nets: deep stem, strides 2, 4, 8, 8, 8.

    All blocks of the four layers have the dilations 1, 1, 2 and 4.
    """
    return ResNet(
        DEPTHS[backbone],
        stem_stride=2,
        layer_strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        deep_stem=True,
    )
