"""`make test-gpu`, as far as it can be tested without a GPU."""

from pathlib import Path

import gpu_check
import pytest
import torch

CASES = """
import pytest

def test_passes(record_property):
    record_property("bit for bit", True)

def test_fails():
    assert 1 == 2, "one is not two"

@pytest.mark.skip(reason="needs two GPUs")
def test_skipped():
    pass

def test_errs(no_such_fixture):
    pass
"""


def test_without_a_gpu_it_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(gpu_check.parse_args(["--out", str(tmp_path / "out.json")])) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_outcomes_of_tests_and_their_table(tmp_path: Path) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    results = gpu_check.run_tests("-c", "/dev/null", "-p", "no:cacheprovider", str(tmp_path))
    outcomes = [(result["name"].split("::")[1], result["outcome"]) for result in results]
    expected = [("passes", "passed"), ("fails", "failed"), ("skipped", "skipped")]
    assert outcomes == [(f"test_{name}", outcome) for name, outcome in expected] + [
        ("test_errs", "failed")
    ]
    assert results[0]["bit for bit"] == "True"
    lines = gpu_check.table(results).splitlines()
    assert lines[0].split() == list(gpu_check.COLUMNS)
    assert lines[1].split()[1:4] == ["1", "2", "1"]
    assert "test_fails: AssertionError: one is not two" in lines[2]
    (broken,) = gpu_check.run_tests("--no-such-flag")
    assert broken["outcome"] == "failed"


def test_benchmarks_run_on_the_gpu_if_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tests" / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "with.py").write_text("import sys; print('--device' if '--help' in sys.argv else 3)")
    (folder / "without.py").write_text("print('--size')")
    monkeypatch.setattr(gpu_check, "ROOT", tmp_path)
    result = gpu_check.run_benchmark("with.py", [])
    assert result is not None
    assert (result["outcome"], result["output"]) == ("passed", "3\n")
    assert gpu_check.run_benchmark("without.py", []) is None
    assert gpu_check.run_benchmark("missing.py", []) is None
