"""CASENet: Deep Category-Aware Semantic Edge Detection (Yu et al., CVPR 2017).

Shapes: N images, K classes, H x W pixels. x1..x5 are the trunk's stages, at strides 1, 2, 4, 8, 8.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import crop_to, pad_to_multiple
from models.resnet import edge_resnet

STRIDE = 8


class CASENet(nn.Module):
    """Three class-agnostic sides and one class-aware side, fused per class by one learned weight for each."""

    # Everything whose shape depends on the number of classes.
    classifier = ("side5.", "fuse.")

    def __init__(self, num_classes: int, backbone: str = "resnet101") -> None:
        super().__init__()
        self.backbone = edge_resnet(backbone)
        c1, c2, c3, _, c5 = self.backbone.channels
        self.side1 = nn.Conv2d(c1, 1, 1)
        self.side2 = nn.Sequential(nn.Conv2d(c2, 1, 1), upsample(1, 2))
        self.side3 = nn.Sequential(nn.Conv2d(c3, 1, 1), upsample(1, 4))
        self.side5 = nn.Sequential(nn.Conv2d(c5, num_classes, 1), upsample(num_classes, STRIDE))
        self.fuse = nn.Conv2d(4 * num_classes, num_classes, 1, groups=num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}."""
        x1, x2, x3, _, x5 = self.backbone(pad_to_multiple(image, STRIDE))
        side5 = self.side5(x5)  # (N, K, H, W)
        shared = torch.cat([self.side1(x1), self.side2(x2), self.side3(x3)], dim=1)  # (N, 3, H, W)
        return crop_to({"side5": side5, "fuse": self._fuse(side5, shared)}, *image.shape[-2:])

    def _fuse(self, side5: Tensor, shared: Tensor) -> Tensor:
        """fuse_k = w_k0 side5_k + sum over j of w_kj shared_j + b_k: the grouped convolution over [side5_k, shared],
        without stacking the shared maps once per class."""
        weight = self.fuse.weight[:, :, 0, 0]  # (K, 4)
        own = weight[:, 0, None, None] * side5 + self.fuse.bias[:, None, None]
        return own + torch.einsum("kj,njhw->nkhw", weight[:, 1:], shared)


def upsample(channels: int, factor: int) -> "LearnedUpsample":
    """Learned up-sampling by `factor`: kernel 2f, stride f, dense over the channels, without bias.

    It starts as bilinear interpolation of each channel by itself (CASENet's choice).
    """
    layer = LearnedUpsample(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
    ramp = 1 - (torch.arange(2 * factor) - factor + 0.5).abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = torch.outer(ramp, ramp)
    return layer


class LearnedUpsample(nn.ConvTranspose2d):
    """A transposed convolution with kernel 2f, stride f and padding f / 2, as products of matrices: the same sums in half the time.

    Cut each block of f x f output pixels in four: all pixels of such a quadrant depend on the same 2 x 2 input pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', f h, f w), contiguous."""
        (h, w), half, out = x.shape[2:], self.padding[0], self.out_channels
        # The input's row is the one above (tap 2) or below (tap 1) the middle between two of them, on either side of which are quadrants.
        taps = self.weight.unflatten(3, (2, 2, half)).unflatten(2, (2, 2, half)).flip(2, 3, 5, 6)
        taps = taps.permute(3, 6, 1, 4, 7, 0, 2, 5).reshape(
            4, out * half * half, -1
        )  # (quadrant, pixel of it, C * 2 * 2)
        pairs = F.unfold(x, 2, padding=1).unflatten(2, (h + 1, w + 1)).transpose(0, 1)  # (C * 2 * 2, N, h + 1, w + 1)
        inputs = [pairs[:, :, p : p + h, q : q + w].flatten(1) for p in (0, 1) for q in (0, 1)]
        quadrants = torch.bmm(taps, torch.stack(inputs)).view(2, 2, out, half, half, len(x), h, w)
        return quadrants.permute(5, 2, 6, 0, 3, 7, 1, 4).reshape(len(x), out, 2 * half * h, 2 * half * w)
