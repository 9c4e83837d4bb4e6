"""The segmentation nets for evaluation, with less work where the maps are large.

A 1x1 convolution and a bilinear resize are linear, the one of the channels and the other of the
pixels, so either may come first: here the convolution does, on the smaller map. And a convolution
of maps side by side is the sum of one convolution for each.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from models.decouple import DecoupledNet
from models.fast.fused import FusedConv2d, add_relu
from models.fast.fused import applies as fused_applies
from models.fast.stages import has_stages, iterate_stages
from models.layers import (
    ASPP,
    CONTEXT_CHANNELS,
    PyramidPooling,
    crop_to,
    resize,
)
from models.segnets import SegNet


class FoldedSegNet(SegNet):
    """SegNet that keeps two of the backbone's stages."""

    def prepare(self) -> None:
        """It has no weights of its own."""

    def forward(self, image: Tensor, wanted: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> logits {"seg": (N, K, H, W)}, and those of an edge head.

        wanted: the names of the outputs that are; None: all.
        """
        if not _applies(self, image, wanted):
            return super().forward(image)
        context, fine = _context_and_fine(self, image)
        seg = self.final(torch.cat([fine, resize(context, fine.shape[-2:])], dim=1))
        return {"seg": resize(seg, image.shape[-2:])}


class FoldedDecoupledNet(DecoupledNet):
    """DecoupledNet that can leave out heads. `prepare` is called once, on a folded net."""

    fuse_edge: FusedConv2d
    fuse_fine: FusedConv2d

    def prepare(self) -> None:
        """Part the weights that fuse edge and detail."""
        fusion = self.decouple.edge_fusion
        self.fuse_edge = input_part(fusion, 0, CONTEXT_CHANNELS)
        self.fuse_fine = input_part(fusion, CONTEXT_CHANNELS, fusion.in_channels)

    def forward(self, image: Tensor, wanted: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> logits {"seg", "body": (N, K, H, W), "edge": (N, 1, H, W)}.

        wanted: the names of the outputs that are; None: all.
        """
        if not _applies(self, image, wanted):
            return super().forward(image)
        padded = self.pad(image)
        context, fine = _context_and_fine(self, padded)
        outputs = self._heads(context, fine, self.outputs if wanted is None else wanted)
        outputs = {name: resize(logits, padded.shape[-2:]) for name, logits in outputs.items()}
        return crop_to(outputs, *image.shape[-2:])

    def _heads(self, context: Tensor, fine: Tensor, wanted: tuple[str, ...]) -> dict[str, Tensor]:
        """`BodyEdgeHead.forward`, of the outputs that are wanted."""
        head, size, outputs = self.decouple, fine.shape[-2:], {}
        body, edge = head.split(context)
        edge = self.fuse_edge(edge)
        fine = self.fuse_fine(fine)  # (N, 256, H', W')
        if "seg" in wanted:
            whole = resize(torch.cat([context, edge + body], dim=1), size)  # (N, 512, H', W')
            whole[:, CONTEXT_CHANNELS:] += fine
            outputs["seg"] = head.seg(whole)
            del whole
        if "body" in wanted:
            outputs["body"] = head.body(body)
        if "edge" in wanted:
            outputs["edge"] = head.edge(fine.add_(resize(edge, size)))
        return outputs


class FoldedASPP(ASPP):
    """Branch after branch is projected and added. `prepare` is called once, on a folded net."""

    parts: nn.ModuleList

    def prepare(self) -> None:
        """Part the weights of the projection: those of the pooled image, then of each branch."""
        width = CONTEXT_CHANNELS
        count = 1 + len(self.branches)
        self.parts = nn.ModuleList(
            input_part(self.project, n * width, (n + 1) * width) for n in range(count)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 256, h, w), with neither batch normalisation nor ReLU at the end."""
        of_image, *of_branches = self.parts
        # With more taps than one, the padding at the border makes a constant map no constant.
        if self.project.kernel_size != (1, 1) or not fused_applies(x, of_image):
            return super().forward(x)
        image = of_image(self.image(nn.functional.adaptive_avg_pool2d(x, 1)))
        out = image.expand(-1, -1, *x.shape[-2:]).contiguous(memory_format=torch.channels_last)
        for branch, part in zip(self.branches, of_branches, strict=True):
            assert isinstance(part, nn.Conv2d)
            out = add_relu(branch(x), part, out, relu=False)
        return out


class FoldedPyramidPooling(PyramidPooling):
    """Pooled maps are projected before their resize. `prepare` is called once, on a folded net."""

    parts: nn.ModuleList

    def prepare(self) -> None:
        """Part the weights of the projection: those of each pooled map, then of the whole."""
        project = self.bottleneck[0]
        assert isinstance(project, nn.Conv2d)
        width, count = CONTEXT_CHANNELS, len(self.stages)
        ends = [*(n * width for n in range(count + 1)), project.in_channels]
        self.parts = nn.ModuleList(
            input_part(project, first, last) for first, last in pairwise(ends)
        )
        of_whole = self.parts[-1]
        assert isinstance(of_whole, nn.Conv2d)
        of_whole.bias = project.bias

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 256, h, w)."""
        *of_stages, of_whole = self.parts
        if not fused_applies(x, of_whole):
            return super().forward(x)
        out = of_whole(x)
        for stage, part in zip(self.stages, of_stages, strict=True):
            out += resize(part(stage(x)), x.shape[-2:])
        return out.relu_()


def input_part(conv: nn.Conv2d, first: int, last: int) -> FusedConv2d:
    """The convolution of the input channels from `first` to before `last`, without bias."""
    part = FusedConv2d(
        last - first,
        conv.out_channels,
        conv.kernel_size,  # pyright: ignore[reportArgumentType] (a tuple of two)
        padding=conv.padding,  # pyright: ignore[reportArgumentType] (likewise)
        bias=False,
    )
    weight = conv.weight.detach()[:, first:last].clone()
    part.weight = nn.Parameter(weight, requires_grad=False)
    return part.eval()


def _context_and_fine(net: SegNet | DecoupledNet, image: Tensor) -> tuple[Tensor, Tensor]:
    """Context (N, 256, h, w) and detail (N, 48, H', W'); no stage is kept when both are there."""
    stages = iterate_stages(net.backbone, image)
    next(stages)
    fine = net.fine(next(stages))
    next(stages)
    next(stages)
    return net.context(next(stages)), fine


def _applies(net: SegNet | DecoupledNet, image: Tensor, wanted: tuple[str, ...] | None) -> bool:
    """wanted: see `FoldedSegNet`; an edge head needs all of the stages."""
    wanted = net.outputs if wanted is None else wanted
    if "fuse" in wanted or "side5" in wanted:
        return False
    return has_stages(net.backbone) and fused_applies(image, net.fine)
