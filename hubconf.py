"""PyTorch Hub's entry points.

    predictor = torch.hub.load(FOLDER, "load", "best.pth", source="local")
    model = torch.hub.load(FOLDER, "build", "dff", 19, "resnet50", source="local")

This repository's packages are called data, models and utils. A program that has packages of its own by these names
cannot import ours beside them: both entry points say so in one line, before anything of ours is imported.
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
    """The network of a checkpoint, ready to be called with images: `utils.inference.load`, which lists the options.

    name: there `model`, for files that do not say what they hold; `torch.hub.load` has a parameter of that name itself.
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
    """An untrained network, or one on a trained backbone: `models.build_model`, which lists names and options."""
    _require_own_packages()
    from models import build_model

    return build_model(
        name, num_classes=num_classes, backbone=backbone, pretrained=pretrained, **options
    )


def _require_own_packages() -> None:
    """ImportError that names what is in the way, unless `data`, `models` and `utils` are this repository's."""
    found = {name: _location(name) for name in PACKAGES}
    wrong = [name for name in PACKAGES if found[name] != ROOT / name / "__init__.py"]
    if wrong:
        places = ", ".join(f"{name} = {found[name] or 'nothing'}" for name in wrong)
        raise ImportError(
            f"packages of your own are in the way: found {places}, expected those in {ROOT}; rename "
            "yours, or load in a process that has not imported them, with this folder first in sys.path"
        )


def _location(name: str) -> Path | None:
    """The file that `import name` gives, without importing it; None where there is none, or a folder without __init__.py."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        file = spec.origin if spec and spec.has_location else None
    return Path(file).resolve() if file else None
