"""PyTorch Hub's entry points.

    predictor = torch.hub.load(FOLDER, "load", "best.pth", source="local")
    model = torch.hub.load(FOLDER, "build", "dff", 19, "resnet50", source="local")

This repository's packages are called data, models and utils. A program that has packages of its own
by these names cannot import ours beside them: both entry points say so in one line, before anything
of ours is imported.
"""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from utils.inference import Predictor

dependencies = ["torch", "torchvision", "numpy", "cv2", "PIL", "scipy", "numba"]

ROOT = Path(__file__).resolve().parent
PACKAGES = ("data", "models", "utils")


def load(
    checkpoint: str | Path,
    device: "str | torch.device" = "auto",
    *,
    name: str | None = None,
    **options: Any,
) -> "Predictor":
    """The network of a checkpoint, ready to be called with images: see `utils.inference.load`.

    name: there `model`, for files that do not say what they hold; `torch.hub.load` has a parameter
    of that name itself.
    """
    _require_own_packages()
    from utils.inference import load

    return load(checkpoint, device, model=name, **options)


def build(
    name: str,
    num_classes: int,
    backbone: str = "resnet101",
    pretrained: str | Path = "none",
    **options: Any,
) -> "nn.Module":
    """A network to be trained, which maps an image to logits: see `models.build_model`."""
    _require_own_packages()
    from models import build_model

    return build_model(
        name, num_classes=num_classes, backbone=backbone, pretrained=pretrained, **options
    )


def _require_own_packages() -> None:
    """ImportError that says what is in the way, unless all PACKAGES are this repository's."""
    found = {name: _location(name) for name in PACKAGES}
    wrong = [name for name in PACKAGES if found[name] != ROOT / name / "__init__.py"]
    if wrong:
        places = ", ".join(f"{name} = {found[name] or 'nothing'}" for name in wrong)
        raise ImportError(
            f"packages of your own are in the way: found {places}, expected those in {ROOT}; "
            "rename yours, or load in a process without them that has this folder first in sys.path"
        )


def _location(name: str) -> Path | None:
    """What `import name` gives, without importing it: a file, or a folder without __init__.py."""
    module = sys.modules.get(name)
    if module is not None:
        file, folders = getattr(module, "__file__", None), getattr(module, "__path__", ())
    else:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return None
        file = spec.origin if spec.has_location else None
        folders = spec.submodule_search_locations or ()
    place = file or next(iter(folders), None)
    return Path(place).resolve() if place else None
