"""The folder of a run: who works in it, and how a checkpoint is written into it.

last.pth is the newest, previous.pth the one before. Every write leaves one of them intact,
whatever kills the process. `utils.training.resume` reads them.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from data.errors import InputError
from utils.checkpoint import save_checkpoint

LAST = "last.pth"
PREVIOUS = "previous.pth"


def save_last(folder: Path, state: dict) -> None:
    """Write last.pth, and keep the one that it replaces as previous.pth."""
    last = folder / LAST
    if last.exists():
        link = folder / f".{PREVIOUS}.{os.getpid()}.part"
        try:
            os.link(last, link)
        except OSError:
            # A file system without hard links: while last.pth is written, only previous.pth exists.
            last.replace(folder / PREVIOUS)
        else:
            link.replace(folder / PREVIOUS)
            # rename() does nothing where both names are of the same file, and leaves both.
            link.unlink(missing_ok=True)
    save_checkpoint(last, state)


def archive_run_dir(folder: Path) -> Path:
    """Rename the folder to the first free of `<folder>.1`, `<folder>.2`, ...; returns that path."""
    number = 1
    while (archived := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(archived)
    return archived


def remove_partial_files(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def lock_run_dir(folder: Path, *, patience: float = 15.0) -> Iterator[None]:
    """Lock the folder for this process: two runs would overwrite each other's checkpoints.

    The kernel drops the lock when the process ends, however it ends. File systems without locks
    are trusted. InputError if another process still has the lock after `patience` seconds, which
    allow for a killed run's workers: they hold the inherited lock until they end.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + patience
        while not _lock(handle):
            if time.monotonic() > deadline:
                raise InputError(
                    f"{folder}: another process trains in it; "
                    "end that one, or choose another --checkname"
                )
            time.sleep(0.2)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True
