"""Any backbone of timm (Wightman, github.com/huggingface/pytorch-image-models) with five stages.

Hierarchical nets give their last four maps as x2..x5; with three, the finest counts twice. x1 is
the first of five; without it, the edge nets get a stem of two convolutions at the image's size, and
the segmentation nets the image itself. Plain transformers, whose maps are all at one stride, get a
simple pyramid (Li et al., ECCV 2022).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.contract import Backbone
from models.layers import IMAGE_CHANNELS, STEM_CHANNELS, full_size_stem
from models.timm_build import Plan, build, find_plan

# Images are normalised with these before a net sees them (torchvision's, of ImageNet).
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONTEXT_STRIDE, DETAIL_STRIDE = 8, 4


class TimmBackbone(Backbone):
    """timm's net with its own normalisation in front and what it lacks for five stages beside it.

    Its buffers `scale` and `shift` turn images normalised with ImageNet's mean and deviation into
    images normalised as the net was trained. `note` says at which strides its stages are and what
    was added. With `branches`, some parameters may get no gradient: they serve a map that no head
    reads.
    """

    scale: Tensor
    shift: Tensor
    note: str

    def __init__(self, name: str, *, full_size: bool) -> None:
        """full_size: x1 has the image's size, as the edge nets want it."""
        super().__init__()
        plan = find_plan(name)
        self.name = name
        self.channels_last = plan.channels_last
        self.multiple = plan.multiple
        self.branches = plan.branches
        self.net = build(name, plan.options)
        scale, shift = normalisation_change(getattr(self.net, "pretrained_cfg", None) or {})
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.pyramid = None
        if is_plain(plan):
            self.pyramid = SimplePyramid(plan.channels[-1], plan.strides[-1])
            self.taps: tuple[int, ...] = ()
            of_last = list(zip(self.pyramid.channels, self.pyramid.strides, strict=True))
        else:
            self.taps = last_four(len(plan.strides))
            of_last = [(plan.channels[tap], plan.strides[tap]) for tap in self.taps]
        self.first = first_tap(plan, full_size=full_size)
        self.stem = full_size_stem() if full_size and self.first is None else None
        if self.first is not None:
            of_first = (plan.channels[self.first], plan.strides[self.first])
        else:
            of_first = (STEM_CHANNELS if full_size else IMAGE_CHANNELS, 1)
        self.channels, self.strides = zip(of_first, *of_last, strict=True)
        self.note = self._note()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W), sides multiples of `multiple` -> x1..x5."""
        maps = self.net(torch.addcmul(self.shift, image, self.scale))
        if self.channels_last:
            maps = [x.permute(0, 3, 1, 2) for x in maps]
        if self.first is not None:
            x1 = maps[self.first]
        else:
            x1 = image if self.stem is None else self.stem(image)
        if self.pyramid is not None:
            return (x1, *self.pyramid(maps[-1]))
        return (x1, *(maps[tap] for tap in self.taps))

    def _note(self) -> str:
        parts = []
        if self.stem is not None:
            parts.append("a stem of two convolutions at full size is beside it")
        if self.pyramid is not None:
            parts.append("a simple pyramid makes its finer maps")
        strides = ", ".join(map(str, self.strides))
        added = f"; {', and '.join(parts)}" if parts else ""
        return f"timm:{self.name} has its stages at the strides {strides}{added}"


def normalisation_change(config: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """(scale, shift), (1, 3, 1, 1) each: from ImageNet's normalisation to a configuration's.

    ((x s + m) - mean) / std = x scale + shift, with ImageNet's m and s.
    """
    m, s = (torch.tensor(values, dtype=torch.float64) for values in (MEAN, STD))
    mean = torch.tensor(tuple(config.get("mean") or MEAN), dtype=torch.float64)
    std = torch.tensor(tuple(config.get("std") or STD), dtype=torch.float64)
    scale, shift = s / std, (m - mean) / std
    return scale.float().view(1, -1, 1, 1), shift.float().view(1, -1, 1, 1)


def is_plain(plan: Plan) -> bool:
    """Whether all maps are at one stride, as those of a plain transformer."""
    return len(set(plan.strides)) == 1


def last_four(count: int) -> tuple[int, ...]:
    """Which of a hierarchical net's maps are x2..x5."""
    return tuple(max(0, count - 4 + place) for place in range(4))


def first_tap(plan: Plan, *, full_size: bool) -> int | None:
    """Which map is x1; None: none of them is."""
    if is_plain(plan):
        return None
    if full_size:
        return 0 if plan.strides[0] == 1 and len(plan.strides) > 4 else None
    return len(plan.strides) - 5 if len(plan.strides) > 4 else None


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of each pixel's channels, (N, C, h, w) -> the same."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        rows = input.permute(0, 2, 3, 1)
        rows = F.layer_norm(rows, self.normalized_shape, self.weight, self.bias, self.eps)
        return rows.permute(0, 3, 1, 2)


class SimplePyramid(nn.Module):
    """Finer maps of a plain transformer's last one, by transposed convolutions (ViTDet).

    x3, x4 and x5 are one map, at stride 8 of patches of 8, 16 and 32 pixels and 7 of 14 (halves of
    the patch, as long as that is whole); x2 is at half of that where that is whole, and otherwise
    the same map. Parameters that are no output's there are none of.
    """

    def __init__(self, channels: int, stride: int) -> None:
        """channels, stride: of the transformer's last map."""
        super().__init__()
        layers: list[nn.Module] = [ChannelNorm(channels, eps=1e-6)]
        while stride > CONTEXT_STRIDE and stride % 2 == 0:
            layers += _doubled(channels)
            channels, stride = channels // 2, stride // 2
        self.context = nn.Sequential(*layers)
        self.detail = None
        fine = (channels, stride)
        if stride > DETAIL_STRIDE and stride % 2 == 0:
            self.detail = nn.Sequential(*_doubled(channels))
            fine = (channels // 2, stride // 2)
        self.channels, self.strides = zip(fine, *[(channels, stride)] * 3, strict=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, C, h, w) -> x2..x5."""
        x5 = self.context(x)
        x2 = x5 if self.detail is None else self.detail(x5)
        return x2, x5, x5, x5


def _doubled(channels: int) -> list[nn.Module]:
    """Layers to twice the size and half of the channels."""
    return [
        nn.ConvTranspose2d(channels, channels // 2, 2, stride=2),
        ChannelNorm(channels // 2, eps=1e-6),
        nn.GELU(),
    ]
