"""Checkpoints: complete, plain, atomic and strict.

A checkpoint of ours is one dictionary of plain values and tensors, so that it loads with `weights_only=True`:
  format 1; model {name, backbone, num_classes, task, classes, palette, base_size, dataset, options}; weights (the state dict);
  and, in `last.pth`, what training needs to go on: optimizer, scaler, average (of the weights), args, and where it is
  (`utils.training.state.Progress`).
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data import dataset_class
from data.errors import InputError
from data.files import write_aside
from data.visualize import distinct_colors
from models import MODELS, OPTIONS, build_model
from models.weights import WeightsError, load_into, read_weights, translate, unwrap

FORMAT = 1


class CheckpointError(InputError):
    """A checkpoint that cannot be read, does not fit, or does not say enough."""


@dataclass(frozen=True)
class ModelInfo:
    """What a checkpoint says about its network.

    palette: uint8 (num_classes, 3), RGB. base_size: the long side in pixels to which images are resized before the network,
    0 = as they are. options: what the network was told beside its name, see `models.OPTIONS`.
    """

    name: str
    backbone: str
    num_classes: int
    task: str
    classes: tuple[str, ...]
    palette: np.ndarray
    base_size: int
    dataset: str
    options: dict[str, bool | str] = field(default_factory=dict)

    def to_plain(self) -> dict:
        """Lists, strings and numbers only."""
        return asdict(self) | {"classes": list(self.classes), "palette": self.palette.tolist()}

    @classmethod
    def from_plain(cls, plain: dict) -> "ModelInfo":
        """The inverse of `to_plain`."""
        palette = np.asarray(plain["palette"], np.uint8).reshape(-1, 3)
        return cls(**(plain | {"classes": tuple(plain["classes"]), "palette": palette}))


def save_checkpoint(path: str | Path, state: dict) -> None:
    """Write a checkpoint whole or not at all: a killed process or a full disk (an OSError) leaves the old file."""
    with write_aside(path) as aside, aside.open("wb") as file:
        try:
            torch.save({"format": FORMAT} | state, file)
        except (
            RuntimeError
        ) as error:  # PyTorch's own, at the end of a file that could not be written
            if not isinstance(error.__context__, OSError):
                raise
            raise OSError(
                error.__context__.errno, f"not written, {error.__context__.strerror}", str(path)
            ) from error


def read_checkpoint(path: str | Path) -> dict:
    """The contents of any weight file as a dictionary; CheckpointError with one line if it cannot be read."""
    try:
        contents = read_weights(path)
    except WeightsError as error:
        raise CheckpointError(str(error)) from error
    if contents.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {contents['format']}, this version reads {FORMAT}"
        )
    return contents


def create_model(
    name: str,
    *,
    num_classes: int,
    backbone: str,
    pretrained: str | Path = "none",
    **options: bool | str,
) -> nn.Module:
    """`models.build_model`, with what is wrong in a weight file told as a CheckpointError."""
    try:
        return build_model(
            name, num_classes=num_classes, backbone=backbone, pretrained=pretrained, **options
        )
    except WeightsError as error:
        raise CheckpointError(
            f"{pretrained}: {error}" if str(pretrained) not in str(error) else str(error)
        ) from error


def load_weights(
    model: nn.Module, path: str | Path, *, reset_classifier: bool = False
) -> list[str]:
    """Fill a network from our own files, the official ones (DFF, CASENet, DecoupleSegNets, GFFNet), or ImageNet files (backbone only).

    Every tensor is accounted for: missing, unexpected or wrongly shaped ones are a CheckpointError that lists them, except those of
    the classifier with `reset_classifier`. Returns the names of parameters that kept their values (none, the classifier's, or, for an
    ImageNet file, all but the backbone's).
    """
    return _fill(model, path, read_checkpoint(path), model.classifier if reset_classifier else ())


def load_base(model: nn.Module, path: str | Path) -> list[str]:
    """Fill a decoupled network from a trained base net of the same kind, ours or an official one: the second stage's beginning.

    Returns the names of the parameters that the base net does not have, all of them of the body/edge head; they keep their values.
    The base's own classifier is left out; anything else that does not fit is a CheckpointError.
    """
    if not hasattr(model, "beyond_base"):
        raise CheckpointError(
            f"{path}: only a decoupled network starts from a base net, not {type(model).__name__}"
        )
    return _fill(model, path, read_checkpoint(path), model.beyond_base)


def load_start(model: nn.Module, path: str | Path, *, reset_classifier: bool = False) -> list[str]:
    """What training starts from: `load_base` for a decoupled network and a file without a body/edge head, else `load_weights`."""
    names = translate(unwrap(read_checkpoint(path)))
    if hasattr(model, "beyond_base") and not any(name.startswith("decouple.") for name in names):
        return load_base(model, path)
    return load_weights(model, path, reset_classifier=reset_classifier)


def load_model(
    path: str | Path,
    *,
    name: str | None = None,
    backbone: str | None = None,
    dataset: str | None = None,
    options: dict[str, bool | str] | None = None,
) -> tuple[nn.Module, ModelInfo]:
    """Build the network that a checkpoint holds, in eval mode on the CPU, and say what it is.

    name, backbone and dataset (for class names and colours) are needed for files that do not say what they are, such as the
    official ones; where the file does say, they must agree. options: see `models.OPTIONS`; they go before the file's own.
    """
    contents = read_checkpoint(path)
    info = _describe(path, contents, name, backbone, dataset)
    for option in options or ():
        if option not in OPTIONS.get(info.name, ()):
            flag = f"--{option.replace('_', '-')}"
            raise CheckpointError(f"{path} holds {info.name}, which knows no {flag}; leave it out")
    info = replace(info, options=info.options | (options or {}))
    model = build_model(
        info.name, num_classes=info.num_classes, backbone=info.backbone, **info.options
    )
    _fill(model, path, contents, ())
    return model.eval(), info


def _fill(
    model: nn.Module, path: str | Path, contents: dict, optional: tuple[str, ...]
) -> list[str]:
    tensors = unwrap(contents)
    if not tensors:
        raise CheckpointError(f"{path}: found no tensors in it, expected weights of a network")
    translated = translate(tensors)
    if translated and all(key.startswith("backbone.") for key in translated):
        optional = tuple(f"{child}." for child, _ in model.named_children() if child != "backbone")
    try:
        return load_into(model, translated, optional=optional)
    except WeightsError as error:
        raise CheckpointError(f"{path} does not fit {type(model).__name__}: {error}") from error


def _describe(
    path: str | Path, contents: dict, name: str | None, backbone: str | None, dataset: str | None
) -> ModelInfo:
    if "model" in contents and "weights" in contents:
        info = ModelInfo.from_plain(contents["model"])
        for flag, given, found in (
            ("--model", name, info.name),
            ("--backbone", backbone, info.backbone),
        ):
            if given is not None and given != found:
                raise CheckpointError(
                    f"{path} holds {found}, but {flag} says {given}; leave {flag} out"
                )
        return info
    missing = [
        flag for flag, given in (("--model", name), ("--backbone", backbone)) if given is None
    ]
    if missing:
        raise CheckpointError(
            f"{path} does not say what network it holds; say it with {' and '.join(missing)}"
        )
    if name not in MODELS or backbone not in MODELS[name][2]:
        raise CheckpointError(
            f"{path}: there is no {name} over {backbone}; models are {', '.join(MODELS)}"
        )
    num_classes = count_classes(unwrap(contents))
    if num_classes is None:
        raise CheckpointError(
            f"{path}: cannot tell the number of classes; found no side5 and no classifier in it"
        )
    classes, palette = _names(num_classes, dataset, path)
    return ModelInfo(
        name, backbone, num_classes, MODELS[name][1], classes, palette, 0, dataset or ""
    )


def count_classes(tensors: dict[str, torch.Tensor]) -> int | None:
    """The number of classes of a net, from its classifier under our name or the official one; None if it is not there."""
    tensors = translate(tensors)
    names = ("side5.0.weight", "final.6.weight", "decouple.seg.6.weight")
    return next((tensors[name].shape[0] for name in names if name in tensors), None)


def _names(
    num_classes: int, dataset: str | None, path: str | Path
) -> tuple[tuple[str, ...], np.ndarray]:
    if dataset is None:
        return tuple(f"class {k + 1}" for k in range(num_classes)), distinct_colors(num_classes)
    known = dataset_class(dataset)
    if len(known.classes) != num_classes:
        raise CheckpointError(
            f"{path} has {num_classes} classes, but {dataset} has {len(known.classes)}"
        )
    return tuple(known.classes), np.asarray(known.palette, np.uint8)
