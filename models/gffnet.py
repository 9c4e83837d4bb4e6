"""GFFNet: Gated Fully Fusion for Semantic Segmentation (Li et al., AAAI 2020).

As released with DecoupleSegNets. Shapes: N images, K classes, H x W pixels. Three levels are fused,
each reduced to 128 channels: x2 (fine), x4, and the ASPP of x5 (both at stride 8). The released net
is over WiderResNet-38; ours also takes the ResNets.
"""

import torch
from torch import Tensor, nn

from models.backbones import seg_backbone
from models.joint import JointNet
from models.layers import (
    ASPP,
    CONTEXT_CHANNELS,
    conv1x1,
    crop_to,
    initialise_heads,
    pad_to_multiple,
    resize,
    seg_classifier,
)

LEVEL_CHANNELS = 128
FUSIONS = ("sequential", "simultaneous")


class GFFNet(JointNet):
    """Three levels that exchange features through gates, then a dense top-down path.

    Every level sends where its gate is high and receives where its gate is low.
    """

    outputs = ("seg",)
    # Everything whose shape depends on the number of classes.
    classifier = ("final.6.",)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        *,
        fusion: str = "sequential",
        edge_head: str = "none",
    ) -> None:
        """fusion: "sequential", as released, or "simultaneous", as in the paper: `gated_fusion`."""
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"no fusion {fusion!r}; there are {', '.join(FUSIONS)}")
        self.sequential = fusion == "sequential"
        self.backbone = seg_backbone(backbone)
        _, c2, _, c4, c5 = self.backbone.channels
        self.context = ASPP(c5, project_kernel=3)
        levels = (c2, c4, CONTEXT_CHANNELS)
        width = LEVEL_CHANNELS
        self.reduce = nn.ModuleList(
            nn.Sequential(conv1x1(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
            for channels in levels
        )
        self.gate = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), nn.Sigmoid()) for channels in levels
        )
        self.dense = nn.ModuleList(
            DenseBlock(count * width, width, 3 * count) for count in (1, 2, 3)
        )
        self.final = seg_classifier(4 * width, num_classes)
        initialise_heads(self.context, self.reduce, self.gate, self.dense, self.final)
        self.add_edge_head(edge_head, num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> logits {"seg": (N, K, H, W)}, and those of the edge head."""
        padded = pad_to_multiple(image, self.backbone.multiple)
        stages = self.backbone(padded)
        _, x2, _, x4, x5 = stages
        inputs = [x2, x4, self.context(x5)]
        levels = [reduce(x) for reduce, x in zip(self.reduce, inputs, strict=True)]
        gates = [gate(x) for gate, x in zip(self.gate, inputs, strict=True)]
        fused = gated_fusion(levels, gates, sequential=self.sequential)
        fine, middle, top, context = (resize(x, x2.shape[-2:]) for x in [*fused, levels[2]])
        top = self.dense[0](top)
        middle = self.dense[1](torch.cat([top, middle], dim=1))
        fine = self.dense[2](torch.cat([top, middle, fine], dim=1))
        seg = self.final(torch.cat([top, context, middle, fine], dim=1))
        outputs = {
            "seg": resize(seg, padded.shape[-2:]),
            **self.edge_outputs(stages, padded.shape[-2:]),
        }
        return crop_to(outputs, *image.shape[-2:])


def gated_fusion(levels: list[Tensor], gates: list[Tensor], *, sequential: bool) -> list[Tensor]:
    """out[l] = (1 + g[l]) x[l] + (1 - g[l]) * sum over i != l of g[i] x[i].

    The summands are resized to level l.

    Args:
        levels: x, (N, C, h_l, w_l) each.
        gates: g, between 0 and 1, of the same shapes.
        sequential: False is the paper's equation 3. True is what was released and what the
            published numbers depend on: x[i] is out[i] for the levels before l.
    """
    out = list(levels)
    for index, gate in enumerate(gates):
        senders = out if sequential else levels
        own, size = levels[index], gate.shape[-2:]
        received = sum(
            (resize(gates[i] * senders[i], size) for i in range(len(levels)) if i != index),
            start=torch.zeros_like(own),
        )
        out[index] = own + gate * own + (1 - gate) * received
    return out


class DenseBlock(nn.Module):
    """A step of DenseASPP (Yang et al., CVPR 2018): pre-activated 1x1, then a dilated 3x3."""

    def __init__(self, in_channels: int, width: int, dilation: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, width, h, w)."""
        x = self.conv1(self.norm1(x).relu())
        return self.conv2(self.norm2(x).relu())
