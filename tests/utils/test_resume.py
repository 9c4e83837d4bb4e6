"""A stopped run resumes as if it never stopped: mid-epoch, by any signal, on other ranks."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
import torch
from helpers.training import (
    assert_equal_runs,
    at,
    flags,
    lasting,
    launch,
    records,
    run_command,
    start,
    wait_for,
    watch,
)

from data.errors import InputError, run
from utils.checkpoint import CheckpointError, read_checkpoint, save_checkpoint
from utils.distributed.environment import Ranks
from utils.distributed.preemption import REQUEUE, StopRequest
from utils.training.resume import newest_intact, open_run_dir
from utils.training.run_dir import lock_run_dir, save_last
from utils.training.saving import writer
from utils.training.saving.command import require_same_command

PSPNET = (
    "--model",
    "pspnet",
    "--images-per-loss",
    "2",
    "--class-uniform-tile",
    "24",
    "--crop-size",
    "56",
)


@pytest.mark.parametrize(
    ("more", "number"),
    [
        (("--ema", "0.9", "--clip-grad", "1"), signal.SIGTERM),
        # With dropout, class-uniform epochs and all augmentation.
        ((*PSPNET, "--workers", "1"), signal.SIGUSR1),
    ],
)
def test_a_run_stopped_within_an_epoch_goes_on_bit_for_bit(
    more: tuple[str, ...],
    number: int,
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    whole, broken = (
        flags(tiny_camvid, tmp_path / "whole", *more),
        flags(tiny_camvid, tmp_path / "broken", *more),
    )
    assert start(*whole) == 0
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)]
    # In the first epoch it asks after two steps, for two images and at the end of validation; then
    # after the first step of the second epoch.
    watch(monkeypatch, at(6, lambda: signal.raise_signal(number)))
    assert start(*broken) == REQUEUE == 75
    monkeypatch.undo()
    assert (
        f"{signal.Signals(number).name}: checkpoint written after step 1 of epoch 2"
        in capsys.readouterr().out
    )
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)] == handlers
    state = read_checkpoint(tmp_path / "broken" / "last.pth")
    assert (state["epoch"], state["step"]) == (1, 1)
    torch.manual_seed(99)
    assert start(*broken) == 0
    assert "from epoch 2, step 1" in capsys.readouterr().out
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")
    if "--ema" in more:
        first, second = (
            read_checkpoint(tmp_path / name / "last.pth")["average"] for name in ("whole", "broken")
        )
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_stopped_in_validation_validates_when_it_goes_on(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(*flags(tiny_camvid, tmp_path / "whole"))
    # After two steps, for the first image of validation.
    watch(monkeypatch, at(3, lambda: signal.raise_signal(signal.SIGTERM)))
    assert start(*flags(tiny_camvid, tmp_path / "broken")) == REQUEUE
    monkeypatch.undo()
    assert [line["kind"] for line in records(tmp_path / "broken")] == ["train"]
    state = read_checkpoint(tmp_path / "broken" / "last.pth")
    assert (state["epoch"], state["step"]) == (0, 2)
    start(*flags(tiny_camvid, tmp_path / "broken"))
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def test_a_finished_run_has_nothing_left_to_do(tiny_camvid: Path, tmp_path: Path) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "1")
    start(*argv)
    before, log = (tmp_path / "run" / "last.pth").read_bytes(), lasting(tmp_path / "run")
    assert start(*argv) == 0
    assert (tmp_path / "run" / "last.pth").read_bytes() == before
    assert lasting(tmp_path / "run") == log


def test_no_resume_starts_anew_and_keeps_the_old_run(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "1", "--no-resume")
    start(*argv)
    before = (tmp_path / "run" / "last.pth").read_bytes()
    start(*argv, "--lr", "0.1")
    assert (tmp_path / "run.1" / "last.pth").read_bytes() == before
    assert f"is now in {tmp_path / 'run.1'}" in capsys.readouterr().out
    start(*argv, "--lr", "0.1")
    assert (tmp_path / "run.2" / "last.pth").exists()
    assert_equal_runs(tmp_path / "run", tmp_path / "run.2")


def test_checkpoints_of_whole_epochs_from_before_steps_were_kept(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "2")
    start(*argv)
    state = read_checkpoint(tmp_path / "run" / "previous.pth")  # after the first epoch
    for key in ("step", "steps", "sums", "seconds", "waited", "scaler", "format"):
        del state[key]
    state["epoch"] = 1
    save_checkpoint(tmp_path / "old" / "last.pth", state)
    start(*flags(tiny_camvid, tmp_path / "old", "--epochs", "2"))
    weights = [read_checkpoint(tmp_path / name / "last.pth")["weights"] for name in ("run", "old")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_time_calls_for_checkpoints_within_an_epoch(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []

    def save(folder: Path, state: dict, *, rotate: bool) -> None:
        saved.append((state["epoch"], state["step"]))
        save_last(folder, state, rotate=rotate)

    monkeypatch.setattr(writer, "save_last", save)
    start(*flags(tiny_camvid, tmp_path / "run", "--save-every-minutes", "1e-9", "--epochs", "2"))
    # The last one is written again, with the thresholds of the validation that followed it.
    assert saved == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 2)]
    saved.clear()
    start(
        *flags(
            tiny_camvid,
            tmp_path / "never",
            "--save-every-minutes",
            "0",
            "--epochs",
            "2",
            "--save-every",
            "2",
        )
    )
    assert saved == [(1, 2), (1, 2)]
    weights = [
        read_checkpoint(tmp_path / name / "last.pth")["weights"] for name in ("run", "never")
    ]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_two_runs_in_one_folder_are_refused(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(lock_run_dir.__wrapped__.__kwdefaults__, "patience", 0.3)
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "1")
    (tmp_path / "run").mkdir()
    with lock_run_dir(tmp_path / "run"):
        assert run(lambda: start(*argv)) == 2
    assert "another process trains in it" in capsys.readouterr().err
    assert start(*argv) == 0


def test_bad_resume_paths_are_one_line(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    start(*flags(tiny_camvid, tmp_path / "run", "--epochs", "1"))
    for path in ("nothing.pth", str(tmp_path / "run" / "best.pth")):
        argv = flags(tiny_camvid, tmp_path / "new", "--epochs", "1", "--resume", path)
        assert run(lambda argv=argv: start(*argv)) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "no such weight file" in first
    assert "holds weights only" in second
    with pytest.raises(InputError, match="of another command: --crop-size was 32, is 64"):
        start(*flags(tiny_camvid, tmp_path / "run", "--epochs", "1", "--crop-size", "64"))


def test_a_stop_request_is_false_until_a_signal_comes() -> None:
    with StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop
        assert stop.name == "SIGUSR1"
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_checkpoint_is_read_once(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(*flags(tiny_camvid, tmp_path / "run", "--epochs", "1"))
    read, load = [], torch.load
    monkeypatch.setattr(
        torch, "load", lambda *a, **k: read.append(Path(a[0].name)) or load(*a, **k)
    )
    start(*flags(tiny_camvid, tmp_path / "run", "--epochs", "1"))
    assert read == [tmp_path / "run" / "last.pth"]


def test_a_folder_without_a_run_starts_one_unless_last_is_asked_for(tmp_path: Path) -> None:
    for resume in ("auto", None):
        with contextlib.ExitStack() as closing:
            assert open_run_dir(tmp_path / "run", resume, Ranks(), closing) is None
    assert newest_intact(tmp_path / "run") is None
    with contextlib.ExitStack() as closing, pytest.raises(CheckpointError, match="leave --resume"):
        open_run_dir(tmp_path / "run", "last", Ranks(), closing)


@pytest.mark.parametrize(
    ("model", "loss"),
    [("dff", "reweighted"), ("fcn_decouple", "body-edge"), ("fcn", "ohem")],
)
def test_flags_of_checkpoints_before_every_net_had_its_loss(model: str, loss: str) -> None:
    """They recorded --loss ohem for every net, and knew fewer flags; neither is a difference."""
    now = {"model": model, "loss": loss, "lr": 0.1, "fast": None, "tf32": True, "device": "cpu"}
    now |= {"dataset": "camvid", "backbone": "resnet18", "checkname": "default"}
    old = {"model": model, "loss": "ohem", "lr": 0.1, "device": "cuda"}
    require_same_command(Path("last.pth"), {"args": old}, now)
    with pytest.raises(CheckpointError, match=r"--lr was 0\.1, is 0\.2; give"):
        require_same_command(Path("last.pth"), {"args": old}, now | {"lr": 0.2})
    if model == "fcn":
        with pytest.raises(CheckpointError, match="--loss was ohem, is ce"):
            require_same_command(Path("last.pth"), {"args": old}, now | {"loss": "ce"})


def test_how_numbers_are_computed_may_change_on_resume(tiny_camvid: Path, tmp_path: Path) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "1", "--val-every", "0")
    start(*argv)
    assert start(*argv, "--no-fast", "--no-tf32", "--deterministic") == 0


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_another_number_of_ranks_goes_on_with_the_same_samples(
    first: int, second: int, tiny_camvid: Path, tmp_path: Path
) -> None:
    """Stopped by SIGTERM at any moment: as an unbroken run of one rank, but for rounding."""
    small = ("--epochs", "9", "--lr", "1e-4", "--val-every", "0")
    start(*flags(tiny_camvid, tmp_path / "whole", *small))
    argv = flags(tiny_camvid, tmp_path / "run", *small)
    process = launch(argv, ranks=first)
    wait_for(
        lambda: (tmp_path / "run" / "log.jsonl").exists() and len(records(tmp_path / "run")) > 1,
        process,
    )
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=120)
    assert process.returncode != 0, output
    assert first > 1 or process.returncode == REQUEUE
    state = read_checkpoint(tmp_path / "run" / "last.pth")
    assert 1 < state["epoch"] < 9
    done = run_command(argv, ranks=second)
    assert done.returncode == 0, done.stderr
    for one, other in zip(lasting(tmp_path / "whole"), lasting(tmp_path / "run"), strict=True):
        assert (one.pop("kind"), other.pop("kind")) == ("train", "train")
        assert one == pytest.approx(other, rel=1e-3)
    weights = [
        read_checkpoint(tmp_path / name / "last.pth")["weights"] for name in ("whole", "run")
    ]
    for key, value in weights[0].items():
        rounding = (
            1e-3 if "running" in key else 1e-4
        )  # which nine epochs of batches of four have amplified
        torch.testing.assert_close(
            value,
            weights[1][key],
            rtol=1e-3,
            atol=rounding,
            msg=lambda text, key=key: f"{key}: {text}",
        )
