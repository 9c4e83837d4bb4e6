"""What a run saves and goes on from: nothing lost, nothing that is not finite, nothing unsaid."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.training import (
    assert_equal_runs,
    at,
    flags,
    records,
    run_command,
    start,
    watch,
)
from torch import nn

import train
from data.errors import InputError, run
from data.files import parse_json
from data.image_io import write_png
from utils.checkpoint import CheckpointError, read_checkpoint, save_checkpoint
from utils.distributed.preemption import REQUEUE
from utils.training import progress_lines, run_dir
from utils.training.optimizer import FusedSGD
from utils.training.progress_lines import ProgressLines
from utils.training.resume import read_run_checkpoint
from utils.training.run_dir import lock_run_dir
from utils.training.saving import disk
from utils.training.saving.finite import first_not_finite

SMALL = ("--epochs", "2", "--val-every", "0")


@pytest.fixture(scope="module")
def finished(tiny_camvid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of two steps without validation. Tests copy it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    start(*flags(tiny_camvid, folder, *SMALL))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "run")


def edit(path: Path, **fields: object) -> None:
    """Replace fields of a checkpoint; None removes one."""
    state = read_checkpoint(path) | fields
    save_checkpoint(path, {name: value for name, value in state.items() if value is not None})


def status(*argv: str) -> int:
    return run(lambda: start(*argv))


def after_steps(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[FusedSGD], None]
) -> None:
    """Act on the optimizer after the `number`-th step of this process."""
    done, step = [], FusedSGD.step

    def watched(self: FusedSGD, closure: object = None) -> None:
        step(self)
        done.append(0)
        if len(done) == number:
            act(self)

    monkeypatch.setattr(FusedSGD, "step", watched)


@torch.no_grad()
def make_infinite(optimizer: FusedSGD) -> None:
    optimizer.param_groups[1]["params"][0].view(-1)[0] = torch.inf


@torch.no_grad()
def make_huge(optimizer: FusedSGD) -> None:
    """Finite weights, of which no loss is."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.mul_(1e30)


# --- what is not finite ---


def test_the_first_tensor_that_is_not_finite_is_named() -> None:
    big = torch.full((9,), 3e38)  # whose sum overflows
    fine = {"weights": {"a": big, "n": torch.tensor(3)}, "optimizer": {"state": {0: {"m": big}}}}
    assert first_not_finite(fine) is None
    bad = torch.tensor([1.0, -torch.inf, torch.inf])
    assert first_not_finite({**fine, "z": {"b": [bad]}}) == "z.b.0"
    fine["optimizer"]["state"][0]["m"] = torch.tensor([torch.nan])
    assert first_not_finite(fine) == "optimizer.state.0.m"


@pytest.mark.parametrize("step", [3, 4])
def test_weights_that_are_not_finite_are_not_saved(
    step: int,
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """In the last epoch too; before its last step the loss tells."""
    after_steps(monkeypatch, step, make_infinite)
    assert status(*flags(tiny_camvid, tmp_path / "run", *SMALL)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    if step == 4:
        assert "is not finite after step 2 of epoch 2; no checkpoint of that is written" in line
        assert "last.pth of before (step 0 of epoch 2) is kept; try a lower --lr, such as" in line
    else:
        assert "the loss is nan in step 2 of epoch 2" in line
        assert "the only checkpoint, which is kept; try a lower --lr, such as 0.0025" in line
    state = read_checkpoint(tmp_path / "run" / "last.pth")
    assert state["epoch"] == 1
    assert first_not_finite(state) is None


def test_a_run_that_diverges_right_after_a_checkpoint_goes_back(
    finished: Path,
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """The validation of the saved weights shows it, in the last epoch; so does the next loss."""
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "2", "--val-every", "2")
    after_steps(monkeypatch, 4, make_huge)
    assert status(*argv) == 2
    line = capsys.readouterr().err
    assert "the validation loss is nan after epoch 2; that is right after last.pth" in line
    assert "the next start goes back to previous.pth" in line
    assert not (tmp_path / "run" / "best.pth").exists()
    monkeypatch.undo()
    last = (tmp_path / "run" / "last.pth").read_bytes()
    assert status(*argv) == 0
    told = "the loss was not finite right after last.pth; going back to previous.pth"
    assert told in capsys.readouterr().out
    assert (tmp_path / "run" / "last.pth.diverged").read_bytes() == last
    assert not (tmp_path / "run" / "diverged.json").exists()
    weights = [read_checkpoint(f / "last.pth")["weights"] for f in (finished, tmp_path / "run")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_a_run_without_an_earlier_checkpoint_says_what_to_do(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", *SMALL)
    after_steps(monkeypatch, 2, make_huge)
    assert status(*argv) == 2
    line = capsys.readouterr().err
    assert "the loss is nan in step 1 of epoch 2" in line
    assert "right after last.pth (step 0 of epoch 2), the only checkpoint, which is kept" in line
    assert "--resume-with lr, or start again with --no-resume" in line
    monkeypatch.undo()
    assert status(*argv) == 2
    assert "no checkpoint is before it" in capsys.readouterr().out


# --- validation ---


def test_an_error_in_the_validation_loses_no_epoch(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = shutil.copytree(tiny_camvid, tmp_path / "set")
    label = root / "valannot" / "val_000.png"
    good = label.read_bytes()
    write_png(label, np.full((48, 64), 77, np.uint8))
    argv = flags(root, tmp_path / "run", "--epochs", "1")
    assert status(*argv) == 2
    assert "77" in capsys.readouterr().err
    state = read_checkpoint(tmp_path / "run" / "last.pth")
    assert (state["epoch"], state["step"]) == (0, 2)
    label.write_bytes(good)
    assert status(*argv) == 0
    assert "from epoch 1, step 2" in capsys.readouterr().out
    again = read_checkpoint(tmp_path / "run" / "last.pth")  # now with the validation's thresholds
    assert again["thresholds"] == records(tmp_path / "run")[-1]["thresholds"]
    assert all(torch.equal(again["weights"][key], value) for key, value in state["weights"].items())
    assert [line["kind"] for line in records(tmp_path / "run")] == ["train", "val"]
    assert status(*argv) == 0
    assert "this run is complete: 1 epoch, see" in capsys.readouterr().out


def test_nothing_to_score_is_said_and_null(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = shutil.copytree(tiny_camvid, tmp_path / "set")
    for label in (root / "valannot").iterdir():
        write_png(label, np.full((48, 64), 11, np.uint8))
    for model in ("fcn", "dff"):
        run_folder = tmp_path / model
        assert status(*flags(root, run_folder, "--epochs", "1", "--model", model)) == 0
        lines = capsys.readouterr().out
        assert "no class occurs in the ground truth of the validation images" in lines
        assert "best.pth is not written; see --val-split" in lines
        text = (run_folder / "log.jsonl").read_text().splitlines()
        assert parse_json(text[-1], "log")[{"fcn": "miou", "dff": "mf"}[model]] is None
        assert not (run_folder / "best.pth").exists()


# --- what last.pth and log.jsonl say ---

TENSOR = torch.zeros(2)
WRONG: list[tuple[dict, str]] = [
    ({"epoch": float("nan")}, "epoch is nan; expected a whole number"),
    ({"epoch": -1}, "epoch is -1"),
    ({"epoch": True}, "epoch is True"),
    ({"epoch": TENSOR}, r"epoch is tensor\(\[0., 0.\]\)"),
    ({"epoch": 3}, "epoch is 3 of 2"),
    ({"epoch": None}, "without epoch"),
    ({"step": 10**6}, "step is 1000000 of 2"),
    ({"step": "1"}, "step is '1'"),
    ({"step": None}, "without step"),
    ({"best": float("nan")}, "best is nan; expected a number"),
    ({"best": "high"}, "best is 'high'"),
    ({"seconds": float("inf")}, "seconds is inf; expected a number from 0"),
    ({"waited": -1.0}, "waited is -1.0"),
    ({"sums": {"fuse": float("nan")}}, "sums is {'fuse': nan}"),
    ({"sums": [1.0]}, "sums is"),
    ({"args": [1]}, "args is no dictionary"),
    ({"args": {"model": TENSOR}}, "args has model tensor"),
    ({"args": {"model": "none"}}, "args has model 'none'; expected one of"),
    ({"optimizer": 5}, "optimizer is no state of an optimizer"),
    ({"optimizer": {"state": {}, "param_groups": []}}, "optimizer has no parameter groups"),
    (
        {"optimizer": {"state": {}, "param_groups": [{"params": [0, 1, 7]}]}},
        "optimizer does not count the parameters",
    ),
    ({"optimizer": {"state": {}, "param_groups": [{"params": [0]}]}}, "optimizer has no momenta"),
    ({"scaler": {"scale": "x"}}, "scaler has"),
    ({"average": [TENSOR]}, "average is no dictionary of tensors"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_fields_that_no_run_has_written(
    fields: dict, message: str, finished: Path, tmp_path: Path
) -> None:
    small = {"weights": {"a": TENSOR}, "optimizer": {"state": {0: {}}, "param_groups": []}}
    small["optimizer"]["param_groups"] = [{"params": [0]}]
    args = {"model": "dff", "epochs": 2, "momentum": 0.9}
    state = {"args": args, "epoch": 1, "step": 1, "steps": 2, "best": 0.5, "sums": {"fuse": 1.0}}
    save_checkpoint(tmp_path / "a.pth", small | state | {"seconds": 1.0, "waited": 0.0})
    read_run_checkpoint(tmp_path / "a.pth")
    edit(tmp_path / "a.pth", **fields)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_run_checkpoint(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


def test_fields_and_momenta_that_do_not_fit_fall_back(
    folder: Path, finished: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = flags(tiny_camvid, folder, *SMALL)
    momenta = read_checkpoint(folder / "last.pth")["optimizer"]
    momenta["state"][0]["momentum_buffer"] = TENSOR
    edit(folder / "last.pth", epoch=1, optimizer=momenta)
    assert status(*argv) == 0
    output = capsys.readouterr().out
    assert "optimizer: momentum_buffer of 0 is (2,), expected (64, 3, 7, 7)" in output
    assert "kept as last.pth.corrupt, going back to the checkpoint before it" in output
    assert_equal_runs(finished, folder)


def test_bad_lines_of_the_log_do_not_stop_a_run(
    folder: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copy(folder / "previous.pth", folder / "last.pth")
    bad = [b'{"kind": "val", "epoch": null}', b"text", b'{"kind": "val", "epoch": 1e400}', b"\xff"]
    bad += [b'{"kind": "val", "epoch": {"a": 1}}', b"[1]", b"[" * 9999]
    with (folder / "log.jsonl").open("ab") as file:
        file.write(b"\n".join([*bad, b'{"kind": "val", "ep']))
    assert status(*flags(tiny_camvid, folder, *SMALL)) == 0
    assert "7 lines like that moved to log.jsonl.bad" in capsys.readouterr().out
    assert (folder / "log.jsonl.bad").read_bytes().splitlines() == bad
    kinds = [
        parse_json(line, "")["kind"] for line in (folder / "log.jsonl").read_text().split("\n")[:-1]
    ]
    assert kinds == ["start", "train", "start", "train"]


@pytest.mark.parametrize("name", ["last.pth", "log.jsonl", "best.pth"])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_one_line(
    name: str, kind: str, tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / name
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    assert status(*flags(tiny_camvid, tmp_path / "run", *SMALL)) == 2
    assert f"{path}: is a " in capsys.readouterr().err


# --- whose folder it is ---


def test_no_resume_renames_nothing_that_another_process_trains_in(
    folder: Path, tiny_camvid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    code = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(flush=True); input()", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    monkeypatch.setitem(lock_run_dir.__wrapped__.__kwdefaults__, "patience", 0.3)
    files = sorted(folder.iterdir())
    argv = flags(tiny_camvid, folder, *SMALL, "--no-resume")
    try:
        assert status(*argv) == 2
    finally:
        holder.communicate(b"\n")
    line = (
        "another process trains in it; end that one, or choose another --checkname (or --run-dir)"
    )
    assert line in capsys.readouterr().err
    assert sorted(folder.iterdir()) == files
    assert not folder.with_name("run.1").exists()


def test_the_new_folder_of_no_resume_is_locked(folder: Path) -> None:
    with lock_run_dir(folder, archive=True) as archived:
        assert archived == folder.with_name("run.1")
        assert (archived / "last.pth").exists()
        with pytest.raises(InputError, match="another process"), lock_run_dir(folder, patience=0):
            pass
        with lock_run_dir(archived, patience=0):  # the old one is nobody's
            pass
    with lock_run_dir(folder, patience=0):
        pass


def test_systems_without_locks_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_dir.fcntl is fcntl
    monkeypatch.setattr(run_dir, "fcntl", None)
    with lock_run_dir(tmp_path / "run"), lock_run_dir(tmp_path / "run", patience=0):
        assert (tmp_path / "run").is_dir()


@pytest.mark.parametrize("where", [".", "/", ".."])
@pytest.mark.parametrize("more", [(), ("--no-resume",)])
def test_the_users_own_folder_is_no_run(
    where: str,
    more: tuple[str, ...],
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / "last.pth").touch()
    monkeypatch.chdir(tmp_path)
    assert status(*flags(tiny_camvid, Path(where), *SMALL, *more)) == 2
    assert f"--run-dir {where}: is the folder that you are in, or one" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["", "train", "valannot", "."])
def test_what_a_run_reads_is_no_folder_of_a_run(
    place: str, tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "own" / "camvid"
    shutil.copytree(tiny_camvid, root)
    wrong = root.parent if place == "." else root / place
    wrong.mkdir(exist_ok=True)
    (wrong / "last.pth").touch()
    before = sorted(tmp_path.rglob("*"))
    argv = flags(root, wrong, *SMALL, "--val-every", "1", "--no-resume")
    assert status(*argv) == 2
    assert f"--run-dir {wrong}: holds what the run reads" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_weights_that_do_not_fit_rename_no_run(
    folder: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture
) -> None:
    files = sorted(folder.iterdir())
    argv = flags(tiny_camvid, folder, *SMALL, "--no-resume", "--init-from", "nowhere.pth")
    assert status(*argv) == 2
    assert "nowhere.pth: no such weight file" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == files


def test_a_run_starts_from_the_one_that_it_replaces(folder: Path, tiny_camvid: Path) -> None:
    best = ["--init-from", str(folder / "last.pth"), "--no-resume"]
    assert start(*flags(tiny_camvid, folder, *SMALL, *best)) == 0
    assert (folder.with_name("run.1") / "last.pth").exists()
    assert (folder / "last.pth").exists()


def test_a_run_from_scratch_keeps_an_earlier_best(
    folder: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture
) -> None:
    content = (folder / "last.pth").read_bytes()
    (folder / "last.pth").rename(folder / "best.pth")
    for path in folder.iterdir():
        if path.name != "best.pth":
            path.unlink()
    assert start(*flags(tiny_camvid, folder, *SMALL)) == 0
    assert (folder / "best.pth.1").read_bytes() == content
    assert "it is now best.pth.1" in capsys.readouterr().out


def test_another_number_of_samples_is_said_on_resuming(
    folder: Path, tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "camvid"
    shutil.copytree(tiny_camvid, root)
    lines = (root / "train.txt").read_text().splitlines(keepends=True)
    (root / "train.txt").write_text("".join(lines[:4]))
    more = [*SMALL, "--resume-with", "epochs", "--epochs", "3"]
    assert start(*flags(root, folder, *more)) == 0
    assert "an epoch has 1 step, and had 2 when" in capsys.readouterr().out


def test_a_file_is_no_folder_of_a_run(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "run").touch()
    assert status(*flags(tiny_camvid, tmp_path / "run", *SMALL)) == 2
    assert f"--run-dir {tmp_path / 'run'}: the folder cannot be" in capsys.readouterr().err


def test_a_run_from_scratch_keeps_the_log_of_an_earlier_one(
    folder: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture
) -> None:
    log = (folder / "log.jsonl").read_bytes()
    for path in folder.glob("*.pth"):
        path.unlink()
    assert status(*flags(tiny_camvid, folder, "--epochs", "1", "--val-every", "0")) == 0
    assert "it is now log.jsonl.1" in capsys.readouterr().out
    assert (folder / "log.jsonl.1").read_bytes() == log
    assert [line["kind"] for line in records(folder)] == ["train"]


# --- other flags ---


def test_a_complete_run_says_so_and_trains_longer_when_it_is_meant(
    folder: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture
) -> None:
    log = (folder / "log.jsonl").read_bytes()
    assert status(*flags(tiny_camvid, folder, *SMALL)) == 0
    line = f"this run is complete: 2 epochs, see {folder}; "
    line += "a larger --epochs with --resume-with epochs trains it longer"
    assert capsys.readouterr().out.strip() == line
    assert (folder / "log.jsonl").read_bytes() == log

    argv = flags(tiny_camvid, folder, "--val-every", "0", "--lr", "0.005")  # three epochs
    assert status(*argv, "--resume-with", "epochs") == 2
    message = capsys.readouterr().err
    assert "--lr was 0.01, is 0.005; give --lr 0.01, or say that it is meant with" in message
    assert "--resume-with epochs lr, choose another --run-dir, or start" in message
    assert status(*argv, "--resume-with", "lr", "epochs") == 0
    line = "going on from step 0 of epoch 3 with --epochs 3 (was 2), --lr 0.005 (was 0.01)"
    assert line in capsys.readouterr().out
    starts = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    changed = {"epochs": {"was": 2, "is": 3}, "lr": {"was": 0.01, "is": 0.005}}
    assert [line.get("changed") for line in starts if line["kind"] == "start"] == [None, changed]
    assert json.loads((folder / "args.json").read_text())["lr"] == 0.005
    assert status(*argv) == 0
    assert "this run is complete: 3 epochs" in capsys.readouterr().out


def test_resume_with_says_that_there_is_nothing_to_resume(
    tmp_path: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = flags(tiny_camvid, tmp_path / "new", "--epochs", "1", "--val-every", "0")
    assert status(*argv, "--resume-with", "lr") == 0
    line = f"note: nothing to resume in {tmp_path / 'new'}; --resume-with has no effect\n"
    assert capsys.readouterr().out.startswith(line)


def test_flags_of_a_run_stopped_within_an_epoch(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """A new learning rate, decay and momentum are taken; the batches stay; validation is free."""
    argv = flags(tiny_camvid, tmp_path / "run", *SMALL)
    watch(monkeypatch, at(1, lambda: signal.raise_signal(signal.SIGTERM)))
    assert status(*argv) == REQUEUE
    monkeypatch.undo()
    assert status(*argv, "--batch-size", "2", "--resume-with", "batch-size") == 2
    message = capsys.readouterr().err
    assert "--batch-size was 4, is 2 (within an epoch it cannot change, it decides" in message
    assert "--resume-with" not in message
    assert status(*argv, "--backbone", "resnet34", "--resume-with", "backbone") == 2
    assert "(the weights are of that net); give --backbone resnet18" in capsys.readouterr().err

    seen = []
    after_steps(monkeypatch, 1, lambda optimizer: seen.extend(optimizer.param_groups))
    free = ("--val-every", "2", "--val-samples", "1")
    more = ("--momentum", "0.5", "--lr", "0.002", "--resume-with", "momentum", "lr")
    assert status(*argv, *free, *more) == 0
    output = capsys.readouterr().out
    assert "going on from step 1 of epoch 1 with --lr 0.002 (was 0.01), --momentum 0.5" in output
    assert "note: --val-samples was 2, is 1: validation scores cannot be compared" in output
    assert [group["momentum"] for group in seen] == [0.5, 0.5]
    assert read_checkpoint(tmp_path / "run" / "last.pth")["args"]["momentum"] == 0.5


def test_names_of_flags_with_and_without_dashes() -> None:
    def names(*argv: str) -> tuple[list[str], float, bool]:
        args = train.parse_args(argv)
        return args.resume_with, args.lr, args.mirror

    assert names("--resume-with", "lr", "batch-size")[0] == ["batch_size", "lr"]
    assert names("--resume-with", "--lr", "--lr", "0.5") == (["lr"], 0.5, True)
    assert names("--resume-with", "lr", "no-mirror", "--no-mirror") == (
        ["lr", "mirror"],
        0.08,
        False,
    )
    assert names("--lr", "0.5", "--resume-with=--lr")[:2] == (["lr"], 0.5)
    with pytest.raises(SystemExit):
        names("--resume-with", "speed")


# --- space and words ---


def test_space_and_permission_are_asked_before_the_work(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    size, best = disk.checkpoint_bytes(nn.Linear(9, 1), momenta=1, average=True)
    assert (size, best) == (120, 40)
    assert disk.checkpoint_bytes(nn.Linear(9, 1), momenta=2, average=False) == (120, 40)
    free = {"bytes": 0}
    monkeypatch.setattr(
        disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free["bytes"]})
    )
    assert status(*flags(tiny_camvid, tmp_path / "run", *SMALL)) == 2
    assert "0.00 GiB are free, and a checkpoint of this run takes 0.0" in capsys.readouterr().err
    assert not (tmp_path / "run" / "log.jsonl").exists()
    for free["bytes"], warns in ((150 << 20, True), (10 << 30, False)):
        found = disk.require_space(tmp_path, 100 << 20, 50 << 20)
        assert (found is not None) == warns
    (tmp_path / "previous.pth").write_bytes(bytes(100))
    (tmp_path / "last.pth").write_bytes(bytes(100))
    free["bytes"] = 0
    assert disk.require_space(tmp_path, 100, 50).startswith("warning")

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"--run-dir .*cannot be written to \(Permission denied\)"):
        disk.require_run_files(tmp_path)


def test_a_log_file_gets_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = iter([0.0, 10.0, 20.0, 40.0, 50.0])
    monkeypatch.setattr(progress_lines.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress_lines, "INTERVAL", 15.0)
    lines = ProgressLines(1, 4, steps=10, done=2, batch_size=4, enabled=True)
    for step in (3, 4, 6, 10):
        lines.step(step, 1.5)
    first, second = capsys.readouterr().out.splitlines()
    # Two steps in 20 s, then four in 40 s.
    assert first == (
        "epoch 2/4, step 4 of 10: loss 1.5000, 0.4 images/s, 0:01:00 left of the epoch, "
        "0:04:20 of the run"
    )
    assert second.startswith("epoch 2/4, step 6 of 10: loss 1.5000, 0.4 images/s, 0:00:40 left")


def test_a_run_into_a_file_prints_how_far_it_is(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(progress_lines, "INTERVAL", 0.0)
    start(*flags(tiny_camvid, tmp_path / "run", "--epochs", "1", "--val-every", "0"))
    lines = capsys.readouterr().out.splitlines()
    assert "1 epoch of 2 steps, from epoch 1, step 0" in lines[0]
    assert lines[1].startswith("epoch 1/1, step 1 of 2: loss ")


@pytest.mark.slow
def test_ranks_end_together_when_the_weights_are_not_finite(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", *SMALL, "--lr", "1e3")
    done = run_command(argv, ranks=2)
    assert done.returncode != 0
    # The rest is torchrun's own. It may end the second rank before that one has said the same.
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(set(said)) == 1
    assert "try a lower --lr, such as 250" in said[0]
