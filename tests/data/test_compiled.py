"""Functions compiled with numba where its cache cannot be written, is damaged, or does not fit."""

import errno
import subprocess
import sys
from pathlib import Path

import numba.core.caching
import pytest

from data.system.compiled import compiled

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "from data.system.compiled import compiled\n\n@compiled\ndef twice(x):\n    return 2 * x\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that numba keeps its files in."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "twice_of.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fresh() -> object:
    """The compiled function as a new process has it."""
    sys.modules.pop("twice_of", None)
    return __import__("twice_of").twice


def test_machine_code_is_kept_and_read(cache: Path) -> None:
    assert fresh()(3) == 6
    assert len([*cache.rglob("*.nbi")]) == len([*cache.rglob("*.nbc")]) == 1
    function = fresh()
    assert function(3) == 6
    assert sum(function.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"no pickle"])
def test_a_damaged_file_is_made_again(cache: Path, kind: str, content: bytes) -> None:
    assert fresh()(3) == 6
    (file,) = cache.rglob(f"*.{kind}")
    file.write_bytes(content)
    assert fresh()(3) == 6
    function = fresh()
    assert function(3) == 6
    assert sum(function.stats.cache_hits.values()) == 1


def test_a_full_disk_ends_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "_save_index", full)
    assert fresh()(3) == 6
    assert not [*cache.rglob("*.nb?")]


def test_compiles_where_no_cache_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba raises RuntimeError there as soon as a cache is asked for."""
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    assert compiled(lambda x: x + 1)(1) == 2


STARTS = """
import contextlib, io, runpy, sys
import numba.core.caching
numba.core.caching.CacheImpl._locator_classes = []  # as in a read-only container without a home
for script in ("train.py", "test.py", "predict.py"):
    sys.argv = [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as ended:
            assert not ended.code, (script, ended.code)
    assert "usage:" in text.getvalue(), script
for module in ("cityscapes_gtlabel", "sbd_gtlabel", "kitti_gtlabel", "gtlabel.__main__"):
    __import__(f"data.{module}")
import data.scenes.make, utils.curves.__main__
"""


def test_every_script_starts_where_numba_has_no_cache_folder() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
