"""One import at a time into a folder: two would give their classes the same ids."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from data.errors import InputError


@contextlib.contextmanager
def sole_import(out: Path) -> Iterator[None]:
    """Keep other imports out of `out` while the block runs; InputError if one is in there.

    The folder itself is locked, so that nothing is left by a process that is killed. It is made
    for that, and removed again if the block leaves it empty. Where nothing can be locked (Windows,
    some network file systems, a path that is no folder), the block runs as it is.
    """
    created = [place for place in (out, *out.parents) if not place.exists()]
    try:
        import fcntl

        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except (ImportError, OSError):
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"--out {out}: another import is writing into it; wait until it has ended"
            ) from error
        except OSError:  # no locks on this file system
            created = []
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # what is not empty stays
                for place in created:
                    place.rmdir()
    finally:
        os.close(descriptor)
