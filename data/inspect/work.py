"""Measuring in worker processes, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

from data.errors import InputError
from data.gtlabel.pool import start_worker

Task = TypeVar("Task")
Done = TypeVar("Done")
FEW = 4  # tasks: processes take longer to start than these to run


def run_tasks(
    function: Callable[[Task], Done],
    tasks: Sequence[Task],
    workers: int,
    what: str,
    size: int = 1,
) -> Iterator[Done]:
    """Yield what the function returns for each task, in their order.

    InputError if a worker dies.

    Args:
        function: called in a worker process.
        tasks: its arguments.
        workers: processes.
        what: for the progress bar.
        size: images of a task, for the progress bar.
    """
    bar = tqdm(total=size * len(tasks), desc=what, unit="image", leave=False, disable=None)
    with bar:
        for done in _results(function, tasks, workers):
            bar.update(size)
            yield done


def _results(
    function: Callable[[Task], Done], tasks: Sequence[Task], workers: int
) -> Iterator[Done]:
    if workers <= 1 or len(tasks) <= FEW:
        yield from map(function, tasks)
        return
    # Imported here: it takes longer than looking at a few images.
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        with Parallel(
            min(workers, len(tasks)),
            backend="loky",
            return_as="generator",
            initializer=start_worker,
            initargs=(os.getpid(),),
        ) as parallel:
            results: Any = parallel(delayed(function)(task) for task in tasks)
            yield from results
    except TerminatedWorkerError as error:
        raise InputError(
            "a process that looked at images has died, perhaps for lack of memory; give fewer "
            "--workers"
        ) from error
