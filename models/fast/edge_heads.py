"""The heads of the edge nets for evaluation, strip by strip, without maps stacked for every class.

At full size the heads' maps are larger than all others together: four weights for every class and
pixel. They are made for a strip of rows at a time, in the order in which the learned up-sampling
produces them: of each map pixel at stride 8 its four quadrants, of each quadrant its 4 x 4 output
pixels, of each of those the channels. So the 1x1 convolutions behind it are products of matrices,
and only the sum over classes is put into its place.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.casenet import CASENet
from models.dff import DFF
from models.fast.stages import iterate_stages
from models.layers import crop_to, pad_to_multiple
from models.resnet import ResNet

STRIDE = 8  # of the published nets
STRIP = 8  # rows of the map at that stride
HALF = STRIDE // 2  # the side of a quadrant


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


def stages_and_sides(net: DFF | CASENet, image: Tensor) -> tuple[Tensor, Tensor]:
    """(x5, sides 1 to 3 at full size (N, 3, H, W)); no stage is kept longer than it is needed."""
    stages = iterate_stages(net.backbone, image)
    shared = image.new_empty(len(image), 3, *image.shape[2:])
    for number, side in enumerate((net.side1, net.side2, net.side3)):
        shared[:, number : number + 1] = side(next(stages))
    next(stages)
    return next(stages), shared


def _applies(net: nn.Module, image: Tensor) -> bool:
    return (
        image.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and type(net.backbone) is ResNet
    )


def _framed(x: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h + 2, w + 2, C) with a frame of zeros."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))


class StripDFF(DFF):
    """DFF whose head runs strip by strip. `prepare` is called once, on a folded net."""

    up_side5: StripUpsample
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

    def forward(self, image: Tensor, wanted: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}.

        wanted: the names of the outputs that are; None: both.
        """
        if not _applies(self, image):
            return super().forward(image)
        wanted = self.outputs if wanted is None else wanted
        padded = pad_to_multiple(image, STRIDE)
        x5, shared = stages_and_sides(self, padded)
        small5 = _framed(self.side5[0](x5))
        small_weights = _framed(self.weight_learner.project[0](x5))
        del x5
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

        return crop_to(by_strips(blocks, padded, self.up_side5.outputs, wanted), *image.shape[-2:])


class StripCASENet(CASENet):
    """CASENet whose head runs strip by strip. `prepare` is called once, on a folded net."""

    up_side5: StripUpsample

    def prepare(self) -> None:
        """Arrange the weights of the head."""
        assert isinstance(self.side5, nn.Sequential)
        self.up_side5 = StripUpsample(self.side5[1])

    def forward(self, image: Tensor, wanted: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> edge logits {"side5": (N, K, H, W), "fuse": (N, K, H, W)}.

        wanted: the names of the outputs that are; None: both.
        """
        if not _applies(self, image):
            return super().forward(image)
        assert isinstance(self.side5, nn.Sequential)
        wanted = self.outputs if wanted is None else wanted
        padded = pad_to_multiple(image, STRIDE)
        x5, shared = stages_and_sides(self, padded)
        small5 = _framed(self.side5[0](x5))
        del x5
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

        return crop_to(by_strips(blocks, padded, self.up_side5.outputs, wanted), *image.shape[-2:])


def by_strips(
    blocks: Callable[[int, int], dict[str, Tensor]],
    image: Tensor,
    classes: int,
    wanted: tuple[str, ...],
) -> dict[str, Tensor]:
    """The outputs that are wanted, of all rows: (N, K, H, W) each.

    Args:
        blocks: (first row, number of rows) of the map at stride 8 -> outputs in blocks.
        image: (N, 3, H, W), H and W multiples of 8.
        classes: K.
        wanted: names of outputs.
    """
    whole = {name: image.new_empty(len(image), classes, *image.shape[2:]) for name in wanted}
    height = image.shape[2] // STRIDE
    for first in range(0, height, STRIP):
        strip = blocks(first, min(STRIP, height - first))
        for name, out in whole.items():
            from_blocks(strip[name], out, first)
    return whole


def as_linear(conv: nn.Module) -> nn.Linear:
    """A 1x1 convolution as the product of matrices that it is, of (..., C)."""
    assert isinstance(conv, nn.Conv2d)
    linear = nn.Linear(conv.in_channels, conv.out_channels, bias=conv.bias is not None)
    linear.weight.data = conv.weight.detach().flatten(1)
    if conv.bias is not None:
        linear.bias.data = conv.bias.detach()
    return linear
