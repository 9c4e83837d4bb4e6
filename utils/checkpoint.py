"""Checkpoints: complete, plain, atomic and strict.

A checkpoint of ours is one dictionary of plain values and tensors, so that it loads with
`weights_only=True`:
  format   1
  model    name, backbone, num_classes, task, classes, palette, base_size, dataset, options, upright
  weights  the state dict
  thresholds  of an edge net, or an edge head, that was validated: `ModelInfo.thresholds`. Not in
           `model`, where earlier versions refuse an entry that they do not know
and, in `last.pth`, what training needs to resume: optimizer, scaler, average (the EMA of the
weights), args, and where it is (`utils.training.state.Progress`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from data import dataset_class
from data.errors import InputError
from data.files import write_aside
from data.visualize import default_class_names, distinct_colors
from models import MODELS, OPTIONS, build_model
from models.contract import BackboneError, ContractError
from models.joint import EDGE_HEADS, JointNet
from models.weight_files import METADATA, WeightsError, plain_dict, read_weights
from models.weights import load_into, translate, unwrap
from utils.metadata import is_ours, read_info
from utils.model_info import MAX_CLASSES, CheckpointError, ModelInfo, option_fault, shown

FORMAT = 1
UNKNOWN_HEAD = "unknown"


def save_checkpoint(path: str | Path, state: dict) -> None:
    """Write a checkpoint completely or not at all.

    A killed process or a full disk (an OSError) leaves the old file.
    """
    with write_aside(path) as aside, aside.open("wb") as file:
        try:
            torch.save({"format": FORMAT} | state, file)
        except RuntimeError as error:
            # While PyTorch closes a file that it could not write, it raises this over the OSError.
            cause = error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, f"not written, {cause.strerror}", str(path)) from error


def info_entries(info: ModelInfo) -> dict:
    """What a checkpoint says about its net, as entries of its dictionary."""
    entries: dict = {"model": replace(info, thresholds=None).to_plain()}
    if info.thresholds is not None:
        entries["thresholds"] = list(info.thresholds)
    return entries


def read_checkpoint(path: str | Path) -> dict:
    """The contents of any weight file as a dictionary; CheckpointError if it cannot be read."""
    try:
        contents = read_weights(path)
    except WeightsError as error:
        raise CheckpointError(str(error)) from error
    said = contents.get(METADATA)
    if isinstance(said, dict) and is_ours(said):  # safetensors that `utils.export` wrote
        contents |= info_entries(read_info(said, path))
    found = contents.get("format", FORMAT)
    if type(found) is not int or found.bit_length() > 64:
        raise CheckpointError(
            f"{path}: its checkpoint format is {shown(found)}, expected the number {FORMAT}"
        )
    if found != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {found}, this version reads {FORMAT}")
    return contents


def create_model(
    name: str,
    *,
    num_classes: int,
    backbone: str,
    pretrained: str | Path = "none",
    **options: bool | str,
) -> nn.Module:
    """`models.build_model`; what is wrong with a weight file, or with a net, is one line.

    Raises CheckpointError for the file, InputError for a net that breaks its contract.
    """
    try:
        return build_model(
            name, num_classes=num_classes, backbone=backbone, pretrained=pretrained, **options
        )
    except (BackboneError, ContractError) as error:
        raise InputError(str(error)) from error
    except WeightsError as error:
        raise CheckpointError(
            f"{pretrained}: {error}" if str(pretrained) not in str(error) else str(error)
        ) from error
    except RuntimeError as error:
        if "allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        raise MemoryError(f"{name} over {backbone} with {num_classes} classes") from error


def load_weights(
    model: nn.Module, path: str | Path, *, reset_classifier: bool = False
) -> list[str]:
    """Fill a network from our own files, the official ones, or ImageNet files (backbone only).

    The official ones are those of DFF, CASENet, DecoupleSegNets and GFFNet. Every tensor is
    accounted for: missing, unexpected or wrongly shaped ones are a CheckpointError that lists them,
    except those of the classifier with `reset_classifier`: it is left out, whatever its shape.
    Returns the names of parameters that kept their values (none, the classifier's, or, for an
    ImageNet file, all but the backbone's).
    """
    tensors = _tensors(path, read_checkpoint(path))
    if not reset_classifier:
        return _fill(model, path, tensors, ())
    without = _name_prefixes(model, "classifier")
    return _fill(model, path, _without(tensors, without), without)


def load_base(model: nn.Module, path: str | Path) -> list[str]:
    """Fill a decoupled network from a trained base net of the same kind, ours or an official one.

    The second stage of training begins so. Returns the names of the parameters that the base net
    lacks, all of them of the body/edge head; they keep their values. The base's own classifier is
    left out; anything else that does not fit is a CheckpointError.
    """
    if not hasattr(model, "beyond_base"):
        raise CheckpointError(
            f"{path}: only a decoupled network starts from a base net, not {type(model).__name__}"
        )
    tensors = _tensors(path, read_checkpoint(path))
    return _fill(model, path, tensors, _name_prefixes(model, "beyond_base"))


def load_start(model: nn.Module, path: str | Path, *, reset_classifier: bool = False) -> list[str]:
    """Fill a network with what training starts from.

    `load_base` for a decoupled network and a file without a body/edge head, else `load_weights`.
    An edge head that only one of the two has, or of which they have different kinds, is left out:
    the network's keeps its initial values. Returns the names of the parameters that did.
    """
    tensors = _tensors(path, read_checkpoint(path))
    without, optional = (), ()
    if edge_head_in(tensors) not in (edge_head_in(model.state_dict()), UNKNOWN_HEAD):
        without = JointNet.edge_prefixes
    if reset_classifier:
        without = (*without, *_name_prefixes(model, "classifier"))
    if is_base_of(model, tensors):
        optional = _name_prefixes(model, "beyond_base")
    return _fill(model, path, _without(tensors, without), (*without, *optional))


def is_base_of(model: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the network is a decoupled one, and the tensors are without a body/edge head."""
    return hasattr(model, "beyond_base") and not any(key.startswith("decouple.") for key in tensors)


def edge_head_in(names: Iterable[str]) -> str:
    """Which edge head of a segmentation net has parameters of these names: a key of EDGE_HEADS.

    "none" if there are none of any, UNKNOWN_HEAD if they tell of none that there is.
    """
    found = [name for name in names if name.startswith(JointNet.edge_prefixes)]
    for kind, head in EDGE_HEADS.items():
        parts = [f"edge_head.{part}" for part in head.classifier]
        if all(any(name.startswith(part) for name in found) for part in parts):
            return kind
    return UNKNOWN_HEAD if found else "none"


def load_model(
    path: str | Path,
    *,
    name: str | None = None,
    backbone: str | None = None,
    dataset: str | None = None,
    options: dict[str, bool | str] | None = None,
) -> tuple[nn.Module, ModelInfo]:
    """Build the network that a checkpoint holds, in eval mode on the CPU, and say what it is.

    Args:
        path: our own checkpoint or an official one. The official ones do not say what they are and
            need the next two arguments; where a file does say, they must agree.
        name: of the model.
        backbone: of the model.
        dataset: gives class names and colours where the file has none.
        options: see `models.OPTIONS`; they override the file's own. Of edge_head, "none" leaves out
            the edge head that the file has; it cannot add one.
    """
    contents = read_checkpoint(path)
    tensors = _tensors(path, contents)
    info = _describe(path, contents, tensors, name, backbone, dataset)
    for option, value in (options or {}).items():
        if option not in OPTIONS.get(info.name, ()):
            flag = f"--{option.replace('_', '-')}"
            raise CheckpointError(f"{path} holds {info.name}, which knows no {flag}; leave it out")
        if fault := option_fault(info.name, option, value):
            raise CheckpointError(f"{path}: {fault}")
    head = (options or {}).get("edge_head", info.edge_head)
    if head == "none" != info.edge_head:
        tensors, info = _without(tensors, JointNet.edge_prefixes), info.without_edge_head()
    if head != info.edge_head:
        has = info.edge_head != "none"
        holds = f"the edge head {info.edge_head}" if has else "no edge head"
        remedy = "" if has else f", or train one with train.py --edge-head {head} --init-from"
        raise CheckpointError(
            f"{path} holds {info.name} with {holds}, but --edge-head says {head}; leave "
            f"--edge-head out{remedy}"
        )
    others = {name: value for name, value in (options or {}).items() if name != "edge_head"}
    info = replace(info, options=info.options | others)
    model = create_model(
        info.name,
        num_classes=info.num_classes,
        backbone=info.backbone,
        pretrained="none",
        **info.options,
    )
    _fill(model, path, tensors, ())
    return model.eval(), info


def _name_prefixes(model: nn.Module, attribute: str) -> tuple[str, ...]:
    """The beginnings of parameter names that a net lists in "classifier" or "beyond_base"."""
    return tuple(getattr(model, attribute))


def _tensors(path: str | Path, contents: dict) -> dict[str, Tensor]:
    """The tensors of a file under our names; CheckpointError if there are none, or two of a name.

    The values of tensors that fit nothing are not looked at.
    """
    try:
        tensors = unwrap(contents)
        translated = translate(tensors)
    except WeightsError as error:
        raise CheckpointError(f"{path} {error}") from error
    if not tensors:
        raise CheckpointError(f"{path}: found no tensors in it, expected weights of a network")
    return translated


def _without(tensors: dict[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors but for those under some prefixes, even those that would fit."""
    return {key: value for key, value in tensors.items() if not key.startswith(prefixes)}


def _fill(
    model: nn.Module, path: str | Path, tensors: dict[str, Tensor], optional: tuple[str, ...]
) -> list[str]:
    # An ImageNet file has nothing but the backbone's tensors: all else may keep its values.
    if tensors and all(key.startswith("backbone.") for key in tensors):
        optional = tuple(f"{child}." for child, _ in model.named_children() if child != "backbone")
    try:
        return load_into(model, tensors, optional=optional)
    except WeightsError as error:
        raise CheckpointError(f"{path} does not fit {type(model).__name__}: {error}") from error


def _describe(
    path: str | Path,
    contents: dict,
    tensors: dict[str, Tensor],
    name: str | None,
    backbone: str | None,
    dataset: str | None,
) -> ModelInfo:
    """What a file says about its net, or the arguments say in its place."""
    num_classes = count_classes(tensors)
    if "model" in contents and "weights" in contents:
        said = contents["model"]
        if isinstance(said, dict):
            said = plain_dict(said)
            if "thresholds" in contents:
                said = said | {"thresholds": contents["thresholds"]}
        info = ModelInfo.from_plain(said, path)
        require_agreement(path, info, name=name, backbone=backbone, dataset=dataset)
        # Before a net of that size is built.
        if num_classes not in (None, info.num_classes):
            raise CheckpointError(
                f"{path} says that its net has {info.num_classes} classes, but its weights are "
                f"of {num_classes}"
            )
        return info
    given = {"--model": name, "--backbone": backbone}
    if missing := [flag for flag, value in given.items() if value is None]:
        raise CheckpointError(
            f"{path} does not say what network it holds; say it with {' and '.join(missing)}"
        )
    if name not in MODELS or backbone is None or not MODELS[name].takes(backbone):
        raise CheckpointError(
            f"{path}: there is no {name} over {backbone}; models are {', '.join(MODELS)}"
        )
    if num_classes is None:
        raise CheckpointError(
            f"{path}: cannot tell the number of classes; found no side5 and no classifier in it"
        )
    if not 1 <= num_classes <= MAX_CLASSES[MODELS[name].task]:
        raise CheckpointError(
            f"{path}: its classifier has {num_classes} classes, expected 1 to "
            f"{MAX_CLASSES[MODELS[name].task]}"
        )
    classes, palette = _names_and_colors(num_classes, dataset, path)
    return ModelInfo(
        name=name,
        backbone=backbone,
        num_classes=num_classes,
        task=MODELS[name][1],
        classes=classes,
        palette=palette,
        base_size=0,
        dataset=dataset or "",
        options=_options_in(tensors, name),
    )


def _options_in(tensors: dict[str, Tensor], name: str) -> dict[str, bool | str]:
    """The options of a net of that name which its tensors tell: its edge head."""
    head = edge_head_in(tensors)
    has_any = "edge_head" in OPTIONS.get(name, ()) and head in EDGE_HEADS
    return {"edge_head": head} if has_any else {}


def require_agreement(
    path: str | Path,
    info: ModelInfo,
    *,
    name: str | None,
    backbone: str | None,
    dataset: str | None,
) -> None:
    """CheckpointError if the caller says otherwise than a file that says what it holds."""
    for flag, given, found in (
        ("--model", name, info.name),
        ("--backbone", backbone, info.backbone),
    ):
        if given is not None and given != found:
            raise CheckpointError(
                f"{path} holds {found}, but {flag} says {given}; leave {flag} out"
            )
    if dataset is not None:  # its names are not taken, but it must be a possible one
        _names_and_colors(info.num_classes, dataset, path)


def count_classes(tensors: dict[str, Tensor]) -> int | None:
    """The number of classes of a net, from its classifier under our name or the official one.

    None if it is not there.
    """
    tensors = translate(tensors)
    names = ("side5.0.weight", "final.6.weight", "decouple.seg.6.weight")
    found = [tensors[name] for name in names if name in tensors]
    # Any other number of dimensions fits nothing. (Nested tensors have no shape.)
    return next((t.shape[0] for t in found if not t.is_nested and t.ndim == 4), None)


def _names_and_colors(
    num_classes: int, dataset: str | None, path: str | Path
) -> tuple[tuple[str, ...], np.ndarray]:
    if dataset is None:
        return default_class_names(num_classes), distinct_colors(num_classes)
    source = dataset_class(dataset)
    if not source.classes:
        raise CheckpointError(
            f"{path}: --dataset {dataset} names no classes, as each {dataset} has its own; leave "
            "it out: a net that was trained here knows its classes, others get numbers"
        )
    if len(source.classes) != num_classes:
        raise CheckpointError(
            f"{path} has {num_classes} classes, but {dataset} has {len(source.classes)}"
        )
    return tuple(source.classes), np.asarray(source.palette, np.uint8)
