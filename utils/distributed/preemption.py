"""Ending early and in order when a scheduler's signal asks for it."""

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from data.system.process import end_with_parent

# Exit status of a run that is to be started again: EX_TEMPFAIL of sysexits.h.
REQUEUE = 75
# Windows has no SIGUSR1.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Preempted(Exception):
    """The run was asked to stop and has written its checkpoint."""


class StopRequest:
    """True once SIGTERM or SIGUSR1 has come; within `with`, they no longer end the process.

    But SIGTERM does until `hold_sigterm` is called: before a run has anything to save, waiting for
    its first step (on a large data set, minutes) would only take it past the scheduler's patience.
    """

    def __init__(self) -> None:
        self.name = ""
        self.holds_sigterm = False
        self._previous: dict[signal.Signals, Any] = {}  # the handlers to put back

    def __bool__(self) -> bool:
        return bool(self.name)

    def __enter__(self) -> "StopRequest":
        # Python allows no other thread to install handlers.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def hold_sigterm(self) -> None:
        """From now on the run ends after a step, with its checkpoint written."""
        self.holds_sigterm = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        before = self._previous.get(signal.Signals(number))
        if number == signal.SIGTERM and not self.holds_sigterm and callable(before):
            before(number, frame)
        self.name = signal.Signals(number).name


def start_worker(parent: int | None = None) -> None:
    """In each worker process: it ends with its parent, and leaves the parent's process group.

    parent: see `end_with_parent`.

    Schedulers and terminals signal a whole group, and the main process still needs its workers
    then. (If workers ignored the signals instead, one could outlive the main process, which ends
    its workers by SIGTERM.) Windows has no such groups.
    """
    end_with_parent(parent)
    if hasattr(os, "setpgid"):
        with suppress(PermissionError):  # it leads a session of its own
            os.setpgid(0, 0)
