"""A run that is stopped goes on as if it had not been: mid-epoch, after any signal, on another number of ranks."""

import os
import signal
from pathlib import Path

import pytest
import torch
from helpers.training import (
    assert_equal_runs,
    flags,
    lasting,
    launch,
    records,
    run_command,
    start,
    wait_for,
)

from data.errors import InputError, run
from utils.checkpoint import read_checkpoint, save_checkpoint
from utils.distributed.preemption import REQUEUE, StopRequest
from utils.training.run_folder import only_one
from utils.training.trainer import Trainer
from utils.training.validate_edges import EdgeValidation

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


def signal_at(where: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes during this step."""
    step = Trainer._step

    def interrupted(self: Trainer, batch: dict, at: str) -> None:
        if at.startswith(where):
            os.kill(os.getpid(), number)
        step(self, batch, at)

    monkeypatch.setattr(Trainer, "_step", interrupted)


@pytest.mark.parametrize(
    ("more", "number"),
    [
        (("--ema", "0.9", "--clip-grad", "1"), signal.SIGTERM),
        (
            (*PSPNET, "--workers", "1"),
            signal.SIGUSR1,
        ),  # with dropout, class-uniform epochs and all augmentation
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
    signal_at("epoch 1, iteration 0", number, monkeypatch)
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
    target = EdgeValidation._target

    def interrupted(self: EdgeValidation, *given: object) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return target(self, *given)

    monkeypatch.setattr(EdgeValidation, "_target", interrupted)
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
    for key in ("step", "sums", "seconds", "waited", "scaler", "format"):
        del state[key]
    save_checkpoint(tmp_path / "old" / "last.pth", state)
    start(*flags(tiny_camvid, tmp_path / "old", "--epochs", "2"))
    weights = [read_checkpoint(tmp_path / name / "last.pth")["weights"] for name in ("run", "old")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_time_calls_for_checkpoints_within_an_epoch(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    save = Trainer._save
    monkeypatch.setattr(
        Trainer,
        "_save",
        lambda self: saved.append((self.progress.epoch, self.progress.step)) or save(self),
    )
    start(*flags(tiny_camvid, tmp_path / "run", "--save-every-minutes", "1e-9", "--epochs", "2"))
    assert saved == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
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
    assert saved == [(2, 0)]
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
    monkeypatch.setitem(only_one.__wrapped__.__kwdefaults__, "patience", 0.3)
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "1")
    (tmp_path / "run").mkdir()
    with only_one(tmp_path / "run"):
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


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_another_number_of_ranks_goes_on_with_the_same_samples(
    first: int, second: int, tiny_camvid: Path, tmp_path: Path
) -> None:
    """Stopped by SIGTERM at any moment, resumed on another number of ranks: as an unbroken run of one rank, but for rounding."""
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
