"""The folder of results, looked at before the work: it can be written, and is no input."""

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from data.errors import InputError, one_line
from data.files import resolved

PROBE_BYTES = 1 << 20  # about what a test writes
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
    created = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out, prefix=".probe", suffix=".part") as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise InputError(
            f"{out}: results cannot be written there ({reason}); give another folder with --out"
        ) from error
    finally:
        for folder in created:
            with contextlib.suppress(OSError):
                folder.rmdir()
