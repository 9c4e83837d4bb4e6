"""The flags of train.py one by one: every number has a range, and every mistake is one line."""

import argparse
import math
import shutil
from pathlib import Path

import pytest
from helpers.training import flags

import train
from data.args import number, whole
from data.errors import InputError
from utils.distributed.environment import Ranks
from utils.training.args import train_parser
from utils.training.recipes import RECIPES, SECOND_STAGES
from utils.training.setup import build_setup, split_of

# Their classes: whatever `whole` and `number` return.
RANGES = tuple({whole(0).__qualname__, number(0, 1).__qualname__})
NUMERIC = [
    action.option_strings[0]
    for action in train_parser()._actions
    if getattr(action.type, "__qualname__", "") in RANGES
]
NO_NUMBERS = ("nan", "inf", "-inf", "text", "", " ", "0x10")
REFUSED = (*NO_NUMBERS, "1e308", "1" + "0" * 12, "9" * 5000, "-1", "-0.5")
# What single flags take of that: no relaxation at all; and rates that diverge in one step.
TAKEN = {("--rlx-off-epoch", "-1"), ("--lr", "1" + "0" * 12)}


def refused(argv: list[str], capsys: pytest.CaptureFixture) -> str:
    """The one line with which these flags are refused."""
    with pytest.raises(SystemExit) as ended:
        train.parse_args(argv)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert len(line) < 1200
    return line


def test_no_number_without_a_range() -> None:
    """bool(argparse's own int and float) take nan, inf and numbers of any size."""
    for action in train_parser()._actions:
        assert action.type not in (int, float, complex), action.option_strings
        numeric = action.option_strings[0] in NUMERIC
        value = action.default[0] if isinstance(action.default, list) and action.default else None
        if isinstance(value if value is not None else action.default, int | float):
            assert numeric or isinstance(action, argparse.BooleanOptionalAction), action
    assert len(NUMERIC) > 35


@pytest.mark.parametrize("flag", NUMERIC)
def test_every_number_out_of_range_is_one_line_with_its_flag(
    flag: str, capsys: pytest.CaptureFixture
) -> None:
    for value in REFUSED:
        if (flag, value) in TAKEN:
            continue
        # --scale takes two numbers, the second of which is right.
        words = [flag, value, "1"] if flag == "--scale" else [f"{flag}={value}"]
        if flag == "--scale" and value.startswith("-i"):
            continue  # looks like a flag
        line = refused(words, capsys)
        assert flag in line, (value, line)


@pytest.mark.parametrize("recipe", [None, *RECIPES])
def test_every_recipe_is_within_the_ranges(recipe: str | None) -> None:
    start = ["--init-from", "x.pth"] if recipe in SECOND_STAGES else []
    args = train.parse_args((["--recipe", recipe] if recipe else []) + start)
    for action in train_parser()._actions:
        flag = action.option_strings[0]
        if flag in NUMERIC:
            value = getattr(args, action.dest)
            for one in value if isinstance(value, list) else [value]:
                assert math.isfinite(one)
                assert action.type(repr(one)) == one, flag


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--model", "dfff"], ["--model", "dfff", "dff"]),
        (["--recipe", "dff-scen"], ["--recipe", "dff-scen", "dff-scenes"]),
        (["--recipe", "dff-scen", "--data-root", "x"], ["--recipe", "dff-scen"]),
        (["--recipe"], ["--recipe"]),
        (["--model"], ["--model"]),
        (["--dataset", "cityscape"], ["--dataset", "cityscapes"]),
        (["--data-root", "photos"], ["--data-root photos needs --dataset", "--recipe", "scenes"]),
        (["--data-root", ""], ["--data-root", "empty"]),
        (["--run-dir="], ["--run-dir", "empty"]),
        (["--checkname="], ["--checkname", "empty"]),
        (["--init-from="], ["--init-from", "empty"]),
        (["--data-option", "cv=" + "9" * 5000], ["--data-option", "5000 digits"]),
        (["--data-option", "cv"], ["--data-option", "NAME=VALUE"]),
        (["--scale", "2", "1"], ["--scale", "LOW <= HIGH"]),
        (["--scale", "1", "inf"], ["--scale", "inf"]),
        (["--epoch", "3"], ["--epoch"]),
        (["--lr-schedule", "scl-poly", "--model", "fcn", "--backbone", "resnet50"], ["scl-poly"]),
        (["--momentum", "1"], ["--momentum", "below 1"]),
        (["--ema", "1"], ["--ema", "below 1"]),
        (["--timeout-minutes", "0"], ["--timeout-minutes", "above 0"]),
        (["--color-aug", "0.6"], ["--color-aug", "0.5"]),
        (["--crop-size", "31"], ["--crop-size", "32"]),
    ],
)
def test_mistakes_are_one_line(
    argv: list[str], words: list[str], capsys: pytest.CaptureFixture
) -> None:
    line = refused(argv, capsys)
    assert all(word in line for word in words), line


def test_runs_of_two_folders_of_data_do_not_share_a_folder() -> None:
    def run_dir(*flags: str) -> str:
        return train.parse_args(["--model", "dff", "--backbone", "resnet18", *flags]).run_dir

    own = ("--dataset", "folder", "--data-root")
    assert run_dir(*own, "datasets/mine") == "runs/mine/dff-resnet18/default"
    assert run_dir(*own, "/other/place/") == "runs/place/dff-resnet18/default"
    assert run_dir(*own, ".") == "runs/folder/dff-resnet18/default"
    camvid = run_dir("--dataset", "camvid", "--data-root", "datasets/CamVid")
    assert camvid == "runs/camvid/dff-resnet18/default"


def test_a_recipe_names_the_data_set_of_a_data_root() -> None:
    args = train.parse_args(["--recipe", "dff-scenes", "--data-root", "there"])
    assert (args.dataset, args.data_root) == ("scenes", "there")
    assert train.parse_args([]).data_root == "datasets/scenes"


def setup(root: Path, *more: str) -> object:
    """What the flags ask for, as far as it is built before the net."""
    seg = ["--model", "fcn", "--backbone", "resnet50", "--class-uniform-pct", "0"]
    net = seg if "--seg" in more else []
    argv = [*flags(root, root / "run"), *net, *(word for word in more if word != "--seg")]
    args = train.parse_args(argv)
    return build_setup(args, split_of(args, args.train_split), Ranks())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seg", "--strict-bdr-cls", "3", "99"], "--strict-bdr-cls 99: camvid has the classes"),
        (["--seg", "--coarse-boost-classes", "11"], "--coarse-boost-classes 11: camvid"),
        (["--seg", "--coarse-boost-classes", "1"], "'train_extra'"),
        (["--batch-size", "1000000"], "--batch-size 1000000 is more than the 8"),
        (["--val-split", "nowhere"], "nowhere"),
        (["--seg", "--val-split", "nowhere"], "nowhere"),
        (["--data-option", "cv=1"], "cv"),
    ],
)
def test_what_does_not_fit_the_data_is_found_before_the_net_is_built(
    tiny_camvid: Path, more: list[str], words: str
) -> None:
    with pytest.raises((InputError, FileNotFoundError), match=words):
        setup(tiny_camvid, *more)


@pytest.mark.parametrize("task", [[], ["--seg"]])
def test_a_validation_split_without_labels_is_found_before_the_net_is_built(
    tiny_camvid: Path, monkeypatch: pytest.MonkeyPatch, task: list[str]
) -> None:
    def without(args: argparse.Namespace, split: str) -> object:
        dataset = split_of(args, split)
        if split == "val":
            dataset.records = [
                type(record)(record.name, record.image) for record in dataset.records
            ]
        return dataset

    monkeypatch.setattr("utils.training.setup.split_of", without)
    with pytest.raises(InputError, match=r"has no label map to validate on; see --val-split"):
        setup(tiny_camvid, *task)


def test_a_broken_list_of_the_test_split_is_told_before_the_training(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = shutil.copytree(tiny_camvid, tmp_path / "set")
    setup(root)
    assert capsys.readouterr().err == ""
    (root / "test.txt").write_text("test/my image.png testannot/my image.png\n")
    setup(root)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: test.py will refuse the split test: ")
    assert "test.txt" in line
