"""The segmentation nets for evaluation, with less work where the maps are large.

A 1x1 convolution and a bilinear resize are linear, the one of the channels and the other of the
pixels, so either may come first: here the convolution does, on the smaller map. And a convolution
of maps side by side is the sum of one convolution for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.decouple import DecoupledNet
from models.fast.edge_heads import Blocks, StripHead, new_shared, strips_apply, take_sides
from models.fast.fused import FusedConv2d, add_relu
from models.fast.fused import applies as fused_applies
from models.fast.stages import has_stages, iterate_stages
from models.joint import EDGE_OUTPUTS
from models.layers import (
    ASPP,
    CONTEXT_CHANNELS,
    PyramidPooling,
    crop_to,
    resize,
)
from models.segnets import SegNet


class FoldedSegNet(SegNet):
    """SegNet that keeps two of the backbone's stages, and of an edge head what strips need."""

    def prepare(self) -> None:
        """It has no weights of its own."""

    def forward(self, image: Tensor, wanted: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> logits {"seg": (N, K, H, W)}, and those of an edge head.

        wanted: the names of the outputs that are; None: all.
        """
        wanted = self.outputs if wanted is None else wanted
        if not _applies(self, image, wanted):
            return super().forward(image)
        maps = _run_backbone(self, image, wanted)
        outputs = {}
        if maps.context is not None and maps.fine is not None:
            context = resize(maps.context, maps.fine.shape[-2:])
            maps.context = None
            seg = self.final(torch.cat([maps.fine, context], dim=1))
            maps.fine = None
            outputs["seg"] = resize(seg, image.shape[-2:])
        return outputs | maps.edges(image.shape[-2:])


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

        And those of an edge head. wanted: the names of the outputs that are; None: all.
        """
        wanted = self.outputs if wanted is None else wanted
        if not _applies(self, image, wanted):
            return super().forward(image)
        padded = self.pad(image)
        size = padded.shape[-2:]
        maps = _run_backbone(self, padded, wanted)
        outputs = {}
        if maps.context is not None and maps.fine is not None:
            outputs = self._heads(maps.context, maps.fine, wanted)
            outputs = {name: resize(logits, size) for name, logits in outputs.items()}
            maps.context = maps.fine = None
        return crop_to(outputs | maps.edges(size), *image.shape[-2:])

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


@dataclass
class _Maps:
    """What the heads need of a backbone's stages.

    context, fine: (N, 256, h, w) and (N, 48, H', W'); None where edges alone are wanted.
    strips: of the edge head: itself, its strips, the sides, the names of its outputs; None where
    they are not wanted.
    """

    context: Tensor | None
    fine: Tensor | None
    strips: tuple[StripHead, Blocks, Tensor, tuple[str, ...]] | None

    def edges(self, size: Sequence[int]) -> dict[str, Tensor]:
        """The edge head's logits (N, K, H, W) of `size` (H, W)."""
        if self.strips is None:
            return {}
        head, blocks, shared, wanted = self.strips
        return head.by_strips(blocks, shared, size, wanted)


def _run_backbone(net: SegNet | DecoupledNet, image: Tensor, wanted: tuple[str, ...]) -> _Maps:
    """The maps of images whose size the backbone takes; no stage is kept when they are there."""
    of_edges = tuple(name for name in wanted if name in EDGE_OUTPUTS)
    of_seg = len(of_edges) < len(wanted)
    head, shared = net.edge_head, image
    stages = iterate_stages(net.backbone, image)
    if of_edges:
        assert isinstance(head, StripHead)
        shared = new_shared(image, image.shape[-2:])
        stages = take_sides(head, stages, shared)
    next(stages)
    x2 = next(stages)
    fine = net.fine(x2) if of_seg else None
    del x2  # before the next stage is made
    next(stages)
    next(stages)
    x5 = next(stages)
    strips = None
    if of_edges:
        assert isinstance(head, StripHead)
        strips = (head, head.blocks(x5, shared, of_edges), shared, of_edges)
    return _Maps(net.context(x5), fine, strips) if of_seg else _Maps(None, None, strips)


def _applies(net: SegNet | DecoupledNet, image: Tensor, wanted: tuple[str, ...]) -> bool:
    if set(wanted) & set(EDGE_OUTPUTS):
        in_strips = isinstance(net.edge_head, StripHead) and net.edge_stem is None
        if not in_strips or not strips_apply(image):
            return False
    return has_stages(net.backbone) and fused_applies(image, net.fine)
