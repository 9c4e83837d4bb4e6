"""From a checkpoint and an image to probabilities or class ids: `load(checkpoint)(image)`.

The names below are looked up on first use, so that importing one module of this package (the flags,
say) does not import the networks and what draws their output.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utils.inference.loading import load
    from utils.inference.options import InferenceOptions
    from utils.inference.predictor import Predictor

__all__ = ["InferenceOptions", "Predictor", "load"]
HOMES = {"InferenceOptions": "options", "Predictor": "predictor", "load": "loading"}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"utils.inference.{HOMES[name]}"), name)
