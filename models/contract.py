"""What every net promises to the scripts, checked when it is built.

A net has the attributes `backbone` (a module with `channels` and `strides` of its five maps, and
`multiple`, of which the sides of the images that it takes must be multiples),
`classifier` (the prefixes of all parameters whose shape depends on the number of classes) and
`outputs` (the names of its logits). Its forward pass calls `self.backbone(image)` and returns these
outputs at the input's size, with a channel per class (`edge`: one).
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

# The names of the logits by task; a segmentation net may also have those of body and edge, and
# those of an edge head.
OUTPUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "edge": (("side5", "fuse"),),
    "seg": (
        ("seg",),
        ("seg", "body", "edge"),
        ("seg", "side5", "fuse"),
        ("seg", "body", "edge", "side5", "fuse"),
    ),
}
SIZE = 64  # of the image that is tried


class Backbone(nn.Module):
    """From an image (N, 3, H, W) five maps, x_i of (N, channels[i], H / strides[i], …)."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int


def whole_multiple(backbone: Backbone) -> int:
    """What the sides of an image must be multiples of for maps of whole pixels at every stride."""
    return math.lcm(max(backbone.strides), backbone.multiple)


class Net(nn.Module):
    """The type of a net that keeps the contract; nothing is of this class."""

    outputs: tuple[str, ...]
    classifier: tuple[str, ...]
    backbone: Backbone


class BackboneError(ValueError):
    """A backbone that cannot be built; one line that says why and what to do."""


class ContractError(TypeError):
    """A net that is not what its task expects."""


def check_contract(module: nn.Module, name: str, task: str, num_classes: int) -> None:
    """Raise ContractError with one line unless the net keeps its task's contract.

    The net's head runs once, in evaluation, with the backbone replaced by small empty maps of the
    shapes that it states: some 40 ms with a ResNet-50, and neither buffers nor the state of the
    random number generator change.
    """
    model = cast("Net", module)
    for attribute in ("backbone", "classifier", "outputs"):
        if not hasattr(model, attribute):
            raise ContractError(f"{name} has no attribute {attribute!r}; see models/contract.py")
    for attribute in ("channels", "strides", "multiple"):
        if not hasattr(model.backbone, attribute):
            raise ContractError(f"{name}: its backbone has no attribute {attribute!r}")
    stated = tuple(model.outputs)
    if not any(set(stated) == set(names) for names in OUTPUTS[task]):
        raise ContractError(f"{name} states {_listed(stated)}; expected {_expected(task)}")
    keys = [key for key, _ in model.named_parameters()]
    for prefix in model.classifier:
        if not any(key.startswith(prefix) for key in keys):
            raise ContractError(f"{name}: no parameter begins with {prefix!r} of `classifier`")
    returned = _outputs_of_empty_maps(model)
    if not isinstance(returned, dict):
        kind = type(returned).__name__
        raise ContractError(f"{name} returned a {kind}; expected a dict of {_listed(stated)}")
    if set(returned) != set(stated):
        raise ContractError(f"{name} returned {_listed(returned)}; expected {_listed(stated)}")
    for output, logits in returned.items():
        expected = (1 if output == "edge" else num_classes, SIZE, SIZE)
        if logits.shape[1:] != expected:
            found = tuple(logits.shape[1:])
            raise ContractError(
                f"{name} returned {output} (C, H, W) = {found}; expected {expected}"
            )


def _outputs_of_empty_maps(model: Net) -> dict[str, Tensor]:
    """What the forward pass returns, in evaluation, for the maps that the backbone states."""
    backbone = model.backbone
    model.backbone = _StatedMaps(backbone)
    training = {module: module.training for module in model.modules()}
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    # On the meta device this would be free of numbers, but PyTorch imports its compiler for the
    # shapes of a batch normalisation there: more than a second of every start.
    device = next(model.parameters()).device
    try:
        for module in training:
            module.training = False
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            image = torch.zeros(1, 3, SIZE, SIZE, device=device)
            return functional_call(model, buffers, (image,))
    finally:
        model.backbone = backbone
        for module, was in training.items():
            module.training = was


class _StatedMaps(Backbone):
    """Maps of zeros with the channels and strides that a backbone states."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.channels = backbone.channels
        self.strides = backbone.strides
        self.multiple = backbone.multiple

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        images, _, height, width = image.shape
        return tuple(
            image.new_zeros(images, channels, -(-height // stride), -(-width // stride))
            for channels, stride in zip(self.channels, self.strides, strict=True)
        )


def _listed(names: tuple[str, ...] | dict[str, Tensor]) -> str:
    return ", ".join(names) or "nothing"


def _expected(task: str) -> str:
    return " or ".join(", ".join(names) for names in OUTPUTS[task])
