"""Weights of timm's backbones: those that timm fetches, and files of timm's state dicts."""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.timm_backbone import TimmBackbone
from models.timm_build import build, find_plan, require_timm
from models.weights import load_into

# What timm's classes for features put before the plain net's names.
PREFIXES = ("", "model.", "body.")


def fetch_timm_weights(backbone: TimmBackbone) -> None:
    """Fill timm's net with the weights that timm has of it, from its cache or the network.

    Raises FileNotFoundError with what to do if there are none, or they cannot be had.
    """
    require_timm()
    instead = (
        "give a file of your own with --pretrained FILE, or train from random weights with "
        "--pretrained none"
    )
    if not has_weights(backbone):
        raise FileNotFoundError(f"timm has no weights of {backbone.name}; {instead}")
    try:
        net = build(backbone.name, find_plan(backbone.name).options, pretrained=True)
    except MemoryError:
        raise
    except Exception as error:  # OSError, httpx's, timm's RuntimeError, safetensors'
        reason = " ".join(str(error).split())[:200]
        raise FileNotFoundError(
            f"cannot fetch the weights of timm:{backbone.name} ({reason}); fetch them elsewhere "
            f"with timm.create_model({backbone.name!r}, pretrained=True).state_dict(), or {instead}"
        ) from error
    backbone.net.load_state_dict(net.state_dict())


def has_weights(backbone: TimmBackbone) -> bool:
    """Whether timm says where to get weights of its net."""
    config = getattr(backbone.net, "pretrained_cfg", None) or {}
    return any(config.get(key) for key in ("hf_hub_id", "url", "file"))


def load_timm_file(backbone: TimmBackbone, tensors: Mapping[str, Tensor]) -> None:
    """Fill timm's net from a state dict of the plain net or of the one for features.

    Raises WeightsError for a tensor that is missing, does not fit, or that the plain net does not
    have; those that only the plain net has (its classifier, stages that are not used) are left out.
    """
    own = backbone.net.state_dict().keys()
    plain = plain_names(backbone.name)
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = next((name for name in spellings(key) if name in own), None)
        if name is not None:
            found[name] = value
        elif key not in plain:
            found[key] = value  # load_into lists it as unexpected
    load_into(backbone.net, found)


def spellings(key: str) -> tuple[str, ...]:
    """What a parameter of the plain net may be called in the net for features.

    That flattens rows of layers: stages.0 is stages_0 there.
    """
    flat = key.replace(".", "_", 1)
    return (*(prefix + key for prefix in PREFIXES), flat)


def plain_names(name: str) -> set[str]:
    """The names of all that the plain net has, with its classifier."""
    timm = require_timm()
    options = {k: v for k, v in find_plan(name).options.items() if k != "output_stride"}
    with torch.device("meta"):
        return {*timm.create_model(name, pretrained=False, **options).state_dict()}
