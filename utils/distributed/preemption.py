"""Leaving early and in order: what a scheduler's signal asks for."""

import os
import signal
import threading
from types import FrameType

REQUEUE = 75  # exit status of a run that is to be started again: EX_TEMPFAIL of sysexits.h
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(Exception):
    """The run was asked to stop and has written its checkpoint."""


class StopRequest:
    """True once SIGTERM or SIGUSR1 has come; within `with`, they no longer end the process."""

    def __init__(self) -> None:
        self.name = ""
        self._before: dict[int, object] = {}

    def __bool__(self) -> bool:
        return bool(self.name)

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # no other may install handlers
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name


def leave_process_group() -> None:
    """For worker processes: schedulers and terminals signal a whole group, and the main process still needs its workers then.

    (To ignore the signals instead would let a worker outlive the main process, which ends its workers by SIGTERM.)
    """
    os.setpgid(0, 0)
