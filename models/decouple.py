"""DecoupleSegNets: Improving Semantic Segmentation via Decoupled Body and Edge Supervision.

Li et al., ECCV 2020. Shapes: N images, K classes, H x W pixels. x1..x5 are the backbone's stages;
x2 (H' x W') has the detail, x5 (stride 8, h x w) the context.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones import seg_backbone
from models.joint import JointNet
from models.layers import (
    CONTEXT_CHANNELS,
    conv1x1,
    conv3x3,
    conv_bn_relu,
    crop_to,
    initialise_heads,
    pad_to_least,
    pad_to_multiple,
    resize,
    seg_classifier,
)
from models.segnets import CONTEXTS, FINE_CHANNELS

# Two unpadded 3x3 convolutions of stride 2 need a map of 7 pixels.
LEAST_MAP = 7


class DecoupledNet(JointNet):
    """A base net whose classifier is replaced by the body/edge head."""

    outputs = ("seg", "body", "edge")
    # Everything whose shape depends on the number of classes.
    classifier = ("decouple.seg.6.", "decouple.body.3.")
    # Parameters of this net that its base net does not have, and of the base net that this lacks.
    beyond_base = ("decouple.", "final.")

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        *,
        context: str,
        align_corners: bool = True,
        edge_head: str = "none",
    ) -> None:
        super().__init__()
        self.backbone = seg_backbone(backbone)
        _, c2, _, _, c5 = self.backbone.channels
        self.context = CONTEXTS[context](c5)
        self.fine = conv1x1(c2, FINE_CHANNELS)
        self.decouple = BodyEdgeHead(num_classes, align_corners)
        initialise_heads(self.context, self.fine, self.decouple)
        self.add_edge_head(edge_head, num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> logits {"seg", "body": (N, K, H, W), "edge": (N, 1, H, W)}.

        And those of the edge head.
        """
        padded = self.pad(image)
        stages = self.backbone(padded)
        _, x2, _, _, x5 = stages
        outputs = self.decouple(self.context(x5), self.fine(x2))
        outputs = {name: resize(logits, padded.shape[-2:]) for name, logits in outputs.items()}
        outputs |= self.edge_outputs(stages, padded.shape[-2:])
        return crop_to(outputs, *image.shape[-2:])

    def pad(self, image: Tensor) -> Tensor:
        """Padded, right and bottom, to what backbone and head take."""
        least = (LEAST_MAP - 1) * self.backbone.strides[4] + 1
        return pad_to_multiple(pad_to_least(image, least), self.backbone.multiple)


class BodyEdgeHead(nn.Module):
    """Splits a context map into body and edge, and classifies their sum beside the map itself.

    Body and edge have classifiers of their own, for the supervision of each.
    """

    def __init__(self, num_classes: int, align_corners: bool) -> None:
        super().__init__()
        width = CONTEXT_CHANNELS
        self.split = BodyEdgeSplit(width, align_corners)
        self.edge_fusion = conv1x1(width + FINE_CHANNELS, width)
        self.edge = nn.Sequential(*conv_bn_relu(width, FINE_CHANNELS, 3), conv1x1(FINE_CHANNELS, 1))
        self.body = nn.Sequential(*conv_bn_relu(width, width, 3), conv1x1(width, num_classes))
        self.seg = seg_classifier(2 * width, num_classes)

    def forward(self, context: Tensor, fine: Tensor) -> dict[str, Tensor]:
        """context (N, 256, h, w), fine (N, 48, H', W') -> logits.

        "seg" (N, K, H', W'), "edge" (N, 1, H', W') and "body" (N, K, h, w).
        """
        size = fine.shape[-2:]
        body, edge = self.split(context)
        edge = self.edge_fusion(torch.cat([resize(edge, size), fine], dim=1))  # (N, 256, H', W')
        body_and_edge = edge + resize(body, size)
        whole = torch.cat([resize(context, size), body_and_edge], dim=1)  # (N, 512, H', W')
        return {"seg": self.seg(whole), "body": self.body(body), "edge": self.edge(edge)}


class BodyEdgeSplit(nn.Module):
    """x = body + edge, where the body is x warped along a learned flow.

    The flow can draw what lies inside an object over its border; the edge is what the body lacks.
    """

    def __init__(self, channels: int, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.down = nn.Sequential(*_halve(channels), *_halve(channels))
        self.flow_make = conv3x3(2 * channels, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, h, w), h and w at least 7 -> body and edge of the same shape."""
        coarse = resize(self.down(x), x.shape[-2:])
        flow = self.flow_make(torch.cat([x, coarse], dim=1))
        body = warp(x, flow, align_corners=self.align_corners)
        return body, x - body


def warp(
    x: Tensor,
    flow: Tensor,
    *,
    align_corners: bool,
    linspace: Callable[..., Tensor] = torch.linspace,
) -> Tensor:
    """out[y, x] = in at (x + flow_x, y + flow_y), bilinear, zero outside.

    The sampling grid runs from -1 to 1 with corner on corner, and flow is in units of 1 / w and
    1 / h of that grid. The published code leaves `align_corners` of `grid_sample` to PyTorch's
    default, which was True in the version that it was written for (1.2) and has been False since
    1.3; with False not even zero flow is the identity. Published weights do not say under which of
    the two they were trained.

    Args:
        x: (N, C, h, w).
        flow: (N, 2, h, w), first x, then y.
        align_corners: of `grid_sample`.
        linspace: gives the rows and columns of the grid, see `utils.export.forms`.
    """
    height, width = x.shape[-2:]
    # Half precision cannot tell the pixels of a row apart.
    flow = flow.float() if flow.dtype in (torch.float16, torch.bfloat16) else flow
    rows = linspace(-1, 1, height, dtype=flow.dtype, device=flow.device)
    columns = linspace(-1, 1, width, dtype=flow.dtype, device=flow.device)
    at_x = columns + flow[:, 0] / width
    at_y = rows[:, None] + flow[:, 1] / height
    warped = F.grid_sample(
        x.to(flow.dtype),
        torch.stack([at_x, at_y], dim=3),  # (N, h, w, 2)
        mode="bilinear",
        padding_mode="zeros",
        align_corners=align_corners,
    )
    return warped.to(x.dtype)


def _halve(channels: int) -> nn.Sequential:
    """Depth-wise 3x3 convolution of stride 2, unpadded; batch normalisation; ReLU."""
    convolution = nn.Conv2d(channels, channels, 3, stride=2, groups=channels)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
