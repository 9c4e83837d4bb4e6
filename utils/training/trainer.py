"""The training loop: steps, validation, checkpoints, resuming."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from data.errors import InputError
from data.samples.transforms import normalize
from utils.checkpoint import CheckpointError, ModelInfo, save_checkpoint
from utils.distributed.environment import Ranks
from utils.distributed.group import any_rank, device_index, mean_over_ranks
from utils.distributed.preemption import Preempted, StopRequest
from utils.training.curves import plot_curves
from utils.training.loading import Batches, named_deaths
from utils.training.logger import Logger
from utils.training.objective import Task
from utils.training.optimizer import load_state, set_lr
from utils.training.precision import Precision
from utils.training.readout import Reading, Readout
from utils.training.records import peak_memory, reset_peak_memory
from utils.training.run_folder import save_last
from utils.training.scores import Scores
from utils.training.state import Progress, Settings
from utils.training.trace import Trace

# What the scores in the log are called on the terminal.
SCORES = {"mf": "MF", "miou": "mIoU"}


class Trainer:
    """Trains a net for `settings.epochs` epochs and leaves `last.pth`, `best.pth` and `log.jsonl` in the run's folder."""

    def __init__(
        self,
        model: nn.Module,
        info: ModelInfo,
        optimizer: torch.optim.Optimizer,
        loader: DataLoader,
        task: Task,
        validation: Callable[..., Scores | None] | None,
        *,
        settings: Settings,
        precision: Precision,
        ranks: Ranks,
        logger: Logger,
        stop: StopRequest,
    ) -> None:
        self.model, self.info, self.optimizer = model, info, optimizer
        self.loader, self.task, self.validation = loader, task, validation
        self.settings, self.precision, self.ranks, self.logger, self.stop = (
            settings,
            precision,
            ranks,
            logger,
            stop,
        )
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.model.to(memory_format=self.layout)
        ema = get_ema_multi_avg_fn(settings.ema)
        self.average = AveragedModel(model, multi_avg_fn=ema) if settings.ema else None
        self.joint = self._over_ranks()
        self.net = torch.compile(self.joint) if settings.compile else self.joint
        self.progress, self.readout, self.saved = Progress(), Readout(), time.monotonic()

    def run(self) -> None:
        """Train from where `progress` is to the end. Raises Preempted when asked to stop, with the checkpoint written."""
        with named_deaths(self.loader):
            self._run()

    def _run(self) -> None:
        progress, settings = self.progress, self.settings
        self.saved = time.monotonic()
        while progress.epoch < settings.epochs:
            self._train_epoch()
            last, every = progress.epoch + 1 == settings.epochs, settings.val_every
            if self.validation and every and ((progress.epoch + 1) % every == 0 or last):
                self._validate()
            progress.next_epoch()
            if progress.epoch % settings.save_every == 0 or last:
                self._save()

    def resume(self, state: dict, name: str, free: set[str]) -> None:
        """Go on from a checkpoint of a run. CheckpointError if its command disagrees with this one, flags in `free` apart."""
        if "optimizer" not in state:
            raise CheckpointError(
                f"{name} holds weights only; resume from last.pth, or start from it with --init-from"
            )
        theirs, ours = state["args"], self.settings.args
        different = [
            f"--{key.replace('_', '-')} was {theirs[key]}, is {ours[key]}"
            for key in sorted(
                theirs.keys() & ours.keys()
            )  # a flag that one of the versions lacks cannot disagree
            if key not in free and theirs[key] != ours[key]
        ]
        if different:
            raise CheckpointError(
                f"{name} is of another command: {'; '.join(different)}; "
                "give the same flags, choose another --checkname, or start anew with --no-resume"
            )
        self.model.load_state_dict(state["weights"])
        load_state(self.optimizer, state["optimizer"])
        self.precision.scaler.load_state_dict(state.get("scaler", {}))
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.progress = Progress.of(state)
        self.logger.keep_until(self.progress.epoch)

    def _over_ranks(self) -> nn.Module:
        if self.ranks.world == 1:
            return self.model
        # Of a kernel of one tap: its strides say nothing, and yet differ.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        devices = [device_index(self.ranks)] if self.settings.device == "cuda" else None
        return DistributedDataParallel(self.model, device_ids=devices, gradient_as_bucket_view=True)

    def _train_epoch(self) -> None:
        """The steps of the epoch that are not done yet, and its line in the log."""
        progress, steps = self.progress, len(self.loader)
        progress.sums = progress.sums or dict.fromkeys(self.task.weights, 0.0)
        self.net.train()
        if self.settings.freeze_bn:
            freeze_batch_norm(self.net)
        reset_peak_memory(self.settings.device)
        with Trace(
            self.settings.folder, enabled=self.settings.profile and self.ranks.is_main
        ) as trace:
            for batch, lr in self._batches(steps):
                set_lr(self.optimizer, lr)
                self._step(
                    batch,
                    f"epoch {progress.epoch}, iteration {progress.step}, learning rate {lr:.3g}",
                )
                progress.step += 1
                trace.step()
                self._heed()
        self._count(self.readout.flush())
        terms = {
            name: mean_over_ranks(value / steps, self.ranks)
            for name, value in progress.sums.items()
        }
        self.logger.write(
            "train",
            epoch=progress.epoch,
            step=(progress.epoch + 1) * steps,
            loss=self.task.total(terms),
            **terms,
            lr=self.task.schedule(progress.epoch, steps - 1, steps),
            seconds=round(progress.seconds, 2),
            images_per_second=round(
                steps * self.settings.batch_size / max(progress.seconds, 1e-9), 3
            ),
            data_wait=round(progress.waited / max(progress.seconds, 1e-9), 4),
            memory_gib=round(peak_memory(self.settings.device), 3),
        )

    def _batches(self, steps: int) -> Iterator[tuple[dict, float]]:
        """The batches to come of this epoch, each with its learning rate; keeps the time."""
        progress = self.progress
        if progress.step == steps:
            return
        self.loader.batch_sampler.start_at(progress.epoch, progress.step)
        batches, begun = Batches(self.loader), time.perf_counter()
        before = progress.seconds, progress.waited
        label = f"epoch {progress.epoch + 1}/{self.settings.epochs}"
        hidden = None if self.ranks.is_main else True
        for batch in tqdm(
            batches, desc=label, leave=False, disable=hidden, total=steps, initial=progress.step
        ):
            yield batch, self.task.schedule(progress.epoch, progress.step, steps)
            progress.seconds = before[0] + time.perf_counter() - begun
            progress.waited = before[1] + batches.waited

    def _step(self, batch: dict, where: str) -> None:
        """One optimiser step over this rank's share of the batch."""
        names = ", ".join(batch.pop("name"))
        batch = {
            key: value.to(self.settings.device, non_blocking=True) for key, value in batch.items()
        }
        self.optimizer.zero_grad(set_to_none=True)
        parts = list(_parts(batch, self.settings.accumulate))
        values = []
        for number, part in enumerate(parts):
            self._seed(number)
            with self._gradients_joined(number == len(parts) - 1):
                with self.precision.autocast():
                    outputs = self.net(
                        normalize(part["image"]).contiguous(memory_format=self.layout)
                    )
                terms = self.task.terms(outputs, part)
                self.precision.backward(self.task.total(terms) / len(parts))
            values.append(torch.stack([terms[name].detach() for name in self.task.weights]))
        self.precision.step(self.optimizer, self.model)
        if self.average is not None:
            self.average.update_parameters(self.model)
        note = f"{where}, rank {self.ranks.rank}, samples {names}"
        self._count(self.readout.put(torch.stack(values).mean(dim=0), note))

    def _seed(self, part: int) -> None:
        """What a net draws (dropout) depends on these numbers alone, on CPUs and GPUs, so that a resumed run draws the same."""
        numbers = (
            self.settings.seed,
            self.progress.epoch,
            self.progress.step,
            self.ranks.rank,
            part,
        )
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))

    def _gradients_joined(self, last: bool) -> AbstractContextManager:
        """Gradients go over the ranks with the last part of a step only."""
        return nullcontext() if last or self.ranks.world == 1 else self.joint.no_sync()

    def _count(self, reading: Reading | None) -> None:
        """Add a step's terms to the epoch's."""
        if reading is None:
            return
        if not all(map(math.isfinite, reading.values)):
            loss = self.task.total(dict(zip(self.task.weights, reading.values, strict=True)))
            raise InputError(
                f"the loss is {loss} at {reading.note}; the last checkpoint is kept; try a lower --lr"
            )
        for name, value in zip(self.task.weights, reading.values, strict=True):
            self.progress.sums[name] += value

    def _heed(self) -> None:
        """Write a checkpoint if it is time to, and end if a signal has come; all ranks do the same."""
        minutes = self.settings.save_minutes
        due = self.ranks.is_main and minutes > 0 and time.monotonic() - self.saved > 60 * minutes
        stop, save = any_rank((bool(self.stop), due), self.ranks)
        if stop:
            self._end_early()
        if save:
            self._save()

    def _end_early(self) -> None:
        self._save()
        any_rank(
            [False], self.ranks
        )  # launchers end all when one leaves: nobody does before the file is there
        progress = self.progress
        raise Preempted(
            f"{self.stop.name or 'a signal to another rank'}: checkpoint written after step {progress.step} "
            f"of epoch {progress.epoch + 1}; the same command goes on from it"
        )

    def _validate(self) -> None:
        """Log the scores, and keep the weights if the score that counts is the best so far."""
        started, progress = time.perf_counter(), self.progress
        model = self.model if self.average is None else self.average.module
        scores = self.validation(
            model, device=self.settings.device, ranks=self.ranks, stop=self.stop
        )
        if scores is None:
            self._end_early()
        seconds = round(time.perf_counter() - started, 2)
        self.logger.write(
            "val",
            epoch=progress.epoch,
            loss=scores.loss,
            **{scores.name: scores.value},
            seconds=seconds,
        )
        if self.ranks.is_main:
            plot_curves(self.logger.path, self.settings.folder / "curves.png")
            tqdm.write(
                f"epoch {progress.epoch}: validation loss {scores.loss:.4f}, {SCORES[scores.name]} {100 * scores.value:.2f}"
            )
            if scores.value > progress.best:
                save_checkpoint(self.settings.folder / "best.pth", self._weights(model))
        progress.best = max(progress.best, scores.value)

    def _save(self) -> None:
        """Write last.pth. The sums in it are those of all ranks, so that any number of them may go on from it."""
        self._count(self.readout.flush())
        sums = self.progress.sums
        self.progress.sums = {
            name: mean_over_ranks(value, self.ranks) for name, value in sums.items()
        }
        if self.ranks.is_main:
            save_last(self.settings.folder, self._state())
        self.saved = time.monotonic()

    def _weights(self, model: nn.Module) -> dict:
        return {"model": self.info.to_plain(), "weights": model.state_dict()}

    def _state(self) -> dict:
        average = {} if self.average is None else {"average": self.average.state_dict()}
        return (
            self._weights(self.model)
            | average
            | asdict(self.progress)
            | {
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.precision.scaler.state_dict(),
                "args": self.settings.args,
            }
        )


def _parts(batch: dict[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
    """The batch in `count` equal parts."""
    size = len(batch["image"]) // count
    for first in range(0, size * count, size):
        yield {key: value[first : first + size] for key, value in batch.items()}


def freeze_batch_norm(model: nn.Module) -> None:
    """Make every batch normalisation use its running statistics and leave them alone; its weights are still trained."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
