"""From a name to a network: `build_model("dff", num_classes=19, backbone="resnet50")`."""

from collections.abc import Callable
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

from torch import nn

from models.backbones import ALL_BACKBONES, RESNETS, is_timm
from models.casenet import CASENet
from models.contract import check_contract
from models.decouple import DecoupledNet
from models.dff import DFF
from models.gffnet import FUSIONS, GFFNet
from models.imagenet import load_pretrained
from models.joint import EDGE_HEAD_CHOICES
from models.segnets import SegNet


class Entry(NamedTuple):
    """build(num_classes, backbone, **options) -> net; its task; the backbones that it takes.

    Every net takes timm's backbones, too: see `takes`.
    """

    build: Callable[..., nn.Module]
    task: str
    backbones: tuple[str, ...]

    def takes(self, backbone: str) -> bool:
        """Whether the net can be built over a backbone of that name."""
        return backbone in self.backbones or is_timm(backbone)


MODELS: dict[str, Entry] = {
    "casenet": Entry(CASENet, "edge", RESNETS),
    "dff": Entry(DFF, "edge", RESNETS),
    "fcn": Entry(partial(SegNet, context="fcn"), "seg", RESNETS),
    "pspnet": Entry(partial(SegNet, context="pspnet"), "seg", RESNETS),
    "deeplabv3plus": Entry(partial(SegNet, context="deeplabv3plus"), "seg", ALL_BACKBONES),
    "fcn_decouple": Entry(partial(DecoupledNet, context="fcn"), "seg", RESNETS),
    "pspnet_decouple": Entry(partial(DecoupledNet, context="pspnet"), "seg", RESNETS),
    "deeplabv3plus_decouple": Entry(
        partial(DecoupledNet, context="deeplabv3plus"), "seg", ALL_BACKBONES
    ),
    "gffnet": Entry(GFFNet, "seg", ALL_BACKBONES),
}


def _stated_outputs(build: Callable[..., nn.Module]) -> tuple[str, ...]:
    """The outputs that the net's class states; the builder is the class or a partial of it."""
    return getattr(build.func if isinstance(build, partial) else build, "outputs", ())


DECOUPLED = tuple(name for name, entry in MODELS.items() if "body" in _stated_outputs(entry.build))

# Keyword arguments of some nets: see `models.joint`, `models.decouple.warp` and
# `models.gffnet.GFFNet`.
OPTIONS: dict[str, tuple[str, ...]] = {
    **{name: ("edge_head",) for name, entry in MODELS.items() if entry.task == "seg"},
    **dict.fromkeys(DECOUPLED, ("align_corners", "edge_head")),
    "gffnet": ("fusion", "edge_head"),
}


# The values that each option takes.
OPTION_VALUES: dict[str, tuple[bool | str, ...]] = {
    "fusion": FUSIONS,
    "align_corners": (True, False),
    "edge_head": EDGE_HEAD_CHOICES,
}


def build_model(
    name: str,
    *,
    num_classes: int,
    backbone: str = "resnet101",
    pretrained: str | Path = "none",
    **options: object,
) -> nn.Module:
    """A network from float32 (N, 3, H, W), normalised, H and W >= 32, to a dictionary of logits.

    Raises ValueError for a name, backbone or option that does not exist, FileNotFoundError when
    weights cannot be had, and ContractError if the net is not what its task expects.

    Args:
        name: of MODELS.
        num_classes: K, the channels of the logits.
        backbone: one that the net takes.
        pretrained: "none" (random weights), "imagenet" (edge nets: torchvision's, which torchvision
            fetches; segmentation nets: a file that the user has downloaded), or the path of a file
            with weights of the backbone.
        options: those that OPTIONS lists for the net.
    """
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; there are {', '.join(MODELS)}")
    build, task, backbones = MODELS[name]
    if not MODELS[name].takes(backbone):
        known = ", ".join(backbones)
        raise ValueError(f"{name} has no backbone {backbone!r}; there are {known}, timm:NAME")
    if not isinstance(num_classes, Integral) or num_classes < 1:
        raise ValueError(f"num_classes {num_classes!r}: expected a whole number from 1")
    allowed = OPTIONS.get(name, ())
    if unknown := sorted(options.keys() - set(allowed)):
        has = ", ".join(allowed) or "none"
        raise ValueError(f"{name} has no option {unknown[0]!r}; it has {has}")
    model = build(num_classes, backbone, **options)
    check_contract(model, name, task, num_classes)
    load_pretrained(model, pretrained, backbone, task)
    return model
