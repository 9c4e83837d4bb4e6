"""Every numeric flag of every script with numbers that are none, or mean nothing.

The flags are read off the parsers, so that a new one is tried without a line here.
"""

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from helpers.bench import Bench, assert_refused
from helpers.doors import BY_NAME, MODULES, Door, snapshot
from helpers.tiny_nets import registered
from hypothesis import given, settings
from hypothesis import strategies as st

from data.args import Parser

# A door of each script. Where a script has two sorts of flags, two.
SCRIPTS = (
    *("predict-edge", "test-edge", "test-seg", "train-edge", "train-seg", "gtlabel"),
    *("cityscapes_gtlabel", "kitti_gtlabel", "sbd_gtlabel", "download", "curves", "compare"),
    "scenes",
)
# No flag means anything by these, whatever it counts.
NEVER = (
    *("nan", "inf", "-inf", "1e308", "text", "", " ", "1000000000000", "-1000000000000"),
    *("1,5", "0x10", "1e", "--", "9" * 5000, "-" + "9" * 5000),
)
# A learning rate may be anything that float32 can hold.
TAKEN = {("--lr", "1000000000000")}
# Some take these: then the script works, or says in one line what does not fit.
PERHAPS = ("0", "-1", "1e-300")


class Seen(Exception):
    """Carries the parser."""


def parser_of(door: Door) -> argparse.ArgumentParser:
    """The parser that a script builds."""

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        if parser.add_help:  # train.py has another one for two flags
            raise Seen(parser)

    with mock.patch.object(Parser, "parse_args", stop), pytest.raises(Seen) as caught:
        door.main([])
    return caught.value.args[0]


def numeric(action: argparse.Action) -> bool:
    """Whether a flag is a number: by its type, or the type's place."""
    if action.type is None or not action.option_strings:
        return False
    return any(isinstance(converted(action.type, text), int | float) for text in ("1", "0.5", "32"))


def converted(kind: Any, text: str) -> object:
    """What a flag's type makes of a word; None for a refusal."""
    try:
        return kind(text)
    except (ValueError, argparse.ArgumentTypeError):
        return None


def flags() -> list:
    found, seen = [], set()
    for name in SCRIPTS:
        for action in parser_of(BY_NAME[name])._actions:
            flag = action.option_strings[-1] if action.option_strings else ""
            script = name.split("-")[0]
            if numeric(action) and (script, flag) not in seen:
                seen.add((script, flag))
                found.append(pytest.param(BY_NAME[name], action, id=f"{script} {flag}"))
    return found


def words(action: argparse.Action, value: str) -> list[str]:
    count = action.nargs if isinstance(action.nargs, int) else 1
    flag = action.option_strings[-1]
    # Of several numbers, a good one comes first. argparse takes "-inf" for a flag, but not "=-inf".
    return [f"{flag}={value}"] if count == 1 else [flag, *["1"] * (count - 1), value]


@pytest.mark.parametrize(("door", "action"), flags())
def test_a_number_that_is_none(door: Door, action: argparse.Action, bench: Bench) -> None:
    bench.good(door)
    work = bench.work(door)
    before = snapshot(work / "out")
    flag = action.option_strings[-1]
    for value in (value for value in NEVER if (flag, value) not in TAKEN):
        ended = bench.call(door, work, *words(action, value))
        try:
            assert_refused(ended, *action.option_strings)
        except AssertionError as error:
            raise AssertionError(f"{flag} {value[:30]}: {error}") from error
        assert snapshot(work / "out") == before, value


@pytest.mark.parametrize(("door", "action"), flags())
def test_a_number_at_the_end_of_its_range(
    door: Door, action: argparse.Action, bench: Bench
) -> None:
    bench.good(door)
    for value in PERHAPS:
        ended = bench.call(door, bench.work(door), *words(action, value))
        if ended.status:
            assert_refused(ended, *action.option_strings)


def argv_of(door: Door) -> st.SearchStrategy[list[str]]:
    """Flags of a script in any order, with values of any kind."""
    actions = [action for action in parser_of(door)._actions if action.option_strings]
    flag = st.sampled_from([word for action in actions for word in action.option_strings])
    number = st.one_of(st.integers().map(str), st.floats().map(str))
    text = st.text(st.characters(exclude_characters="\0"), max_size=20)
    choice = st.sampled_from([str(c) for action in actions for c in (action.choices or ("auto",))])
    return st.lists(st.one_of(flag, flag, number, text, choice), max_size=8)


@pytest.mark.parametrize("name", SCRIPTS)
def test_any_command_line_is_parsed_or_refused_in_a_line(
    name: str, capsys: pytest.CaptureFixture
) -> None:
    door = BY_NAME[name]
    good = [word for word in door.argv(Path("/nowhere")) if name != "submit"]

    @settings(derandomize=True, max_examples=60, deadline=None, database=None)
    @given(argv_of(door))
    def parse(words: list[str]) -> None:
        capsys.readouterr()
        try:
            MODULES[name].parse_args([*good, *words])
        except SystemExit as end:
            printed = capsys.readouterr()
            assert end.code in (0, 2)
            if end.code == 2:
                assert printed.err.startswith("error: ")
                assert printed.err.count("\n") == 1
            else:
                assert {"-h", "--help"} & set(words)

    with registered():
        parse()
