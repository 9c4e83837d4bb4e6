"""Where a started run resumes: its checkpoint is found, checked and read once, and handed on.

Whether the command is the one that wrote the checkpoint is asked by
`utils.training.saving.command`. Putting the state back into net and optimizer is the trainer's
(`Trainer.restore`).
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.files import require_file
from utils.checkpoint import CheckpointError, read_checkpoint
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main
from utils.model_info import thresholds_fault
from utils.training.logger import validation_of
from utils.training.run_dir import (
    LAST,
    PREVIOUS,
    lock_run_dir,
    remove_partial_files,
    require_own_folder,
)
from utils.training.saving.disk import require_run_files
from utils.training.saving.divergence import SET_ASIDE, forget_divergence, read_divergence
from utils.training.saving.fields import require_run_state
from utils.training.saving.finite import first_not_finite
from utils.training.validation import SCORES


@dataclass(frozen=True)
class RunCheckpoint:
    """A checkpoint that a run can resume from: its file, and everything in it."""

    path: Path
    state: dict


def open_run_dir(
    folder: Path,
    resume: str | None,
    ranks: Ranks,
    closing: contextlib.ExitStack,
    inputs: Iterable[Path] = (),
) -> RunCheckpoint | None:
    """Make the run's folder, lock it until `closing` closes, and read what to resume from.

    The main rank does so for all; the others then read the file that it has checked.

    Args:
        folder: of the run.
        resume: "auto" (the newest intact checkpoint, if there is any), "last" (there must be one),
            a path, or None (start from scratch, and rename a folder that holds a run already).
        ranks: all processes of the run.
        closing: holds the lock.
        inputs: folders that the run reads from, which are not its own.

    Returns None to start from scratch. CheckpointError if there is nothing intact to resume from.
    """
    found: RunCheckpoint | None = None

    def prepare() -> tuple[Path, dict | None] | None:
        nonlocal found
        require_own_folder(folder, inputs)
        archived = closing.enter_context(lock_run_dir(folder, archive=resume is None))
        if archived is not None:
            print(f"--no-resume: the run that was in {folder} is now in {archived}")
        require_run_files(folder)
        remove_partial_files(folder)
        found = _find(folder, resume)
        return None if found is None else (found.path, _validation(folder, found))

    answer = from_main(prepare, ranks)
    if answer is None:
        return None
    path, validation = answer
    if found is None:
        found = RunCheckpoint(path, read_checkpoint(path))
    return found if validation is None else replace(found, state=_validated(found, validation))


def _validation(folder: Path, checkpoint: RunCheckpoint) -> dict | None:
    """The line of the validation that followed a checkpoint of all steps of an epoch, if any.

    The checkpoint is written before the validation, so that nothing is lost if that fails.
    """
    state = checkpoint.state
    complete = 0 < state.get("steps", 0) == state["step"]
    if not complete or checkpoint.path.parent != folder:
        return None
    return validation_of(folder / "log.jsonl", state["epoch"])


def _validated(checkpoint: RunCheckpoint, validation: dict) -> dict:
    """The checkpoint's state at the beginning of the next epoch."""
    state = checkpoint.state
    followed = next((name for name in SCORES if name in validation), "")
    score = validation.get(followed)
    best = [score] if isinstance(score, int | float) else []
    begin = {"epoch": state["epoch"] + 1, "step": 0, "sums": {}, "seconds": 0.0, "waited": 0.0}
    found = state | begin | {"best": max([state["best"], *best])}
    thresholds = validation.get("thresholds")  # of a net that finds some edges
    if not isinstance(thresholds, list) or thresholds_fault(thresholds, len(thresholds)):
        return found
    return found | {"thresholds": thresholds}


def _find(folder: Path, resume: str | None) -> RunCheckpoint | None:
    if resume is None:
        return None
    if resume not in ("auto", "last"):
        return read_run_checkpoint(Path(resume))
    found = newest_intact(folder)
    if found is None and resume == "last":
        raise CheckpointError(
            f"--resume: {folder / LAST}: no such weight file; leave --resume out to start"
        )
    return found


def newest_intact(folder: Path) -> RunCheckpoint | None:
    """The newest checkpoint of a run that passes the integrity check; None if there is none at all.

    A damaged one is reported and renamed to `<name>.corrupt`. One right after which the run has
    diverged is renamed to last.pth.diverged if there is one before it. CheckpointError if all are
    damaged.
    """
    paths = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in paths:
        try:
            found = read_run_checkpoint(path)
        except CheckpointError as error:
            path.replace(path.with_name(f"{path.name}.corrupt"))
            print(
                f"{error}; kept as {path.name}.corrupt, going back to the checkpoint before it",
                flush=True,
            )
        else:
            return _before_divergence(folder, found)
    if paths:
        raise CheckpointError(
            f"{folder}: none of its checkpoints is intact; start again with --no-resume"
        )
    return None


def _before_divergence(folder: Path, newest: RunCheckpoint) -> RunCheckpoint:
    """previous.pth if the loss was not finite right after `newest`, which then is last.pth."""
    note = read_divergence(folder)
    if note is None or not note.is_of(newest.state) or newest.path.name != LAST:
        return newest
    try:
        previous = read_run_checkpoint(folder / PREVIOUS)
    except (CheckpointError, FileNotFoundError):
        print(f"the loss was not finite right after {LAST}; no checkpoint is before it", flush=True)
        return newest
    newest.path.replace(folder / SET_ASIDE)
    forget_divergence(folder)
    print(
        f"the loss was not finite right after {LAST}; going back to {PREVIOUS} "
        f"({LAST} is kept as {SET_ASIDE})",
        flush=True,
    )
    return previous


def go_back(
    folder: Path, checkpoint: RunCheckpoint, reason: Exception, ranks: Ranks
) -> RunCheckpoint:
    """previous.pth in place of a last.pth that does not fit the net; else `reason` is raised."""

    def find() -> Path:
        if checkpoint.path != folder / LAST or not (folder / PREVIOUS).exists():
            raise CheckpointError(f"{checkpoint.path}: {reason}") from reason
        checkpoint.path.replace(folder / f"{LAST}.corrupt")
        print(
            f"{checkpoint.path}: {reason}; kept as {LAST}.corrupt, "
            "going back to the checkpoint before it",
            flush=True,
        )
        return folder / PREVIOUS

    return read_run_checkpoint(from_main(find, ranks))


def require_run_classes(checkpoint: RunCheckpoint, classes: Sequence[str]) -> None:
    """CheckpointError if the data set has other classes than when the run began, or in an order.

    classes: of the data set. Where the number differs, nothing fits; where it does not, a run would
    go on with its classes exchanged.
    """
    model = checkpoint.state.get("model")
    theirs = model.get("classes") if isinstance(model, dict) else None
    if theirs and list(theirs) != list(classes):
        number = next((k for k, pair in enumerate(zip(theirs, classes, strict=False))
                       if pair[0] != pair[1]), min(len(theirs), len(classes)))  # fmt: skip
        then, now = (
            repr(names[number]) if number < len(names) else "none" for names in (theirs, classes)
        )
        raise CheckpointError(
            f"{checkpoint.path} was trained on {len(theirs)} classes, and the data set has "
            f"{len(classes)}: class {number + 1} was {then}, and is {now}; put the classes back, "
            "or start a new run with --init-from and --reset-classifier in another --run-dir"
        )


def read_run_checkpoint(path: Path) -> RunCheckpoint:
    """Check a run's checkpoint and read it; CheckpointError says in one line what is wrong."""
    require_file(path, "weight file")
    state = read_checkpoint(path)
    if "optimizer" not in state:
        raise CheckpointError(
            f"{path} holds weights only; resume from last.pth, or start from it with --init-from"
        )
    require_run_state(state, path)
    name = first_not_finite(state)
    if name is not None:
        raise CheckpointError(f"{path}: {name} is not finite: the run had diverged")
    return RunCheckpoint(path, state)
