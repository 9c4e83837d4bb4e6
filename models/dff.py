"""DFF: Dynamic Feature Fusion for Semantic Edge Detection (Hu et al., IJCAI 2019).

Shapes: N images, K classes, H x W pixels. x1..x5 are the backbone's stages, at strides 1, 2, 4, 8, 8.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.casenet import STRIDE, upsample
from models.fast.convolution import conv1x1
from models.fast.norm_relu_conv import norm_relu_conv, normalise
from models.layers import crop_to, pad_to_multiple
from models.resnet import edge_resnet


class DFF(nn.Module):
    """Three class-agnostic sides and one class-aware side, fused by weights that depend on class and pixel."""

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

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}."""
        x1, x2, x3, _, x5 = self.backbone(pad_to_multiple(image, STRIDE))
        side5 = self.side5(x5)  # (N, K, H, W)
        shared = torch.cat([self.side1(x1), self.side2(x2), self.side3(x3)], dim=1)  # (N, 3, H, W)
        fuse = dynamic_fusion(self.weight_learner(x5), side5, shared)
        return crop_to({"side5": side5, "fuse": fuse}, *image.shape[-2:])


class WeightLearner(nn.Module):
    """The location-adaptive weight learner: four fusion weights for every class and pixel, from the last stage alone."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        channels = 4 * num_classes
        self.project = side(in_channels, channels, STRIDE)
        self.refine = nn.Sequential(
            *(
                conv1x1(channels, channels, bias=True),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ),
            *(
                conv1x1(channels, channels, bias=True),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ),
            *(conv1x1(channels, channels, bias=True), nn.BatchNorm2d(channels)),
        )

    def forward(self, x5: Tensor) -> Tensor:
        """(N, C, H / 8, W / 8) -> weights (N, K, 4, H, W) of side 5 and sides 1 to 3; neither bounded nor summing to one."""
        if not self.training:
            return self.refine(self.project(x5)).unflatten(1, (-1, 4))
        project, norm, up = self.project
        conv1, norm1, _, conv2, norm2, _, conv3, norm3 = self.refine
        x = up.then(norm(project(x5)), conv1)
        x = norm_relu_conv(x, norm1, conv2, conv1.bias)
        x = norm_relu_conv(x, norm2, conv3, conv2.bias)
        return normalise(x, norm3, conv3.bias).unflatten(1, (-1, 4))


def dynamic_fusion(weights: Tensor, side5: Tensor, shared: Tensor) -> Tensor:
    """fuse_k = a_k0 side5_k + a_k1 side1 + a_k2 side2 + a_k3 side3, at every pixel (the paper's equation 2).

    weights: (N, K, 4, H, W). side5: (N, K, H, W). shared: (N, 3, H, W). Returns (N, K, H, W).
    """
    if torch.compiler.is_compiling():
        own, *others = weights.unbind(dim=2)
        return own * side5 + sum(
            a * side for a, side in zip(others, shared.split(1, dim=1), strict=True)
        )
    return _Fusion.apply(weights, side5, shared)


class _Fusion(torch.autograd.Function):
    """dynamic_fusion with its gradients written where they belong: autograd's own would stack and copy them."""

    @staticmethod
    def forward(ctx, weights: Tensor, side5: Tensor, shared: Tensor) -> Tensor:
        ctx.save_for_backward(weights, side5, shared)
        fuse = weights[:, :, 0] * side5
        for j in range(3):
            fuse.addcmul_(weights[:, :, j + 1], shared[:, j : j + 1])
        return fuse

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, side5, shared = ctx.saved_tensors
        to_weights, to_shared = torch.empty_like(weights), torch.empty_like(shared)
        torch.mul(gradient, side5, out=to_weights[:, :, 0])
        for j in range(3):
            torch.mul(gradient, shared[:, j : j + 1], out=to_weights[:, :, j + 1])
            torch.sum(gradient * weights[:, :, j + 1], 1, out=to_shared[:, j])
        return to_weights, gradient * weights[:, :, 0], to_shared


def side(in_channels: int, out_channels: int, factor: int) -> nn.Sequential:
    """1x1 convolution, batch normalisation, learned up-sampling."""
    return nn.Sequential(
        conv1x1(in_channels, out_channels, bias=True),
        nn.BatchNorm2d(out_channels),
        upsample(out_channels, factor),
    )
