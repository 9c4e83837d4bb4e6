"""From a checkpoint and an image to probabilities or class ids: `load(checkpoint)(image)`.

The names below are looked up on first use, so that importing one module of this package (the flags,
say) does not import the networks and what draws their output.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utils.inference.options import InferenceOptions
    from utils.inference.predictor import Predictor, load

__all__ = ["InferenceOptions", "Predictor", "load"]


def __getattr__(name: str) -> Any:
    if name == "InferenceOptions":
        from utils.inference.options import InferenceOptions

        return InferenceOptions
    if name in __all__:
        from utils.inference import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
