"""What all command lines share: a parser that ends with one line, and types of numbers.

Every numeric flag has one of these types, so that each value out of range is refused with the
flag's name. NaN and infinity are in no range.
"""

import argparse
import difflib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from data import parse_options
from data.errors import InputError, shortened

MAX_COUNT = 10**9  # of anything that is counted: pixels on a side, epochs, samples, classes
MAX_WORKERS = 1024
MAX_SEED = 2**32 - 1  # NumPy's and PyTorch's seeds are unsigned
MANY_CHOICES = 12  # more are not listed when a wrong one is given
LONGEST = 40  # characters of a wrong value that a message repeats


class Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors are one line like all others, without the list of flags.

    Shortened flags are refused: a typing error would become another flag.
    """

    def __init__(self, *args: object, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(*args, **options)  # pyright: ignore[reportArgumentType] (passed on)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] (one of its forms)
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse's. `--flag=--` is refused: Python before 3.13 makes an empty list of it."""
        for word in sys.argv[1:] if args is None else args:
            flag, equals, value = word.partition("=")
            if equals and value == "--" and flag.startswith("-"):
                self.error(f"argument {flag}: expected a value, found '--'")
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse's, but of many choices those are listed that the value resembles."""
        choices = [*(action.choices or ())]
        near = difflib.get_close_matches(str(value), map(str, choices), MANY_CHOICES, cutoff=0.5)
        if len(choices) > MANY_CHOICES and value not in choices and near:
            listed = ", ".join(map(repr, near))
            text = f"invalid choice: {value!r} (the nearest of {len(choices)} are {listed})"
            raise argparse.ArgumentError(action, text)
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with status 2."""
        text = shortened(" ".join(message.split()))
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


def text(given: str) -> str:
    """A type for names and paths: an empty one, as of an unset shell variable, is a mistake."""
    if not given:
        raise argparse.ArgumentTypeError("is empty")
    return given


def file_path(given: str) -> Path:
    """A type for paths. (pathlib takes an empty one for the current folder.)"""
    return Path(text(given))


def data_option(word: str) -> str:
    """A type for NAME=VALUE, an option of a data set; `data.parse_options` reads it."""
    try:
        parse_options([word])
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return word


def _out_of_range(text: str, expected: str) -> argparse.ArgumentTypeError:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return argparse.ArgumentTypeError(f"found {shown!r}, expected {expected}")


positive = whole(1)
size = whole(0)
seed = whole(0, MAX_SEED)
workers = whole(0, MAX_WORKERS)
amount = number(0, 1e9)
share = number(0, 1)
