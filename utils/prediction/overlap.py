"""Reading ahead of the net, writing behind it, and how long the net waited for either.

Threads do: OpenCV, NumPy, Numba and PyTorch let other threads run while they compute. Memory stays
bounded: a few images are held ahead, and results behind up to a number of bytes.
"""

import contextlib
import errno
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.errors import users_to_mend
from data.system.memory import available_memory

READERS = 4
AHEAD = 6  # images that are read, or being read, before the net asks for them
AHEAD_BYTES = 1 << 28  # of those that have been read; no more are begun above it
LEAST_PENDING, MOST_PENDING = 1 << 28, 1 << 31  # bytes of results that wait to be written
PENDING_SHARE = 16  # one part in this many of the free memory; drawing takes about twice as much
LEAST_WRITERS, MOST_WRITERS = 4, 16
# What keeps a file from being written will keep the next ones from it, too.
ENDS_RUN = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True)
class Frame:
    """An image that was read.

    Args:
        image: uint8 (H, W, 3), RGB.
        time: of a video's frame: seconds after the first.
        turned: its EXIF data say that it is to be turned.
    """

    image: np.ndarray
    time: float = 0.0
    turned: bool = False


Read = Callable[[], Frame | None]


def read_ahead(
    jobs: Iterable[Read], readers: int = READERS, ahead: int = AHEAD
) -> Generator[Future[Frame | None]]:
    """What the jobs return, in their order, computed by threads a few jobs ahead.

    Args:
        jobs: each reads an image.
        readers: threads; with 1, the jobs are done one after another, as a video's have to be.
        ahead: the number of jobs that are begun before their result is asked for.
    """
    jobs = iter(jobs)
    waiting: deque[Future[Frame | None]] = deque()
    pool = ThreadPoolExecutor(readers, "read")
    try:
        while True:
            while len(waiting) < ahead and _bytes_of(waiting) < AHEAD_BYTES:
                job = next(jobs, None)
                if job is None:
                    break
                waiting.append(pool.submit(job))
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)


def _bytes_of(futures: Iterable[Future[Frame | None]]) -> int:
    read = (f.result() for f in futures if f.done() and not f.cancelled() and not f.exception())
    return sum(frame.image.nbytes for frame in read if frame is not None)


def writer_count() -> int:
    """Threads that draw and compress: a Cityscapes image takes over a second."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores that a container or a job may use
        cores = len(os.sched_getaffinity(0))
    cores //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(max(cores, LEAST_WRITERS), MOST_WRITERS)


class Pending:
    """The results that are being written.

    Args:
        failures: gets the images that could not be written; what would fail for all is raised.
            None: any failure is raised, as in a video.
    """

    def __init__(self, failures: dict[Path, Exception] | None = None) -> None:
        self.failures = failures
        self.held: dict[Future[None], tuple[Path, int]] = {}
        self.most = 2 * writer_count()
        free = available_memory() or 0
        self.most_bytes = min(max(free // PENDING_SHARE, LEAST_PENDING), MOST_PENDING)

    def add(self, path: Path, written: "Future[None]", size: int) -> None:
        """Another result of `size` bytes; waits while there are too many."""
        self.held[written] = (path, size)
        while len(self.held) > self.most or self.bytes_held > self.most_bytes:
            wait(self.held, return_when=FIRST_COMPLETED)
            self._collect()

    @property
    def bytes_held(self) -> int:
        return sum(size for _, size in self.held.values())

    def wait_for_all(self) -> None:
        """Until all are written."""
        wait(self.held)
        self._collect()

    def _collect(self) -> None:
        """Forget those that are written, and note or raise what went wrong."""
        for future in [future for future in self.held if future.done()]:
            path, _ = self.held.pop(future)
            error = future.exception()
            if error is None:
                continue
            if self.failures is None or not isinstance(error, Exception) or ends_run(error):
                raise error
            self.failures[path] = error


def ends_run(error: Exception) -> bool:
    """Whether the other images would fail in the same way, or it is a fault of ours."""
    return not users_to_mend(error) or getattr(error, "errno", None) in ENDS_RUN


@dataclass
class NetClock:
    """How long the net worked, and how long it waited: seconds by `net`, `images`, `files`."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the time of the block. what: `net`, `images` (read), `files` (to be written)."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - begun

    def add(self, other: "NetClock") -> None:
        """The time of another rank, too."""
        for what, seconds in other.seconds.items():
            self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def share(self, what: str) -> float:
        """Of the total, 0 to 1."""
        return self.seconds.get(what, 0.0) / self.total if self.total else 0.0

    def describe(self) -> str:
        """In one line, for the terminal; the waits are named from one percent on."""
        words = f"net busy {self.share('net'):.0%} of {self.total:.1f} s"
        names = {"images": "images to be read", "files": "files to be written"}
        waits = [f"{self.share(k):.0%} for {v}" for k, v in names.items() if self.share(k) >= 0.01]
        return f"{words}, waited {' and '.join(waits)}" if waits else words
