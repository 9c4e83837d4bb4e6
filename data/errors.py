"""What is the user's to mend, and how every script ends: 0 if all of it worked, else one clear line and status 2."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """A mistake in what the user gave us: files, flags, values. Scripts print it as one line and exit with status 2."""


def run(main: Callable[[], int | None]) -> int:
    """Call `main` and return the exit status. InputError and OSError are the user's to mend, so they get no traceback."""
    try:
        return main() or 0
    except (InputError, OSError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = str(error)
    if (
        "Original Traceback" in text
    ):  # raised in a worker of a DataLoader, whose last line is the error itself
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())
