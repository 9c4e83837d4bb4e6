"""How a backbone of timm is built: which arguments let it take images of any size, found by trying.

timm's families differ in what they accept (`output_stride`, `dynamic_img_size`, …), in how many
maps they return, and in which sizes of images they take. Nets on the meta device, which hold no
numbers, show all of it in a second, whatever the version of timm knows.
"""

import difflib
import warnings
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.contract import BackboneError

LEAST_VERSION = (1, 0)
NEEDS = 'needs timm: pip install "timm>=1.0"'
# In the order of preference. Output stride 8 is what both papers have; the others let transformers
# take images of any size.
OPTIONS: tuple[dict[str, Any], ...] = (
    {"output_stride": 8},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)
# Sides in multiples of what is tried: oblong, odd and even multiples, and the least image.
SHAPES = ((2, 3), (5, 4), (1, 1))
# Parts of names that wrappers of nets add; weight files are read without them.
WRAPPING = {"module", "_orig_mod"}


class Plan(NamedTuple):
    """How to build a backbone, and what it returns.

    options: of `timm.create_model`. channels, strides: of all its maps. channels_last: whether
    these are (N, h, w, C). multiple: of which the sides of images must be multiples.
    """

    options: dict[str, Any]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    channels_last: bool
    multiple: int
    branches: bool = False


def require_timm() -> ModuleType:
    """The package; BackboneError if it is missing or too old."""
    try:
        import timm
    except ImportError as error:
        raise BackboneError(f"a backbone timm:NAME {NEEDS}") from error
    version = tuple(int(part) for part in timm.__version__.split(".")[:2] if part.isdigit())
    if version < LEAST_VERSION:
        raise BackboneError(f"a backbone timm:NAME {NEEDS} (found {timm.__version__})")
    return timm


def build(name: str, options: dict[str, Any], *, pretrained: bool = False) -> nn.Module:
    """timm's net that returns its maps; weights are fetched only if `pretrained`."""
    timm = require_timm()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of timm about its own layers
        return timm.create_model(name, pretrained=pretrained, features_only=True, **options)


def require_name(name: str) -> None:
    """BackboneError unless timm has a net of that name, and weights of that tag."""
    timm = require_timm()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models()
        near = difflib.get_close_matches(architecture, known, n=4, cutoff=0.5)
        closest = f"; the closest names are {', '.join(near)}" if near else ""
        raise BackboneError(
            f"timm:{name}: timm {timm.__version__} has no model {architecture!r}{closest}"
        )
    if not tag:
        return
    tags = [
        full.partition(".")[2]
        for full in timm.list_pretrained(f"{architecture}.*")
        if full.startswith(f"{architecture}.")
    ]
    if tag not in tags:
        has = f"it has {', '.join(tags)}" if tags else "it has no weights"
        raise BackboneError(f"timm:{name}: {architecture} has no weights called {tag!r}; {has}")


@lru_cache(maxsize=64)
def find_plan(name: str) -> Plan:
    """How to build timm's `name`. BackboneError with the reason if it cannot be a backbone here."""
    require_name(name)
    nets: list[tuple[dict[str, Any], nn.Module]] = []
    reasons: list[str] = []
    for options in OPTIONS:
        try:
            with torch.device("meta"):
                nets.append((options, build(name, options).eval()))
        except Exception as error:
            reasons.append(_first_line(error))
    # The smaller multiples before the larger ones, so that images are padded little.
    for number, (options, net) in product(range(3), nets):
        try:
            multiple = _multiples(net)[number]
            maps = [_shapes(net, multiple * high, multiple * wide) for high, wide in SHAPES]
        except Exception as error:
            reasons.append(_first_line(error))
            continue
        plan = _plan_of(maps, options, multiple)
        if plan is None:
            reasons.append("its maps have not the image's size divided by whole numbers")
            continue
        _require_usable(name, net, plan)
        return plan._replace(branches=_has_branches(net, multiple))
    reason = (_one_size(nets[-1][1]) if nets else "") or reasons[-1]
    raise BackboneError(
        f"timm:{name} cannot be a backbone here, where images have many sizes: {reason}"
    )


def _multiples(net: Any) -> tuple[int, int, int]:
    """What sides may have to be multiples of: the largest stride, two of it, the published size."""
    largest = max(net.feature_info.reduction())
    return largest, 2 * largest, int(net.pretrained_cfg["input_size"][-1])


def _one_size(net: Any) -> str:
    """That a net runs at its published size alone, in words; "" if that is not what is wrong.

    What PyTorch says of such a net is about the shapes of its inner tensors.
    """
    height, width = net.pretrained_cfg["input_size"][-2:]
    try:
        _shapes(net, height, width)
    except Exception:
        return ""
    high, wide = SHAPES[0]
    larger = high * height, wide * width
    try:
        _shapes(net, *larger)
    except Exception:
        return f"it runs on images of {height}x{width}, not on {larger[0]}x{larger[1]}"
    return ""


def _has_branches(net: nn.Module, multiple: int) -> bool:
    """Whether the last map leaves parameters without a gradient."""
    try:
        image = torch.empty(2, 3, 2 * multiple, 2 * multiple, device="meta")
        net.train()(image)[-1].sum().backward()
    except Exception:
        return True
    return any(parameter.grad is None for parameter in net.parameters())


def _shapes(net: nn.Module, height: int, width: int) -> tuple[tuple[int, int], list[torch.Size]]:
    with torch.no_grad():
        maps: list[Tensor] = net(torch.empty(2, 3, height, width, device="meta"))
    return (height, width), [x.shape[1:] for x in maps]


def _plan_of(
    found: list[tuple[tuple[int, int], list[torch.Size]]], options: dict[str, Any], multiple: int
) -> Plan | None:
    """The strides that explain the maps of all sizes; None if none do."""
    for channels_last in (False, True):
        read = [list(_read(size, shapes, channels_last)) for size, shapes in found]
        if all(each == read[0] and None not in each for each in read):
            channels, strides = zip(*(one for one in read[0] if one is not None), strict=True)
            return Plan(options, channels, strides, channels_last, multiple)
    return None


def _read(
    size: tuple[int, int], shapes: list[torch.Size], channels_last: bool
) -> Iterator[tuple[int, int] | None]:
    """(channels, stride) of each map of images of a size; None: no whole stride."""
    for shape in shapes:
        if len(shape) != 3:
            yield None
            continue
        channels, height, width = (shape[2], *shape[:2]) if channels_last else tuple(shape)
        stride = size[0] // max(1, height)
        whole = (height * stride, width * stride) == size
        yield (channels, stride) if whole else None


def _require_usable(name: str, net: nn.Module, plan: Plan) -> None:
    """BackboneError for too few maps, and for names that reading weight files would change."""
    if len(plan.strides) < 3:
        raise BackboneError(
            f"timm:{name} returns {len(plan.strides)} maps, at the strides "
            f"{', '.join(map(str, plan.strides))}; a backbone has three at least"
        )
    if wrong := [key for key in net.state_dict() if WRAPPING & {*key.split(".")}]:
        raise BackboneError(
            f"timm:{name} has parameters such as {wrong[0]}, whose name no weight file here can "
            "hold (module is what wrappers of nets add); take another backbone"
        )


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:160]}…"
