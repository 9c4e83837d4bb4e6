"""Weights of timm's backbones: those that timm fetches, and files of timm's state dicts."""

import contextlib
import logging
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from models.timm_backbone import TimmBackbone
from models.timm_build import build, find_plan, require_name, require_timm
from models.weights import load_into

# What timm's classes for features put before the plain net's names.
PREFIXES = ("", "model.", "body.")
HUB = "https://huggingface.co"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def fetch_timm_weights(backbone: TimmBackbone) -> None:
    """Fill timm's net with the weights that timm has of it; FileNotFoundError as below."""
    backbone.net.load_state_dict(net_with_weights(backbone.name).state_dict())


def net_with_weights(name: str) -> nn.Module:
    """timm's net with its weights, from timm's cache or the network.

    Raises FileNotFoundError with what to do if there are none, or they cannot be had.
    """
    plan = find_plan(name)
    instead = (
        "give a file of your own with --pretrained FILE, or train from random weights with "
        "--pretrained none"
    )
    if not weights_source(name):
        raise FileNotFoundError(f"timm has no weights of {name}; {instead}")
    try:
        with _quiet_hub():
            return build(name, plan.options, pretrained=True)
    except MemoryError:
        raise
    except Exception as error:  # OSError, httpx's, timm's RuntimeError, safetensors'
        reason = " ".join(str(error).split())[:160]
        raise FileNotFoundError(
            f"cannot fetch the weights of timm:{name}: no network, or they are not there "
            f"({reason}); fetch them elsewhere, or {instead}"
        ) from error


def weights_source(name: str) -> str:
    """Where timm gets a net's weights from: an address; "" if it has none.

    BackboneError if there is no such net.
    """
    require_name(name)
    config = require_timm().models.get_pretrained_cfg(name)
    if config is None:
        return ""
    return f"{HUB}/{config.hf_hub_id}" if config.hf_hub_id else (config.url or config.file or "")


def in_hub_cache(name: str) -> bool:
    """Whether the weights of a net lie in the cache of the hub, so that no network is needed."""
    from huggingface_hub import try_to_load_from_cache  # timm needs it, too

    config = require_timm().models.get_pretrained_cfg(name)
    repository = config.hf_hub_id if config is not None else None
    if not repository:
        return False
    return any(isinstance(try_to_load_from_cache(repository, file), str) for file in HUB_FILES)


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Hold back the lines that the hub's client prints at every attempt: ours says it once."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


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
    with torch.device("meta"):
        return {*timm.create_model(name, pretrained=False).state_dict()}
