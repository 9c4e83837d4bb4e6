"""From a data set to batches: worker processes, how long the loop waits for them, and what they were at when one died."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import torch
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as Items

from data.errors import InputError
from data.samples.sampler import BatchSampler
from utils.distributed.preemption import leave_process_group


class Watched(Items):
    """The same items; each worker leaves a note of its process and of the item in hand in memory that the main process sees.

    files: the image of each sample, by the index in an item's key (epoch, index, ...).
    """

    def __init__(self, items: Items, files: Sequence[Path | None], workers: int) -> None:
        self.items, self.files = items, files
        self.notes = torch.full(
            (max(1, workers), 2), -1, dtype=torch.int64
        ).share_memory_()  # process, index

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple) -> dict:
        worker = get_worker_info()
        if worker is not None:
            self.notes[worker.id] = torch.tensor([os.getpid(), key[1]])
        return self.items[key]

    def end_workers(self) -> None:
        """For good: one that died may have held a lock which the others, or the end of the main process, would wait for."""
        for process in self.notes[:, 0].tolist():
            if process > 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def at_hand(self, processes: set[int]) -> list[str]:
        """The images that these workers were given last."""
        return [
            str(self.files[index]) for process, index in self.notes.tolist() if process in processes
        ]


def make_loader(
    items: Items, files: Sequence[Path | None], sampler: BatchSampler, *, workers: int, device: str
) -> DataLoader:
    """A loader whose workers live through all epochs; what they return depends on (seed, epoch, index) alone."""
    return DataLoader(
        Watched(items, files, workers),
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=device == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=quiet_worker,
        generator=torch.Generator(),  # else it would draw from the generator that dropout uses, how often depends on the workers
    )


def quiet_worker(_worker: int) -> None:
    """What every worker process starts with."""
    cv2.setNumThreads(0)
    leave_process_group()


class Batches:
    """Iterates over a loader and counts the seconds for which it was waited for."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader, self.waited = loader, 0.0

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
    """Within, the death of one of the loader's workers is an InputError that names the images it may have died of.

    PyTorch raises it from a signal's handler: not only where a batch is waited for, but wherever the process happens to be.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if "DataLoader worker" not in text:
            raise
        processes = {
            int(number)
            for group in re.findall(r"\(pid\S* ([\d, ]+)", text)
            for number in group.split(",")
        }
        images = ", ".join(loader.dataset.at_hand(processes)) or "unknown"
        loader.dataset.end_workers()
        reason = re.search(r"killed by signal: [^.]*|exited unexpectedly", text)
        raise InputError(
            f"a loader process died ({reason.group() if reason else text.splitlines()[0]}) at the image {images}; "
            "look at that file, or, if the machine ran out of memory, give fewer --workers"
        ) from error
