"""data.system.process: workers end with their parent, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A parent that starts workers which wait for ever, prints their numbers, and waits, too.
PARENT = """
import multiprocessing, sys, time
from data.system.process import end_with_parent

def work(started):
    end_with_parent()
    started.set()
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    started = [context.Event() for _ in range(2)]
    workers = [context.Process(target=work, args=(event,)) for event in started]
    for worker in workers:
        worker.start()
    for event in started:
        event.wait()
    print(*(worker.pid for worker in workers), flush=True)
    time.sleep(600)
"""


def is_alive(process: int) -> bool:
    """A process that nobody has waited for yet is none that lives."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path: Path, method: str, number: int) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", method],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    workers = [int(text) for text in parent.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(is_alive, workers))
    time.sleep(0.2)
    assert all(map(is_alive, workers))  # as long as their parent lives
    parent.send_signal(number)
    parent.communicate()
    until = time.monotonic() + 5
    while any(map(is_alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
