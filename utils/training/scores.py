"""What a validation returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scores:
    """loss: the mean over images. name: of the score that `best.pth` follows, as it stands in the log. value: that score."""

    loss: float
    name: str
    value: float


def spread(length: int, samples: int) -> list[int]:
    """So many of `length` numbers, evenly spread; all of them for 0."""
    count = min(samples or length, length)
    return [position * length // count for position in range(count)]
