"""From a data set to batches: worker processes, the time that the loop waits for them, and which
image a worker had when it died."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import torch
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from data.errors import InputError, one_line
from data.samples.sampler import BatchSampler
from utils.distributed.preemption import start_worker

# On Windows os.kill ends a process at once whatever the signal is called.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


class KeyedItems(Protocol):
    """Training samples, asked for by the keys (epoch, index, ...) of a `BatchSampler`."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> dict: ...


class TrackedItems(TorchDataset):
    """The same items, with a record of which worker process read which one last.

    notes: int64 (workers, 2) of (process id, index), in memory that the main process shares: a
    worker that is killed cannot report anything itself.

    Args:
        items: asked for by keys (epoch, index, ...).
        files: the image of each sample, by the index in an item's key.
        workers: of the loader.
    """

    def __init__(self, items: KeyedItems, files: Sequence[Path | None], workers: int) -> None:
        self.items = items
        self.files = files
        self.notes = torch.full((max(1, workers), 2), -1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple) -> dict:
        worker = get_worker_info()
        if worker is not None:
            self.notes[worker.id] = torch.tensor([os.getpid(), key[1]])
        return self.items[key]

    def end_workers(self) -> None:
        """Kill all workers.

        One that died may have held a lock for which the others, or the end of the main process,
        would wait forever.
        """
        for process in self.notes[:, 0].tolist():
            if process > 0:
                with contextlib.suppress(OSError):  # it has ended
                    os.kill(process, KILL)

    def last_read(self, processes: set[int]) -> list[str]:
        """The images that these workers were given last."""
        return [
            str(self.files[index]) for process, index in self.notes.tolist() if process in processes
        ]


def make_loader(
    items: KeyedItems,
    files: Sequence[Path | None],
    sampler: BatchSampler,
    *,
    workers: int,
    device: str,
) -> DataLoader:
    """A loader whose workers live through all epochs.

    What they return depends on (seed, epoch, index) alone, not on their number.

    Args:
        items: asked for by the sampler's keys.
        files: the image of each sample, to be named when a worker dies of it.
        sampler: of batches of keys.
        workers: processes; 0: samples are read in this one.
        device: batches for "cuda" are in pinned memory.
    """
    return DataLoader(
        TrackedItems(items, files, workers),
        # DataLoader is annotated for lists of keys; it only iterates over a batch.
        batch_sampler=cast("Iterable[list[Any]]", sampler),
        num_workers=workers,
        pin_memory=device == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=init_worker,
        # By default the loader seeds its workers from the global generator, which dropout uses: its
        # state would depend on the number of workers.
        generator=torch.Generator(),
    )


def init_worker(_worker: int) -> None:
    """In each worker process: OpenCV without threads, see `start_worker` for the rest."""
    cv2.setNumThreads(0)
    start_worker()


class TimedBatches:
    """A loader's batches; `waited` is the seconds that were spent waiting for them."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.waited = 0.0

    def __iter__(self) -> Iterator[dict]:
        started = time.perf_counter()
        batches = iter(self.loader)
        while True:
            batch = next(batches, None)
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            yield batch
            started = time.perf_counter()


@contextlib.contextmanager
def named_deaths(loader: DataLoader) -> Iterator[None]:
    """Turn the death of one of the loader's workers into an InputError that names its image.

    PyTorch raises a RuntimeError in a signal handler: not only where a batch is waited for, but
    wherever the main process happens to be.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if "MemoryError in DataLoader worker" in text:  # NumPy's own, which PyTorch cannot raise
            raise MemoryError(f"a loader process: {one_line(error)}") from error
        if "DataLoader worker (pid" not in text:
            raise  # an error of ours, raised in a worker
        processes = {
            int(number)
            for group in re.findall(r"\(pid\S* ([\d, ]+)", text)
            for number in group.split(",")
        }
        items = loader.dataset
        assert isinstance(items, TrackedItems)
        images = ", ".join(items.last_read(processes)) or "unknown"
        items.end_workers()
        found = re.search(r"killed by signal: [^.]*|exited unexpectedly", text)
        reason = found.group() if found else text.splitlines()[0]
        raise InputError(
            f"a loader process died ({reason}) at the image {images}; look at that file, or, "
            "if the machine ran out of memory, give fewer --workers"
        ) from error
