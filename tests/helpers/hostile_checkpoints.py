"""Hostile checkpoints: damaged files, tensors of odd kinds, and every field of a wrong kind."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from helpers.hostile import (
    FILE,
    LFS,
    SOME_PNG,
    Case,
    Damage,
    Evil,
    edited,
    flip,
    ok,
    refused,
    remove,
    replaced,
)
from torch import Tensor

ABSENT = object()
# One value of each wrong kind. A field that may have one of them is listed beside the fields.
WRONG: dict[str, Any] = {
    "absent": ABSENT,
    "None": None,
    "text": "x",
    "True": True,
    "nan": float("nan"),
    "1.5": 1.5,
    "-1": -1,
    "10^12": 10**12,
    "tensor": torch.ones(3),
    "list": ["x"],
    "empty list": [],
    "dict": {"x": 1},
    "nested": [[[1]]],
}


def contents(change: Callable[[dict], object], **options: object) -> Damage:
    """The file with its dictionary changed in place, or with what `change` returns."""

    def damage(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        changed = change(state)
        path.unlink()
        torch.save(state if changed is None else changed, path, **options)

    return damage


def at(*keys: str, value: object) -> Damage:
    """One field of another value."""

    def change(state: dict) -> None:
        for key in keys[:-1]:
            state = state[key]
        if value is ABSENT:
            del state[keys[-1]]
        else:
            state[keys[-1]] = value

    return contents(change)


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Damage:
    def inside(state: dict) -> None:
        change(state["weights"])

    return contents(inside)


WEIGHT, BIAS = "backbone.conv.weight", "backbone.conv.bias"


def one_tensor(change: Callable[[Tensor], Any], key: str = WEIGHT) -> Damage:
    def one(weights: dict) -> None:
        weights[key] = change(weights[key])

    return tensors(one)


def renamed(change: Callable[[str], str]) -> Damage:
    def rename(state: dict) -> None:
        state["weights"] = {change(key): value for key, value in state["weights"].items()}

    return contents(rename)


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def with_nan(tensor: Tensor) -> Tensor:
    tensor = tensor.clone()
    tensor.view(-1)[0] = float("nan")
    return tensor


SAFETENSORS = b"\x58\0\0\0\0\0\0\0" + b'{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'

CHECKPOINT_FILE = (
    *FILE,
    refused("PNG", replaced(SOME_PNG), "PNG"),
    refused("safetensors", replaced(SAFETENSORS.ljust(200, b" ")), "safetensors"),
    refused("zip of something else", replaced(b"PK\x05\x06" + bytes(18))),
    refused("JSON", replaced(b'{"kind": "train", "epoch": 0}\n')),
    refused("cut by a byte", edited(lambda content: content[:-1])),
    refused("flipped byte", flip(0.5)),
    refused("flipped byte in the first tenth", flip(0.08)),
    refused("pickle of a global", replaced(pickle.dumps({"weights": Evil()}))),
    refused("a global inside", contents(lambda state: {"weights": Evil()})),
    refused("a list", contents(lambda state: [1, 2])),
    refused("a tensor", contents(lambda state: torch.ones(3))),
    refused("an empty dictionary", contents(lambda state: {})),
    refused("no tensors", contents(lambda state: {"weights": {}, "model": state["model"]})),
    refused("Git LFS pointer, by name", replaced(LFS), "LFS"),
    refused("format 99", at("format", value=99)),
    refused("format text", at("format", value="x")),
    refused("format tensor", at("format", value=torch.ones(3))),
    refused("sparse", one_tensor(lambda t: t.to_sparse())),
    refused("meta", one_tensor(lambda t: t.to("meta"))),
    refused("quantised", one_tensor(quantised)),
    refused("complex", one_tensor(lambda t: t.to(torch.complex64))),
    refused("int", one_tensor(lambda t: t.to(torch.int32))),
    refused("bool", one_tensor(lambda t: t > 0)),
    refused("NaN", one_tensor(with_nan)),
    refused("infinite", one_tensor(lambda t: with_nan(t).nan_to_num(nan=float("inf")))),
    refused("NaN in a buffer", one_tensor(with_nan, "backbone.norm.running_var")),
    refused("a list in place of a tensor", one_tensor(lambda t: t.tolist())),
    refused("None in place of a tensor", one_tensor(lambda t: None)),
    refused("another shape", one_tensor(lambda t: t[:2])),
    refused("transposed", one_tensor(lambda t: t.permute(1, 0, 2, 3))),
    refused("one missing", tensors(lambda w: w.pop(WEIGHT))),
    refused("one too many", tensors(lambda w: w.update(more=torch.ones(2)))),
    refused("x and module.x", tensors(lambda w: w.update({f"module.{WEIGHT}": w[WEIGHT] + 1}))),
    ok("module.", renamed(lambda key: f"module.{key}")),
    ok("_orig_mod.", renamed(lambda key: f"_orig_mod.{key}")),
    ok("module._orig_mod.", renamed(lambda key: f"module._orig_mod.{key}")),
    ok("_orig_mod.module.", renamed(lambda key: f"_orig_mod.module.{key}")),
    ok("float64", one_tensor(lambda t: t.double())),
    ok(
        "not contiguous",
        one_tensor(lambda t: t.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)),
    ),
    ok("the old format", contents(lambda state: None, _use_new_zipfile_serialization=False)),
    ok("more fields", contents(lambda state: state.update(note="mine", more={"a": [1]}))),
)

MODEL_FIELDS = (
    *("name", "backbone", "num_classes", "task", "classes", "palette"),
    *("base_size", "dataset", "options"),
)
# What a field may be, too: {(field, value)}.
MODEL_OK = {("options", "absent"), ("dataset", "text")}


def field_cases(
    fields: tuple[str, ...], allowed: set[tuple[str, str]], *above: str
) -> tuple[Case, ...]:
    """A case for each field and each of the WRONG values."""
    return tuple(
        Case(f"{field} {name}", at(*above, field, value=value), (field, name) in allowed)
        for field in fields
        for name, value in WRONG.items()
    )


def change_model(**fields: object) -> Damage:
    return contents(lambda state: state["model"].update(fields))


def change_list(field: str, change: Callable[[list], object]) -> Damage:
    def inside(state: dict) -> None:
        change(state["model"][field])

    return contents(inside)


CHECKPOINT_MODEL = (
    *field_cases(MODEL_FIELDS, MODEL_OK, "model"),
    *(
        Case(f"model {name}", at("model", value=value))
        for name, value in WRONG.items()
        if name != "absent"
    ),
    *(
        Case(f"weights {name}", at("weights", value=value))
        for name, value in WRONG.items()
        if name != "absent"
    ),
    refused("an unknown field", change_model(more=1)),
    refused("an unknown net", change_model(name="u-net")),
    refused("an unknown backbone", change_model(backbone="vgg16")),
    refused("a backbone of another net", change_model(backbone="wider_resnet38")),
    refused("the other task", change_model(task="seg")),
    refused("no classes", change_model(num_classes=0)),
    refused("one class less", change_model(num_classes=10)),
    refused("a name too few", change_list("classes", lambda names: names.pop())),
    refused("a name too many", change_list("classes", lambda names: names.append("more"))),
    ok("a name twice", change_list("classes", lambda names: names.__setitem__(0, names[1]))),
    refused("a number as a name", change_list("classes", lambda names: names.__setitem__(0, 7))),
    refused("a newline in a name", change_list("classes", lambda n: n.__setitem__(0, "a\nb"))),
    refused("a colour too few", change_list("palette", lambda colours: colours.pop())),
    refused("a colour of two", change_list("palette", lambda c: c.__setitem__(0, [1, 2]))),
    refused("a colour of 256", change_list("palette", lambda c: c.__setitem__(0, [0, 0, 256]))),
    refused("a colour of -1", change_list("palette", lambda c: c.__setitem__(0, [0, 0, -1]))),
    refused(
        "a colour of nan",
        change_list("palette", lambda c: c.__setitem__(0, [0.0, 0.0, float("nan")])),
    ),
    refused("a base size of -5", change_model(base_size=-5)),
    refused("an unknown option", change_model(options={"fusion": "sequential"})),
    refused("options of numbers", change_model(options={1: 2})),
)

# What training needs to resume.
STATE_OK = {("best", "1.5"), ("best", "-1"), ("best", "10^12")}
STATE_OK |= {(field, value) for field in ("seconds", "waited") for value in ("1.5", "10^12")}
STATE = (
    *field_cases(
        ("optimizer", "epoch", "step", "best", "sums", "seconds", "waited", "args"), STATE_OK
    ),
    *(case for case in CHECKPOINT_FILE if case.name in ("flipped byte", "empty")),
    ok("missing", remove),
)
