"""Where hostile input is tried: a copy of a door's good input, and what came out of it before."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers.doors import BY_NAME, SECONDS, Door, Ended, enter, outputs, snapshot

COMPILING = 180  # seconds for the first call, in which numba may have to compile


@dataclass
class Bench:
    """All calls of one door use one work folder, since paths are in checkpoints and scores.

    printed: what was printed since it was last called (`capfd.readouterr`).
    """

    base: Path
    printed: Callable[[], tuple[str, str]] = lambda: ("", "")
    results: dict[tuple[str, str], Ended] = field(default_factory=dict)
    before: dict[str, tuple] = field(default_factory=dict)

    def work(self, door: Door) -> Path:
        """The door's work folder, with good input."""
        work, template = self.base / door.name / "w", self.base / door.name / "good"
        if not template.exists():
            work.mkdir(parents=True)
            door.make(work)
            work.rename(template)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work, symlinks=True)
        return work

    def call(self, door: Door, work: Path, *more: object, seconds: float = SECONDS) -> Ended:
        """Enter the door; the input has to stay as it is, and nothing unfinished to be left."""
        self.printed()
        before = snapshot(work / "in")
        ended = enter(door, work, *more, capture=self.printed, seconds=seconds)
        changed = {key for key, value in snapshot(work / "in").items() if before.get(key) != value}
        changed |= before.keys() - snapshot(work / "in").keys()
        assert not changed, f"input changed: {sorted(changed)}"
        left = [path for path in work.rglob("*") if path.name.endswith((".part", ".unpacking"))]
        assert not left, f"left behind: {left}"
        assert "Traceback" not in ended.out + ended.err, ended.err
        assert ended.status in (0, 2), (ended.status, ended.err)
        return ended

    def good(
        self,
        door: Door,
        file: str = "",
        damage: Callable[[Path], None] | None = None,
        name: str = "",
    ) -> Ended:
        """What comes out of the good input, or of that with one change that is fine.

        name: of the change.
        """
        key = (door.name, f"{file}:{name}")
        if key not in self.results:
            work = self.work(door)
            if damage:
                damage(work / file)
            ended = self.call(door, work, seconds=COMPILING)
            assert ended.status == 0, ended.err
            self.results[key] = ended
            if not name:
                self.before[door.name] = outputs(work)
        return self.results[key]


def assert_refused(ended: Ended, *culprits: str, says: str = "") -> str:
    """Status 2 and one line that names a culprit; returns the line."""
    assert ended.status == 2, f"status {ended.status}: taken for good\n{ended.out}\n{ended.err}"
    assert len(ended.faults) == 1, f"{len(ended.faults)} lines:\n{ended.err}"
    line = ended.faults[0]
    assert any(culprit in line for culprit in culprits), f"{culprits} not in {line}"
    assert says in line, f"{says!r} not in {line}"
    assert len(line) < 1600, f"{len(line)} letters: {line[:300]}"
    # test.py lists the images that lack a prediction above its line.
    allowed = re.compile(r"(note|warning): |  |\d+ (missing|mis-sized):$|\d+ images have no pred")
    others = [text for text in ended.err.splitlines() if text != line and not allowed.match(text)]
    assert not others, f"more than the line: {others[:5]}"
    return line


@pytest.fixture(scope="session")
def _bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("doors"))


@pytest.fixture
def bench(_bench: Bench, capfd: pytest.CaptureFixture) -> Bench:
    """The session's bench, which sees what this test prints."""
    _bench.printed = lambda: (lambda got: (got.out, got.err))(capfd.readouterr())
    return _bench


__all__ = ["BY_NAME", "Bench", "assert_refused", "bench"]
