"""The heads of the edge nets for evaluation, strip by strip, without maps stacked for every class.

At full size the heads' maps are larger than all others together: four weights for every class and
pixel. They are made for a strip of rows at a time, in the order in which the learned up-sampling
produces them: of each map pixel at stride 8 its four quadrants, of each quadrant its 4 x 4 output
pixels, of each of those the channels. So the 1x1 convolutions behind it are products of matrices,
and only the sum over classes is put into its place.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.casenet import CASENet, CASENetHead
from models.dff import DFF, DFFHead
from models.fast.stages import iterate_stages
from models.joint import EDGE_OUTPUTS
from models.layers import crop_to, pad_to_multiple
from models.resnet import ResNet

STRIDE = 8  # of the published nets
STRIP = 8  # rows of the map at that stride
HALF = STRIDE // 2  # the side of a quadrant

# (first row, number of rows) of the map at stride 8 -> outputs in the order of `to_blocks`.
Blocks = Callable[[int, int], dict[str, Tensor]]


class StripUpsample(nn.Module):
    """Learned up-sampling by 8, and with `conv` the 1x1 convolution behind it, of strips of rows.

    See `models.fast.upsample.upsample_convolve`: here the weights are arranged once.
    """

    taps: Tensor

    def __init__(self, up: nn.Module, conv: nn.Module | None = None) -> None:
        super().__init__()
        assert isinstance(up, nn.ConvTranspose2d)
        assert isinstance(conv, nn.Conv2d | None)
        weight = up.weight.detach().permute(0, 2, 3, 1)  # (C, 16, 16, O)
        if conv is not None:
            weight = F.linear(weight.double(), conv.weight.detach().flatten(1).double())
            weight = weight.to(up.weight.dtype)
        self.outputs = weight.shape[3]
        taps = weight.unflatten(2, (2, 2, HALF)).unflatten(1, (2, 2, HALF)).flip(1, 2, 4, 5)
        taps = taps.permute(2, 5, 1, 4, 0, 3, 6, 7)  # (quadrant y, x, pixel y, x, C, 4, 4, O)
        taps = taps.reshape(4, 4 * len(weight), -1).contiguous()
        self.register_buffer("taps", taps, persistent=False)  # (4, 4 C, 16 O)

    def forward(self, padded: Tensor, first: int, rows: int) -> Tensor:
        """(N, h + 2, w + 2, C) -> (4, N, rows, w, 16, O) of the rows from `first` on."""
        count, _, width, channels = padded.shape
        width -= 2
        inputs = torch.empty(4, count, rows, width, 4, channels, dtype=padded.dtype)
        for quadrant in range(4):
            y, x = divmod(quadrant, 2)
            for tap in range(4):
                down, right = divmod(tap, 2)
                top, left = first + y + down, x + right
                inputs[quadrant, :, :, :, tap] = padded[:, top : top + rows, left : left + width]
        blocks = torch.bmm(inputs.view(4, -1, 4 * channels), self.taps)
        return blocks.view(4, count, rows, width, HALF * HALF, self.outputs)


def to_blocks(x: Tensor, first: int, rows: int) -> Tensor:
    """Rows of (N, C, H, W) at full size in the order of `StripUpsample`: (4, N, rows, w, 16, C)."""
    strip = x[:, :, STRIDE * first : STRIDE * (first + rows)]
    parts = strip.unflatten(3, (-1, 2, HALF)).unflatten(2, (-1, 2, HALF))
    # (N, C, rows, 2, 4, w, 2, 4) -> (2, 2, N, rows, w, 4, 4, C)
    return parts.permute(3, 6, 0, 2, 5, 4, 7, 1).flatten(5, 6).flatten(0, 1)


def from_blocks(blocks: Tensor, out: Tensor, first: int) -> None:
    """Write (4, N, rows, w, 16, K) to its rows of (N, K, H, W)."""
    parts = blocks.unflatten(4, (HALF, HALF)).unflatten(0, (2, 2))
    rows = blocks.shape[2]
    strip = out[:, :, STRIDE * first : STRIDE * (first + rows)]
    target = strip.unflatten(3, (-1, 2, HALF)).unflatten(2, (-1, 2, HALF))
    # (2, 2, N, rows, w, 4, 4, K) -> (N, K, rows, 2, 4, w, 2, 4)
    target.copy_(parts.permute(2, 7, 3, 0, 5, 4, 1, 6))


class StripHead(nn.Module):
    """What the two heads have in common: a base class of `StripDFFHead` and `StripCASENetHead`.

    The sides are made while the backbone runs, see `take_sides`, so no stage is kept for them. A
    subclass has `blocks`, which gives the outputs strip by strip.
    """

    side1: nn.Module
    side2: nn.Module
    side3: nn.Module
    up_side5: StripUpsample

    def blocks(self, x5: Tensor, shared: Tensor, wanted: Sequence[str]) -> Blocks:
        """A function from (first row, number of rows) of x5 to the outputs in `to_blocks`' order.

        Args:
            x5: (N, C, h, w), the last stage; it is not kept.
            shared: (N, 3, 8 h, 8 w), sides 1 to 3.
            wanted: names of outputs.
        """
        raise NotImplementedError

    def edges(
        self, stages: Sequence[Tensor], size: Sequence[int], wanted: Sequence[str] = EDGE_OUTPUTS
    ) -> dict[str, Tensor]:
        """x1..x5 of images of `size` (H, W) -> edge logits {"side5", "fuse": (N, K, H, W)}."""
        x5, height, width = stages[4], *size
        if not strips_apply(x5) or x5.shape[2:] != (-(-height // STRIDE), -(-width // STRIDE)):
            return super().edges(stages, size)  # pyright: ignore[reportAttributeAccessIssue]
        shared = new_shared(x5, size)
        for _ in take_sides(self, iter(stages), shared):
            pass
        return self.by_strips(self.blocks(x5, shared, wanted), shared, size, wanted)

    def by_strips(
        self, blocks: Blocks, shared: Tensor, size: Sequence[int], wanted: Sequence[str]
    ) -> dict[str, Tensor]:
        """The outputs that are wanted, of all rows: (N, K, H, W) each, of `size` (H, W)."""
        images, _, *padded = shared.shape
        classes = self.up_side5.outputs
        whole = {name: shared.new_empty(images, classes, *padded) for name in wanted}
        height = padded[0] // STRIDE
        for first in range(0, height, STRIP):
            strip = blocks(first, min(STRIP, height - first))
            for name, out in whole.items():
                from_blocks(strip[name], out, first)
        return crop_to(whole, *size)


class StripDFFHead(StripHead, DFFHead):
    """DFF's head. `prepare` is called once, on a folded net."""

    up_weights: StripUpsample
    refine: nn.Sequential

    def prepare(self) -> None:
        """Arrange the weights of the head."""
        first, _, _, second, _, _, third, _ = self.weight_learner.refine
        self.up_side5 = StripUpsample(self.side5[2])
        self.up_weights = StripUpsample(self.weight_learner.project[2], first)
        last = as_linear(third)
        # From (class, side) to (side, class): the four weights of a class lie apart, each a row.
        order = torch.arange(last.out_features).view(-1, 4).T.flatten()
        self.refine = nn.Sequential(as_linear(second), nn.ReLU(inplace=True), last)
        for parameter in last.parameters():
            parameter.data = parameter.data[order].contiguous()

    def blocks(self, x5: Tensor, shared: Tensor, wanted: Sequence[str]) -> Blocks:
        """See `StripHead`."""
        small5 = _framed(self.side5[0](x5))
        small_weights = _framed(self.weight_learner.project[0](x5))
        bias = self.weight_learner.refine[0].bias

        def blocks(first: int, rows: int) -> dict[str, Tensor]:
            side5 = self.up_side5(small5, first, rows)
            if "fuse" not in wanted:
                return {"side5": side5}
            weights = self.refine(self.up_weights(small_weights, first, rows).add_(bias).relu_())
            a0, a1, a2, a3 = weights.unflatten(-1, (4, -1)).unbind(-2)
            side1, side2, side3 = to_blocks(shared, first, rows).split(1, dim=-1)
            total = (a0 * side5).addcmul_(a1, side1).addcmul_(a2, side2).addcmul_(a3, side3)
            return {"side5": side5, "fuse": total}

        return blocks


class StripCASENetHead(StripHead, CASENetHead):
    """CASENet's head. `prepare` is called once, on a folded net."""

    def prepare(self) -> None:
        """Arrange the weights of the head."""
        assert isinstance(self.side5, nn.Sequential)
        self.up_side5 = StripUpsample(self.side5[1])

    def blocks(self, x5: Tensor, shared: Tensor, wanted: Sequence[str]) -> Blocks:
        """See `StripHead`."""
        assert isinstance(self.side5, nn.Sequential)
        small5 = _framed(self.side5[0](x5))
        of_side5, *of_sides = self.fuse.weight[:, :, 0, 0].unbind(1)  # (K,) each
        bias = self.fuse.bias
        assert bias is not None

        def blocks(first: int, rows: int) -> dict[str, Tensor]:
            side5 = self.up_side5(small5, first, rows)
            if "fuse" not in wanted:
                return {"side5": side5}
            total = torch.addcmul(bias, side5, of_side5)
            sides = to_blocks(shared, first, rows).split(1, -1)
            for side, weight in zip(sides, of_sides, strict=True):
                total.addcmul_(side, weight)
            return {"side5": side5, "fuse": total}

        return blocks


class StripDFF(StripDFFHead, DFF):
    """DFF over a backbone whose stages are known: none is kept longer than it is needed."""

    def forward(self, image: Tensor, wanted: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}.

        wanted: the names of the outputs that are; None: both.
        """
        if not _runs_in_stages(self, image):
            return super().forward(image)
        return _edges_of(self, image, self.outputs if wanted is None else wanted)


class StripCASENet(StripCASENetHead, CASENet):
    """CASENet over a backbone whose stages are known: none is kept longer than it is needed."""

    def forward(self, image: Tensor, wanted: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}.

        wanted: the names of the outputs that are; None: both.
        """
        if not _runs_in_stages(self, image):
            return super().forward(image)
        return _edges_of(self, image, self.outputs if wanted is None else wanted)


def _runs_in_stages(net: DFF | CASENet, image: Tensor) -> bool:
    return strips_apply(image) and type(net.backbone) is ResNet


def _edges_of(
    net: StripDFF | StripCASENet, image: Tensor, wanted: tuple[str, ...]
) -> dict[str, Tensor]:
    padded = pad_to_multiple(image, STRIDE)
    shared = new_shared(padded, padded.shape[2:])
    stages = take_sides(net, iterate_stages(net.backbone, padded), shared)
    for _ in range(4):
        next(stages)
    blocks = net.blocks(next(stages), shared, wanted)
    return net.by_strips(blocks, shared, image.shape[-2:], wanted)


def takes_strips(head: nn.Module) -> bool:
    """Whether a head of `StripHead`'s kinds up-samples its last stage by `STRIDE`."""
    side5 = head.side5
    up = side5[-1] if isinstance(side5, nn.Sequential) else None
    return isinstance(up, nn.ConvTranspose2d) and up.stride == (STRIDE, STRIDE)


def strips_apply(x: Tensor) -> bool:
    """Whether strips are made of a map: on a CPU, without gradients or a compiler."""
    return (
        x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    )


def new_shared(like: Tensor, size: Sequence[int]) -> Tensor:
    """Zeros (N, 3, H, W) for sides 1 to 3, H and W those of `size`, up to multiples of 8."""
    height, width = (-(-side // STRIDE) * STRIDE for side in size)
    return like.new_zeros(len(like), 3, height, width)


def take_sides(head: StripHead, stages: Iterator[Tensor], shared: Tensor) -> Iterator[Tensor]:
    """Pass the stages x1..x5 on; the sides of the first three are written into `shared`.

    A side may be larger than `shared`, by what its up-sampling adds at the border, or smaller,
    where images are padded for the last stage alone.
    """
    for number, side in enumerate((head.side1, head.side2, head.side3)):
        x = next(stages)
        found = side(x)
        height, width = map(min, found.shape[2:], shared.shape[2:])
        shared[:, number, :height, :width] = found[:, 0, :height, :width]
        yield x
        del x, found  # before the next stage is made
    yield from stages


def _framed(x: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h + 2, w + 2, C) with a frame of zeros."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))


def as_linear(conv: nn.Module) -> nn.Linear:
    """A 1x1 convolution as the product of matrices that it is, of (..., C)."""
    assert isinstance(conv, nn.Conv2d)
    linear = nn.Linear(conv.in_channels, conv.out_channels, bias=conv.bias is not None)
    linear.weight.data = conv.weight.detach().flatten(1)
    if conv.bias is not None:
        linear.bias.data = conv.bias.detach()
    return linear
