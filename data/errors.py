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
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

REPORT = (
    "this is a fault of the program, not of your input; please report it with the lines above and "
    "the command"
)
# What libraries say when memory is not enough, where they raise no MemoryError.
OUT_OF_MEMORY = ("can't allocate memory", "CUDA out of memory", "Failed to allocate", "bad_alloc")
REPEATED_SECONDS = 10.0  # a second SIGTERM within this time belongs to the first
LONGEST = 1500  # characters of a message


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

    InputError, OSError and a lack of memory are the user's to mend and get no traceback; any other
    exception is a fault of ours, and its traceback is printed with a line that asks to report it.
    """
    _open_missing_streams()
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    status, text = _status_of(main)
    # At the interpreter's end a failure to write what is still buffered would be a traceback.
    lost = _flush(sys.stdout)
    if lost and text in ("", f"error: {lost}"):
        status, text = 2, f"error: the output cannot be written to stdout: {lost}"
    if text:
        _say(text)
    return status


def _status_of(main: Callable[[], int | None]) -> tuple[int, str]:
    """The status that `main` ends with, and what is to be said about it."""
    try:
        with _sigterm_as_exception():
            return main() or 0, ""
    except KeyboardInterrupt as stop:
        return 130, _ended("interrupted", stop)  # 128 + SIGINT, as shells report it
    except Terminated as stop:
        return 143, _ended("terminated", stop)  # 128 + SIGTERM
    except Exception as error:
        if users_to_mend(error):
            return 2, f"error: {one_line(error)}"
        return 1, f"{''.join(traceback.format_exception(error))}error: {REPORT}"


def _ended(word: str, stop: BaseException) -> str:
    """What is said of a signal, with what the script added to it: how to go on."""
    return shortened("; ".join([word, *map(str, stop.args)]))


def users_to_mend(error: BaseException) -> bool:
    """True for mistakes in the input, files that cannot be read or written, and lack of memory."""
    return isinstance(error, InputError | OSError) or out_of_memory(error)


def out_of_memory(error: BaseException) -> bool:
    """True if memory was not enough: PyTorch and OpenCV have errors of their own for that."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return not isinstance(error, OSError) and any(text in str(error) for text in OUT_OF_MEMORY)


def one_line(error: BaseException) -> str:
    """What an exception says, on one line: an OSError with its file first."""
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{_name_of(error.filename)}: "
        return shortened(f"{where}{error.strerror}")
    text = str(error)
    # A DataLoader raises a worker's error again with the worker's traceback as its message. The
    # last line of that is "SomeError: the message".
    if "Original Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    if out_of_memory(error):
        text = f"not enough memory ({text})" if text else "not enough memory"
    return shortened(" ".join(text.split()) or type(error).__name__)


def shortened(text: str) -> str:
    """What a file holds can be a megabyte long, and a message may repeat it."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 300]} … {text[-300:]}"


def _name_of(file: object) -> str:
    """A file's path, or the number of a descriptor."""
    return os.fsdecode(file) if isinstance(file, str | bytes | os.PathLike) else str(file)


def quiet_interrupts() -> None:
    """From now on Ctrl-C ends the process at once, with one line: for imports, until `run`.

    An exception would not do: what is imported may catch it, or it may come where Python can only
    print it. Where Ctrl-C is ignored (nohup, jobs in the background), it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):  # stderr may be closed
        os.write(2, b"interrupted\n")
    os._exit(130)


def _say(text: str) -> None:
    """Print on stderr, if that is possible: closed or on a full disk, it changes no status."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr)
    _flush(sys.stderr)


def _flush(stream: TextIO) -> str:
    """Write what is still buffered; why if that fails, else ""."""
    try:
        stream.flush()
    except (OSError, ValueError) as error:
        # The interpreter tries it once more at its end; that goes nowhere.
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        return one_line(error) if isinstance(error, OSError) else "it is closed"
    return ""


def _open_missing_streams() -> None:
    """Print to nowhere where the caller has closed stdout or stderr: tqdm would fail on None.

    No file may get their numbers either, or what C libraries print on stderr would go into it. And
    a name that is no UTF-8 must not end a run when it is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
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
    first = -REPEATED_SECONDS

    def terminate(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        if os.getpid() != owner:  # a forked worker, which has nothing to close
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        # Schedulers may send it to the process and again to its group; closing goes on. Not for
        # good: raised within a callback of a library, the first may have come to nothing.
        if time.monotonic() - first >= REPEATED_SECONDS:
            first = time.monotonic()
            raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
