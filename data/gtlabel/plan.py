"""A whole run of a label script: looked at before anything is written, then worked off.

Refused: an output in the place of an input, of a list of the data set or of any file that no label
script wrote; two images with one output; names that no list can hold; a folder that cannot be
written to.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import scipy.io

from data.errors import InputError
from data.files import read_text, require_space, require_writable, resolved, write_lines
from data.gtlabel.job import Job
from data.gtlabel.jobs import Outcome, run_jobs
from data.gtlabel.mat import write_mat_list
from data.gtlabel.pool import WorkOptions
from data.gtlabel.records import NAME as RECORDS
from data.names import composed, require_listable, require_own_targets

LABEL_ENDINGS = ("_edge.png", "_inst.png", "_cls.png")  # of the labels that our lists name
LEAST_BYTES = 1024  # that a file takes
Row = tuple[str, tuple[str, ...]]  # the job that makes what the row names, and the row


@dataclass(frozen=True)
class ListFile:
    """A list to be written when the work is done: text, or a .mat file.

    Rows of jobs that failed are left out; "" is no job, and its rows stay.
    """

    path: Path
    rows: Sequence[Row]

    def write(self, done: set[str]) -> None:
        """Write it, unless nothing of what it should name was made."""
        rows = [row for name, row in self.rows if not name or name in done]
        if self.rows and not rows:
            return
        if self.path.suffix == ".mat":
            write_mat_list(self.path, rows)
        else:
            write_lines(self.path, (" ".join(row) for row in rows))


@dataclass(frozen=True)
class Plan:
    """What a run reads and writes.

    out: the folder that everything is written below.
    jobs: one for each image.
    lists: of what is made.
    keep: files of the data set that no output may replace; the jobs' inputs are never replaced.
    what: names the work in messages.
    conclude: called with what came of the jobs, for notes.
    """

    out: Path
    jobs: Sequence[Job[Any]]
    lists: Sequence[ListFile]
    keep: Sequence[Path] = ()
    what: str = "edge labels"
    conclude: Callable[[Outcome], None] = lambda _outcome: None

    def targets(self) -> Iterator[tuple[str, Path]]:
        """(source, file) of all that may be written."""
        stamps = {product.stamp.path for job in self.jobs for product in job.products}
        yield from (("the stamp", path) for path in sorted(stamps))
        yield "the records", self.out / RECORDS
        yield from (("the list", file.path) for file in self.lists)
        for job in self.jobs:
            for product in job.products:
                yield from ((job.name, path) for path in product.files())


def run_plans(plans: Sequence[Plan], options: WorkOptions) -> int:
    """Look at all plans, then work them off in turn; returns the exit status."""
    for plan in plans:
        require_safe(plan, overwrite=options.overwrite)
    return max([_run(plan, options) for plan in plans])


def _run(plan: Plan, options: WorkOptions) -> int:
    require_room(plan)
    for stamp in {product.stamp for job in plan.jobs for product in job.products}:
        stamp.write()
    outcome = run_jobs(plan.jobs, options, plan.what, plan.out)
    plan.conclude(outcome)
    if not outcome.strange:
        for file in plan.lists:
            file.write(outcome.done)
    return outcome.status


def require_safe(plan: Plan, *, overwrite: bool = False) -> None:
    """InputError if something that is not ours would be replaced, or two outputs are one file.

    overwrite: outputs may replace label files that no label script is known to have written.
    """
    rows = [[part.lstrip("/") for part in row] for file in plan.lists for _, row in file.rows]
    # The inputs first: the outputs' names follow from theirs.
    require_listable(dict.fromkeys(part for row in rows for part in row[:1]), "files")
    require_listable(dict.fromkeys(part for row in rows for part in row[1:]), "files")
    require_own_targets(plan.targets())
    place = _Places()
    kept = {place(path) for path in (*plan.keep, *_inputs(plan))}
    kept |= {place(resolved(path)) for path in (*plan.keep, *_inputs(plan)) if path.is_symlink()}
    hit = [(path, source) for source, path in plan.targets() if place(path) in kept]
    if hit:
        path, source = hit[0]
        raise InputError(
            f"--out {plan.out}: {len(hit)} files of the data set would be replaced, such as {path} "
            f"(by {source}); choose another folder"
        )
    for file in plan.lists:
        if file.path.exists() and not _is_our_list(file.path):
            raise InputError(
                f"{file.path}: is no list that a label script wrote, and would be replaced; choose "
                "another --out, or move it away"
            )
    if not overwrite:
        _require_own_products(plan)


def _require_own_products(plan: Plan) -> None:
    """InputError if a product is there, but no stamp: then no label script made it."""
    if (plan.out / RECORDS).exists():
        return
    stamped = cache(Path.exists)
    for job in plan.jobs:
        for product in job.products:
            if stamped(product.stamp.path):
                continue
            for path in product.files():
                if path.exists():
                    raise InputError(
                        f"{path}: would be replaced, but no label script has written it (there is "
                        f"no {product.stamp.path}); choose another --out, or give --overwrite"
                    )


def require_room(plan: Plan) -> None:
    """InputError if no file can be made below OUT, or not all of them."""
    require_writable(plan.out)
    missing = sum(not path.exists() for _, path in plan.targets())
    require_space(plan.out, missing * LEAST_BYTES, f"{missing} files of labels")


def _inputs(plan: Plan) -> set[Path]:
    return {path for job in plan.jobs for path in job.inputs}


class _Places:
    """Where files lie: the folder, whichever links lead there, and the name."""

    def __init__(self) -> None:
        self._folders: dict[Path, tuple[object, ...]] = {}

    def __call__(self, path: Path) -> tuple[object, ...]:
        folder = path.parent
        if folder not in self._folders:
            try:
                status = folder.stat()
                self._folders[folder] = (status.st_dev, status.st_ino)
            except OSError:
                self._folders[folder] = (str(folder),)
        return (*self._folders[folder], composed(path.name))


def _is_our_list(path: Path) -> bool:
    """Whether a list has rows such as ours, "/image /label" or "/image"."""
    if path.suffix == ".mat":
        try:
            return [name for name, *_ in scipy.io.whosmat(path)] == ["dataList"]
        except Exception:  # scipy raises anything for files that are no .mat
            return False
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    return all(
        all(part.startswith("/") for part in row)
        and (len(row) == 1 or (len(row) == 2 and row[1].endswith(LABEL_ENDINGS)))
        for row in rows
    )
