"""Residual networks (He et al., CVPR 2016) with dilation, as backbones that return every stage.

Parameter names are torchvision's, so that its ImageNet files load unchanged. Stem, stride and dilation are set here, by the builder,
and nowhere else. The backbone of the edge nets (CASENet, Yu et al., CVPR 2017; DFF, Hu et al., IJCAI 2019) keeps the full image size in
its first stage: strides 1, 2, 4, 8, 8. The backbone of the segmentation nets (DecoupleSegNets, Li et al., ECCV 2020) starts with three
3x3 convolutions: strides 2, 4, 8, 8, 8.
"""

from dataclasses import dataclass

import torchvision.models as tv
from torch import Tensor, nn

from models.fast.convolution import conv1x1, conv3x3
from models.fast.residual import residual_block

EXPANSION = {"basic": 1, "bottleneck": 4}


@dataclass(frozen=True)
class Depth:
    """Block kind, blocks per layer and torchvision's ImageNet weights of one published depth."""

    block: str
    blocks: tuple[int, int, int, int]
    imagenet: tv.WeightsEnum


DEPTHS = {
    "resnet18": Depth("basic", (2, 2, 2, 2), tv.ResNet18_Weights.IMAGENET1K_V1),
    "resnet34": Depth("basic", (3, 4, 6, 3), tv.ResNet34_Weights.IMAGENET1K_V1),
    "resnet50": Depth("bottleneck", (3, 4, 6, 3), tv.ResNet50_Weights.IMAGENET1K_V1),
    "resnet101": Depth("bottleneck", (3, 4, 23, 3), tv.ResNet101_Weights.IMAGENET1K_V1),
    "resnet152": Depth("bottleneck", (3, 8, 36, 3), tv.ResNet152_Weights.IMAGENET1K_V1),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the identity; both carry the layer's dilation, the first its stride. last: of its layer."""

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int, *, last: bool
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride, dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(in_channels, width, stride)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        path = (self.conv1, self.bn1), (self.conv2, self.bn2)
        return residual_block(x, path, self.downsample, last=self.last)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside the identity; the 3x3 carries the layer's stride and dilation. last: of its layer."""

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int, *, last: bool
    ) -> None:
        super().__init__()
        out_channels = width * EXPANSION["bottleneck"]
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _downsample(in_channels, out_channels, stride)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        path = (self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)
        return residual_block(x, path, self.downsample, last=self.last)


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
}


class ResNet(nn.Module):
    """A stem and four layers; `channels` and `strides` describe the five maps that `forward` returns.

    The stem is one 7x7 convolution to 64 channels, or, `deep_stem`, three 3x3 ones to 64, 64 and 128.
    """

    def __init__(
        self,
        depth: Depth,
        *,
        stem_stride: int,
        layer_strides: tuple[int, ...],
        dilations: tuple[int, ...],
        deep_stem: bool = False,
    ) -> None:
        super().__init__()
        channels, strides = [128 if deep_stem else 64], [stem_stride]
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
            stride *= layer_strides[number]
            layer = _make_layer(
                depth, number, channels[-1], width, layer_strides[number], dilations[number]
            )
            self.add_module(f"layer{number + 1}", layer)
            channels.append(width * EXPANSION[depth.block])
            strides.append(stride)
        self.channels, self.strides = tuple(channels), tuple(strides)
        initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(N, 3, H, W) -> x1..x5, x_i of (N, channels[i], H / strides[i], W / strides[i])."""
        x1 = self.relu(self.bn1(self.conv1(image)))
        x2 = self.layer1(self.maxpool(x1))
        x3 = self.layer2(x2)
        x4 = self.layer3(x3)
        x5 = self.layer4(x4)
        return x1, x2, x3, x4, x5


def edge_resnet(backbone: str) -> ResNet:
    """The backbone of CASENet and DFF: strides 1, 2, 4, 8, 8; dilations 2, 2, 2, 4 in every block of the four layers."""
    return ResNet(
        DEPTHS[backbone], stem_stride=1, layer_strides=(1, 2, 2, 1), dilations=(2, 2, 2, 4)
    )


def seg_resnet(backbone: str) -> ResNet:
    """The backbone of the segmentation nets: deep stem; strides 2, 4, 8, 8, 8; dilations 1, 1, 2, 4 in every block of the four layers."""
    return ResNet(
        DEPTHS[backbone],
        stem_stride=2,
        layer_strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        deep_stem=True,
    )


def _deep_stem(stride: int) -> nn.Sequential:
    return nn.Sequential(
        *(conv3x3(3, 64, stride), nn.BatchNorm2d(64), nn.ReLU(inplace=True)),
        *(conv3x3(64, 64), nn.BatchNorm2d(64), nn.ReLU(inplace=True)),
        conv3x3(64, 128),
    )


def _make_layer(
    depth: Depth, number: int, in_channels: int, width: int, stride: int, dilation: int
) -> nn.Sequential:
    block, out_channels, count = (
        BLOCKS[depth.block],
        width * EXPANSION[depth.block],
        depth.blocks[number],
    )
    first = block(in_channels, width, stride, dilation, last=count == 1)
    others = (block(out_channels, width, 1, dilation, last=n == count - 1) for n in range(1, count))
    return nn.Sequential(first, *others)


def initialise(network: nn.Module) -> None:
    """He initialisation over the outputs, as the published ImageNet nets started."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
