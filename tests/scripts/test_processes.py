"""Processes of a training end with it, however it ends; SIGTERM before and after the first file."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.training import ROOT, command, flags, settings, start, wait_for

import train
from data.errors import run

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
PATIENCE = 5.0  # seconds after which none may be left


class Family:
    """A process and all that it has started, known by a variable of their environment."""

    def __init__(self, argv: list[str]) -> None:
        self.mark = f"FAMILY={uuid.uuid4().hex}".encode()
        options = settings()
        options["env"] |= dict([self.mark.decode().split("=")])
        # No pipes: orphans would keep them open.
        options |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.head = subprocess.Popen(argv, **options)

    def members(self) -> list[int]:
        """Process ids of those that are alive."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                alive = b"State:\tZ" not in (folder / "status").read_bytes()
                if alive and self.mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue  # it has ended
        return found

    def wait_until_gone(self) -> None:
        """Fail, and end them, if any is left after PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while (left := self.members()) and time.monotonic() < deadline:
            time.sleep(0.1)
        names = [Path(f"/proc/{number}/cmdline").read_bytes() for number in left]
        for number in left:
            os.kill(number, signal.SIGKILL)
        assert not left, names


def validated(folder: Path) -> Callable[[], bool]:
    log = folder / "log.jsonl"
    return lambda: log.exists() and '"val"' in log.read_text()


def test_kill_9_of_a_training_leaves_no_process(tiny_camvid: Path, tmp_path: Path) -> None:
    """Loader processes, and those that count matches in a validation."""
    folder = tmp_path / "run"
    family = Family(command(flags(tiny_camvid, folder, "--epochs", "9999", "--workers", "2")))
    wait_for(validated(folder), family.head)
    assert len(family.members()) >= 5
    family.head.kill()
    family.head.wait()
    family.wait_until_gone()


@pytest.mark.slow
def test_kill_9_of_torchrun_ends_its_ranks(tiny_camvid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    argv = flags(tiny_camvid, folder, "--epochs", "9999", "--workers", "1")
    family = Family(command(argv, ranks=2))
    wait_for(validated(folder), family.head)
    family.head.kill()
    family.head.wait()
    family.wait_until_gone()


INDEX = """
import sys, time
from pathlib import Path
from data.camvid import CamVid
from data.samples import class_uniform

class Slow(CamVid):
    def ground_truth(self, record):
        (self.seen / Path(record.name).name).touch()
        time.sleep(600)

dataset = Slow(sys.argv[1], "train")
dataset.seen = Path(sys.argv[2])
class_uniform.CHUNK = 1
class_uniform.class_index(dataset, 24, workers=2, cache=dataset.seen.parent)
"""


@pytest.mark.parametrize("starting", [True, False])
def test_kill_9_while_labels_are_read_leaves_no_process(
    tiny_camvid: Path, tmp_path: Path, starting: bool
) -> None:
    """starting: while the processes that read them import what they need."""
    script = tmp_path / "index.py"
    # joblib sends classes of __main__ by value.
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{INDEX}")
    seen = tmp_path / "seen"
    seen.mkdir()
    family = Family([sys.executable, str(script), str(tiny_camvid), str(seen)])
    if starting:
        wait_for(lambda: len(family.members()) >= 3, family.head)
    else:
        wait_for(lambda: any(seen.iterdir()), family.head)
    family.head.kill()
    family.head.wait()
    family.wait_until_gone()


def test_sigterm_before_the_run_has_a_folder_ends_at_once(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def slow(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(train, "build_setup", slow)
    before = signal.getsignal(signal.SIGTERM)
    assert run(lambda: start(*flags(tiny_camvid, tmp_path / "run"))) == 143
    assert capsys.readouterr().err == "terminated\n"
    assert not (tmp_path / "run").exists()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_after_that_leaves_a_checkpoint(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    build = train.build_network

    def signalled(*args: object, **options: object) -> object:
        os.kill(os.getpid(), getattr(signal, name))
        return build(*args, **options)

    monkeypatch.setattr(train, "build_network", signalled)
    assert run(lambda: start(*flags(tiny_camvid, tmp_path / "run"))) == 75
    assert (tmp_path / "run" / "last.pth").exists()
    assert not [*(tmp_path / "run").glob(".*.part")]
