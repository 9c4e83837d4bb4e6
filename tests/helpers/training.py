"""Runs of seconds, for the tests of train.py."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.ranks import run_ranks, torchrun

import train
from utils.checkpoint import read_checkpoint
from utils.distributed.preemption import StopRequest

ROOT = Path(__file__).resolve().parents[2]
# What two equal runs may differ in.
MEASURED = ("seconds", "images_per_second", "data_wait", "memory_gib")


def flags(root: Path, folder: Path, *more: str) -> list[str]:
    """DFF-R18 on eight images, three epochs of two steps."""
    net = "--model dff --backbone resnet18 --pretrained none"
    small = "--crop-size 32 --batch-size 4 --lr 0.01 --workers 0 --device cpu"
    return [
        *f"--dataset camvid --data-root {root} {net} {small} --run-dir {folder}".split(),
        *["--epochs", "3", "--val-thresholds", "3", "--val-samples", "2"],
        *more,
    ]


class Watcher(StopRequest):
    """A stop request that reports when it is asked: after every step, for each image of a
    validation, and at a validation's end.

    seen: called with the number of times it has been asked, before it answers.
    """

    def __init__(self, seen: Callable[[int], object]) -> None:
        super().__init__()
        self.seen = seen
        self.asked = 0

    def __bool__(self) -> bool:
        self.asked += 1
        self.seen(self.asked)
        return super().__bool__()


def watch(monkeypatch: pytest.MonkeyPatch, seen: Callable[[int], object]) -> None:
    """Runs in this process get a `Watcher`, until `monkeypatch.undo()`."""
    monkeypatch.setattr(train, "StopRequest", lambda: Watcher(seen))


def at(number: int, act: Callable[[], object]) -> Callable[[int], object]:
    """For `watch`: act when asked for the `number`-th time."""
    return lambda asked: act() if asked == number else None


def die() -> None:
    """End the run at once, without a checkpoint."""
    raise KeyboardInterrupt


def start(*argv: str) -> int:
    """The exit status of a run in this process."""
    return train.main(train.parse_args(argv))


def records(folder: Path) -> list[dict]:
    """The log's lines, but for those of starts."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] != "start"]


def lasting(folder: Path) -> list[dict]:
    """The log's lines without what differs between equal runs."""
    return [
        {key: value for key, value in line.items() if key not in MEASURED}
        for line in records(folder)
    ]


def command(argv: list[str], ranks: int = 1) -> list[str]:
    """train.py as a command of its own; under torchrun with more than one rank."""
    if ranks == 1:
        return [sys.executable, "train.py", *argv]
    return torchrun("train.py", argv, ranks)


def run_command(argv: list[str], ranks: int = 1, **options: object) -> subprocess.CompletedProcess:
    """Run it to its end; several ranks without torchrun."""
    if ranks > 1 and not options:
        return run_ranks("train.py", argv, ranks)
    return subprocess.run(command(argv, ranks), **settings(), timeout=300, check=False, **options)


def launch(argv: list[str], ranks: int = 1, **options: object) -> subprocess.Popen:
    """Run it beside the test."""
    return subprocess.Popen(command(argv, ranks), **settings(), **options)


def settings() -> dict:
    """Of a process that runs train.py."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return {"cwd": ROOT, "env": os.environ | {"OMP_NUM_THREADS": "1"}, **pipes}


def assert_equal_runs(one: Path, other: Path) -> None:
    """The same weights, momenta and log, bit for bit."""
    first, second = (read_checkpoint(folder / "last.pth") for folder in (one, other))
    for key, value in first["weights"].items():
        assert torch.equal(value, second["weights"][key]), key
    buffers, others = (state["optimizer"]["state"] for state in (first, second))
    assert buffers.keys() == others.keys()
    for key, value in buffers.items():
        assert value, key
        for name, kept in value.items():
            assert torch.equal(kept, others[key][name]), (key, name)
    assert first["best"] == second["best"]
    assert lasting(one) == lasting(other)


def wait_for(done: Callable[[], bool], process: subprocess.Popen, seconds: float = 120) -> None:
    """Until `done()`, or an error if the process ends first."""
    deadline = time.monotonic() + seconds
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
