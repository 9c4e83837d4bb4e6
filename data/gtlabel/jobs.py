"""The work of the label scripts: what is stale, run here or on many machines, and what failed.

A script makes one `Job` per image. A job reads the image's label files once and makes those of
its products whose files are missing or older than what they come from.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tqdm import tqdm

from data.errors import InputError
from data.files import write_aside

CONNECT_SECONDS = 10
WORKER_DIED = "a worker process died, perhaps for lack of memory; run again, with fewer --workers"

Labels = TypeVar("Labels")  # what a job's `read` returns
LabelsIn = TypeVar("LabelsIn", contravariant=True)
Result = tuple[str, str | None]  # a job's name; None, or the reason why it failed


class Product(Protocol[LabelsIn]):
    """Something that is made from one image's labels."""

    @property
    def stamp(self) -> Path:
        """The file that holds the settings that the product is made with (see `write_stamp`)."""
        ...

    def files(self) -> Sequence[Path]:
        """What `make` writes."""
        ...

    def make(self, labels: LabelsIn) -> None:
        """Write all of `files` from what the job's `read` returned."""
        ...


@dataclass(frozen=True)
class Job(Generic[Labels]):
    """The work on one image.

    name: for messages.
    inputs: the files that `read` reads.
    read: returns the labels, in the form that the products take.
    """

    name: str
    inputs: tuple[Path, ...]
    read: Callable[[], Labels]
    products: tuple[Product[Labels], ...]

    def run(self) -> None:
        labels = self.read()
        for product in self.products:
            product.make(labels)

    def pending(self, overwrite: bool) -> "Job[Labels]":
        """The same job with only the products that are missing, or older than inputs or settings.

        `overwrite` keeps all products.
        """
        if overwrite:
            return self
        newest = max((_changed(path) for path in self.inputs), default=0.0)
        stale = [
            product
            for product in self.products
            if min(map(_written, product.files())) < max(newest, _changed(product.stamp))
        ]
        return replace(self, products=tuple(stale))


@dataclass(frozen=True)
class WorkOptions:
    """How jobs are run.

    workers: processes on this machine.
    scheduler: the address of a Dask cluster to run them on instead.
    overwrite: also make what is up to date.
    """

    workers: int = 1
    scheduler: str | None = None
    overwrite: bool = False


def write_stamp(path: Path, settings: dict[str, Any]) -> Path:
    """Write the settings that the files below a folder are made with, if they changed.

    So a file older than its stamp was made with other settings, and is stale.
    """
    text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with write_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")
    return path


def run_jobs(jobs: Sequence[Job[Any]], options: WorkOptions, what: str) -> int:
    """Make what is missing or stale; print what was made and every failure.

    Returns the exit status, 0 or 2. `what` names the work in the messages.
    """
    todo = [job for job in (job.pending(options.overwrite) for job in jobs) if job.products]
    if not todo:
        print(f"{what}: all {len(jobs)} are up to date")
        return 0
    results = tqdm(_run(todo, options), total=len(todo), desc=what, unit="image", disable=None)
    failures = [(name, reason) for name, reason in results if reason]
    print(
        f"{what}: {len(todo) - len(failures)} made, {len(jobs) - len(todo)} up to date, "
        f"{len(failures)} failed"
    )
    for name, reason in sorted(failures):
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 2 if failures else 0


def _run(jobs: Sequence[Job[Any]], options: WorkOptions) -> Iterator[Result]:
    if options.scheduler:
        return _on_cluster(jobs, options.scheduler)
    if options.workers > 1 and len(jobs) > 1:
        return _in_processes(jobs, min(options.workers, len(jobs)))
    return map(_attempt, jobs)


def _attempt(job: Job[Any]) -> Result:
    """Run one job. Whatever one image's files lead to, the others are done."""
    try:
        job.run()
    except (InputError, OSError) as error:
        return job.name, " ".join(str(error).split())
    except Exception as error:
        return job.name, f"{type(error).__name__}: " + " ".join(str(error).split())
    return job.name, None


def _in_processes(jobs: Sequence[Job[Any]], workers: int) -> Iterator[Result]:
    # Imported here: it takes longer than a run in which everything is up to date.
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    unfinished = {job.name for job in jobs}
    try:
        with Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered") as parallel:
            results: Any = parallel(delayed(_attempt_in_worker)(job) for job in jobs)
            for name, reason in results:
                unfinished.discard(name)
                yield name, reason
    except TerminatedWorkerError:
        yield from ((name, WORKER_DIED) for name in unfinished)


def _attempt_in_worker(job: Job[Any]) -> Result:
    import cv2

    cv2.setNumThreads(1)  # the workers together already keep all cores busy
    return _attempt(job)


def _on_cluster(jobs: Sequence[Job[Any]], address: str) -> Iterator[Result]:
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
        # pure=False: Dask would take two jobs of equal content for one.
        futures = client.map(_attempt_in_worker, jobs, pure=False)
        names = {future.key: job.name for future, job in zip(futures, jobs, strict=True)}
        for future in as_completed(futures):
            # The job's own errors are in its result. This one says that the worker died, or
            # cannot import this repository.
            error = future.exception()
            yield future.result() if error is None else (names[future.key], _cluster_error(error))


def _cluster_error(error: BaseException) -> str:
    reason = " ".join(f"{error.__cause__ or error}".split())
    return f"on the cluster: {reason} (its workers need this repository on their PYTHONPATH)"


def _changed(path: Path) -> float:
    """When an input was last written.

    A missing one counts as just written: its products are stale, and the job reports what is
    missing.
    """
    return path.stat().st_mtime if path.exists() else float("inf")


def _written(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else float("-inf")
