"""The folder of a run: who works in it, and which of its checkpoints a new start goes on from.

last.pth is the newest, previous.pth the one before. Every write leaves one of them whole, whatever kills the process.
"""

import contextlib
import fcntl
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from data.errors import InputError
from utils.checkpoint import CheckpointError, read_checkpoint, save_checkpoint

LAST, PREVIOUS = "last.pth", "previous.pth"


def save_last(folder: Path, state: dict) -> None:
    """Write last.pth, and keep the one that it replaces as previous.pth."""
    last = folder / LAST
    if last.exists():
        link = folder / f".{PREVIOUS}.{os.getpid()}.part"
        try:
            os.link(last, link)
        except OSError:  # a file system without hard links: for as long as the writing takes, there is previous.pth alone
            last.replace(folder / PREVIOUS)
        else:
            link.replace(folder / PREVIOUS)
            link.unlink(
                missing_ok=True
            )  # renaming one name of a file onto another of the same file leaves both
    save_checkpoint(last, state)


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint that can be gone on from; None if there is none at all.

    A damaged one is told of and put out of the way as `<name>.corrupt`. CheckpointError if all are damaged.
    """
    names = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in names:
        damage = damage_of(path)
        if damage is None:
            return path
        path.replace(path.with_name(f"{path.name}.corrupt"))
        print(
            f"{damage}; kept as {path.name}.corrupt, going back to the checkpoint before it",
            flush=True,
        )
    if names:
        raise CheckpointError(
            f"{folder}: none of its checkpoints is whole; start anew with --no-resume"
        )
    return None


def damage_of(path: Path) -> str | None:
    """What is wrong with a checkpoint of a run, in one line; None if it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # PyTorch writes checksums, but does not look at them
        if damaged is not None:
            return f"{path}: {damaged} does not have its checksum"
        state = read_checkpoint(path)
    except (CheckpointError, zipfile.BadZipFile, EOFError) as error:
        return str(error) if str(path) in str(error) else f"{path}: {error}"
    return None if "optimizer" in state else f"{path}: it holds weights only"


def set_aside(folder: Path) -> Path:
    """Rename a run's folder to the first free of `<folder>.1`, `<folder>.2`, ...; returns the new path."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside


def remove_parts(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def only_one(folder: Path, *, patience: float = 15.0) -> Iterator[None]:
    """Hold the folder for this process alone: two runs that write the same checkpoints would spoil both.

    The lock goes with the process, however it ends. `patience`: seconds to wait for a killed run's workers, which end a
    few seconds after it. File systems without locks are trusted.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + patience
        while not _lock(handle):
            if time.monotonic() > deadline:
                raise InputError(
                    f"{folder}: another process trains in it; end that one, or choose another --checkname"
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
    except OSError:
        return True
    return True
