"""Which tensor of a weight file belongs to which parameter.

One table of names, and a check that leaves no tensor out.

Files are read with `weights_only=True`: no code from a file is ever run.
"""

import pickle
import urllib.error
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.resnet import DEPTHS

Names = tuple[tuple[str, str | None], ...]

# Theirs -> ours, by the beginning of the name; None: in the files, but used by nothing. The first
# match counts.
DFF_NAMES: Names = (
    ("pretrained.fc.", None),  # the backbone's ImageNet classifier
    ("pretrained.", "backbone."),
    ("side5_w.", "weight_learner.project."),
    ("ada_learner.conv1.0.", "weight_learner.refine.0."),
    ("ada_learner.conv1.1.", "weight_learner.refine.1."),
    ("ada_learner.conv2.0.", "weight_learner.refine.3."),
    ("ada_learner.conv2.1.", "weight_learner.refine.4."),
    ("ada_learner.conv3.0.", "weight_learner.refine.6."),
    ("ada_learner.conv3.1.", "weight_learner.refine.7."),
)
# DecoupleSegNets and GFFNet.
SEG_NAMES: Names = (
    ("layer0.0.", "backbone.conv1."),
    ("layer0.1.", "backbone.bn1."),
    ("layer", "backbone.layer"),
    ("mod", "backbone.mod"),
    ("aspp.features.", "context.branches."),
    ("aspp.img_conv.", "context.image."),
    ("bot_aspp.", "context.project."),
    ("fcn_head.", "context."),
    ("ppm.", "context."),
    ("bot_fine.", "fine."),
    ("squeeze_body_edge.", "decouple.split."),
    ("edge_fusion.", "decouple.edge_fusion."),
    ("edge_out.", "decouple.edge."),
    ("dsn_seg_body.", "decouple.body."),
    ("final_seg.", "decouple.seg."),
    ("edge_conv.", None),  # owned by the decoupled WiderResNet net, and never called
    *((f"gff_head.d_in{n + 1}.", f"reduce.{n}.") for n in range(3)),
    *((f"gff_head.gate{n + 1}.", f"gate.{n}.") for n in range(3)),
    *((f"gff_head.dense_{3 * n + 3}.", f"dense.{n}.") for n in range(3)),
    ("gff_head.cls.", "final."),
)
# ImageNet files: torchvision's ResNets, and deep-stem ones whose stem is numbered 0, 1, 3, 4, 6
# within `conv1`.
RESNET_NAMES: Names = (("fc.", None), ("", "backbone."))
# Deep-stem ResNets whose stem is conv1, bn1, conv2, bn2, conv3, bn3.
FLAT_STEM_NAMES: Names = (
    *(("fc.", None), ("layer", "backbone.layer")),
    *(("conv1.", "backbone.conv1.0."), ("bn1.", "backbone.conv1.1.")),
    *(("conv2.", "backbone.conv1.3."), ("bn2.", "backbone.conv1.4.")),
    *(("conv3.", "backbone.conv1.6."), ("bn3.", "backbone.bn1.")),
)
WIDER_RESNET_NAMES: Names = (("bn_out.", None), ("classifier.", None), ("", "backbone."))

# A tensor that only files of that kind have -> their names; the first match counts. A file that has
# none of them is ours.
KINDS: tuple[tuple[str, Names], ...] = (
    ("pretrained.conv1.weight", DFF_NAMES),
    ("bot_fine.weight", SEG_NAMES),
    ("gff_head.cls.0.weight", SEG_NAMES),
    ("conv3.weight", FLAT_STEM_NAMES),
    ("layer1.0.conv1.weight", RESNET_NAMES),
    ("mod2.block1.convs.conv1.weight", WIDER_RESNET_NAMES),
)

# The mean IoU in published files is a NumPy number; these make one from its bytes and do nothing
# else. NumPy 1 wrote the first under another name.
NUMPY_SCALAR = np.float64(0).__reduce__()[0]
PLAIN_TYPES: tuple[Any, ...] = (
    NUMPY_SCALAR,
    (NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
)


class WeightsError(ValueError):
    """A weight file that cannot be read, or does not fit the network."""


def read_weights(path: str | Path) -> dict:
    """The contents of a weight file: tensors and plain values.

    Raises FileNotFoundError, or WeightsError with one line for any other kind of content.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file")
    try:
        with torch.serialization.safe_globals(list(PLAIN_TYPES)):
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused, it holds more than tensors and plain values, and loading it could "
            f"run code ({_first_line(error)})"
        ) from error
    except (
        RuntimeError,
        EOFError,
        zipfile.BadZipFile,
        KeyError,
        AttributeError,
        IndexError,
    ) as error:
        raise WeightsError(
            f"{path}: not a whole PyTorch weight file ({_first_line(error)})"
        ) from error
    if not isinstance(contents, dict):
        raise WeightsError(
            f"{path}: found {type(contents).__name__}, expected a dictionary of tensors"
        )
    return contents


def unwrap(contents: Mapping) -> dict[str, Tensor]:
    """The tensors under `weights`, `state_dict` or `model`, or of the file itself.

    A `module.` prefix (DataParallel's) is taken off.
    """
    for key in ("weights", "state_dict", "model"):
        if isinstance(contents.get(key), Mapping):
            contents = contents[key]
            break
    return {
        str(key).removeprefix("module."): value
        for key, value in contents.items()
        if isinstance(value, Tensor)
    }


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names, whichever of the KINDS the file is of."""
    table: Names = next((names for marker, names in KINDS if marker in tensors), ())
    renamed = ((rename(key, table), value) for key, value in tensors.items())
    return {key: value for key, value in renamed if key is not None}


def rename(key: str, table: Names) -> str | None:
    """Our name of a file's key; None if nothing uses it."""
    for theirs, ours in table:
        if key.startswith(theirs):
            return None if ours is None else ours + key.removeprefix(theirs)
    return key


def load_into(
    model: nn.Module, tensors: Mapping[str, Tensor], *, optional: tuple[str, ...] = ()
) -> list[str]:
    """Copy tensors into the model, all or none; returns the parameters that kept their values.

    Only parameters under an `optional` prefix may be missing or of another shape; anything else
    that is missing, unexpected or of another shape is a WeightsError that lists it.
    `num_batches_tracked` may be missing: files older than PyTorch 0.4.1 do not have it, and nothing
    reads it.
    """
    own = model.state_dict()
    free = {key for key in own if key.startswith(optional)} if optional else set()
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    shaped = {key for key, value in tensors.items() if key in own and own[key].shape == value.shape}
    missing = sorted(own.keys() - tensors.keys() - free - counters)
    unexpected = sorted(
        key for key in tensors.keys() - own.keys() if not (optional and key.startswith(optional))
    )
    misshapen = sorted((tensors.keys() & own.keys()) - shaped - free)
    if missing or unexpected or misshapen:
        shapes = [
            f"{key} {tuple(tensors[key].shape)} for {tuple(own[key].shape)}" for key in misshapen
        ]
        found = ((missing, "missing"), (unexpected, "unexpected"), (shapes, "of another shape"))
        raise WeightsError(
            "; ".join(f"{len(keys)} {what}: {_shorten(keys)}" for keys, what in found if keys)
        )
    model.load_state_dict({key: tensors[key] for key in shaped}, strict=False)
    return sorted(own.keys() - shaped - counters)


def _shorten(keys: list[str], most: int = 6) -> str:
    return ", ".join(keys[:most]) + (f", and {len(keys) - most} more" if len(keys) > most else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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
    if pretrained == "imagenet":
        fetch = imagenet_weights if task == "edge" else brought_weights
        load_backbone(model, fetch(backbone))
    else:
        load_backbone(model, unwrap(read_weights(pretrained)))


def load_backbone(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill the whole of `model.backbone`, and nothing else, from an ImageNet file's tensors.

    Raises WeightsError if a tensor of the backbone is missing or does not fit.
    """
    backbone = model.get_submodule("backbone")
    load_into(
        backbone,
        {key.removeprefix("backbone."): value for key, value in translate(tensors).items()},
    )


def imagenet_weights(backbone: str) -> Mapping[str, Tensor]:
    """torchvision's ImageNet weights of a ResNet, from its cache or the network."""
    weights = DEPTHS[backbone].imagenet
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        file = _cache() / Path(weights.url).name
        raise FileNotFoundError(
            f"cannot fetch the ImageNet weights of {backbone}: no network; download {weights.url} "
            f"elsewhere and put it at {file}, or train from random weights with --pretrained none"
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
