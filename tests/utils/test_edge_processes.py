"""test.py's worker processes end with it, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation import ROOT

from data.image_io import write_png

PATIENCE = 60.0  # until the first image is counted
GRACE = 5.0  # until all processes are gone

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def parent_and_state(process: Path) -> tuple[int, str]:
    state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
    return int(parent), state


def descendants(ancestor: int) -> set[int]:
    """The processes that descend from one and run."""
    parents = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                parent, state = parent_and_state(process)
            except OSError:
                continue
            if state != "Z":
                parents[int(process.name)] = parent
    found = {ancestor}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


def is_running(process: int) -> bool:
    try:
        return parent_and_state(Path(f"/proc/{process}"))[1] != "Z"
    except OSError:
        return False


def until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.fixture
def counting(tmp_path, rng):
    """A test.py with two workers that has counted some of its images, and its folder of results."""
    size = (256, 256)
    for i in range(40):
        edges = (rng.random(size) < 0.05).astype(np.uint8) * 255
        write_png(tmp_path / f"gt/p{i}.png", edges)
        write_png(tmp_path / f"pred/p{i}.png", (rng.random(size) * 255).astype(np.uint8))
    flags = ("--predictions", "pred", "--labels", "gt", "--workers", "2", "--out", "out")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "test.py"), *flags],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = tmp_path / "out/partial"
    assert until(lambda: any(partial.glob("*.npz")), PATIENCE)
    yield process, partial.parent
    process.kill()
    process.communicate()


def test_sigterm_ends_all_with_status_143(counting):
    process, out = counting
    workers = descendants(process.pid)
    assert len(workers) >= 2
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (143, "terminated\n")
    assert until(lambda: not any(map(is_running, workers)), GRACE)
    assert not list(out.rglob(".*.part"))


def test_workers_do_not_outlive_a_killed_parent(counting):
    process, _ = counting
    workers = descendants(process.pid)
    assert len(workers) >= 2
    process.kill()
    assert until(lambda: not any(map(is_running, workers)), GRACE)
