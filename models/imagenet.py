"""ImageNet weights of the backbones: torchvision's, the user's own files, and where to get them."""

import http.client
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.backbones import is_timm
from models.resnet import DEPTHS
from models.weight_files import WeightsError, printable, read_weights
from models.weights import load_into, translate, unwrap

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# Deep-stem ResNets and WiderResNet-38 are not torchvision's, so users download a file:
# backbone -> (its name, where to get it).
CSAIL = "http://sceneparsing.csail.mit.edu/model/pretrained_resnet"
BROUGHT_FILES = {
    "resnet18": ("resnet18-imagenet.pth", f"{CSAIL}/resnet18-imagenet.pth"),
    "resnet50": ("resnet50-imagenet.pth", f"{CSAIL}/resnet50-imagenet.pth"),
    "resnet101": ("resnet101-imagenet.pth", f"{CSAIL}/resnet101-imagenet.pth"),
    "wider_resnet38": (
        "wider_resnet38.pth.tar",
        "the links in the README of github.com/NVIDIA/semantic-segmentation",
    ),
}


def load_pretrained(model: nn.Module, pretrained: str | Path, backbone: str, task: str) -> None:
    """Fill the backbone as `models.build_model` describes under `pretrained`."""
    if pretrained == "none":
        return
    if is_timm(backbone):
        _load_timm(model, pretrained)
        return
    if pretrained == "imagenet":
        fetch = imagenet_weights if task == "edge" else brought_weights
        load_backbone(model, fetch(backbone))
        return
    contents = read_weights(pretrained)
    try:
        load_backbone(model, unwrap(contents))
    except WeightsError as error:
        raise WeightsError(f"{pretrained}: {error}") from error


def _load_timm(model: nn.Module, pretrained: str | Path) -> None:
    from models.timm_backbone import TimmBackbone
    from models.timm_weights import fetch_timm_weights, load_timm_file

    backbone = model.get_submodule("backbone")
    assert isinstance(backbone, TimmBackbone)
    if pretrained == "imagenet":
        fetch_timm_weights(backbone)
        return
    try:
        load_timm_file(backbone, unwrap(read_weights(pretrained)))
    except WeightsError as error:
        said = str(error)
        raise WeightsError(said if str(pretrained) in said else f"{pretrained}: {said}") from error


def load_backbone(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill the whole of `model.backbone`, and nothing else, from an ImageNet file's tensors.

    Raises WeightsError if a tensor of the backbone is missing or does not fit.
    """
    backbone = model.get_submodule("backbone")
    load_into(
        backbone,
        {key.removeprefix("backbone."): value for key, value in translate(tensors).items()},
    )


def _published(backbone: str) -> "WeightsEnum":
    # Imported here: it takes over a second, and most commands load a checkpoint of ours.
    from torchvision.models import get_weight

    return get_weight(DEPTHS[backbone].imagenet)


def torchvision_file(backbone: str) -> tuple[str, Path]:
    """Where torchvision fetches a ResNet's ImageNet weights from, and where it keeps them."""
    url = _published(backbone).url
    return url, _cache() / Path(url).name


def imagenet_weights(backbone: str) -> Mapping[str, Tensor]:
    """torchvision's ImageNet weights of a ResNet, from its cache or the network."""
    weights = _published(backbone)
    _, file = torchvision_file(backbone)
    if file.is_file():
        try:
            return unwrap(read_weights(file))
        except WeightsError as error:
            raise WeightsError(f"{error}; or delete it, and it is fetched again") from error
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as e:
        raise FileNotFoundError(
            f"cannot fetch the ImageNet weights of {backbone}: no network; download {weights.url} "
            f"elsewhere and put it at {file}, or train from random weights with --pretrained none"
        ) from e
    except RuntimeError as error:  # another hash than published
        raise WeightsError(
            f"{weights.url}: not what was published ({printable(str(error), 160)}); try again"
        ) from error


def brought_weights(backbone: str) -> dict[str, Tensor]:
    """ImageNet weights of a deep-stem ResNet or WiderResNet-38, from the user's file.

    The file lies in torch's cache. Raises FileNotFoundError with where to get it otherwise.
    """
    if backbone not in BROUGHT_FILES:
        raise FileNotFoundError(
            f"nobody has published ImageNet weights of a deep-stem {backbone}; give a file of your "
            "own with --pretrained FILE, or train from random weights with --pretrained none"
        )
    name, source = BROUGHT_FILES[backbone]
    file = _cache() / name
    if not file.is_file():
        raise FileNotFoundError(
            f"no ImageNet weights of {backbone} for segmentation: get {name} from {source} and put "
            f"it at {file}, or say where it is with --pretrained FILE, or train from random "
            "weights with --pretrained none"
        )
    return unwrap(read_weights(file))


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"
