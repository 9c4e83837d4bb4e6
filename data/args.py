"""What all command lines share: a parser that ends with one line, and types of numbers.

Every numeric flag has one of these types, so that each value out of range is refused with the
flag's name. NaN and infinity are in no range.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

MAX_COUNT = 10**9  # of anything that is counted: pixels on a side, epochs, samples, classes
MAX_WORKERS = 1024
MAX_SEED = 2**32 - 1  # NumPy's and PyTorch's seeds are unsigned
LONGEST = 40  # characters of a wrong value that a message repeats


class Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors are one line like all others, without the list of flags.

    Shortened flags are refused: a typing error would become another flag.
    """

    def __init__(self, *args: object, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(*args, **options)  # pyright: ignore[reportArgumentType] (passed on)

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with status 2."""
        text = " ".join(message.split())
        self.exit(2, f"error: {text} (all flags: {self.prog} --help)\n")


def whole(low: int, high: int = MAX_COUNT) -> Callable[[str], int]:
    """A type for whole numbers from `low` to `high`."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:  # text, fractions, and more digits than Python takes
            number = None
        if number is None or not low <= number <= high:
            raise _out_of_range(text, f"a whole number, {low} to {high}")
        return number

    return convert


def number(
    low: float, high: float, *, above: bool = False, below: bool = False
) -> Callable[[str], float]:
    """A type for numbers from `low` to `high`. above, below: without that end itself."""
    start = f"above {low:g}" if above else f"from {low:g}"
    end = f"below {high:g}" if below else f"{high:g}"

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        # NaN fails every comparison.
        in_range = (low < value if above else low <= value) and (
            value < high if below else value <= high
        )
        if not in_range:
            raise _out_of_range(text, f"a number {start} to {end}")
        return value

    return convert


def file_path(text: str) -> Path:
    """A type for paths: an empty one, as of a shell variable that is not set, is refused.

    pathlib takes it for the current folder.
    """
    if not text:
        raise argparse.ArgumentTypeError("found an empty text, expected a path")
    return Path(text)


def _out_of_range(text: str, expected: str) -> argparse.ArgumentTypeError:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return argparse.ArgumentTypeError(f"found {shown!r}, expected {expected}")


positive = whole(1)
size = whole(0)
seed = whole(0, MAX_SEED)
workers = whole(0, MAX_WORKERS)
amount = number(0, 1e9)
share = number(0, 1)
