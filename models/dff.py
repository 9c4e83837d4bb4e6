"""DFF: Dynamic Feature Fusion for Semantic Edge Detection (Hu et al., IJCAI 2019).

Shapes: N images, K classes, H x W pixels. x1..x5 are the backbone's stages; those of the published
nets are at strides 1, 2, 4, 8, 8.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbones import edge_backbone
from models.contract import whole_multiple
from models.layers import bilinear_upsample, conv1x1, crop, crop_to, pad_to_multiple


class DFFHead(nn.Module):
    """Three class-agnostic sides and one class-aware side, fused by weights of class and pixel."""

    # Everything whose shape depends on the number of classes.
    classifier = ("side5.", "weight_learner.")

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int) -> None:
        """channels, strides: of the five stages."""
        super().__init__()
        c1, c2, c3, _, c5 = channels
        s1, s2, s3, _, s5 = strides
        self.side1 = side(c1, 1, s1)
        self.side2 = side(c2, 1, s2)
        self.side3 = side(c3, 1, s3)
        self.side5 = side(c5, num_classes, s5)
        self.weight_learner = WeightLearner(c5, num_classes, s5)
        self.fusion = DynamicFusion()

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
        weights = crop(self.weight_learner(x5), size)
        return {"side5": side5, "fuse": self.fusion(weights, side5, shared)}


class DFF(DFFHead):
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


class WeightLearner(nn.Module):
    """The location-adaptive weight learner: four fusion weights for every class and pixel."""

    def __init__(self, in_channels: int, num_classes: int, stride: int) -> None:
        super().__init__()
        channels = 4 * num_classes
        self.project = side(in_channels, channels, stride)
        self.refine = nn.Sequential(
            *(conv1x1(channels, channels, bias=True), nn.BatchNorm2d(channels), nn.ReLU(True)),
            *(conv1x1(channels, channels, bias=True), nn.BatchNorm2d(channels), nn.ReLU(True)),
            *(conv1x1(channels, channels, bias=True), nn.BatchNorm2d(channels)),
        )

    def forward(self, x5: Tensor) -> Tensor:
        """(N, C, H / s, W / s) -> weights (N, K, 4, H, W) of side 5 and sides 1 to 3.

        s is the stride. The weights are neither bounded nor do they sum to one.
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


def side(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """1x1 convolution, batch normalisation, and learned up-sampling.

    Without the last where the stage has the image's size.
    """
    layers = [conv1x1(in_channels, out_channels, bias=True), nn.BatchNorm2d(out_channels)]
    if stride > 1:
        layers.append(bilinear_upsample(out_channels, stride))
    return nn.Sequential(*layers)
