"""Weights & Biases and TensorBoard that are missing, refuse, or fail in the middle of a run."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from helpers.training import flags, start

from data.errors import InputError, run
from utils.training.logger import Logger
from utils.training.services import Guarded, open_services
from utils.training.services.weights_and_biases import START_SECONDS


class FakeRun:
    """What wandb.init returns; fails from the `fails_at`-th call on."""

    id = "abc"

    def __init__(self, fails_at: int = 10**9) -> None:
        self.calls = 0
        self.fails_at = fails_at

    def _call(self, *_: object, **__: object) -> None:
        self.calls += 1
        if self.calls >= self.fails_at:
            raise ConnectionResetError("the server has gone\nat line 2")

    define_metric = log = finish = _call


def fake_wandb(monkeypatch: pytest.MonkeyPatch, result: FakeRun | Exception) -> dict:
    """A package wandb whose `init` returns or raises `result`; what it was called with."""
    seen: dict = {}

    def init(**options: object) -> FakeRun:
        seen.update(options)
        if isinstance(result, Exception):
            raise result
        return result

    module = ModuleType("wandb")
    module.__dict__.update(init=init, Settings=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return seen


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("No API key configured. Use `wandb login` to log in."),
        OSError("Timed out while retrying:\nno such host"),
        ValueError("API key must have 40+ characters"),
        TypeError(""),
    ],
)
def test_a_service_that_does_not_start_is_one_line_before_the_first_epoch(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    error: Exception,
) -> None:
    seen = fake_wandb(monkeypatch, error)
    assert run(lambda: start(*flags(tiny_camvid, tmp_path / "run", "--wandb"))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in ("--wandb", "wandb login", "WANDB_MODE=offline"))
    assert seen["settings"].init_timeout == START_SECONDS
    assert not (tmp_path / "run" / "last.pth").exists()
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize("fails_at", [3, 4, 5])
def test_a_service_that_fails_later_ends_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    fails_at: int,
) -> None:
    """The first two calls define metrics; the third and fourth log, the fifth finishes."""
    result = FakeRun(fails_at)
    fake_wandb(monkeypatch, result)
    with Logger(tmp_path, is_main=True, wandb=True) as log:
        for epoch in range(2):
            log.write("train", epoch=epoch, step=epoch, loss=1.0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: --wandb failed")
    assert "the server has gone at line 2" in line
    assert result.calls == fails_at  # nothing more is sent
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]


def test_ctrl_c_in_a_service_still_ends_the_run() -> None:
    class Interrupted:
        def write(self, *_: object) -> None:
            raise KeyboardInterrupt

        def close(self) -> None:
            pass

    with pytest.raises(KeyboardInterrupt):
        Guarded("--wandb", Interrupted()).write("train", 0, {})


@pytest.mark.parametrize("error", [ImportError("no"), AttributeError("np.string_"), TypeError("x")])
def test_a_tensorboard_that_cannot_be_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise error

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", Broken("tensorboard"))
    with pytest.raises(InputError, match=r"pip install tensorboard, or leave --tensorboard out"):
        open_services(tmp_path, {}, tensorboard=True)
