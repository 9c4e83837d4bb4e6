"""Where jobs run: in this process, in worker processes, or on a Dask cluster."""

import contextlib
import os
import signal
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from data.errors import InputError, one_line
from data.gtlabel.job import Failure, Job, Result, attempt
from data.system.process import end_with_parent

if TYPE_CHECKING:
    from concurrent.futures import Future

    from joblib.externals.loky import ProcessPoolExecutor

CONNECT_SECONDS = 10
FINISH_SECONDS = 20  # that jobs which have begun get when the run is ended
MAX_DEATHS = 5  # of workers, each of which takes a second to start
WORKER_DIED = "a worker process died, perhaps for lack of memory; run again, with fewer --workers"


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


def run_each(jobs: Iterator[Job[Any]], count: int, options: WorkOptions) -> Generator[Result]:
    """Yield the result of each job as it is done.

    Jobs are taken from the iterator when they are about to run (on a cluster: at once). Closing
    the generator ends all workers, after the jobs that have begun.

    Args:
        jobs: to run.
        count: how many they are.
        options: where to run them.
    """
    if options.scheduler is not None:
        yield from _on_cluster(list(jobs), options.scheduler)
    elif options.workers > 1 and count > 1:
        yield from _in_processes(jobs, min(options.workers, count))
    else:
        yield from map(attempt, jobs)


def _in_processes(jobs: Iterator[Job[Any]], workers: int) -> Generator[Result]:
    deaths = 0
    # One job waits, no more: those that have begun are finished even if the run is ended.
    while suspects := (yield from _until_one_dies(jobs, workers, workers + 1)):
        # One at a time, which shows whose files end their process.
        left = iter(suspects)
        while deaths < MAX_DEATHS and (culprit := (yield from _until_one_dies(left, 1, 1))):
            deaths += 1
            yield _died(culprit[0])
        if deaths >= MAX_DEATHS:
            yield from map(_died, chain(left, jobs))


def _died(job: Job[Any]) -> Result:
    return Result(job.name, Failure(job.name, WORKER_DIED))


def _until_one_dies(
    jobs: Iterator[Job[Any]], workers: int, waiting: int
) -> Generator[Result, None, list[Job[Any]]]:
    """Run jobs until all are done, or a worker dies.

    Returns the jobs that had begun when it died: it may have been any of them.

    Args:
        jobs: to run.
        workers: processes.
        waiting: how many jobs may have begun at a time.
    """
    # Imported here: it takes longer than a run in which everything is up to date.
    from joblib.externals.loky import ProcessPoolExecutor, wait
    from joblib.externals.loky.process_executor import BrokenProcessPool

    # loky's words about a worker that has died; ours follow.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    running: dict[Future[Result], Job[Any]] = {}
    unsent: list[Job[Any]] = []
    started = ProcessPoolExecutor(workers, initializer=start_worker, initargs=(os.getpid(),))
    with _closing(started, running) as pool:
        while True:
            try:
                for job in islice(jobs, waiting - len(running)):
                    unsent = [job]
                    running[pool.submit(attempt, job)] = job
                    unsent = []
            except BrokenProcessPool:
                return [*running.values(), *unsent]
            if not running:
                return []
            done, _ = wait(running, return_when="FIRST_COMPLETED")
            died = [f for f in done if isinstance(f.exception(), BrokenProcessPool)]
            for future in done.difference(died):
                yield _result(future, running.pop(future))
            if died:
                return list(running.values())


def _result(future: "Future[Result]", job: Job[Any]) -> Result:
    error = future.exception()
    return Result(job.name, Failure(job.name, one_line(error))) if error else future.result()


@contextlib.contextmanager
def _closing(
    pool: "ProcessPoolExecutor", running: dict["Future[Result]", Job[Any]]
) -> Iterator["ProcessPoolExecutor"]:
    """Leave no worker process, and no file half-written: jobs that have begun are finished."""
    from joblib.externals.loky import wait

    try:
        yield pool
    finally:
        try:
            for future in running:
                future.cancel()
            wait([future for future in running if not future.cancelled()], FINISH_SECONDS)
        finally:
            pool.shutdown(kill_workers=True)


def start_worker(parent: int) -> None:
    """What a worker process does first. It is ended by its parent, not by signals to the group.

    parent: the id of that process.
    """
    import cv2

    end_with_parent(parent)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    cv2.setNumThreads(1)  # the workers together already keep all cores busy


def _attempt_on_cluster(job: Job[Any]) -> Result:
    import cv2

    cv2.setNumThreads(1)
    return attempt(job)


def _on_cluster(jobs: list[Job[Any]], address: str) -> Iterator[Result]:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise InputError('--scheduler needs Dask: pip install "dask[distributed]"') from error
    if not address:
        raise InputError("--scheduler: is empty; expected an address, as in tcp://127.0.0.1:8786")
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:  # Dask raises whatever the wrong part of an address leads to
        raise InputError(
            f"--scheduler {address}: no Dask scheduler answers there ({one_line(error)})"
        ) from error
    with client:
        # pure=False: Dask would take two jobs of equal content for one.
        futures = client.map(_attempt_on_cluster, jobs, pure=False)
        names = {future.key: job.name for future, job in zip(futures, jobs, strict=True)}
        for future in as_completed(futures):
            yield _cluster_result(future, names[future.key])


def _cluster_result(future: Any, name: str) -> Result:
    """A job's own errors are in its result.

    Another one says that the worker died, cannot import this repository, or that the scheduler is
    gone.
    """
    try:
        return future.result()
    except Exception as error:
        reason = one_line(error.__cause__ or error)
        advice = "its workers need this repository on their PYTHONPATH"
        return Result(name, Failure(name, f"on the cluster: {reason} ({advice})"))
