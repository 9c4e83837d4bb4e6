"""The folder of results, looked at before the work: it can be written, and is no input."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from data.errors import InputError
from data.files import require_writable, resolved

RESULTS = ("metrics.json", "report.html", "scores.csv", "curves.csv", "confusion.csv", "counts.npz")


def require_out_dir(out: Path, inputs: Iterable[Path | None]) -> None:
    """InputError unless results can be written to the folder `out`, and it is none of the inputs.

    Nothing is left there: folders that had to be made are removed again.
    """
    for given in inputs:
        if given is not None and resolved(out) == resolved(given):
            raise InputError(f"--out {out}: is a folder of inputs; choose another")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; expected a folder")
    for name in RESULTS:
        if (out / name).is_dir():
            raise InputError(f"{out / name}: is a folder, where a file is to be written; remove it")
    require_writable(out)


def out_of_task(out: Path, task: str, tasks: Sequence[str]) -> Path:
    """The folder of a task's results: `out` itself, or of several tasks one in it for each."""
    return out / task if len(tasks) > 1 else out
