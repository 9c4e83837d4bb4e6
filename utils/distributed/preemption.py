"""Ending early and in order when a scheduler's signal asks for it."""

import os
import signal
import threading
from types import FrameType
from typing import Any

# Exit status of a run that is to be started again: EX_TEMPFAIL of sysexits.h.
REQUEUE = 75
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(Exception):
    """The run was asked to stop and has written its checkpoint."""


class StopRequest:
    """True once SIGTERM or SIGUSR1 has come; within `with`, they no longer end the process."""

    def __init__(self) -> None:
        self.name = ""
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

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name


def leave_process_group() -> None:
    """Put a worker process into a process group of its own.

    Schedulers and terminals signal a whole group, and the main process still needs its workers
    then. (If workers ignored the signals instead, one could outlive the main process, which ends
    its workers by SIGTERM.)
    """
    os.setpgid(0, 0)
