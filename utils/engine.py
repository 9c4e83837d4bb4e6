"""The training loop: steps, validation, checkpoints, resuming."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from data.base import InputError
from data.sampling import BatchSampler
from utils.checkpoint import CheckpointError, ModelInfo, read_checkpoint, save_checkpoint
from utils.distributed import Ranks, mean_over_ranks
from utils.inference import normalize
from utils.logger import Logger
from utils.schedule import set_lr
from utils.tasks import Task
from utils.validation import Scores
from utils.visualize import plot_curves

# What the scores in the log are called on the terminal.
SCORES = {"mf": "MF", "miou": "mIoU"}


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know of the command. freeze_bn: batch normalisation keeps its running statistics."""

    epochs: int
    seed: int
    device: str
    val_every: int
    save_every: int
    folder: Path
    freeze_bn: bool = False
    args: dict = field(default_factory=dict)


class Trainer:
    """Trains a net for `settings.epochs` epochs and leaves `last.pth`, `best.pth` and `log.jsonl` in the run's folder."""

    def __init__(
        self,
        model: nn.Module,
        info: ModelInfo,
        optimizer: torch.optim.Optimizer,
        loader: DataLoader,
        task: Task,
        validation: Callable[..., Scores] | None,
        *,
        settings: Settings,
        ranks: Ranks,
        logger: Logger,
    ) -> None:
        self.model, self.info, self.optimizer = model, info, optimizer
        self.loader, self.task, self.validation = loader, task, validation
        self.settings, self.ranks, self.logger = settings, ranks, logger
        self.net = self._over_ranks()
        self.epoch, self.best = 0, -math.inf

    def run(self) -> None:
        """Train from `self.epoch` to the end."""
        for epoch in range(self.epoch, self.settings.epochs):
            self._train_epoch(epoch)
            self.epoch = epoch + 1
            last = self.epoch == self.settings.epochs
            every = self.settings.val_every
            improved = bool(self.validation and every and (self.epoch % every == 0 or last)) and self._validate(epoch)
            if self.ranks.is_main:
                if improved:
                    save_checkpoint(self.settings.folder / "best.pth", self._weights())
                if self.epoch % self.settings.save_every == 0 or last:
                    save_checkpoint(self.settings.folder / "last.pth", self._state())

    def resume(self, path: Path, free: set[str]) -> None:
        """Go on from a `last.pth`. Raises CheckpointError if its command disagrees with this one, flags in `free` apart."""
        state = read_checkpoint(path)
        if "optimizer" not in state:
            raise CheckpointError(f"{path} holds weights only; resume from last.pth, or start from it with --init-from")
        theirs, ours = state["args"], self.settings.args
        different = [
            f"--{key.replace('_', '-')} was {theirs[key]}, is {ours[key]}"
            for key in sorted(theirs.keys() & ours.keys())  # a flag that one of the versions lacks cannot disagree
            if key not in free and theirs[key] != ours[key]
        ]
        if different:
            raise CheckpointError(f"{path} is of another command: {'; '.join(different)}; give the same flags")
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.best = state["epoch"], state["best"]
        self.logger.keep_until(self.epoch)

    def _over_ranks(self) -> nn.Module:
        if self.ranks.world == 1:
            return self.model
        devices = [self.ranks.local_rank] if self.settings.device == "cuda" else None
        return DistributedDataParallel(self.model, device_ids=devices)

    def _train_epoch(self, epoch: int) -> None:
        self.net.train()
        if self.settings.freeze_bn:
            freeze_batch_norm(self.net)
        # What a net draws (dropout) depends on (seed, epoch, rank) alone, on CPUs and GPUs, so that a resumed run draws the same.
        torch.manual_seed(
            int(np.random.SeedSequence((self.settings.seed, epoch, self.ranks.rank)).generate_state(1)[0])
        )
        self.loader.batch_sampler.start_at(epoch)
        steps, started, sums = len(self.loader), time.perf_counter(), dict.fromkeys(self.task.weights, 0.0)
        for step, batch in enumerate(self._progress(epoch)):
            lr = self.task.schedule(epoch, step, steps)
            set_lr(self.optimizer, lr)
            for name, value in self._step(batch, f"epoch {epoch}, iteration {step}, learning rate {lr:.3g}").items():
                sums[name] += value
        terms = {name: mean_over_ranks(value / steps, self.ranks) for name, value in sums.items()}
        self.logger.write(
            "train",
            epoch=epoch,
            step=(epoch + 1) * steps,
            loss=self.task.total(terms),
            **terms,
            lr=lr,
            seconds=round(time.perf_counter() - started, 2),
        )

    def _step(self, batch: dict, where: str) -> dict[str, float]:
        """One optimiser step; returns this rank's unweighted loss terms."""
        names = batch.pop("name")
        batch = {key: value.to(self.settings.device, non_blocking=True) for key, value in batch.items()}
        terms = self.task.terms(self.net(normalize(batch["image"])), batch)
        loss = self.task.total(terms)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()} at {where}, rank {self.ranks.rank}, samples {', '.join(names)}; "
                "nothing was saved after the last whole epoch; try a lower --lr"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return {name: term.item() for name, term in terms.items()}

    def _validate(self, epoch: int) -> bool:
        """Log the scores; True if the one that counts is the best so far."""
        started = time.perf_counter()
        scores = self.validation(self.model, device=self.settings.device, ranks=self.ranks)
        seconds = round(time.perf_counter() - started, 2)
        self.logger.write("val", epoch=epoch, loss=scores.loss, **{scores.name: scores.value}, seconds=seconds)
        if self.ranks.is_main:
            plot_curves(self.logger.path, self.settings.folder / "curves.png")
            tqdm.write(
                f"epoch {epoch}: validation loss {scores.loss:.4f}, {SCORES[scores.name]} {100 * scores.value:.2f}"
            )
        improved = scores.value > self.best
        self.best = max(self.best, scores.value)
        return improved

    def _weights(self) -> dict:
        return {"model": self.info.to_plain(), "weights": self.model.state_dict()}

    def _state(self) -> dict:
        return self._weights() | {
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "best": self.best,
            "args": self.settings.args,
        }

    def _progress(self, epoch: int) -> Iterator[dict]:
        label = f"epoch {epoch + 1}/{self.settings.epochs}"
        return tqdm(self.loader, desc=label, leave=False, disable=None if self.ranks.is_main else True)


def freeze_batch_norm(model: nn.Module) -> None:
    """Make every batch normalisation use its running statistics and leave them alone; its weights are still trained."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def make_loader(items: Dataset, sampler: BatchSampler, workers: int, device: str) -> DataLoader:
    """A loader whose workers live through all epochs; what they return depends on (seed, epoch, index) alone."""
    return DataLoader(
        items,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=device == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
        generator=torch.Generator(),  # else it would draw from the generator that dropout uses, how often depends on the workers
    )


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
