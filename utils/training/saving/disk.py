"""Whether a run can write its files: asked before its first step."""

import os
import shutil
from pathlib import Path

from torch import nn

from data.errors import InputError
from data.files import require_file, require_writable
from utils.training.run_dir import LAST, PREVIOUS
from utils.training.saving.divergence import NOTE

OUTPUTS = (LAST, PREVIOUS, "best.pth", "args.json", "log.jsonl", "curves.png", NOTE)
SLACK = 16 * 2**20  # for the log and its curves
GIB = 2**30


def require_run_files(folder: Path) -> None:
    """InputError if files cannot be made in the folder, or something else has their names."""
    for name in OUTPUTS:
        if os.path.lexists(folder / name):
            require_file(folder / name, "file of the run")
    require_writable(folder, "--run-dir")


def checkpoint_bytes(model: nn.Module, *, momenta: int, average: bool) -> tuple[int, int]:
    """The sizes of last.pth and best.pth, but for what is not a tensor.

    momenta: numbers that the optimizer keeps of each weight.
    """
    weights = sum(value.nbytes for value in model.state_dict().values())
    kept = momenta * sum(value.nbytes for value in model.parameters())
    return weights * (1 + average) + kept, weights


def require_space(folder: Path, checkpoint: int, best: int) -> str | None:
    """Look at the free space of the folder's disk.

    A run takes the room of two checkpoints while it writes the third in place of the first, and
    the same of best.pth. Those that are there already count.

    Args:
        folder: of the run.
        checkpoint: bytes of last.pth.
        best: bytes of best.pth.

    Returns a warning, or None. InputError if not even one checkpoint can be written.
    """
    free = shutil.disk_usage(folder).free
    sizes = {path.stat().st_ino: path.stat().st_size for path in _checkpoints(folder)}
    needed = 2 * checkpoint + 2 * best + SLACK
    if free + _replaced(folder) < checkpoint:
        raise InputError(
            f"{folder}: {free / GIB:.2f} GiB are free, and a checkpoint of this run takes "
            f"{checkpoint / GIB:.2f} GiB; free some space, or choose another --run-dir"
        )
    if free + sum(sizes.values()) < needed:
        return (
            f"warning: {folder}: {free / GIB:.2f} GiB are free; the checkpoints of this run may "
            f"take {needed / GIB:.2f} GiB in all"
        )
    return None


def _checkpoints(folder: Path) -> list[Path]:
    paths = (folder / name for name in (LAST, PREVIOUS, "best.pth"))
    return [path for path in paths if path.exists()]


def _replaced(folder: Path) -> int:
    """Bytes that the next write frees first: of previous.pth, unless it is last.pth's file."""
    last, previous = folder / LAST, folder / PREVIOUS
    if not previous.exists() or not last.exists() or last.samefile(previous):
        return 0
    return previous.stat().st_size
