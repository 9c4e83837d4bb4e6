"""Which tensor of a weight file belongs to which parameter.

One table of names, and a check that leaves no tensor out. The files themselves are read by
`models.weight_files`.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from models.weight_files import WeightsError, plain_dict, printable

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

# What tensors are wrapped in, and what wrappers of networks put before or into a name.
WRAPPERS = ("weights", "state_dict", "model_state_dict", "model")
WRAPPING = ("module", "_orig_mod")  # DataParallel's and torch.compile's
MAX_WRAPPERS = 4

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def unwrap(contents: Mapping) -> dict[str, Tensor]:
    """The tensors under one of WRAPPERS, or of the file itself; empty if there are none.

    `module.` and `_orig_mod.` are taken off the names, wherever and however often they occur.
    WeightsError if tensors are under two of WRAPPERS, or two names become one.
    """
    for _ in range(MAX_WRAPPERS):
        inside = [key for key in WRAPPERS if _holds_tensors(contents.get(key))]
        if len(inside) > 1:
            raise WeightsError(f"holds tensors under {' and '.join(inside)}; keep one of them")
        if not inside:
            break
        contents = plain_dict(contents[inside[0]])
    tensors = (
        (_without_wrapping(str(key)), value)
        for key, value in contents.items()
        if isinstance(value, Tensor)
    )
    return _unique(tensors)


def _holds_tensors(value: object, depth: int = MAX_WRAPPERS) -> bool:
    """Whether it is a dictionary of tensors, or one around such a dictionary."""
    if not isinstance(value, dict) or not depth:
        return False
    contents = plain_dict(value)
    return any(isinstance(inner, Tensor) for inner in contents.values()) or any(
        _holds_tensors(contents.get(key), depth - 1) for key in WRAPPERS
    )


def _without_wrapping(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPING)


def _unique(items: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The items as a dictionary; WeightsError if a name occurs twice."""
    found: dict[str, Tensor] = {}
    for name, value in items:
        if name in found:
            raise WeightsError(f"holds {printable(name)} twice, under two names; keep one of them")
        found[name] = value
    return found


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names, whichever of the KINDS the file is of.

    WeightsError if two of them get the same name.
    """
    table: Names = next((names for marker, names in KINDS if marker in tensors), ())
    renamed = ((rename(key, table), value) for key, value in tensors.items())
    return _unique((key, value) for key, value in renamed if key is not None)


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
    that is missing, unexpected, of another shape or kind, or not finite is a WeightsError that
    lists it. `num_batches_tracked` may be missing: files older than PyTorch 0.4.1 do not have it,
    and nothing reads it.
    """
    own = model.state_dict()
    both = sorted(tensors.keys() & own.keys())
    # Before shapes: not every kind of tensor has one.
    _require_none({key: _wrong_kind(tensors[key], own[key]) for key in both})
    free = {key for key in own if key.startswith(optional)} if optional else set()
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    shaped = {key for key in both if own[key].shape == tensors[key].shape}
    missing = sorted(own.keys() - tensors.keys() - free - counters)
    unexpected = sorted(
        key for key in tensors.keys() - own.keys() if not (optional and key.startswith(optional))
    )
    shapes = [
        f"{key} {tuple(tensors[key].shape)} for {tuple(own[key].shape)}"
        for key in both
        if key not in shaped | free
    ]
    found = ((missing, "missing"), (unexpected, "unexpected"), (shapes, "of another shape"))
    if faults := [f"{len(keys)} {what}: {_shorten(keys)}" for keys, what in found if keys]:
        raise WeightsError("; ".join(faults))
    _require_none({key: _wrong_values(key, tensors[key], own[key]) for key in sorted(shaped)})
    model.load_state_dict({key: tensors[key] for key in shaped}, strict=False)
    return sorted(own.keys() - shaped - counters)


def _wrong_kind(tensor: Tensor, own: Tensor) -> str | None:
    """What kind of tensor it is, if it cannot be copied into `own`."""
    if tensor.is_quantized:
        return "quantised"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "sparse"
    if tensor.is_meta:
        return "without values (meta device)"
    kind = str(tensor.dtype).removeprefix("torch.")
    if own.is_floating_point():
        return None if tensor.dtype in FLOATS else f"{kind} in place of floating-point numbers"
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        return f"{kind} in place of integers"
    return None


def _wrong_values(name: str, tensor: Tensor, own: Tensor) -> str | None:
    """What is wrong with the numbers; tensors are of the same shape."""
    if not own.is_floating_point():
        return None
    values = tensor.to(own.dtype)  # a float64 can be too large
    # The sum is much faster. It is finite only if all are, and may overflow if all are.
    if not values.sum().isfinite() and not values.isfinite().all():
        return "not finite (NaN or infinity)"
    if name.endswith("running_var") and bool((values < 0).any()):
        return "negative"
    return None


def _require_none(faults: Mapping[str, str | None]) -> None:
    """WeightsError that lists the tensors with a fault, by kinds of faults."""
    kinds: dict[str, list[str]] = {}
    for name, fault in faults.items():
        if fault is not None:
            kinds.setdefault(fault, []).append(name)
    if kinds:
        raise WeightsError(
            "; ".join(f"{len(keys)} {fault}: {_shorten(keys)}" for fault, keys in kinds.items())
        )


def _shorten(keys: list[str], most: int = 6) -> str:
    shown = ", ".join(printable(key) for key in keys[:most])
    return shown + (f", and {len(keys) - most} more" if len(keys) > most else "")
