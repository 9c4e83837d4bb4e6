"""Mistakes that the user can mend, and how every script ends: status 0, or 2 with one clear line.

Nearly every module imports this one, so it imports nothing of ours and nothing that takes long.
"""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """A mistake in what the user gave: files, flags, values.

    `run` prints it as one line and exits with status 2, so the message has to say what was found,
    what was expected, and what to do.
    """


def run(main: Callable[[], int | None]) -> int:
    """Call `main` and return the exit status of the process.

    InputError and OSError are the user's to mend and get no traceback; any other exception is a
    fault of ours and is raised.
    """
    try:
        return main() or 0
    except (InputError, OSError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # 128 + SIGINT, as shells report it


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = str(error)
    # A DataLoader raises a worker's error again with the worker's traceback as its message. The
    # last line of that is "SomeError: the message".
    if "Original Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())
