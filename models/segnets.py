"""FCN, PSPNet and DeepLabV3+ as the base nets of DecoupleSegNets (Li et al., ECCV 2020).

One net with three kinds of context. Shapes: N images, K classes, H x W pixels. x1..x5 are the
backbone's stages; x2 has the detail (stride 4; of WiderResNet, 2), x5 the context (stride 8). The
published repository has the base nets FCN and DeepLabV3+; `pspnet` is the same net with the
pyramid pooling of its decoupled form.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.layers import (
    ASPP,
    CONTEXT_CHANNELS,
    PyramidPooling,
    conv1x1,
    conv_bn_relu,
    initialise_heads,
    resize,
    seg_classifier,
)
from models.resnet import ResNet, seg_resnet
from models.wider_resnet import WiderResNet

FINE_CHANNELS = 48


def fcn_context(in_channels: int) -> nn.Sequential:
    """FCN (Long et al., CVPR 2015): one 3x3 convolution. (N, C, h, w) -> (N, 256, h, w)."""
    return conv_bn_relu(in_channels, CONTEXT_CHANNELS, 3)


# Input channels -> a module that turns (N, C, h, w) into (N, 256, h, w).
CONTEXTS: dict[str, Callable[[int], nn.Module]] = {
    "fcn": fcn_context,
    "pspnet": PyramidPooling,
    "deeplabv3plus": ASPP,
}


def seg_backbone(backbone: str) -> ResNet | WiderResNet:
    """The backbone of that name, dilated to stride 8."""
    return WiderResNet() if backbone == "wider_resnet38" else seg_resnet(backbone)


class SegNet(nn.Module):
    """Context from the last stage, detail from the second, and a classifier over both."""

    outputs = ("seg",)
    # Everything whose shape depends on the number of classes.
    classifier = ("final.6.",)

    def __init__(self, num_classes: int, backbone: str = "resnet101", *, context: str) -> None:
        super().__init__()
        self.backbone = seg_backbone(backbone)
        _, c2, _, _, c5 = self.backbone.channels
        self.context = CONTEXTS[context](c5)
        self.fine = conv1x1(c2, FINE_CHANNELS)
        self.final = seg_classifier(FINE_CHANNELS + CONTEXT_CHANNELS, num_classes)
        initialise_heads(self.context, self.fine, self.final)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> logits {"seg": (N, K, H, W)}."""
        _, x2, _, _, x5 = self.backbone(image)
        context = resize(self.context(x5), x2.shape[-2:])
        seg = self.final(torch.cat([self.fine(x2), context], dim=1))
        return {"seg": resize(seg, image.shape[-2:])}
