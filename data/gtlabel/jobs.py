"""The work of the label scripts: what is stale, and what is said about what was made and failed.

A script makes one `Job` per image. A job reads the image's label files once and makes those of
its products whose files are missing, or were made of other inputs or with other settings.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.files import first_few
from data.gtlabel.job import Failure, Job, Product, Result
from data.gtlabel.pool import WorkOptions, run_each
from data.gtlabel.records import Records, digest_of

SHOWN = 3  # files of many with one fault
SHOWN_IDS = 8
MISSING = -1  # the time of a file that is not there: older than all others


@dataclass
class Outcome:
    """What came of a run.

    status: the exit status, 0 or 2.
    done: the names of the jobs whose products are all there and up to date.
    strange: whether ids were found that are no class.
    read: how many of the `total` jobs have read their label map.
    ids: in how many of these maps each id occurs.
    """

    total: int
    status: int = 0
    strange: bool = False
    done: set[str] = field(default_factory=set)
    read: int = 0
    ids: Counter[int] = field(default_factory=Counter)


class Staleness:
    """Which products of each job are to be made, and the note of those that were.

    What is known of a product is what `Records` says, or else the times of its files.
    """

    def __init__(self, out: Path, overwrite: bool) -> None:
        self.records = Records(out)
        self.overwrite = overwrite
        self._digests: dict[str, dict[Path, str]] = {}  # of the pending products of each job

    def pending(self, job: Job[Any]) -> Job[Any]:
        """The same job with only the products that are missing or stale.

        What its inputs are like is looked at now, before they are read: a file that changes
        meanwhile makes its products stale.
        """
        digests = {
            product.files()[0]: digest_of(product.stamp.text, job.inputs)
            for product in job.products
        }
        newest = max((_changed(path) for path in job.inputs), default=MISSING)
        stale = [
            product
            for product in job.products
            if self.overwrite or self._is_stale(product, digests[product.files()[0]], newest)
        ]
        pending = {product.files()[0] for product in stale}
        known = {path: digest for path, digest in digests.items() if digest}
        self._digests[job.name] = {path: known[path] for path in known if path in pending}
        adopted = {
            path: digest
            for path, digest in known.items()
            if path not in pending and self.records.digest(path) is None
        }
        if adopted:
            self.records.add(adopted)
        return replace(job, products=tuple(stale))

    def note(self, name: str) -> None:
        """Note that the pending products of a job have been made."""
        self.records.add(self._digests[name])

    def _is_stale(self, product: Product[Any], digest: str | None, newest: float) -> bool:
        written = min(_time(path) for path in product.files())
        if digest is None or written == MISSING or written < _changed(product.stamp.path):
            return True
        known = self.records.digest(product.files()[0])
        return written < newest if known is None else known != digest


def run_jobs(jobs: Sequence[Job[Any]], options: WorkOptions, what: str, out: Path) -> Outcome:
    """Make what is missing or stale; print what was made and every failure.

    After a map with strange ids the others are only read, for one line about all of them.

    Args:
        jobs: with different names.
        options: where they are run.
        what: the work, for messages.
        out: the folder that all products lie below.
    """
    staleness = Staleness(out, options.overwrite)
    todo = [job for job in map(staleness.pending, jobs) if job.products]
    names = {job.name for job in todo}
    outcome = Outcome(len(jobs), done={job.name for job in jobs if job.name not in names})
    if not todo:
        print(f"{what}: all {len(jobs)} are up to date")
        return outcome
    fresh = len(outcome.done)
    failures: list[Failure] = []
    only_read: set[str] = set()

    def each() -> Iterator[Job[Any]]:
        for job in todo:
            if outcome.strange:
                only_read.add(job.name)
                yield replace(job, products=())
            else:
                yield job

    with closing(run_each(each(), len(todo), options)) as results:
        for result in tqdm(results, total=len(todo), desc=what, unit="image", disable=None):
            _count(result, outcome, failures)
            if not result.failure and result.name not in only_read:
                outcome.done.add(result.name)
                staleness.note(result.name)
    made = len(outcome.done) - fresh
    left = len(todo) - made - len(failures)
    print(
        f"{what}: {made} made, {fresh} up to date, {len(failures)} failed"
        + (f", {left} not made" if left else "")
    )
    report_failures(failures)
    outcome.status = 2 if failures else 0
    return outcome


def _count(result: Result, outcome: Outcome, failures: list[Failure]) -> None:
    if result.failure:
        failures.append(result.failure)
        outcome.strange |= bool(result.failure.strange_ids)
    else:
        outcome.read += 1
        outcome.ids.update(result.summary or ())


def report_failures(failures: Sequence[Failure]) -> None:
    """Print a line for each failure on stderr, and one for many with the same reason."""
    strange = sorted(failure for failure in failures if failure.strange_ids)
    if strange:
        counts = Counter(number for failure in strange for number in failure.strange_ids)
        names = first_few([failure.about for failure in strange], SHOWN)
        ids = f"ids {list_ids(counts)} are" if len(counts) > 1 else f"id {list_ids(counts)} is"
        print(f"failed: {ids} out of range; {strange[0].expected_ids}: {names}", file=sys.stderr)
    by_reason: dict[str, list[str]] = {}
    for failure in sorted(failure for failure in failures if not failure.strange_ids):
        by_reason.setdefault(failure.reason, []).append(failure.about)
    for reason, files in by_reason.items():
        if len(files) > SHOWN:
            shown = first_few(files, SHOWN)
            print(f"failed: {len(files)} files: {reason}: {shown}", file=sys.stderr)
        else:
            for file in files:
                print(f"failed: {file}: {reason}", file=sys.stderr)


def list_ids(counts: Mapping[int, int]) -> str:
    """What is said of ids and the number of files of each: "0 (40 files) and 4 (1 file)"."""
    parts = [
        f"{number} ({count} file{'s' * (count > 1)})" for number, count in sorted(counts.items())
    ]
    if len(parts) > SHOWN_IDS:
        parts = [*parts[: SHOWN_IDS - 1], f"{len(parts) - SHOWN_IDS + 1} more"]
    return join_words(parts)


def join_words(words: Sequence[object]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last


def _changed(path: Path) -> float:
    """When an input was last written; a missing one counts as just written."""
    time = _time(path)
    return float("inf") if time == MISSING else time


def _time(path: Path) -> int:
    try:
        state = path.stat()
    except OSError:  # not there, or its name is too long to be: making it will say so
        return MISSING
    # A power cut soon after the rename can leave a file without its content.
    return state.st_mtime_ns if state.st_size else MISSING
