"""A run whose loss was not finite: what is said, and from which checkpoint it is started again.

`diverged.json` says after which checkpoint it happened. If that was right after last.pth, whose
weights are finite then but no good, the next start renames it and goes back to previous.pth.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from data.errors import InputError
from data.files import read_json, write_aside
from utils.training.run_dir import LAST, PREVIOUS

NOTE = "diverged.json"
SET_ASIDE = f"{LAST}.diverged"  # a last.pth right after which the loss was not finite
NEAR = 20  # steps after a checkpoint within which the weights of the checkpoint are to blame


@dataclass(frozen=True)
class Divergence:
    """`epoch`, `step`: of the checkpoint. after: steps from it to the loss that was not finite."""

    epoch: int
    step: int
    after: int

    def write(self, folder: Path) -> None:
        """Leave the note for the next start."""
        with write_aside(folder / NOTE) as aside:
            aside.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    def is_of(self, state: dict) -> bool:
        """Whether this checkpoint is the one."""
        return (self.epoch, self.step) == (state["epoch"], state.get("step", 0))


def read_divergence(folder: Path) -> Divergence | None:
    """The note of a run that diverged right after a checkpoint; None without one.

    A damaged note is none: it only saves an attempt.
    """
    if not (folder / NOTE).exists():
        return None
    try:
        found = read_json(folder / NOTE)
        return Divergence(**{name: int(found[name]) for name in ("epoch", "step", "after")})
    except (InputError, TypeError, KeyError, ValueError):
        return None


def forget_divergence(folder: Path) -> None:
    """Remove the note: there is another checkpoint now."""
    (folder / NOTE).unlink(missing_ok=True)


def remedy(folder: Path, found: Divergence | None, *, lr: object, blamed: bool) -> str:
    """What is kept, and what to do about numbers that are not finite.

    Args:
        folder: of the run.
        found: after which checkpoint it happened; None if there is none.
        lr: the learning rate of the command.
        blamed: that checkpoint is last.pth, and is no good.
    """
    lower = f"a lower --lr, such as {lr / 4:g}" if isinstance(lr, int | float) else "a lower --lr"
    if found is None:
        return f"no checkpoint was written before; try {lower}"
    change = f"try {lower}, with --resume-with lr"
    if (folder / SET_ASIDE).exists():
        change = f"it has diverged before ({SET_ASIDE}), and would again; {change}"
    where = f"step {found.step} of epoch {found.epoch + 1}"
    if not blamed:
        name = LAST if (folder / LAST).exists() else "the checkpoint"
        return f"{name} of before ({where}) is kept; {change}"
    if not (folder / PREVIOUS).exists():
        return (
            f"that is right after {LAST} ({where}), the only checkpoint, which is kept; {change}, "
            "or start again with --no-resume"
        )
    return (
        f"that is right after {LAST} ({where}), which is kept; the next start goes back to "
        f"{PREVIOUS}; {change}"
    )


def blames_checkpoint(found: Divergence, *, changed: bool) -> bool:
    """Whether the checkpoint itself is no good, and not what has happened since.

    A loss of its own weights says so. A few steps later it may have been the new flags.
    """
    return found.after <= 0 or (found.after <= NEAR and not changed)
