"""A list of files worked off in chunks by worker processes, with a progress bar."""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from data.errors import InputError
from data.system.process import end_with_parent

T = TypeVar("T")
R = TypeVar("R")
CHUNK = 16  # samples per task


def map_chunks(
    work: Callable[[Sequence[T]], R],
    items: Sequence[T],
    *,
    workers: int,
    title: str,
    what: str,
    chunk: int = CHUNK,
) -> list[R]:
    """What `work` returns for each chunk of the items, in order.

    Args:
        work: is sent to the workers with each chunk.
        items: a list or a range.
        workers: processes; with 0 or 1, or a single chunk, this one does it.
        title: of the progress bar.
        what: begins the InputError if a worker dies.
        chunk: number of items in each.
    """
    chunks = [items[first : first + chunk] for first in range(0, len(items), chunk)]
    tasks = (delayed(work)(part) for part in tqdm(chunks, desc=title, leave=False, disable=None))
    try:
        with Parallel(
            max(1, min(workers, len(chunks))),
            backend="loky",
            initializer=end_with_parent,
            initargs=(os.getpid(),),
        ) as parallel:
            parts: Any = parallel(tasks)
    except TerminatedWorkerError as error:
        raise InputError(
            f"{what}: a process that read label maps has died, perhaps for lack of memory; give "
            "fewer --workers"
        ) from error
    return parts
