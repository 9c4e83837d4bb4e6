"""The random choices of a scene, the same on every machine.

They come from the generator's raw doubles and from +, -, *, / and rounding, which IEEE 754 fixes
to the last bit.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Color = tuple[int, int, int]
T = TypeVar("T")


class SceneRandom:
    """The random choices of one scene."""

    def __init__(self, *seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number of [low, high)."""
        return low + (high - low) * float(self.generator.random())

    def whole(self, low: int, high: int) -> int:
        """One of low, ..., high."""
        return low + int((high - low + 1) * float(self.generator.random()))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return float(self.generator.random()) < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each equally likely."""
        return options[self.whole(0, len(options) - 1)]

    def vary(self, color: Color, amount: int = 18) -> Color:
        """The colour, lighter or darker by up to `amount` levels and a little off in hue."""
        shift = self.whole(-amount, amount)
        red, green, blue = (
            min(255, max(0, c + shift + self.whole(-amount // 3, amount // 3))) for c in color
        )
        return red, green, blue


def scaled(color: Color, percent: int) -> Color:
    """The colour with `percent` of its light."""
    red, green, blue = (min(255, c * percent // 100) for c in color)
    return red, green, blue


def mixed(color: Color, other: Color, part: int, whole: int = 100) -> Color:
    """The colour with `part` of `whole` replaced by the other."""
    red, green, blue = (
        (c * (whole - part) + o * part) // whole for c, o in zip(color, other, strict=True)
    )
    return red, green, blue
