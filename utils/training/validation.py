"""What a validation is, and what it returns: the part that both tasks share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from utils.distributed.environment import Ranks
from utils.distributed.preemption import StopRequest

# The scores that `best.pth` follows, as they stand in the log -> as they are called elsewhere.
SCORES = {"mf": "MF", "miou": "mIoU"}


@dataclass(frozen=True)
class ValidationScores:
    """loss: the mean over images. name: of the score that `best.pth` follows, a key of SCORES.
    value: that score; NaN if no class occurs in the ground truth. thresholds: of edges, see
    `ModelInfo.thresholds`; None if there is none for any class."""

    loss: float
    name: str
    value: float
    thresholds: tuple[float | None, ...] | None = None


class Validation(Protocol):
    """Scores a network on a split."""

    def __call__(
        self, model: nn.Module, *, device: str, ranks: Ranks, stop: StopRequest | None = None
    ) -> ValidationScores | None:
        """The scores of `model`, the same on every rank; the model keeps its train/eval mode.

        None if `stop` becomes true on any rank before all images are done.
        """
        ...


# Makes an equal net that is evaluated faster, from the weights of the moment.
Prepare = Callable[[nn.Module], nn.Module]


@contextmanager
def evaluated(model: nn.Module, prepare: Prepare | None) -> Iterator[nn.Module]:
    """The net to evaluate, in evaluation mode; `model` has its own mode again afterwards.

    prepare: None evaluates the model itself.
    """
    training = model.training
    model.eval()
    try:
        with torch.inference_mode(False):  # a copy of its weights are ordinary tensors
            net = prepare(model) if prepare else model
        yield net
    finally:
        model.train(training)


def evenly_spaced(length: int, samples: int) -> list[int]:
    """`samples` of the indices 0..length - 1 at equal distances; all of them for 0."""
    count = min(samples or length, length)
    return [position * length // count for position in range(count)]
