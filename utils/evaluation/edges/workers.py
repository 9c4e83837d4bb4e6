"""Counting images in worker processes, while this process predicts the next ones.

The workers import this module, so it imports no torch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from joblib.externals.loky import ProcessPoolExecutor, wait
from joblib.externals.loky.process_executor import BrokenProcessPool

from data.errors import InputError
from utils.evaluation.edges.partial import ResumableCounter

# The counter of a worker process, which gets it when it starts, so that it is not sent again with
# each image.
_worker_counter: list[ResumableCounter] = []


def count_each(
    counter: ResumableCounter,
    indices: Sequence[int],
    workers: int,
    predict: Callable[[int], np.ndarray] | None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, counts) of each image, in the order in which they are finished.

    At most two images per worker wait, so memory stays bounded.

    Args:
        counter: Sent to each worker once.
        indices: The images to count.
        workers: Number of processes; 0 counts in this one.
        predict: Scores (K, h, w) of an image, computed in this process; None: they are read from
            files.

    Raises:
        InputError: A worker died.
    """
    if not workers:
        for index in indices:
            yield index, counter.count(index, None if predict is None else predict(index))
        return
    with _pool(counter, min(workers, max(1, len(indices)))) as pool:
        waiting = set()
        for index in indices:
            if len(waiting) >= 2 * workers:
                done, waiting = wait(waiting, return_when="FIRST_COMPLETED")
                yield from (future.result() for future in done)
            scores = None if predict is None else predict(index)
            waiting.add(pool.submit(_count_in_worker, index, scores))
        while waiting:
            done, waiting = wait(waiting, return_when="FIRST_COMPLETED")
            yield from (future.result() for future in done)


@contextmanager
def _pool(counter: ResumableCounter, workers: int) -> Iterator[ProcessPoolExecutor]:
    # loky starts fresh processes (a fork after torch has started its threads can hang), and it does
    # not import the calling script, so that workers do without torch.
    pool = ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(counter,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, most likely for lack of memory; run again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def _start_worker(counter: ResumableCounter) -> None:
    _worker_counter[:] = [counter]


def _count_in_worker(index: int, scores: np.ndarray | None) -> tuple[int, np.ndarray]:
    """(index, counts) of an image, in a worker process."""
    return index, _worker_counter[0].count(index, scores)
