"""CASENet: Deep Category-Aware Semantic Edge Detection (Yu et al., CVPR 2017).

Shapes: N images, K classes, H x W pixels. x1..x5 are the backbone's stages, at strides 1, 2, 4, 8, 8.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fast.convolution import conv1x1
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
        self.side1 = conv1x1(c1, 1, bias=True)
        self.side2 = nn.Sequential(conv1x1(c2, 1, bias=True), upsample(1, 2))
        self.side3 = nn.Sequential(conv1x1(c3, 1, bias=True), upsample(1, 4))
        self.side5 = nn.Sequential(
            conv1x1(c5, num_classes, bias=True), upsample(num_classes, STRIDE)
        )
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
    layer = LearnedUpsample(
        channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False
    )
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
        """(N, C, h, w) -> (N, C, f h, f w), contiguous."""
        return self.then(x)

    def then(self, x: Tensor, conv: nn.Conv2d | None = None) -> Tensor:
        """conv(self(x)), leaving out conv's own bias; `conv` has one tap.

        What is linear in each pixel of the result can be done to the weights instead, which are fewer.
        """
        (h, w), half = x.shape[2:], self.padding[0]
        weight = self.weight.permute(0, 2, 3, 1)  # (C, 2f, 2f, O)
        if conv is not None:
            weight = F.linear(weight, conv.weight.flatten(1))
        # The input's row is the one above (tap 2) or below (tap 1) the middle between two of them, on either side of which are quadrants.
        taps = weight.unflatten(2, (2, 2, half)).unflatten(1, (2, 2, half)).flip(1, 2, 4, 5)
        taps = taps.permute(
            2, 5, 1, 4, 0, 3, 6, 7
        )  # (quadrants 2 x 2, taps 2 x 2, C, pixels f / 2 x f / 2, O)
        taps = taps.reshape(4, 4 * x.shape[1], -1)
        rows = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (N, h + 2, w + 2, C)
        near = lambda p, q: rows[:, p : p + h, q : q + w]  # noqa: E731
        inputs = [
            torch.cat([near(p + r, q + s) for r in (0, 1) for s in (0, 1)], 3)
            for p in (0, 1)
            for q in (0, 1)
        ]
        quadrants = torch.bmm(
            taps.transpose(1, 2), torch.stack(inputs).flatten(1, 3).transpose(1, 2)
        )
        whole = quadrants.view(2, 2, half, half, -1, len(x), h, w).permute(5, 4, 6, 0, 2, 7, 1, 3)
        return whole.reshape(len(x), -1, 2 * half * h, 2 * half * w)
