"""The options of inference: sizes, windows, scales, mirror image, precision."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any

from data.args import MAX_COUNT
from data.errors import InputError
from utils.edge_metrics.calibration import COLDEST, HOTTEST, is_temperature

MIN_SIDE = 32  # the smallest side that every net takes (models.build_model's contract)
MAX_SCALE = 16  # a larger factor is a slip of the finger: it would not fit into any memory


@dataclass(frozen=True)
class InferenceOptions:
    """How an image goes through a network; InputError if a value makes no sense.

    The defaults take each image whole and at its own size.

    Args:
        base_size: long side in pixels to which an image is resized first; 0 keeps its size.
        window: side in pixels of the sliding window; None takes the whole image at once.
        overlap: share of a window that the next one covers again, 0 to below 1.
        scales: factors of the image's size, over which scores are averaged.
        mirror: average over the image and its mirror image.
        batch_size: the number of windows (or of an image and its mirror image) in a forward pass.
        half: run the network in 16-bit floats: float16 on GPUs, bfloat16 on CPUs.
        temperature: of an edge net, by which the logits of its mean probabilities are divided: a
            number, or one for each class; see `utils.inference.temperature`.
        max_pixels: images with more are refused before they are decoded; None: those that would not
            fit into memory are, see `utils.inference.memory`.
        quirks: weigh overlapping windows as the published code does, see
            `utils.inference.sliding_window.Windows.published_share`.
    """

    base_size: int = 0
    window: int | None = None
    overlap: float = 1 / 3
    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False
    batch_size: int = 1
    half: bool = False
    quirks: bool = False
    temperature: float | tuple[float, ...] = 1.0
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        # A list of scales is taken too. Text is iterable, but no list of factors.
        if isinstance(self.scales, Iterable) and not isinstance(self.scales, str):
            object.__setattr__(self, "scales", tuple(self.scales))
        if not _is_whole(self.base_size) or not 0 <= self.base_size <= MAX_COUNT:
            raise InputError(f"base size {_short(self.base_size)}: expected a long side, or 0")
        if (
            not isinstance(self.scales, tuple)
            or not self.scales
            or not all(map(_fits, self.scales))
        ):
            listed = isinstance(self.scales, tuple)
            scales = f"[{', '.join(map(_short, self.scales))}]" if listed else _short(self.scales)
            raise InputError(
                f"scales {scales}: expected one or more factors above 0, such as 0.5 1 2"
            )
        if not isinstance(self.overlap, Real) or not 0 <= float(self.overlap) < 1:
            raise InputError(
                f"overlap {self.overlap!r}: expected a share of the window, from 0 to below 1"
            )
        if self.window is not None and not (
            _is_whole(self.window) and MIN_SIDE <= self.window <= MAX_COUNT
        ):
            raise InputError(f"window {_short(self.window)}: expected {MIN_SIDE} pixels or more")
        if not _is_whole(self.batch_size) or not 1 <= self.batch_size <= MAX_COUNT:
            raise InputError(f"batch size {_short(self.batch_size)}: expected 1 or more")
        if self.max_pixels is not None and not (_is_whole(self.max_pixels) and self.max_pixels > 0):
            raise InputError(f"max pixels {self.max_pixels!r}: expected 1 or more")
        each = self.temperature if isinstance(self.temperature, tuple) else (self.temperature,)
        if not each or not all(map(is_temperature, each)):
            raise InputError(
                f"temperature {_short(self.temperature)}: expected a number, {COLDEST:g} to "
                f"{HOTTEST:g}, or one for each class"
            )
        for name in ("mirror", "half", "quirks"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} {getattr(self, name)!r}: expected True or False")

    def of_the_scores(self) -> dict[str, Any]:
        """The options that the scores depend on: all but `max_pixels`, a temperature if not 1."""
        without = ("max_pixels", "temperature") if self.temperature == 1 else ("max_pixels",)
        return {name: value for name, value in asdict(self).items() if name not in without}


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _fits(scale: object) -> bool:
    try:
        return isinstance(scale, Real) and 0 < float(scale) <= MAX_SCALE
    except OverflowError:  # a whole number or a fraction beyond all floats
        return False


def _short(value: object) -> str:
    """A value for a message; Python refuses to print very long numbers."""
    if isinstance(value, int) and abs(value) > MAX_COUNT:
        return f"above {MAX_COUNT}" if value > 0 else "below 0"
    return repr(value)
