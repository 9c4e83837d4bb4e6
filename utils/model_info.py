"""What a checkpoint says about its net, and whether that can be so."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from models import MODELS, OPTION_VALUES, OPTIONS

MAX_CLASSES = {"edge": 4096, "seg": 255}  # label maps are uint8, and 255 is no class
MAX_BASE_SIZE = 1 << 16
LONGEST = 60  # characters of a wrong value that a message repeats


class CheckpointError(InputError):
    """A checkpoint that cannot be read, does not fit, or does not say enough."""


@dataclass(frozen=True)
class ModelInfo:
    """What a checkpoint says about its network.

    Args:
        name: of the model, a key of `models.MODELS`.
        backbone: of the model.
        num_classes: of its logits.
        task: "edge" or "seg".
        classes: their names.
        palette: uint8 (num_classes, 3), RGB.
        base_size: the long side in pixels to which images are resized before the network; 0: as
            they are.
        dataset: that it was trained on; "" if the file does not say.
        options: other arguments of the model's builder, see `models.OPTIONS`.
        upright: it was trained on images turned as their EXIF data say.
        thresholds: of an edge net or an edge head: the probability from which on each class is an
            edge, as the last validation found it best for thinned edges (ODS); None for a class
            that it could not tell of. None if there was no such validation.
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
    upright: bool = False
    thresholds: tuple[float | None, ...] | None = None

    def to_plain(self) -> dict:
        """Lists, strings and numbers only."""
        plain = asdict(self) | {"classes": list(self.classes), "palette": self.palette.tolist()}
        if not self.upright:
            del plain["upright"]  # earlier versions refuse an entry that they do not know
        if self.thresholds is None:
            del plain["thresholds"]
        else:
            plain["thresholds"] = list(self.thresholds)
        return plain

    @property
    def net(self) -> str:
        """Which net it is, in words: see `net_in_words`."""
        return net_in_words(self.name, self.backbone, self.edge_head)

    @property
    def edge_head(self) -> str:
        """Of a segmentation net: the edge head beside it, of `models.joint.EDGE_HEAD_CHOICES`."""
        return str(self.options.get("edge_head", "none"))

    @property
    def has_edge_head(self) -> bool:
        """Whether it is a segmentation net with an edge head: see `models.joint`."""
        return self.task == "seg" and self.edge_head != "none"

    def without_edge_head(self) -> "ModelInfo":
        """The same net, without what is said of its edge head."""
        options = {name: value for name, value in self.options.items() if name != "edge_head"}
        return replace(self, options=options, thresholds=None)

    @property
    def all_thresholds(self) -> tuple[float, ...] | None:
        """`thresholds`, where a class without one has the mean of the others."""
        return None if self.thresholds is None else filled(self.thresholds)

    @classmethod
    def from_plain(cls, plain: object, where: str | Path = "the checkpoint") -> "ModelInfo":
        """The inverse of `to_plain`.

        CheckpointError with `where` in front for anything that `to_plain` does not return: a wrong
        type, a net that does not exist, classes and colours of another number.
        """
        fault = next(_faults(plain), None)
        if fault is not None or not isinstance(plain, dict):
            raise CheckpointError(f"{where}: what it says about its net is wrong: {fault}")
        palette = np.asarray(plain["palette"], np.uint8).reshape(-1, 3)
        typed = plain | {"classes": tuple(plain["classes"]), "palette": palette}
        if plain.get("thresholds") is not None:
            typed["thresholds"] = tuple(plain["thresholds"])
        return cls(**typed)


def net_in_words(name: str, backbone: str, edge_head: str = "none") -> str:
    """A net as all lines call it: "fcn over resnet18", "fcn with edge head dff over resnet18"."""
    head = "" if edge_head == "none" else f" with edge head {edge_head}"
    return f"{name}{head} over {backbone}"


def filled(thresholds: Sequence[float | None]) -> tuple[float, ...] | None:
    """The mean of the others in place of each None; None if there are no others."""
    known = [value for value in thresholds if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return tuple(mean if value is None else float(value) for value in thresholds)


def thresholds_fault(value: object, count: int) -> str | None:
    """What is wrong with the thresholds that a file has for `count` classes; None if nothing."""
    if not isinstance(value, list | tuple):
        return _expected("thresholds", value, "a list")
    if len(value) != count:
        return f"{len(value)} entries of thresholds, but num_classes is {count}"
    for each in value:
        if each is not None and not (type(each) in (int, float) and 0 <= each <= 1):
            return _expected("a threshold", each, "a number, 0 to 1, or None")
    return None


def shown(value: object) -> str:
    """A value from a file, for a message: short, whatever it is."""
    if type(value) is int and value.bit_length() > 64:  # Python refuses to print very long ones
        return f"a number of {value.bit_length()} bits"
    if type(value) not in (int, float, bool, str, type(None)):
        return f"of type {type(value).__name__}"
    text = ascii(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def option_fault(model: str, option: str, value: object) -> str | None:
    """What is wrong with an option of a model; None if it has the option with that value."""
    if option not in OPTIONS.get(model, ()):
        return f"{model} has no option {shown(option)}"
    values = OPTION_VALUES[option]
    # By type too: 1 == True.
    if not any(type(value) is type(known) and value == known for known in values):
        return _expected(option, value, f"one of {', '.join(map(repr, values))}")
    return None


def _faults(plain: object) -> Iterator[str]:
    """What is wrong, the first thing first. Each check may rely on those before it."""
    if not isinstance(plain, dict):
        yield _expected("model", plain, "a dictionary")
        return
    names = [entry.name for entry in fields(ModelInfo)]
    # Those with a default are younger than the format.
    needed = {
        f.name for f in fields(ModelInfo) if f.default is MISSING and f.default_factory is MISSING
    }
    if missing := [name for name in names if name in needed and name not in plain]:
        yield f"{missing[0]} is missing"
    if unknown := [key for key in plain if key not in names]:
        yield f"{shown(unknown[0])} is unknown here; the file may be of a newer version"
    for name in ("name", "backbone", "task", "dataset"):
        if not _is_text(plain[name]):
            yield _expected(name, plain[name], "text without control characters")
    yield from _net_faults(plain)
    yield from _class_faults(plain["num_classes"], plain["classes"], plain["palette"])
    if not _is_whole(plain["base_size"], 0, MAX_BASE_SIZE):
        yield _expected("base_size", plain["base_size"], f"a whole number, 0 to {MAX_BASE_SIZE}")
    if type(upright := plain.get("upright", False)) is not bool:
        yield _expected("upright", upright, "True or False")
    thresholds = plain.get("thresholds")
    if thresholds is not None:
        if plain["task"] != "edge" and plain.get("options", {}).get("edge_head", "none") == "none":
            yield f"thresholds of a net for {plain['task']} without an edge head"
        if fault := thresholds_fault(thresholds, plain["num_classes"]):
            yield fault


def _net_faults(plain: dict[str, Any]) -> Iterator[str]:
    name = plain["name"]
    if name not in MODELS:
        yield _expected("name", name, f"one of {', '.join(MODELS)}")
    _, task, backbones = MODELS[name]
    if not MODELS[name].takes(plain["backbone"]):
        known = f"one of {', '.join(backbones)}, timm:NAME"
        yield _expected(f"backbone of {name}", plain["backbone"], known)
    if plain["task"] != task:
        yield _expected(f"task of {name}", plain["task"], repr(task))
    most = MAX_CLASSES[task]
    if not _is_whole(plain["num_classes"], 1, most):
        yield _expected("num_classes", plain["num_classes"], f"a whole number, 1 to {most}")
    options = plain.get("options", {})
    if not isinstance(options, dict):
        yield _expected("options", options, "a dictionary")
    for option, value in options.items():
        if fault := option_fault(name, option, value):
            yield fault


def _class_faults(count: int, classes: Any, palette: Any) -> Iterator[str]:
    for name, values in (("classes", classes), ("palette", palette)):
        if not isinstance(values, list | tuple):
            yield _expected(name, values, "a list")
        elif len(values) != count:
            yield f"{len(values)} entries of {name}, but num_classes is {count}"
    for value in classes:
        if not _is_text(value):
            yield _expected("a class", value, "text without control characters")
    for value in palette:
        if not isinstance(value, list | tuple) or len(value) != 3:
            yield _expected("a colour of palette", value, "three numbers")
        for part in value:
            if not _is_whole(part, 0, 255):
                yield _expected("a colour of palette", part, "whole numbers, 0 to 255")


def _is_whole(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_text(value: object) -> bool:
    """Whether it is text that can be printed and written as UTF-8."""
    return type(value) is str and not any(unicodedata.category(c) in ("Cc", "Cs") for c in value)


def _expected(name: str, value: object, expected: str) -> str:
    return f"{name} is {shown(value)}, expected {expected}"
