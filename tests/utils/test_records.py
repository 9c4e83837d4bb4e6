import json
import subprocess
import sys

import pytest

from utils.commit import ROOT, git_commit
from utils.distributed.environment import Ranks
from utils.training.records import describe_run


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", "-C", folder, *who, *words], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_run_is_described_in_plain_values():
    described = json.loads(json.dumps(describe_run(Ranks(), "cpu")))
    assert described["packages"]["torch"].split("+")[0].count(".") == 2
    assert "cores" in described["device"]
    assert described["world"] == 1


def test_the_commit_says_whether_the_code_differs_from_it(tmp_path):
    folder = tmp_path.resolve()
    assert git_commit(folder) is None
    git(folder, "init", "--quiet")
    assert git_commit(folder) is None  # no commit yet
    (folder / "code.py").write_text("1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "one")
    assert git_commit(folder) == git(folder, "rev-parse", "HEAD")
    (folder / "code.py").write_text("2\n")
    assert git_commit(folder) == git(folder, "rev-parse", "HEAD") + "+"
    (folder / "inner").mkdir()
    assert git_commit(folder / "inner") is None  # another project's repository


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() is None


HOLDS = """
from utils.training.records import peak_memory
peaks = [peak_memory("cpu")]
held = bytearray(256 << 20)
held[::4096] = b"1" * len(held[::4096])  # every page is written to
peaks.append(peak_memory("cpu"))
del held
print(*peaks, peak_memory("cpu"))
"""


def test_peak_memory_grows_by_what_is_held_and_stays():
    """In a new process, which has not held more before."""
    done = subprocess.run(
        [sys.executable, "-c", HOLDS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, held, freed = map(float, done.stdout.split())
    assert held - before == pytest.approx(0.25, rel=0.1)
    assert freed == pytest.approx(held, abs=0.01)  # the kernel counts in batches of pages
