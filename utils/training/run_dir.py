"""The folder of a run: who works in it, and how a checkpoint is written into it.

last.pth is the newest, previous.pth the one before. Every write leaves one of them intact,
whatever kills the process. `utils.training.resume` reads them.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.errors import InputError
from data.files import resolved, set_aside
from utils.checkpoint import save_checkpoint

try:
    import fcntl
except ImportError:  # Windows, where folders cannot be locked
    fcntl = None

LAST = "last.pth"
PREVIOUS = "previous.pth"
BEST = "best.pth"


def save_last(folder: Path, state: dict, *, rotate: bool = True) -> None:
    """Write last.pth, and keep the one that it replaces as previous.pth.

    rotate: False for the weights that last.pth has already: previous.pth then stays what it is.
    """
    last = folder / LAST
    if rotate and last.exists():
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


def require_own_folder(folder: Path, inputs: Iterable[Path] = ()) -> None:
    """InputError for the folder that the user is in, and for those above it, such as /.

    A run's folder may be renamed (--no-resume), and holds files of fixed names.

    inputs: folders that the run reads from; neither they nor those above them are a run's.
    """
    here, wanted = Path.cwd(), resolved(folder)
    if wanted == here or wanted in here.parents or wanted == Path(wanted.anchor):
        raise InputError(
            f"--run-dir {folder}: is the folder that you are in, or one above it; "
            "name a folder of the run's own"
        )
    for place in map(resolved, inputs):
        if wanted == place or wanted in place.parents:
            raise InputError(
                f"--run-dir {folder}: holds what the run reads ({place}); "
                "name a folder of the run's own"
            )


def holds_run(folder: Path) -> bool:
    """Whether there are files of a run in it."""
    return any(folder.glob("*.pth*")) or (folder / "log.jsonl").exists()


def keep_best(folder: Path) -> None:
    """For a run from scratch: rename the best.pth of an earlier one that left nothing else."""
    best = folder / BEST
    if not best.exists():
        return
    older = set_aside(best)
    print(f"{best}: of an earlier run that left no {LAST}; it is now {older.name}", flush=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def lock_run_dir(
    folder: Path, *, archive: bool = False, patience: float = 15.0
) -> Iterator[Path | None]:
    """Lock the folder for this process: two runs would overwrite each other's checkpoints.

    Makes the folder. The kernel drops the lock when the process ends, however it ends. File systems
    and systems without locks are trusted. InputError if another process still has the lock after
    `patience` seconds, which allow for a killed run's workers: they hold the inherited lock until
    they end.

    archive: once it is locked, rename the folder if a run is in it, and yield its new path; then
    lock one of the old name. Without a lock nothing is renamed.
    """
    handle = _locked(folder, patience)
    archived = None
    try:
        if archive and holds_run(folder):
            archived = set_aside(folder)
            # The first lock went with the renamed folder, and is held until there is another.
            first, handle = handle, _locked(folder, patience)
            _close(first)
        yield archived
    finally:
        _close(handle)


def _locked(folder: Path, patience: float) -> int | None:
    """A handle that holds the lock; None where there are no locks."""
    deadline = time.monotonic() + patience
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--run-dir {folder}: the folder cannot be made ({error.strerror}); name another"
            ) from error
        if fcntl is None:
            return None
        handle = os.open(folder, os.O_RDONLY)
        free = _lock(handle)
        if free and _same_folder(handle, folder):
            return handle
        os.close(handle)
        if not free:  # else somebody renamed the folder meanwhile
            if time.monotonic() > deadline:
                raise InputError(
                    f"{folder}: another process trains in it; "
                    "end that one, or choose another --checkname (or --run-dir)"
                )
            time.sleep(0.2)


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _same_folder(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False


def _lock(handle: int) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True
