"""DFF: Dynamic Feature Fusion for Semantic Edge Detection (Hu et al., IJCAI 2019).

Shapes: N images, K classes, H x W pixels. x1..x5 are the backbone's stages, at strides 1, 2, 4,
8, 8.
"""

import torch
from torch import Tensor, nn

from models.casenet import STRIDE
from models.layers import bilinear_upsample, conv1x1, crop_to, pad_to_multiple
from models.resnet import edge_resnet


class DFF(nn.Module):
    """Three class-agnostic sides and one class-aware side, fused by weights of class and pixel."""

    outputs = ("side5", "fuse")
    # Everything whose shape depends on the number of classes.
    classifier = ("side5.", "weight_learner.")

    def __init__(self, num_classes: int, backbone: str = "resnet101") -> None:
        super().__init__()
        self.backbone = edge_resnet(backbone)
        c1, c2, c3, _, c5 = self.backbone.channels
        self.side1 = nn.Sequential(conv1x1(c1, 1, bias=True), nn.BatchNorm2d(1))
        self.side2 = side(c2, 1, 2)
        self.side3 = side(c3, 1, 4)
        self.side5 = side(c5, num_classes, STRIDE)
        self.weight_learner = WeightLearner(c5, num_classes)
        self.fusion = DynamicFusion()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}."""
        x1, x2, x3, _, x5 = self.backbone(pad_to_multiple(image, STRIDE))
        side5 = self.side5(x5)  # (N, K, H, W)
        shared = torch.cat([self.side1(x1), self.side2(x2), self.side3(x3)], dim=1)  # (N, 3, H, W)
        fuse = self.fusion(self.weight_learner(x5), side5, shared)  # (N, K, H, W)
        return crop_to({"side5": side5, "fuse": fuse}, *image.shape[-2:])


class WeightLearner(nn.Module):
    """The location-adaptive weight learner: four fusion weights for every class and pixel."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        channels = 4 * num_classes
        self.project = side(in_channels, channels, STRIDE)
        self.refine = nn.Sequential(
            *(conv1x1(channels, channels, bias=True), nn.BatchNorm2d(channels), nn.ReLU(True)),
            *(conv1x1(channels, channels, bias=True), nn.BatchNorm2d(channels), nn.ReLU(True)),
            *(conv1x1(channels, channels, bias=True), nn.BatchNorm2d(channels)),
        )

    def forward(self, x5: Tensor) -> Tensor:
        """(N, C, H / 8, W / 8) -> weights (N, K, 4, H, W) of side 5 and sides 1 to 3.

        The weights are neither bounded nor do they sum to one.
        """
        return self.refine(self.project(x5)).unflatten(1, (-1, 4))


class DynamicFusion(nn.Module):
    """Equation 2: fuse_k = a_k0 side5_k + a_k1 side1 + a_k2 side2 + a_k3 side3, at every pixel."""

    def forward(self, weights: Tensor, side5: Tensor, shared: Tensor) -> Tensor:
        """weights (N, K, 4, H, W), side5 (N, K, H, W), shared (N, 3, H, W) -> (N, K, H, W).

        shared: sides 1 to 3.
        """
        a0, a1, a2, a3 = weights.unbind(dim=2)  # (N, K, H, W) each
        side1, side2, side3 = shared.split(1, dim=1)  # (N, 1, H, W) each
        return a0 * side5 + a1 * side1 + a2 * side2 + a3 * side3


def side(in_channels: int, out_channels: int, factor: int) -> nn.Sequential:
    """1x1 convolution, batch normalisation, learned up-sampling."""
    return nn.Sequential(
        conv1x1(in_channels, out_channels, bias=True),
        nn.BatchNorm2d(out_channels),
        bilinear_upsample(out_channels, factor),
    )
