"""Whether a command may go on from a checkpoint: the flags in which the two differ.

Most flags are those of the checkpoint; some are free; others may change when that is said to be
meant (--resume-with), or between epochs only, or never.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.checkpoint import CheckpointError
from utils.training.args import default_run_dir
from utils.training.objective import default_loss, losses_of
from utils.training.progress_lines import plural

Flags = Mapping[str, object]

# Flags in which a resumed command may differ: where the run is, what it writes and how often, how
# it is validated, and how the same numbers are computed. Of what is computed, only --accumulate
# (the batches of batch normalization) and the flags of rounding (--device, --compile, --fast,
# --tf32, --deterministic) change anything.
FREE_ON_RESUME = {
    *("resume", "resume_with", "run_dir", "checkname", "data_root", "recipe", "workers", "device"),
    *("accumulate", "save_every", "save_every_minutes", "profile", "wandb", "tensorboard"),
    *("timeout_minutes", "compile", "fast", "tf32", "deterministic"),
    *("val_every", "val_split", "val_samples", "val_thresholds", "fit_defaults", "fitted"),
}
# Those of them after which scores cannot be compared with earlier ones.
SCORING = ("val_split", "val_samples", "val_thresholds")
# What cannot change, and why.
FIXED = {
    **dict.fromkeys(
        ("model", "backbone", "fusion", "align_corners", "edge_head"),
        "the weights are of that net",
    ),
    **dict.fromkeys(("dataset", "data_option"), "the net has the classes of that data set"),
    **dict.fromkeys(
        ("pretrained", "init_from", "reset_classifier"), "it counts at the start of a run only"
    ),
    "optimizer": "the momenta are of that optimizer",
}
# What cannot change within an epoch, and why.
BETWEEN_EPOCHS = {
    **dict.fromkeys(
        (
            *("batch_size", "seed", "train_split", "class_uniform_pct", "class_uniform_tile"),
            *("coarse_boost_classes", "coarse_split", "max_cu_epoch"),
        ),
        "it decides which samples are left of the epoch",
    ),
    "loss": "the loss of the epoch is summed up by its terms",
}


@dataclass(frozen=True)
class Change:
    """A flag of which a checkpoint's command and this one have different values."""

    name: str
    was: object
    now: object

    @property
    def flag(self) -> str:
        """--batch-size."""
        return f"--{dashed(self.name)}"

    def given(self) -> str:
        """How the checkpoint's value is given."""
        if self.was is None or self.was == []:
            return f"no {self.flag}"
        if isinstance(self.was, bool):
            return self.flag if self.was else f"--no-{dashed(self.name)}"
        return f"{self.flag} {_text(self.was)}"


def dashed(name: str) -> str:
    """batch_size -> batch-size."""
    return name.replace("_", "-")


def differences(theirs: Flags, ours: Flags) -> list[Change]:
    """The flags that differ.

    A flag that one of the two versions of the code does not have is none: it means its default.
    """
    theirs = current_flags(theirs)
    return [
        Change(name, theirs[name], ours[name])
        for name in sorted(theirs.keys() & ours.keys())
        if _plain(theirs[name]) != _plain(ours[name])
    ]


def require_same_command(path: Path, state: dict, ours: Flags) -> list[Change]:
    """The changes that `--resume-with` says are meant; CheckpointError for any other.

    Args:
        path: of the checkpoint, for the error.
        state: its contents.
        ours: the flags of this command.
    """
    meant = set(_names(ours.get("resume_with")))
    changes = [c for c in differences(state["args"], ours) if c.name not in FREE_ON_RESUME]
    refused = {change.name: reason for change in changes if (reason := _refusal(change, state))}
    wrong = [change for change in changes if change.name in refused or change.name not in meant]
    if not wrong:
        return changes
    listed = "; ".join(_listed(change, refused.get(change.name)) for change in wrong)
    remedies = [f"give {' '.join(change.given() for change in wrong)}"]
    if not refused:
        names = [dashed(change.name) for change in changes]
        remedies.append(f"or say that it is meant with --resume-with {' '.join(names)}")
    other = "--checkname" if ours.get("run_dir") == default_run_dir(ours) else "--run-dir"
    remedies.append(f"choose another {other}, or start again with --no-resume")
    raise CheckpointError(f"{path} is of another command: {listed}; {', '.join(remedies)}")


def _refusal(change: Change, state: dict) -> str | None:
    """Why a flag cannot change here, even if it is meant."""
    if change.name in FIXED:
        return FIXED[change.name]
    if change.name in BETWEEN_EPOCHS and state.get("step", 0):
        return f"within an epoch it cannot change, {BETWEEN_EPOCHS[change.name]}"
    if change.name == "ema" and not change.was:
        return "the checkpoint has no average of the weights"
    if change.name == "epochs" and isinstance(change.now, int) and change.now < state["epoch"]:
        return f"{state['epoch']} are done"
    return None


def _listed(change: Change, reason: str | None) -> str:
    text = f"{change.flag} was {_text(change.was)}, is {_text(change.now)}"
    return f"{text} ({reason})" if reason else text


def describe_changes(changes: list[Change], epoch: int, step: int) -> str:
    """What a run says that goes on with other flags."""
    flags = ", ".join(f"{c.flag} {_text(c.now)} (was {_text(c.was)})" for c in changes)
    text = f"going on from step {step} of epoch {epoch + 1} with {flags}"
    if any(change.name == "epochs" for change in changes):
        text += "; the learning rate follows the schedule of the new number of epochs"
    return text


def steps_note(state: Mapping, steps: int, changes: list[Change]) -> str | None:
    """That the data set has changed since the checkpoint was written, if an epoch's steps tell."""
    was = state.get("steps") or steps
    if was == steps or any(change.name in BETWEEN_EPOCHS for change in changes):
        return None
    return (
        f"note: an epoch has {plural(steps, 'step')}, and had {was} when the checkpoint was "
        "written: the training split has other samples now"
    )


def scoring_note(theirs: Flags, ours: Flags) -> str | None:
    """That scores before and after cannot be compared, if they cannot."""
    changes = [change for change in differences(theirs, ours) if change.name in SCORING]
    if not changes:
        return None
    listed = "; ".join(_listed(change, None) for change in changes)
    return f"note: {listed}: validation scores cannot be compared with earlier ones"


def current_flags(flags: Flags) -> Flags:
    """The flags of a checkpoint as this version of the code writes them.

    `--loss` was once of segmentation base nets alone: edge nets and decoupled ones ignored it and
    recorded its default, "ohem". And nets had no edge heads.
    """
    flags = {"edge_head": "none", **flags}
    model = str(flags["model"])
    if flags.get("loss") not in losses_of(model):
        return {**flags, "loss": default_loss(model)}
    return flags


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list | tuple) else []


def _plain(value: object) -> object:
    """Tuples are lists, as they are after a checkpoint has been read."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "nothing"
    return str(value)
