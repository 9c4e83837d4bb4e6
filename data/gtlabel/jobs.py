"""The work of the label scripts: what is stale, here or on many machines, and what failed.

A script makes one `Job` per image. A job reads the image's label files once and makes those of its products whose
files are missing or older than what they come from.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from data.errors import InputError
from data.files import write_aside

CONNECT_SECONDS = 10
WORKER_DIED = "a worker process died, perhaps for lack of memory; run again, with fewer --workers"


class Product(Protocol):
    """Something made from one image's labels. `stamp` is the file that holds its settings (see `write_stamp`)."""

    stamp: Path

    def files(self) -> Sequence[Path]:
        """What `make` writes."""

    def make(self, truth: Any) -> None:
        """Write all of `files` from what the job's `read` returned."""


@dataclass(frozen=True)
class Job:
    """name: for messages. inputs: the files that `read` reads. read: the labels, in whatever form the products take."""

    name: str
    inputs: tuple[Path, ...]
    read: Callable[[], Any]
    products: tuple[Product, ...]

    def run(self) -> None:
        truth = self.read()
        for product in self.products:
            product.make(truth)

    def pending(self, overwrite: bool) -> "Job":
        """The same job with only the products that are missing or older than an input or their settings."""
        if overwrite:
            return self
        newest = max((_changed(path) for path in self.inputs), default=0.0)
        stale = [
            p
            for p in self.products
            if min(map(_written, p.files())) < max(newest, _changed(p.stamp))
        ]
        return replace(self, products=tuple(stale))


def write_stamp(path: Path, settings: dict[str, object]) -> Path:
    """Write the settings that the files below a folder are made with, unless they are there already.

    So a file older than its stamp was made with other settings, and is stale.
    """
    text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with write_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")
    return path


def add_work_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `run_jobs` reads."""
    group = parser.add_argument_group("work")
    group.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes on this machine"
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="send the work to this Dask cluster instead; its workers must see the same paths and this repository",
    )
    group.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="make also what is up to date",
    )


def run_jobs(jobs: Sequence[Job], args: argparse.Namespace, what: str) -> int:
    """Do what is missing or stale. Prints what was done and every failure; returns the exit status, 0 or 2."""
    if args.workers < 1:
        raise InputError(f"--workers {args.workers}: expected 1 or more")
    todo = [job for job in (job.pending(args.overwrite) for job in jobs) if job.products]
    if not todo:
        print(f"{what}: all {len(jobs)} are up to date")
        return 0
    if args.scheduler:
        results = _on_cluster(todo, args.scheduler)
    elif args.workers > 1 and len(todo) > 1:
        results = _in_processes(todo, min(args.workers, len(todo)))
    else:
        results = map(_attempt, todo)
    failures = [
        r for r in tqdm(results, total=len(todo), desc=what, unit="image", disable=None) if r[1]
    ]
    print(
        f"{what}: {len(todo) - len(failures)} made, {len(jobs) - len(todo)} up to date, {len(failures)} failed"
    )
    for name, reason in sorted(failures):
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 2 if failures else 0


def _attempt(job: Job) -> tuple[str, str | None]:
    """(The job's name, None or the reason why it failed). Whatever one image's files lead to, the others are done."""
    try:
        job.run()
    except (InputError, OSError) as error:
        return job.name, " ".join(str(error).split())
    except Exception as error:
        return job.name, f"{type(error).__name__}: " + " ".join(str(error).split())
    return job.name, None


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[str, str | None]]:
    from joblib import (  # these imports take longer than many a run that has nothing to do
        Parallel,
        delayed,
    )
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    unfinished = {job.name for job in jobs}
    try:
        with Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered") as parallel:
            for name, reason in parallel(delayed(_attempt_alone)(job) for job in jobs):
                unfinished.discard(name)
                yield name, reason
    except TerminatedWorkerError:
        yield from ((name, WORKER_DIED) for name in unfinished)


def _attempt_alone(job: Job) -> tuple[str, str | None]:
    import cv2

    cv2.setNumThreads(1)  # as many threads as workers are enough
    return _attempt(job)


def _on_cluster(jobs: Sequence[Job], address: str) -> Iterator[tuple[str, str | None]]:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise InputError('--scheduler needs Dask: pip install "dask[distributed]"') from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--scheduler {address}: no Dask scheduler answers there ({error})"
        ) from error
    with client:
        futures = client.map(_attempt_alone, jobs, pure=False)
        names = {future.key: job.name for future, job in zip(futures, jobs, strict=True)}
        for future in as_completed(futures):
            error = (
                future.exception()
            )  # not the job's own: the worker died, or cannot import this repository
            yield future.result() if error is None else (names[future.key], _cluster_error(error))


def _cluster_error(error: BaseException) -> str:
    reason = " ".join(f"{error.__cause__ or error}".split())
    return f"on the cluster: {reason} (its workers need this repository on their PYTHONPATH)"


def _changed(path: Path) -> float:
    """When an input was last written. One that is not there makes its products stale, so that the job says so."""
    return path.stat().st_mtime if path.exists() else float("inf")


def _written(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else float("-inf")
