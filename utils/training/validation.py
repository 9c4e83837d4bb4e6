"""What a validation is, and the one pass over whole images that all tasks share.

The net runs once for each image. What a task reads of a sample and makes of the outputs is its
`Scoring`: `utils.training.validate_seg`, `utils.training.validate_edges`. Each rank takes its share
of the images.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torch.utils.data import Dataset as TorchDataset

from data.base import Dataset, Sample
from data.samples.transforms import normalize, resize_long_side
from utils.distributed.environment import Ranks
from utils.distributed.group import gather_objects
from utils.distributed.preemption import StopRequest
from utils.training.loading import init_worker

# The scores as they stand in the log -> as they are called elsewhere. Of a line that has two,
# `best.pth` follows the first.
SCORES = {"miou": "mIoU", "mf": "MF"}
# The loss that goes with a score, in a log whose "loss" is of another one.
LOSSES_BESIDE = {"miou": "seg_loss", "mf": "edge_loss"}


@dataclass(frozen=True)
class ValidationScores:
    """What a validation found.

    Args:
        loss: the mean over images.
        name: of the score that `best.pth` follows, a key of SCORES.
        value: that score; NaN if no class occurs in the ground truth.
        thresholds: of edges, see `ModelInfo.thresholds`; None if there is none for any class.
        others: of the other tasks of the net.
    """

    loss: float
    name: str
    value: float
    thresholds: tuple[float | None, ...] | None = None
    others: tuple["ValidationScores", ...] = ()

    @property
    def losses(self) -> dict[str, float]:
        """As they stand in the log."""
        return {"loss": self.loss, **{LOSSES_BESIDE[each.name]: each.loss for each in self.others}}

    @property
    def losses_in_words(self) -> str:
        """For the terminal: one is bare, of several each is followed by its task."""
        if not self.others:
            return f"{self.loss:.4f}"
        each = ((one.loss, LOSSES_BESIDE[one.name]) for one in (self, *self.others))
        return " and ".join(f"{loss:.4f} ({name.removesuffix('_loss')})" for loss, name in each)

    @property
    def values(self) -> dict[str, float]:
        """All scores, as they stand in the log; the first one is what `best.pth` follows."""
        return {each.name: each.value for each in (self, *self.others)}


class Validation(Protocol):
    """Scores a network on a split."""

    def __call__(
        self, model: nn.Module, *, device: str, ranks: Ranks, stop: StopRequest | None = None
    ) -> ValidationScores | None:
        """The scores of `model`, the same on every rank; the model keeps its train/eval mode.

        None if `stop` becomes true on any rank before all images are done.
        """
        ...


class Tally(Protocol):
    """What a task counts over a rank's images."""

    def add(self, outputs: dict[str, Tensor], item: dict[str, Any]) -> None:
        """Count one image: the net's outputs for it, and the item of `WholeImages`."""
        ...

    def result(self) -> Any:
        """All that was counted, to be sent to the other ranks."""
        ...


# (index, sample, (h, w) of the image at the network's size) -> what a task adds to the item of an
# image. It runs in loader processes.
ReadTarget = Callable[[int, Sample, tuple[int, int]], dict[str, Tensor]]


class Scoring(Protocol):
    """A task's part of a validation."""

    @property
    def read(self) -> ReadTarget:
        """What the task needs of a sample."""
        ...

    def tally(self) -> Tally:
        """An empty one, for one validation."""
        ...

    def scores(self, parts: list[Any]) -> ValidationScores:
        """The scores of the whole split from the tally of each rank."""
        ...


# Makes an equal net that is evaluated faster, from the weights of the moment.
Prepare = Callable[[nn.Module], nn.Module]


class ImageValidation:
    """A `Validation` of one or more tasks on whole images, in one pass over them.

    Args:
        dataset: the split.
        scorings: of the tasks; `best.pth` follows the first one's score.
        base_size: the long side in pixels to which images are resized; 0: as they are.
        samples: the number of images, at equal distances in the split; 0: all.
        readers: processes that read images; 0: this one does.
        prepare: makes the net that is evaluated; None: the model itself is.
    """

    def __init__(
        self,
        dataset: Dataset,
        *scorings: Scoring,
        base_size: int,
        samples: int = 0,
        readers: int = 0,
        prepare: Prepare | None = None,
    ) -> None:
        self.scorings = scorings
        self.images = WholeImages(dataset, base_size, [scoring.read for scoring in scorings])
        self.indices = evenly_spaced(len(dataset), samples)
        self.readers = readers
        self.prepare = prepare

    def __call__(
        self, model: nn.Module, *, device: str, ranks: Ranks, stop: StopRequest | None = None
    ) -> ValidationScores | None:
        """See `Validation`."""
        tallies = [scoring.tally() for scoring in self.scorings]
        with evaluated(model, self.prepare) as net, torch.inference_mode():
            for item in self._loader(self.indices[ranks.rank :: ranks.world], device):
                outputs = net(normalize(item["image"].to(device, non_blocking=True)))
                for tally in tallies:
                    tally.add(outputs, item)
                if stop:
                    break
        results = [tally.result() for tally in tallies]
        parts = gather_objects(None if stop else results, ranks)
        done = [part for part in parts if part is not None]
        if len(done) < len(parts):
            return None
        first, *others = (
            scoring.scores([part[number] for part in done])
            for number, scoring in enumerate(self.scorings)
        )
        found = (each.thresholds for each in (first, *others) if each.thresholds is not None)
        return replace(first, thresholds=next(found, None), others=tuple(others))

    def _loader(self, indices: list[int], device: str) -> DataLoader:
        return DataLoader(
            Subset(self.images, indices),
            batch_size=None,
            num_workers=min(self.readers, len(indices)),
            pin_memory=device == "cuda",
            worker_init_fn=init_worker,
        )


class WholeImages(TorchDataset):
    """What a validation reads of each sample, a dictionary.

    index: of the sample. size: (H, W) of its image. image: uint8 (h, w, 3) at the network's size.
    The rest is what the tasks' `read` give.
    """

    def __init__(self, dataset: Dataset, base_size: int, reads: Sequence[ReadTarget]) -> None:
        self.dataset = dataset
        self.base_size = base_size
        self.reads = reads

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.dataset[index]
        image = np.ascontiguousarray(resize_long_side(sample.image, self.base_size))
        item: dict[str, Any] = {"index": index, "size": sample.image.shape[:2]}
        item["image"] = torch.from_numpy(image)
        for read in self.reads:
            item |= read(index, sample, image.shape[:2])
        return item


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
