"""Holding back what C libraries print on stderr while they decode.

libjpeg reports damaged pixels there and nowhere else. File descriptor 2 belongs to the whole
process, so what other threads print meanwhile is passed on when the block has ended; and a program
that another thread starts meanwhile, by fork and exec, keeps the descriptor that collects.
"""

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

STDERR = 2
# How lines begin that libjpeg, libpng and libtiff print, and OpenCV's log, whose other lines
# begin with ">" or are empty. All that begins otherwise was printed by somebody else.
DECODERS = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Invalid SOS|Invalid SOF|Inconsistent progression|"
    rb"Unknown Adobe color|Warning: unknown JFIF|Unsupported (JPEG|marker)|JPEG datastream|"
    rb"Application transferred|Invalid crop|libpng (warning|error)|\[ *[A-Z]+:\d+@|>|"
    rb"TIFF\w+: |.{0,80}: (Warning|Error), |\s*$"
)


@dataclass
class Held:
    """What decoders printed; complete when the block has ended."""

    text: bytes = b""


class _Redirection:
    """At most one at a time, of the whole process: the lock, and where descriptor 2 led before."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.before: int | None = None

    def forget(self) -> None:
        """In a forked child: another thread held the lock, and is not there any more."""
        self.lock = threading.Lock()
        if self.before is not None:
            os.dup2(self.before, STDERR)
            self.before = None


_redirection = _Redirection()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_redirection.forget)


@contextlib.contextmanager
def held_stderr() -> Iterator[Held]:
    """Collect what decoders print on file descriptor 2 within the block.

    Where that descriptor is closed, or no temporary file can be had, nothing is held back.
    """
    held = Held()
    with _redirection.lock, contextlib.ExitStack() as closing:
        try:
            file = closing.enter_context(_memory_file())
            before = os.dup(STDERR)
        except OSError:
            yield held
            return
        closing.callback(os.close, before)
        _redirection.before = before
        os.dup2(file.fileno(), STDERR)
        try:
            yield held
        finally:
            os.dup2(before, STDERR)
            _redirection.before = None
            file.seek(0)
            held.text, other = _split(file.read())
            if other:
                with contextlib.suppress(OSError):
                    os.write(STDERR, other)


def _split(text: bytes) -> tuple[bytes, bytes]:
    """(what decoders printed, the rest), each in its order."""
    # At "\n" only: a progress bar begins its line with "\r".
    lines = [line for line in re.split(rb"(?<=\n)", text) if line]
    decoders = [bool(DECODERS.match(line)) for line in lines]
    return (
        b"".join(line for line, known in zip(lines, decoders, strict=True) if known),
        b"".join(line for line, known in zip(lines, decoders, strict=True) if not known),
    )


def _memory_file() -> IO[bytes]:
    """A file in memory where the system has such (about 10 us), else one on disk."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("held"), "w+b", buffering=0)  # noqa: PTH123
    return tempfile.TemporaryFile(buffering=0)
