"""Mistakes that the user can mend, and how every script ends.

Status 0, or 2 with one clear line; 130 and 143 after SIGINT and SIGTERM; 1 with a traceback for a
fault of ours. Nearly every module imports this one, so it imports nothing of ours and nothing that
takes long.
"""

import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType

REPORT = (
    "this is a fault of the program, not of your input; please report it with the lines above and "
    "the command"
)


class InputError(ValueError):
    """A mistake in what the user gave: files, flags, values.

    `run` prints it as one line and exits with status 2, so the message has to say what was found,
    what was expected, and what to do.
    """


class Terminated(BaseException):
    """SIGTERM has come: what is open is closed on the way up, and `run` exits with 143.

    No Exception, so that nothing that goes on after a failure takes it for one.
    """


def run(main: Callable[[], int | None]) -> int:
    """Call `main` and return the exit status of the process.

    InputError, OSError and MemoryError are the user's to mend and get no traceback; any other
    exception is a fault of ours, and its traceback is printed with a line that asks to report it.
    """
    _open_missing_streams()
    try:
        with _sigterm_as_exception():
            return main() or 0
    except (InputError, OSError, MemoryError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # 128 + SIGINT, as shells report it
    except Terminated:
        print("terminated", file=sys.stderr)
        return 143  # 128 + SIGTERM
    except Exception:
        traceback.print_exc()
        print(f"error: {REPORT}", file=sys.stderr)
        return 1


def one_line(error: BaseException) -> str:
    """What an exception says, on one line: an OSError with its file first."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    text = str(error)
    # A DataLoader raises a worker's error again with the worker's traceback as its message. The
    # last line of that is "SomeError: the message".
    if "Original Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    if isinstance(error, MemoryError):
        text = f"not enough memory ({text})" if text else "not enough memory"
    return " ".join(text.split()) or type(error).__name__


def quiet_interrupts() -> None:
    """From now on Ctrl-C outside of `run`, during imports, ends the process in one line."""
    sys.excepthook = _hook


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        with contextlib.suppress(OSError, AttributeError):  # stderr may be closed
            print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _open_missing_streams() -> None:
    """Print to nowhere where the caller has closed stdout or stderr: tqdm would fail on None.

    And a name that is no UTF-8 must not end a run when it is printed.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (to the end)
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    """Raise Terminated in the main thread when SIGTERM comes."""
    # Python lets no other thread install handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def terminate(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker, which has nothing to close
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        # Schedulers may send it to the process and again to its group; closing goes on.
        signal.signal(number, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
