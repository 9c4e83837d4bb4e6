"""Counting images in worker processes, while this process predicts the next ones.

The workers import this module, so it imports no torch.
"""

import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from joblib.externals.loky import ProcessPoolExecutor, wait
from joblib.externals.loky.process_executor import BrokenProcessPool

from data.errors import InputError
from data.system.process import end_with_parent
from utils.evaluation.edges.image_counts import ImageScores, Record, Stack
from utils.evaluation.edges.partial import ResumableCounter

HANDOVER_SECONDS = 5.0

# The counter of a worker process, which gets it when it starts, so that it is not sent again with
# each image.
_worker_counter: list[ResumableCounter] = []


def count_each(
    counter: ResumableCounter,
    indices: Sequence[int],
    workers: int,
    predict: Callable[[int], Stack | ImageScores] | None,
) -> Generator[tuple[int, Record]]:
    """Yield (index, record) of each image, in the order in which they are finished.

    At most two images per worker wait, so memory stays bounded.

    Args:
        counter: Sent to each worker once.
        indices: The images to count.
        workers: Number of processes; 0 counts in this one.
        predict: Scores of an image as arrays, computed in this process; None: they are read from
            files.

    Raises:
        InputError: A worker died.
    """
    if not workers:
        for index in indices:
            yield index, counter.count(index, None if predict is None else predict(index))
        return
    waiting: set[Future[tuple[int, Record]]] = set()
    with _pool(counter, min(workers, max(1, len(indices))), waiting) as pool:
        for index in indices:
            if len(waiting) >= 2 * workers:
                yield from _finished(waiting)
            scores = None if predict is None else predict(index)
            waiting.add(pool.submit(_count_in_worker, index, scores))
        while waiting:
            yield from _finished(waiting)


def _finished(
    waiting: set[Future[tuple[int, Record]]],
) -> Iterator[tuple[int, Record]]:
    """Wait for the first results, take them out of `waiting` and yield them."""
    done, _ = wait(waiting, return_when="FIRST_COMPLETED")
    waiting -= done
    for future in done:
        yield future.result()


@contextmanager
def _pool(
    counter: ResumableCounter, workers: int, waiting: set[Future[tuple[int, Record]]]
) -> Iterator[ProcessPoolExecutor]:
    """A pool that ends with the block, whatever is still `waiting`."""
    # loky starts fresh processes (a fork after torch has started its threads can hang), and it does
    # not import the calling script, so that workers do without torch.
    pool = ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(counter, os.getpid()))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, most likely for lack of memory; run again with fewer --workers"
        ) from error
    finally:
        _wait_for_handover(waiting)
        pool.shutdown(kill_workers=True)


def _wait_for_handover(waiting: set[Future[tuple[int, Record]]]) -> None:
    """Wait until loky has handed all work over to its processes, which takes milliseconds.

    Shut down before that, its thread ends with a KeyError on stderr: it looks for work that the
    shutdown has removed.
    """
    end = time.monotonic() + HANDOVER_SECONDS
    while time.monotonic() < end and not all(f.running() or f.done() for f in waiting):
        time.sleep(0.001)


def _start_worker(counter: ResumableCounter, parent: int) -> None:
    # A worker takes seconds to get here, and its parent may have been killed meanwhile.
    end_with_parent(parent)
    # Ctrl-C goes to all processes of a terminal; the main one ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker_counter[:] = [counter]


def _count_in_worker(index: int, scores: Stack | ImageScores | None) -> tuple[int, Record]:
    """(index, record) of an image, in a worker process."""
    return index, _worker_counter[0].count(index, scores)
