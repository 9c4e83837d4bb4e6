"""Holding back what C libraries print on stderr while they decode.

libjpeg and libpng report damaged pixels there and nowhere else.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

STDERR = 2
_one_at_a_time = threading.Lock()


@dataclass
class Held:
    """What was printed; complete when the block has ended."""

    text: bytes = b""


@contextlib.contextmanager
def held_stderr() -> Iterator[Held]:
    """Collect what this process prints on file descriptor 2 within the block.

    Where that descriptor is closed, or no temporary file can be had, nothing is held back.
    """
    held = Held()
    with _one_at_a_time, contextlib.ExitStack() as closing:
        try:
            file = closing.enter_context(_memory_file())
            before = os.dup(STDERR)
        except OSError:
            yield held
            return
        closing.callback(os.close, before)
        os.dup2(file.fileno(), STDERR)
        try:
            yield held
        finally:
            os.dup2(before, STDERR)
            file.seek(0)
            held.text = file.read()


def _memory_file() -> IO[bytes]:
    """A file in memory where the system has such (about 10 us), else one on disk."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("held"), "w+b", buffering=0)  # noqa: PTH123
    return tempfile.TemporaryFile(buffering=0)
