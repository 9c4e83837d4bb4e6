"""Kills at random moments, and faults that need a process of their own."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.bench import Bench
from helpers.doors import BY_NAME, outputs, scores_of

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "test-edge-npz": ("test.py",),
    "test-seg-files": ("test.py",),
    "gtlabel": ("-m", "data.gtlabel"),
    "download": ("-m", "data.download"),
    "curves": ("-m", "utils.curves"),
}


def start(door: str, work: Path, *more: str, **options: object) -> subprocess.Popen:
    """The door as a process, the first of a session of its own."""
    return subprocess.Popen(
        [sys.executable, *COMMANDS[door], *BY_NAME[door].argv(work), *more],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def members(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(folder.name))
    return found


def commands(processes: list[int]) -> list[str]:
    paths = [Path(f"/proc/{process}/cmdline") for process in processes]
    return [path.read_bytes().replace(b"\0", b" ").decode() for path in paths if path.exists()]


def assert_all_end(session: int, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while left := members(session):
        assert time.monotonic() < deadline, f"processes outlive their parent: {commands(left)}"
        time.sleep(0.05)


def half_made(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.part") if path.is_file()]


def many(bench: Bench, door: str, copy: Callable[[Path], None]) -> Path:
    work = bench.work(BY_NAME[door])
    copy(work)
    return work


def more_scores(work: Path) -> None:
    """60 images of three classes, half a second of counting."""
    for folder in ("npz", "labels/gt_thin", "labels/gt_raw"):
        for path in list((work / "in" / folder).iterdir()):
            for number in range(30):
                twin = path.with_name(f"{path.stem}{number}{path.suffix}")
                twin.write_bytes(path.read_bytes())


def more_maps(work: Path) -> None:
    """200 label maps."""
    for folder in ("labels", "instances"):
        for path in list((work / "in" / folder).iterdir()):
            for number in range(100):
                twin = path.with_name(f"{path.stem}{number}{path.suffix}")
                twin.write_bytes(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("door", "copy", "flags"),
    [
        ("test-edge-npz", more_scores, ("--thresholds", "99", "--workers", "2")),
        ("gtlabel", more_maps, ("--workers", "2")),
    ],
    ids=["test.py", "data.gtlabel"],
)
def test_kills_at_random_moments_change_nothing(
    door: str, copy: Callable[[Path], None], flags: tuple[str, ...], bench: Bench
) -> None:
    """Run again, it ends as if it had not been killed; no worker outlives it, no file is half."""
    result = scores_of if door.startswith("test") else outputs
    work = many(bench, door, copy)
    assert bench.call(BY_NAME[door], work, *flags[:-2]).status == 0
    expected = result(work)
    work = many(bench, door, copy)
    draw = random.Random(0)
    for kill in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        process = start(door, work, *flags)
        time.sleep(draw.uniform(0.5, 4))
        process.send_signal(kill)
        process.wait(timeout=30)
        assert process.returncode in (-kill, 143, 0)
        assert_all_end(process.pid)
        process.communicate()
    process = start(door, work, *flags)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert_all_end(process.pid)
    assert result(work) == expected
    assert not half_made(work / "out")


# --- what a process lacks ---


def closed(*streams: int) -> Callable[[], None]:
    return lambda: [os.close(stream) for stream in streams] and None


@pytest.mark.parametrize("door", ["test-seg-files", "gtlabel", "curves"])
def test_closed_streams_change_nothing(door: str, bench: Bench) -> None:
    good = bench.good(BY_NAME[door])
    work = bench.work(BY_NAME[door])
    process = start(door, work, preexec_fn=closed(0, 1, 2))
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert (BY_NAME[door].result or outputs)(work) == good.seen


def small_files() -> None:
    """As on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


@pytest.mark.parametrize("door", ["test-seg-files", "curves", "download"])
def test_a_disk_that_is_full_is_one_line(door: str, bench: Bench) -> None:
    work = bench.work(BY_NAME[door])
    process = start(door, work, preexec_fn=small_files)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert errors.count("error: ") == 1
    assert "File too large" in errors
    assert "/out" in errors
    assert "Traceback" not in errors
    assert ".part" not in errors
    assert not half_made(work / "out")
