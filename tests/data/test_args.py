"""data.args: numbers on the command line are in their range, or named with their flag."""

import argparse
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.args import (
    MAX_COUNT,
    Parser,
    amount,
    file_path,
    number,
    positive,
    seed,
    share,
    size,
    whole,
    workers,
)

ALL = {
    "positive": (positive, 1, MAX_COUNT),
    "size": (size, 0, MAX_COUNT),
    "seed": (seed, 0, 2**32 - 1),
    "workers": (workers, 0, 1024),
    "amount": (amount, 0, 1e9),
    "share": (share, 0, 1),
    "narrow": (whole(3, 5), 3, 5),
    "real": (number(-1, 2), -1, 2),
}
ODD = (
    "",
    " ",
    "nan",
    "-nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e400",
    "x",
    "1,5",
    "0x10",
    "9" * 5000,
)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_refused(kind: str, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected a (whole )?number"):
        ALL[kind][0](text)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(ALL)), st.one_of(st.integers(), st.floats()))
def test_numbers_are_taken_in_their_range_only(kind: str, value: float) -> None:
    convert, low, high = ALL[kind]
    is_whole = kind not in ("amount", "share", "real")
    text = repr(value)
    fits = low <= value <= high and not (is_whole and isinstance(value, float))
    if fits:
        assert convert(text) == value
    else:
        with pytest.raises(argparse.ArgumentTypeError):
            convert(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_number_or_one_short_line(text: str) -> None:
    for convert, low, high in ALL.values():
        try:
            value = convert(text)
        except argparse.ArgumentTypeError as error:
            assert len(str(error)) < 200
        else:
            assert low <= value <= high


def test_open_ends() -> None:
    above, below = number(0, 1, above=True), number(0, 1, below=True)
    assert above("1") == 1
    assert below("0") == 0
    assert above("5e-324") > 0
    for convert, text in ((above, "0"), (above, "-0.0"), (below, "1")):
        with pytest.raises(
            argparse.ArgumentTypeError, match=r"a number (above|from) 0 to (below )?1"
        ):
            convert(text)
    assert not math.isnan(above("0.5"))


def test_an_error_is_one_line_that_names_the_flag(capsys: pytest.CaptureFixture) -> None:
    parser = Parser(prog="x.py")
    parser.add_argument("--count", type=positive)
    parser.add_argument("--counter", type=positive)
    for argv, words in (
        (["--count", "0"], "error: argument --count: found '0', expected a whole number, 1 to 100"),
        (["--count", "1" * 99], f"argument --count: found '{'1' * 40}…', expected"),
        (["--count"], "argument --count: expected one argument"),
        (["--coun", "1"], "unrecognized arguments: --coun 1"),
        (["a\nb"], "unrecognized arguments: a b"),
    ):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(argv)
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
        assert line.endswith("(all flags: x.py --help)")


def test_an_empty_path_is_not_the_current_folder() -> None:
    assert file_path("a/b").name == "b"
    with pytest.raises(argparse.ArgumentTypeError, match="is empty"):
        file_path("")
