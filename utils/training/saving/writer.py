"""Writing last.pth: never with tensors that are not finite, and knowing what the next start takes.

All methods but `is_due` are called by all ranks, which then end together if one has to.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from data.errors import InputError
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main, gather_objects
from utils.training.run_dir import save_last
from utils.training.saving.divergence import (
    Divergence,
    blames_checkpoint,
    forget_divergence,
    remedy,
)
from utils.training.saving.finite import first_not_finite
from utils.training.state import Progress


class CheckpointWriter:
    """Writes a run's checkpoints, and ends it where its numbers are not finite.

    base: where the checkpoint is from which the next start would go on; None before the first.

    Args:
        folder: of the run.
        ranks: all processes of the run; the main one writes.
        lr: of the command, for advice.
        changed: the command goes on with other flags than those of the checkpoint.
    """

    def __init__(self, folder: Path, ranks: Ranks, *, lr: object, changed: bool) -> None:
        self.folder = folder
        self.ranks = ranks
        self.lr = lr
        self.changed = changed
        self.base: Progress | None = None
        self.in_last = False  # `base` is that of this folder's last.pth
        self.written = time.monotonic()

    def resume(self, progress: Progress, *, from_last: bool) -> None:
        """Say from where the run goes on, and whether that is the folder's own last.pth."""
        self.base = replace(progress)
        self.in_last = from_last

    def is_due(self, minutes: float) -> bool:
        """Whether so much time has passed since the last one; never with 0."""
        return minutes > 0 and time.monotonic() - self.written > 60 * minutes

    def write(self, progress: Progress, state: Callable[[], dict], *, again: bool = False) -> None:
        """Write last.pth, unless it is of this place in the run already.

        InputError, with the old file kept, if a tensor is not finite. again: write it in any case.
        """
        base = self.base if self.in_last else None
        if base and not again and (base.epoch, base.step) == (progress.epoch, progress.step):
            return

        def write() -> None:
            contents = state()
            self._require_finite(progress, contents)
            moved = base is None or base.total != progress.total
            save_last(self.folder, contents, rotate=moved)
            if moved:
                forget_divergence(self.folder)

        from_main(write, self.ranks)
        self.changed &= again  # the flags of the checkpoint are those of the command now
        self.resume(progress, from_last=True)
        self.written = time.monotonic()

    def require_finite(self, progress: Progress, state: Callable[[], dict]) -> None:
        """InputError if there is a tensor that no run could resume from."""
        from_main(lambda: self._require_finite(progress, state()), self.ranks)

    def _require_finite(self, progress: Progress, state: dict) -> None:
        name = first_not_finite(state)
        if name is not None:
            advice = remedy(self.folder, self._since(progress.total), lr=self.lr, blamed=False)
            raise InputError(
                f"{name} is not finite after {progress.place}; no checkpoint of that is written, "
                f"{advice}"
            )

    def end_diverged(self, fault: str, at: int) -> NoReturn:
        """Leave a note for the next start, and end with an InputError on all ranks.

        Args:
            fault: what has happened; "" on ranks that did not see it.
            at: the steps of the run that were done when it was computed.
        """
        fault, at = next(found for found in gather_objects((fault, at), self.ranks) if found[0])
        found = self._since(at)
        blamed = bool(found) and self.in_last and blames_checkpoint(found, changed=self.changed)
        advice = remedy(self.folder, found, lr=self.lr, blamed=blamed)
        if found and blamed and self.ranks.is_main:
            found.write(self.folder)
        raise InputError(f"{fault}; {advice}")

    def _since(self, total: int) -> Divergence | None:
        base = self.base
        return base and Divergence(base.epoch, base.step, total - base.total)
