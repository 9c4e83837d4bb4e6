"""CASENet: Deep Category-Aware Semantic Edge Detection (Yu et al., CVPR 2017).

Shapes: N images, K classes, H x W pixels. x1..x5 are the backbone's stages; those of the published
nets are at strides 1, 2, 4, 8, 8.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbones import edge_backbone
from models.contract import whole_multiple
from models.layers import bilinear_upsample, conv1x1, crop, crop_to, pad_to_multiple


class CASENetHead(nn.Module):
    """Three class-agnostic sides and one class-aware side, fused class by class."""

    # Everything whose shape depends on the number of classes.
    classifier = ("side5.", "fuse.")

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int) -> None:
        """channels, strides: of the five stages."""
        super().__init__()
        c1, c2, c3, _, c5 = channels
        s1, s2, s3, _, s5 = strides
        self.side1 = side(c1, 1, s1)
        self.side2 = side(c2, 1, s2)
        self.side3 = side(c3, 1, s3)
        self.side5 = side(c5, num_classes, s5)
        self.fuse = FusedClassification(num_classes)

    def edges(self, stages: Sequence[Tensor], size: Sequence[int]) -> dict[str, Tensor]:
        """x1..x5 of images of `size` (H, W) -> edge logits {"side5", "fuse": (N, K, H, W)}."""
        x1, x2, x3, _, x5 = stages
        side1, side2, side3, side5 = (
            crop(layer(x), size)
            for layer, x in zip(
                (self.side1, self.side2, self.side3, self.side5), (x1, x2, x3, x5), strict=True
            )
        )
        shared = torch.cat([side1, side2, side3], dim=1)  # (N, 3, H, W)
        return {"side5": side5, "fuse": self.fuse(side5, shared)}


class CASENet(CASENetHead):
    """The head over a backbone whose first stage has the image's full size."""

    outputs = ("side5", "fuse")

    def __init__(self, num_classes: int, backbone: str = "resnet101") -> None:
        stages = edge_backbone(backbone)
        super().__init__(stages.channels, stages.strides, num_classes)
        self.backbone = stages

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}."""
        padded = pad_to_multiple(image, whole_multiple(self.backbone))
        outputs = self.edges(self.backbone(padded), padded.shape[-2:])
        return crop_to(outputs, *image.shape[-2:])


def side(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """1x1 convolution, and learned up-sampling where the stage is smaller than the image."""
    convolution = conv1x1(in_channels, out_channels, bias=True)
    if stride == 1:
        return convolution
    return nn.Sequential(convolution, bilinear_upsample(out_channels, stride))


class FusedClassification(nn.Conv2d):
    """fuse_k = w_k0 side5_k + w_k1 side1 + w_k2 side2 + w_k3 side3 + b_k.

    The paper's shared concatenation, [side5_k, side1, side2, side3] for every class k, and a 1x1
    convolution with one group for each class.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(4 * num_classes, num_classes, 1, groups=num_classes)

    def forward(self, side5: Tensor, shared: Tensor) -> Tensor:
        """side5 (N, K, H, W), shared = sides 1 to 3 (N, 3, H, W) -> (N, K, H, W)."""
        of_every_class = shared.unsqueeze(1).expand(-1, side5.shape[1], -1, -1, -1)
        concatenation = torch.cat([side5.unsqueeze(2), of_every_class], dim=2)  # (N, K, 4, H, W)
        return super().forward(concatenation.flatten(1, 2))
