"""From a name to a network: `build_model("dff", num_classes=19, backbone="resnet50")`."""

import urllib.error
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from models.casenet import CASENet
from models.decouple import DecoupledNet
from models.dff import DFF
from models.gffnet import GFFNet
from models.resnet import DEPTHS
from models.segnets import SegNet
from models.weights import load_into, read_weights, translate, unwrap

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
    "deeplabv3plus_decouple": (partial(DecoupledNet, context="deeplabv3plus"), "seg", ALL_BACKBONES),
    "gffnet": (GFFNet, "seg", ALL_BACKBONES),
}
DECOUPLED = tuple(name for name in MODELS if name.endswith("_decouple"))

# What some models can be told besides, and what they assume: see `models.decouple.warp` and `models.gffnet.GFFNet`.
OPTIONS: dict[str, tuple[str, ...]] = {"gffnet": ("fusion",)} | dict.fromkeys(DECOUPLED, ("align_corners",))

# Deep-stem ResNets and WiderResNet-38: torchvision has none, so users bring the file. Which, and where from.
CSAIL = "http://sceneparsing.csail.mit.edu/model/pretrained_resnet"
BROUGHT_FILES = {
    "resnet18": ("resnet18-imagenet.pth", f"{CSAIL}/resnet18-imagenet.pth"),
    "resnet50": ("resnet50-imagenet.pth", f"{CSAIL}/resnet50-imagenet.pth"),
    "resnet101": ("resnet101-imagenet.pth", f"{CSAIL}/resnet101-imagenet.pth"),
    "wider_resnet38": ("wider_resnet38.pth.tar", "the links in the README of github.com/NVIDIA/semantic-segmentation"),
}


def build_model(
    name: str, *, num_classes: int, backbone: str = "resnet101", pretrained: str | Path = "none", **options: object
) -> nn.Module:
    """A network that turns float32 (N, 3, H, W), normalised, H and W at least 32, into a dictionary of logits.

    pretrained: "none" (random), "imagenet" (torchvision's weights for the trunk, fetched by torchvision; for segmentation nets a file
    that the user has brought), or the path of a file with weights of the trunk. options: those that OPTIONS lists for the model.
    Raises ValueError for a name, backbone or option that does not exist, FileNotFoundError when weights cannot be had.
    """
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; there are {', '.join(MODELS)}")
    build, task, backbones = MODELS[name]
    if backbone not in backbones:
        raise ValueError(f"{name} has no backbone {backbone!r}; there are {', '.join(backbones)}")
    if unknown := sorted(options.keys() - set(OPTIONS.get(name, ()))):
        raise ValueError(f"{name} has no option {unknown[0]!r}; it has {', '.join(OPTIONS.get(name, ())) or 'none'}")
    model = build(num_classes, backbone, **options)
    if pretrained == "imagenet":
        load_trunk(model, imagenet_weights(backbone) if task == "edge" else brought_weights(backbone))
    elif pretrained != "none":
        load_trunk(model, unwrap(read_weights(pretrained)))
    return model


def load_trunk(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Fill `model.backbone`, and nothing else, from an ImageNet file's tensors; all of the trunk, or a WeightsError."""
    trunk = {key.removeprefix("backbone."): value for key, value in translate(tensors).items()}
    load_into(model.backbone, trunk)


def imagenet_weights(backbone: str) -> dict[str, torch.Tensor]:
    """torchvision's ImageNet weights of a ResNet, from its cache or the network."""
    weights = DEPTHS[backbone].imagenet
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        file = _cache() / Path(weights.url).name
        raise FileNotFoundError(
            f"cannot fetch the ImageNet weights of {backbone}: no network; download {weights.url} elsewhere and put it at {file}, "
            "or train from random weights with --pretrained none"
        ) from error


def brought_weights(backbone: str) -> dict[str, torch.Tensor]:
    """ImageNet weights of a deep-stem ResNet or WiderResNet-38, from the file that a user has put into torch's cache."""
    if backbone not in BROUGHT_FILES:
        raise FileNotFoundError(
            f"nobody has published ImageNet weights of a deep-stem {backbone}; give a file of your own with --pretrained FILE, "
            "or train from random weights with --pretrained none"
        )
    name, source = BROUGHT_FILES[backbone]
    file = _cache() / name
    if not file.is_file():
        raise FileNotFoundError(
            f"no ImageNet weights of {backbone} for segmentation: get {name} from {source} and put it at {file}, "
            "or say where it is with --pretrained FILE, or train from random weights with --pretrained none"
        )
    return unwrap(read_weights(file))


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"
