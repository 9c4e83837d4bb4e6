"""From a name to a network: `build_model("dff", num_classes=19, backbone="resnet50")`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from models.casenet import CASENet
from models.decouple import DecoupledNet
from models.dff import DFF
from models.gffnet import GFFNet
from models.resnet import DEPTHS
from models.segnets import SegNet
from models.weights import brought_weights, imagenet_weights, load_backbone, read_weights, unwrap

RESNETS = tuple(DEPTHS)
ALL_BACKBONES = (*RESNETS, "wider_resnet38")

# name -> (builder, task, backbones it exists for)
MODELS: dict[str, tuple[Callable[..., nn.Module], str, tuple[str, ...]]] = {
    "casenet": (CASENet, "edge", RESNETS),
    "dff": (DFF, "edge", RESNETS),
    "fcn": (partial(SegNet, context="fcn"), "seg", RESNETS),
    "pspnet": (partial(SegNet, context="pspnet"), "seg", RESNETS),
    "deeplabv3plus": (partial(SegNet, context="deeplabv3plus"), "seg", ALL_BACKBONES),
    "fcn_decouple": (partial(DecoupledNet, context="fcn"), "seg", RESNETS),
    "pspnet_decouple": (partial(DecoupledNet, context="pspnet"), "seg", RESNETS),
    "deeplabv3plus_decouple": (
        partial(DecoupledNet, context="deeplabv3plus"),
        "seg",
        ALL_BACKBONES,
    ),
    "gffnet": (GFFNet, "seg", ALL_BACKBONES),
}
DECOUPLED = tuple(name for name in MODELS if name.endswith("_decouple"))

# What some models can be told besides, and what they assume: see `models.decouple.warp` and `models.gffnet.GFFNet`.
OPTIONS: dict[str, tuple[str, ...]] = {"gffnet": ("fusion",)} | dict.fromkeys(
    DECOUPLED, ("align_corners",)
)


def build_model(
    name: str,
    *,
    num_classes: int,
    backbone: str = "resnet101",
    pretrained: str | Path = "none",
    **options: object,
) -> nn.Module:
    """A network that turns float32 (N, 3, H, W), normalised, H and W at least 32, into a dictionary of logits.

    pretrained: "none" (random), "imagenet" (torchvision's weights for the backbone, fetched by torchvision; for segmentation nets a file
    that the user has brought), or the path of a file with weights of the backbone. options: those that OPTIONS lists for the model.
    Raises ValueError for a name, backbone or option that does not exist, FileNotFoundError when weights cannot be had.
    """
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; there are {', '.join(MODELS)}")
    build, task, backbones = MODELS[name]
    if backbone not in backbones:
        raise ValueError(f"{name} has no backbone {backbone!r}; there are {', '.join(backbones)}")
    if unknown := sorted(options.keys() - set(OPTIONS.get(name, ()))):
        raise ValueError(
            f"{name} has no option {unknown[0]!r}; it has {', '.join(OPTIONS.get(name, ())) or 'none'}"
        )
    model = build(num_classes, backbone, **options)
    if pretrained == "imagenet":
        load_backbone(
            model, imagenet_weights(backbone) if task == "edge" else brought_weights(backbone)
        )
    elif pretrained != "none":
        load_backbone(model, unwrap(read_weights(pretrained)))
    return model
