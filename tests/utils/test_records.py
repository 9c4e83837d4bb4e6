import json
import subprocess

import pytest

from utils.distributed.environment import Ranks
from utils.training.records import describe_run, git_commit, peak_memory


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


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory("cpu")
    held = bytearray(b"\1" * (256 << 20))
    assert 0 < before <= peak_memory("cpu")
    assert peak_memory("cpu") >= len(held) / 2**30
    assert peak_memory("cpu") == pytest.approx(peak_memory("cpu"), abs=0.05)
