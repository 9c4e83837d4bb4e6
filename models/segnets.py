"""FCN, PSPNet and DeepLabV3+ as the base nets of DecoupleSegNets (Li et al., ECCV 2020).

One net with three kinds of context. Shapes: N images, K classes, H x W pixels. x1..x5 are the
backbone's stages; x2 has the detail (stride 4; of WiderResNet, 2), x5 the context (stride 8). The
published repository has the base nets FCN and DeepLabV3+; `pspnet` is the same net with the
pyramid pooling of its decoupled form.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.backbones import seg_backbone
from models.joint import JointNet
from models.layers import (
    ASPP,
    CONTEXT_CHANNELS,
    PyramidPooling,
    conv1x1,
    conv_bn_relu,
    crop_to,
    initialise_heads,
    pad_to_multiple,
    resize,
    seg_classifier,
)

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


class SegNet(JointNet):
    """Context from the last stage, detail from the second, and a classifier over both."""

    outputs = ("seg",)
    # Everything whose shape depends on the number of classes.
    classifier = ("final.6.",)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        *,
        context: str,
        edge_head: str = "none",
    ) -> None:
        super().__init__()
        self.backbone = seg_backbone(backbone)
        _, c2, _, _, c5 = self.backbone.channels
        self.context = CONTEXTS[context](c5)
        self.fine = conv1x1(c2, FINE_CHANNELS)
        self.final = seg_classifier(FINE_CHANNELS + CONTEXT_CHANNELS, num_classes)
        initialise_heads(self.context, self.fine, self.final)
        self.add_edge_head(edge_head, num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> logits {"seg": (N, K, H, W)}, and those of the edge head."""
        padded = pad_to_multiple(image, self.backbone.multiple)
        stages = self.backbone(padded)
        _, x2, _, _, x5 = stages
        context = resize(self.context(x5), x2.shape[-2:])
        seg = self.final(torch.cat([self.fine(x2), context], dim=1))
        outputs = {
            "seg": resize(seg, padded.shape[-2:]),
            **self.edge_outputs(stages, padded.shape[-2:]),
        }
        return crop_to(outputs, *image.shape[-2:])
