"""What the training loop is given, and where it is."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What the loop needs of the command.

    Args:
        epochs: of the whole run.
        seed: of the net's draws (dropout).
        device: "cpu" or "cuda".
        batch_size: images over all ranks.
        val_every: epochs between validations; 0: none.
        save_every: epochs between writes of last.pth.
        folder: of the run.
        save_minutes: also write it within an epoch after this time; 0: never.
        accumulate: parts of a rank's batch that go through the net one after the other.
        freeze_bn: batch normalization keeps its running statistics.
        channels_last: tensors are (N, H, W, C) in memory.
        compile: with torch.compile.
        ema: decay of the exponential moving average of the weights, which is validated and kept in
            best.pth; 0: none.
        profile: write a trace of a few steps.
        args: the flags, to be kept in checkpoints.
        changed: they are not all those of the checkpoint that the run resumes from.
    """

    epochs: int
    seed: int
    device: str
    batch_size: int
    val_every: int
    save_every: int
    folder: Path
    save_minutes: float = 0.0
    accumulate: int = 1
    freeze_bn: bool = False
    channels_last: bool = False
    compile: bool = False
    ema: float = 0.0
    profile: bool = False
    args: dict = field(default_factory=dict)
    changed: bool = False


@dataclass
class Progress:
    """Where a run is: `step` of the `steps` steps of `epoch` are done.

    With all steps done, the epoch's validation is not. best: the highest score so far. sums,
    seconds, waited: of the epoch's steps so far, for its line in the log.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    best: float = -math.inf
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    waited: float = 0.0

    @classmethod
    def of(cls, state: dict) -> "Progress":
        """What a checkpoint says; older ones lack some of it."""
        return cls(**{f.name: state[f.name] for f in fields(cls) if f.name in state})

    @property
    def total(self) -> int:
        """The steps of the whole run that are done."""
        return self.epoch * self.steps + self.step

    @property
    def place(self) -> str:
        """The last step that is done, counted from 1."""
        before = self.epoch > 0 and self.step == 0
        epoch, step = (self.epoch - 1, self.steps) if before else (self.epoch, self.step)
        return f"step {step} of epoch {epoch + 1}"

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch."""
        self.epoch += 1
        self.step = 0
        self.sums = {}
        self.seconds = 0.0
        self.waited = 0.0
