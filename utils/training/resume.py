"""Where a started run resumes: its checkpoint is found, checked and read once, and handed on.

Also here: whether the command is the one that wrote the checkpoint. Putting the state back into
net and optimizer is the trainer's (`Trainer.restore`).
"""

import contextlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from utils.checkpoint import CheckpointError, read_checkpoint
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main
from utils.training.objective import default_loss, losses_of
from utils.training.run_dir import (
    LAST,
    PREVIOUS,
    archive_run_dir,
    lock_run_dir,
    remove_partial_files,
)

# Flags in which a resumed command may differ: where the run is, what it writes and how often, and
# how the same numbers are computed. Of what is computed, only --accumulate (the batches of batch
# normalization) and the flags of rounding (--device, --compile, --fast, --tf32, --deterministic)
# change anything.
FREE_ON_RESUME = {
    *("resume", "run_dir", "data_root", "recipe", "workers", "device", "accumulate"),
    *("save_every", "save_every_minutes", "profile", "wandb", "tensorboard", "timeout_minutes"),
    *("compile", "fast", "tf32", "deterministic"),
}


@dataclass(frozen=True)
class RunCheckpoint:
    """A checkpoint that a run can resume from: its file, and everything in it."""

    path: Path
    state: dict


def open_run_dir(
    folder: Path, resume: str | None, ranks: Ranks, closing: contextlib.ExitStack
) -> RunCheckpoint | None:
    """Make the run's folder, lock it until `closing` closes, and read what to resume from.

    The main rank does so for all; the others then read the file that it has checked.

    Args:
        folder: of the run.
        resume: "auto" (the newest intact checkpoint, if there is any), "last" (there must be one),
            a path, or None (start from scratch, and rename a folder that holds a run already).
        ranks: all processes of the run.
        closing: holds the lock.

    Returns None to start from scratch. CheckpointError if there is nothing intact to resume from.
    """
    found: RunCheckpoint | None = None

    def prepare() -> Path | None:
        nonlocal found
        if resume is None and any((folder / name).exists() for name in (LAST, PREVIOUS)):
            archived = archive_run_dir(folder)
            print(f"--no-resume: the run that was in {folder} is now in {archived}")
        folder.mkdir(parents=True, exist_ok=True)
        closing.enter_context(lock_run_dir(folder))
        remove_partial_files(folder)
        found = _find(folder, resume)
        return None if found is None else found.path

    path = from_main(prepare, ranks)
    if path is None or found is not None:
        return found
    return RunCheckpoint(path, read_checkpoint(path))


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

    A damaged one is reported and renamed to `<name>.corrupt`. CheckpointError if all are damaged.
    """
    paths = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in paths:
        try:
            return read_run_checkpoint(path)
        except CheckpointError as error:
            path.replace(path.with_name(f"{path.name}.corrupt"))
            print(
                f"{error}; kept as {path.name}.corrupt, going back to the checkpoint before it",
                flush=True,
            )
    if paths:
        raise CheckpointError(
            f"{folder}: none of its checkpoints is intact; start again with --no-resume"
        )
    return None


def read_run_checkpoint(path: Path) -> RunCheckpoint:
    """Check a run's checkpoint and read it; CheckpointError says in one line what is wrong."""
    try:
        if path.is_file():  # else `read_checkpoint` says so
            _check_integrity(path)
        state = read_checkpoint(path)
    except (CheckpointError, zipfile.BadZipFile, EOFError) as error:
        text = str(error)
        raise CheckpointError(text if str(path) in text else f"{path}: {text}") from error
    if "optimizer" not in state:
        raise CheckpointError(
            f"{path} holds weights only; resume from last.pth, or start from it with --init-from"
        )
    return RunCheckpoint(path, state)


def _check_integrity(path: Path) -> None:
    # PyTorch writes the zip file's checksums, but does not compare them when it loads.
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise CheckpointError(f"{path}: {damaged} does not have its checksum")


def require_same_command(checkpoint: RunCheckpoint, ours: dict[str, object]) -> None:
    """CheckpointError that lists the flags in which a checkpoint's command differs from this one.

    ours: the flags of this command. Flags of FREE_ON_RESUME are not compared, nor is a flag that
    one of the two versions of the code does not have: it then means its default.
    """
    theirs = current_flags(checkpoint.state["args"])
    different = [
        f"--{name.replace('_', '-')} was {theirs[name]}, is {ours[name]}"
        for name in sorted(theirs.keys() & ours.keys())
        if name not in FREE_ON_RESUME and theirs[name] != ours[name]
    ]
    if different:
        raise CheckpointError(
            f"{checkpoint.path} is of another command: {'; '.join(different)}; "
            "give the same flags, choose another --checkname, or start again with --no-resume"
        )


def current_flags(flags: dict[str, object]) -> dict[str, object]:
    """The flags of a checkpoint as this version of the code writes them.

    `--loss` was once of segmentation base nets alone: edge nets and decoupled ones ignored it and
    recorded its default, "ohem".
    """
    model = str(flags["model"])
    if flags.get("loss") not in losses_of(model):
        return flags | {"loss": default_loss(model)}
    return flags
