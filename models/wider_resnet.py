"""WiderResNet-38 (Wu, Shen and van den Hengel, 2016) with dilation, as a backbone.

Pre-activation blocks (He et al., ECCV 2016): normalise, activate, convolve. Parameter names are
those of the ImageNet file that the published segmentation nets start from. The ImageNet
classifier's batch normalisation is not part of the backbone: the last map leaves un-normalised, as
published.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from models.contract import Backbone
from models.layers import conv1x1, initialise_backbone


@dataclass(frozen=True)
class Stage:
    """One stage of blocks.

    widths: the channels after each convolution of a block: two (3x3, 3x3) or three (1x1, 3x3, 1x1).
    """

    blocks: int
    widths: tuple[int, ...]
    stride: int = 1
    dilation: int = 1
    dropout: float = 0.0


STEM_CHANNELS = 64
STAGES = {
    "mod2": Stage(3, (128, 128)),
    "mod3": Stage(3, (256, 256)),
    "mod4": Stage(6, (512, 512), stride=2),
    "mod5": Stage(3, (512, 1024), dilation=2),
    "mod6": Stage(1, (512, 1024, 2048), dilation=4, dropout=0.3),
    "mod7": Stage(1, (1024, 2048, 4096), dilation=4, dropout=0.5),
}


class PreActivationBlock(nn.Module):
    """convs(a) + x with a = relu(bn(x)); where the shape changes, convs(a) + proj_conv(a)."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        self.bn1 = bn_relu(in_channels)
        self.convs = nn.Sequential(_convolutions(in_channels, stage, stride))
        if stride != 1 or in_channels != stage.widths[-1]:
            self.proj_conv = conv1x1(in_channels, stage.widths[-1], stride)
        else:
            self.proj_conv = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, widths[-1], h / stride, w / stride)."""
        activated = self.bn1(x)
        shortcut = x if self.proj_conv is None else self.proj_conv(activated)
        return self.convs(activated) + shortcut


class WiderResNet(Backbone):
    """A 3x3 stem and six stages; `channels` and `strides` describe what `forward` returns."""

    channels = (64, 128, 256, 1024, 4096)
    strides = (1, 2, 4, 8, 8)
    multiple = 1  # of any size

    mod2: nn.Sequential
    mod3: nn.Sequential
    mod4: nn.Sequential
    mod5: nn.Sequential
    mod6: nn.Sequential
    mod7: nn.Sequential

    def __init__(self) -> None:
        super().__init__()
        self.mod1 = nn.Sequential(
            OrderedDict(conv1=nn.Conv2d(3, STEM_CHANNELS, 3, padding=1, bias=False))
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = STEM_CHANNELS
        for name, stage in STAGES.items():
            self.add_module(name, _make_stage(channels, stage))
            channels = stage.widths[-1]
        initialise_backbone(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(N, 3, H, W) -> x1..x5, after mod1, mod2, mod3, mod5 and mod7.

        x_i has the shape (N, channels[i], H / strides[i], W / strides[i]).
        """
        x1 = self.mod1(image)
        x2 = self.mod2(self.pool(x1))
        x3 = self.mod3(self.pool(x2))
        x4 = self.mod5(self.mod4(x3))
        x5 = self.mod7(self.mod6(x4))
        return x1, x2, x3, x4, x5


def bn_relu(channels: int) -> nn.Sequential:
    """Batch normalisation and ReLU."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _convolutions(in_channels: int, stage: Stage, stride: int) -> OrderedDict[str, nn.Module]:
    """conv1, bn2, conv2 [, bn3, dropout, conv3], by their names in the ImageNet file.

    The first convolution has the stride, every 3x3 the dilation.
    """
    kernels = (3, 3) if len(stage.widths) == 2 else (1, 3, 1)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (kernel, channels) in enumerate(zip(kernels, stage.widths, strict=True), start=1):
        if number > 1:
            layers[f"bn{number}"] = bn_relu(in_channels)
        if stage.dropout and number == len(kernels):
            layers["dropout"] = nn.Dropout2d(stage.dropout)
        dilation = stage.dilation if kernel == 3 else 1
        layers[f"conv{number}"] = nn.Conv2d(
            in_channels,
            channels,
            kernel,
            stride if number == 1 else 1,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=False,
        )
        in_channels = channels
    return layers


def _make_stage(in_channels: int, stage: Stage) -> nn.Sequential:
    blocks: OrderedDict[str, nn.Module] = OrderedDict(
        block1=PreActivationBlock(in_channels, stage, stage.stride)
    )
    for number in range(2, stage.blocks + 1):
        blocks[f"block{number}"] = PreActivationBlock(stage.widths[-1], stage, 1)
    return nn.Sequential(blocks)
