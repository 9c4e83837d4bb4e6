"""What the training loop is told, and where it is."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know of the command.

    batch_size: over all ranks. accumulate: parts of a rank's share that go through the net one after the other. save_every: epochs;
    save_minutes: also within an epoch, 0 = never. freeze_bn: batch normalisation keeps its running statistics. channels_last: tensors
    lie as (B, H, W, C) in memory. ema: decay of the running mean of the weights that is validated and kept in best.pth, 0 = none.
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


@dataclass
class Progress:
    """Where a run is: `step` steps of `epoch` are done; with all of them done, the epoch's validation is not.

    best: the highest score so far. sums, seconds, waited: of the epoch's steps so far, for its line in the log.
    """

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    waited: float = 0.0

    @classmethod
    def of(cls, state: dict) -> "Progress":
        """What a checkpoint says; older ones, of whole epochs, say less."""
        return cls(**{f.name: state[f.name] for f in fields(cls) if f.name in state})

    def next_epoch(self) -> None:
        """At the beginning of the epoch after this one."""
        self.epoch, self.step, self.sums, self.seconds, self.waited = (
            self.epoch + 1,
            0,
            {},
            0.0,
            0.0,
        )
