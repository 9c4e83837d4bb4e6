"""What a run of predict.py has done: counted on each rank, added up, and said at the end."""

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from utils.prediction.image_files import Failures, reason_of
from utils.prediction.inputs import is_video
from utils.prediction.overlap import NetClock
from utils.prediction.plan import Plan


@dataclass
class Done:
    """Of images or videos, on one rank or all.

    Attributes:
        failures: those that failed, with the reason.
        turned: the number of images that EXIF data turn.
        frames: the number of frames of videos that were predicted.
        notes: what the user should know.
        clock: how long the net worked and waited.
    """

    failures: Failures = field(default_factory=dict)
    turned: int = 0
    frames: int = 0
    notes: set[str] = field(default_factory=set)
    clock: NetClock = field(default_factory=NetClock)

    @classmethod
    def sum(cls, parts: Iterable["Done"]) -> "Done":
        """Of several."""
        whole = cls()
        for part in parts:
            whole.failures |= part.failures
            whole.turned += part.turned
            whole.frames += part.frames
            whole.notes |= part.notes
            whole.clock.add(part.clock)
        return whole


def report(out: Path, found: Collection[Path], plan: Plan, done: Done, *, upright: bool) -> None:
    """Say where the results are, which inputs failed, and what may surprise.

    Args:
        out: the output folder.
        found: all images and videos.
        plan: what was there already.
        done: by all ranks.
        upright: images were turned as their EXIF data say.
    """
    images = [path for path in found if not is_video(path)]
    videos = [path for path in found if is_video(path)]
    there = plan.there
    if done.clock.share("net"):
        print(done.clock.describe())
    words = [_count(images, "image", there, done.failures)] if images or not videos else []
    if videos:
        frames = f" ({done.frames} frame{'s' * (done.frames != 1)})" if done.frames else ""
        words.append(_count(videos, "video", there, done.failures) + frames)
    verb = "was" if len(there) == 1 else "were"
    skipped = f", {len(there)} {verb} there already" if there else ""
    print(f"{' and '.join(words)} predicted{skipped}: see {out}")
    for path, error in done.failures.items():
        print(f"failed: {path}: {reason_of(path, error)}", file=sys.stderr)
    for note in sorted(done.notes | plan.notes):
        print(note, file=sys.stderr)
    if done.turned and not upright:
        _note_turned(done.turned)


def _count(
    found: Collection[Path],
    what: str,
    there: Collection[Path],
    failures: Mapping[Path, Exception],
) -> str:
    done = sum(path not in failures and path not in there for path in found)
    return f"{done} of {len(found)} {what}s"


def _note_turned(count: int) -> None:
    carry, they = ("image carries", "it is") if count == 1 else ("images carry", "they are")
    print(
        f"note: {count} {carry} an EXIF orientation; {they} predicted as stored, "
        f"--upright turns {'it' if count == 1 else 'them'}",
        file=sys.stderr,
    )
