"""CASENet: Deep Category-Aware Semantic Edge Detection (Yu et al., CVPR 2017).

Shapes: N images, K classes, H x W pixels. x1..x5 are the backbone's stages, at strides 1, 2, 4,
8, 8.
"""

import torch
from torch import Tensor, nn

from models.layers import bilinear_upsample, conv1x1, crop_to, pad_to_multiple
from models.resnet import edge_resnet

STRIDE = 8


class CASENet(nn.Module):
    """Three class-agnostic sides and one class-aware side, fused class by class."""

    outputs = ("side5", "fuse")
    # Everything whose shape depends on the number of classes.
    classifier = ("side5.", "fuse.")

    def __init__(self, num_classes: int, backbone: str = "resnet101") -> None:
        super().__init__()
        self.backbone = edge_resnet(backbone)
        c1, c2, c3, _, c5 = self.backbone.channels
        self.side1 = conv1x1(c1, 1, bias=True)
        self.side2 = nn.Sequential(conv1x1(c2, 1, bias=True), bilinear_upsample(1, 2))
        self.side3 = nn.Sequential(conv1x1(c3, 1, bias=True), bilinear_upsample(1, 4))
        self.side5 = nn.Sequential(
            conv1x1(c5, num_classes, bias=True), bilinear_upsample(num_classes, STRIDE)
        )
        self.fuse = FusedClassification(num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}."""
        x1, x2, x3, _, x5 = self.backbone(pad_to_multiple(image, STRIDE))
        side5 = self.side5(x5)  # (N, K, H, W)
        shared = torch.cat([self.side1(x1), self.side2(x2), self.side3(x3)], dim=1)  # (N, 3, H, W)
        fuse = self.fuse(side5, shared)  # (N, K, H, W)
        return crop_to({"side5": side5, "fuse": fuse}, *image.shape[-2:])


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
