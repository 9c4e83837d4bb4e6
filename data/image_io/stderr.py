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
    """What decoders printed; complete when the block has ended.

    shared: another thread was in such a block meanwhile, and some of the text may be of its image.
    """

    text: bytes = b""
    shared: bool = False


class _Redirection:
    """Descriptor 2 leads to a file while a thread is inside; threads are inside side by side."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.inside: list[Held] = []
        self.alone = False
        self.file: IO[bytes] | None = None
        self.before: int | None = None  # where descriptor 2 led
        self.passed = 0  # bytes of the file whose other lines have been passed on

    def enter(self, held: Held, alone: bool) -> int:
        """Wait for the turn, and return where the text begins that is printed from now on."""
        with self.condition:
            self.condition.wait_for(lambda: not self.inside or not (alone or self.alone))
            if not self.inside:
                self._open()
            for other in (held, *self.inside) if self.inside else ():
                other.shared = True
            self.inside.append(held)
            self.alone = alone
            return 0 if self.file is None else os.fstat(self.file.fileno()).st_size

    def leave(self, held: Held, start: int) -> None:
        """Complete what was held, and pass on what others have printed."""
        with self.condition:
            self.inside = [other for other in self.inside if other is not held]
            if self.file is not None:
                if not self.inside and self.before is not None:
                    os.dup2(self.before, STDERR)  # first: nothing may be printed behind `end`
                end = os.fstat(self.file.fileno()).st_size
                held.text, _ = _split(os.pread(self.file.fileno(), end - start, start))
                self._pass_on(end)
                if not self.inside:
                    self._close()
            self.condition.notify_all()

    def forget(self) -> None:
        """In a forked child: threads that were inside are not there any more."""
        if self.before is not None:
            os.dup2(self.before, STDERR)
        self.__init__()

    def _open(self) -> None:
        """Redirect; where descriptor 2 is closed, or there is no file to be had, do nothing."""
        with contextlib.suppress(OSError):
            file = _memory_file()
            try:
                self.before = os.dup(STDERR)
            except OSError:
                file.close()
                raise
            os.dup2(file.fileno(), STDERR)
            self.file, self.passed = file, 0

    def _pass_on(self, end: int) -> None:
        assert self.file is not None
        assert self.before is not None
        _, other = _split(os.pread(self.file.fileno(), end - self.passed, self.passed))
        self.passed = end
        if other:
            with contextlib.suppress(OSError):
                os.write(self.before, other)

    def _close(self) -> None:
        assert self.file is not None
        assert self.before is not None
        os.close(self.before)
        self.file.close()
        self.file = self.before = None


_redirection = _Redirection()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_redirection.forget)


@contextlib.contextmanager
def held_stderr(*, alone: bool = False) -> Iterator[Held]:
    """Collect what decoders print on file descriptor 2 within the block.

    Where that descriptor is closed, or no temporary file can be had, nothing is held back.

    alone: wait until no other thread is in such a block, so that the text is of this one.
    """
    held = Held()
    start = _redirection.enter(held, alone)
    try:
        yield held
    finally:
        _redirection.leave(held, start)


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
