"""The training loop: steps, validation, checkpoints, and going on from one.

What is trained is built elsewhere (`utils.training.setup`); which checkpoint a run resumes from is
decided elsewhere (`utils.training.resume`).
"""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from data.errors import InputError
from data.samples.sampler import BatchSampler
from data.samples.transforms import normalize
from utils.checkpoint import CheckpointError, ModelInfo, info_entries, save_checkpoint
from utils.distributed.environment import Ranks
from utils.distributed.group import (
    any_rank,
    device_index,
    mean_over_ranks,
)
from utils.distributed.preemption import Preempted, StopRequest
from utils.training.async_scalars import AsyncScalars, Reading
from utils.training.backends import without_benchmark
from utils.training.curves import plot_curves
from utils.training.loading import TimedBatches, named_deaths
from utils.training.logger import Logger
from utils.training.objective import Objective
from utils.training.optimizer import load_state, set_lr
from utils.training.precision import Precision
from utils.training.progress_lines import ProgressLines
from utils.training.records import peak_memory, reset_peak_memory
from utils.training.saving.fit import require_optimizer_state, require_sums, require_tensors
from utils.training.saving.writer import CheckpointWriter
from utils.training.state import Progress, Settings
from utils.training.trace import Trace
from utils.training.validation import SCORES, Validation, ValidationScores


class Trainer:
    """Trains a net and leaves `last.pth`, `best.pth` and `log.jsonl` in the run's folder.

    Args:
        model: on its device.
        info: what its checkpoints say about it.
        optimizer: of the model's parameters; its groups have a "factor" of the learning rate.
        loader: its batch sampler is a `BatchSampler`, its batches are dictionaries.
        objective: what is minimized.
        validation: scores the model; None: never.
        settings: the numbers of the loop.
        precision: autocast, loss scaling, clipping.
        ranks: all processes of the run.
        logger: takes the numbers of each epoch.
        stop: true when the run is to write its checkpoint and end.
    """

    def __init__(
        self,
        model: nn.Module,
        info: ModelInfo,
        optimizer: torch.optim.Optimizer,
        loader: DataLoader,
        objective: Objective,
        validation: Validation | None,
        *,
        settings: Settings,
        precision: Precision,
        ranks: Ranks,
        logger: Logger,
        stop: StopRequest,
    ) -> None:
        self.model = model
        self.info = info
        self.optimizer = optimizer
        self.loader = loader
        self.objective = objective
        self.validation = validation
        self.settings = settings
        self.precision = precision
        self.ranks = ranks
        self.logger = logger
        self.stop = stop
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.model.to(memory_format=self.layout)
        average = get_ema_multi_avg_fn(settings.ema)
        self.ema = AveragedModel(model, multi_avg_fn=average) if settings.ema else None
        self.parallel = self._parallel()
        self.net = torch.compile(self.parallel) if settings.compile else self.parallel
        self.progress = Progress(steps=len(loader))
        self.scalars = AsyncScalars()
        self.fault = ""  # what is said of a loss that was not finite
        self.fault_at = 0  # the steps that were done when it was computed
        self.writer = CheckpointWriter(
            settings.folder, ranks, lr=settings.args.get("lr"), changed=settings.changed
        )

    def run(self) -> None:
        """Train from where `progress` is to the end.

        Raises Preempted when asked to stop, with the checkpoint written.
        """
        with named_deaths(self.loader):
            self._run()

    def _run(self) -> None:
        progress, settings = self.progress, self.settings
        self.writer.written = time.monotonic()
        while progress.epoch < settings.epochs:
            self._train_epoch()
            done = progress.epoch + 1
            last = done == settings.epochs
            every = settings.val_every
            validation = self.validation if every and (done % every == 0 or last) else None
            if validation is None:
                progress.next_epoch()
            # Before the validation, which may fail. Its score is in the log then, where the next
            # start finds it.
            if done % settings.save_every == 0 or last:
                self.save()
            elif validation is not None:
                self.writer.require_finite(progress, self._state)
            if validation is not None:
                self._validate(validation)
                if last and self.info.thresholds is not None:
                    self.save(again=True)  # no later one will hold this validation's thresholds
                progress.next_epoch()

    def restore(self, state: dict, *, from_last: bool = False) -> None:
        """Continue from the contents of a run's checkpoint, which `utils.training.resume` read.

        from_last: it is this folder's last.pth. CheckpointError, with nothing changed, for a
        checkpoint that does not fit the net, the optimizer or the objective.
        """
        progress, steps = Progress.of(state), self.progress.steps
        require_tensors(state["weights"], self.model.state_dict(), "weights")
        require_optimizer_state(state["optimizer"], self.optimizer)
        if self.ema is not None:
            require_tensors(state.get("average", {}), self.ema.state_dict(), "average")
        if progress.step > steps:
            raise CheckpointError(f"step {progress.step} of an epoch of {steps} steps")
        require_sums(progress.sums, progress.step, self.objective.term_names)
        info = self.info
        if state.get("thresholds") is not None:
            plain = info.to_plain() | {"thresholds": state["thresholds"]}
            info = ModelInfo.from_plain(plain, "thresholds")

        self.model.load_state_dict(state["weights"])
        load_state(self.optimizer, state["optimizer"])
        if state.get("scaler"):  # none if the run was without one until now
            self.precision.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.load_state_dict(state["average"])
        self.info = info
        self.progress = replace(progress, steps=steps)
        self.writer.resume(self.progress, from_last=from_last)
        self.logger.keep_until(self.progress.epoch)

    def _parallel(self) -> nn.Module:
        if self.ranks.world == 1:
            return self.model
        # The strides of a 1x1 kernel have no meaning, and yet DDP warns where they differ.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        devices = [device_index(self.ranks)] if self.settings.device == "cuda" else None
        # Of some backbones of timm, parameters serve a map alone that the head does not read.
        unread = bool(getattr(self.model.get_submodule("backbone"), "branches", False))
        return DistributedDataParallel(
            self.model,
            device_ids=devices,
            gradient_as_bucket_view=True,
            find_unused_parameters=unread,
        )

    def _train_epoch(self) -> None:
        """The steps of the epoch that are not done yet, and its line in the log."""
        progress, settings = self.progress, self.settings
        progress.sums = progress.sums or dict.fromkeys(self.objective.term_names, 0.0)
        self.parallel.train()
        if settings.freeze_bn:
            freeze_batch_norm(self.parallel)
        reset_peak_memory(settings.device)
        traced = settings.profile and self.ranks.is_main
        lines = self._progress_lines()
        with Trace(settings.folder, enabled=traced) as trace:
            for batch, lr in self._batches(progress.steps):
                set_lr(self.optimizer, lr)
                self._step(batch, lr)
                progress.step += 1
                trace.step()
                lines.step(progress.step, self._mean_loss(progress.step - 1))
                self._save_or_stop()
        self._collect_losses()
        self._log_epoch(progress.steps)

    def _progress_lines(self) -> ProgressLines:
        progress, settings = self.progress, self.settings
        return ProgressLines(
            progress.epoch,
            settings.epochs,
            steps=progress.steps,
            done=progress.step,
            batch_size=settings.batch_size,
            enabled=self.ranks.is_main,
        )

    def _mean_loss(self, steps: int) -> float:
        """Of the steps of this epoch whose terms have been read, on this rank."""
        sums = self.progress.sums.items()
        return self.objective.total({name: value / max(steps, 1) for name, value in sums})

    def _log_epoch(self, steps: int) -> None:
        progress = self.progress
        seconds = max(progress.seconds, 1e-9)
        terms = {
            name: mean_over_ranks(value / steps, self.ranks)
            for name, value in progress.sums.items()
        }
        self.logger.write(
            "train",
            epoch=progress.epoch,
            step=(progress.epoch + 1) * steps,
            loss=self.objective.total(terms),
            **terms,
            lr=self.objective.schedule(progress.epoch, steps - 1, steps),
            seconds=round(progress.seconds, 2),
            images_per_second=round(steps * self.settings.batch_size / seconds, 3),
            data_wait=round(progress.waited / seconds, 4),
            memory_gib=round(peak_memory(self.settings.device), 3),
        )

    def _batches(self, steps: int) -> Iterator[tuple[dict, float]]:
        """The remaining batches of this epoch, each with its learning rate; keeps the time."""
        progress = self.progress
        if progress.step == steps:
            return
        sampler = self.loader.batch_sampler
        assert isinstance(sampler, BatchSampler)
        sampler.start_at(progress.epoch, progress.step)
        batches, begun = TimedBatches(self.loader), time.perf_counter()
        earlier = progress.seconds, progress.waited  # of the epoch, in a process that was stopped
        bar = tqdm(
            batches,
            desc=f"epoch {progress.epoch + 1}/{self.settings.epochs}",
            leave=False,
            disable=None if self.ranks.is_main else True,  # None: unless stderr is no terminal
            total=steps,
            initial=progress.step,
        )
        for batch in bar:
            yield batch, self.objective.schedule(progress.epoch, progress.step, steps)
            progress.seconds = earlier[0] + time.perf_counter() - begun
            progress.waited = earlier[1] + batches.waited

    def _step(self, batch: dict, lr: float) -> None:
        """One optimizer step over this rank's share of the batch."""
        names = ", ".join(batch.pop("name"))
        batch = {
            key: value.to(self.settings.device, non_blocking=True) for key, value in batch.items()
        }
        self.optimizer.zero_grad(set_to_none=True)
        parts = list(_parts(batch, self.settings.accumulate))
        values = []
        for number, part in enumerate(parts):
            self._seed(number)
            with self._all_reduce_if(number == len(parts) - 1):
                with self.precision.autocast():
                    image = normalize(part["image"]).contiguous(memory_format=self.layout)
                    outputs = self.net(image)
                terms = self.objective.batch_terms(outputs, part)
                self.precision.backward(self.objective.total(terms) / len(parts))
            values.append(torch.stack([terms[name].detach() for name in self.progress.sums]))
        self.precision.step(self.optimizer, self.model)
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        note = f"learning rate {lr:.3g}, rank {self.ranks.rank}, samples {names}"
        self._add_to_sums(self.scalars.put(torch.stack(values).mean(dim=0), note))

    def _seed(self, part: int) -> None:
        """Seed dropout from these numbers alone, so that a resumed run draws the same."""
        place = (self.progress.epoch, self.progress.step, self.ranks.rank, part)
        sequence = np.random.SeedSequence((self.settings.seed, *place))
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def _all_reduce_if(self, last: bool) -> AbstractContextManager:
        """DDP averages the gradients over the ranks with the last part of a step only."""
        if last or not isinstance(self.parallel, DistributedDataParallel):
            return nullcontext()
        return self.parallel.no_sync()

    def _add_to_sums(self, reading: Reading | None) -> None:
        """Add a step's terms to the epoch's, or keep what is to be said of one not finite."""
        if reading is None:
            return
        progress = self.progress
        terms = dict(zip(progress.sums, reading.values, strict=True))
        for name, value in terms.items():
            progress.sums[name] += value
        if not self.fault and not all(map(math.isfinite, reading.values)):
            # Terms are read one step later: while the next step is made, or once it is counted.
            self.fault_at = progress.total - 1
            self.fault = (
                f"the loss is {self.objective.total(terms)} in step {progress.step} of "
                f"epoch {progress.epoch + 1}, {reading.note}"
            )

    def _collect_losses(self) -> None:
        """Read the last step's terms; InputError on all ranks if one was not finite on any."""
        self._add_to_sums(self.scalars.flush())
        if any(any_rank([bool(self.fault)], self.ranks)):
            self.writer.end_diverged(self.fault, self.fault_at)

    def _save_or_stop(self) -> None:
        """Write a checkpoint if it is time to, and end if a signal has come; all ranks agree."""
        due = self.ranks.is_main and self.writer.is_due(self.settings.save_minutes)
        stop, save, fault = any_rank((bool(self.stop), due, bool(self.fault)), self.ranks)
        if fault:
            self.writer.end_diverged(self.fault, self.fault_at)
        if stop:
            self._end_early()
        if save:
            self.save()

    def _end_early(self) -> NoReturn:
        self.save()  # launchers end all ranks when one leaves: all wait until it is written
        progress = self.progress
        raise Preempted(
            f"{self.stop.name or 'a signal to another rank'}: checkpoint written after step "
            f"{progress.step} of epoch {progress.epoch + 1}; the same command resumes from it"
        )

    def _validate(self, validation: Validation) -> None:
        """Log the scores, and keep the weights if the score that counts is the best so far."""
        started, progress = time.perf_counter(), self.progress
        model = self.model if self.ema is None else self.ema.module
        with without_benchmark():
            scores = validation(
                model, device=self.settings.device, ranks=self.ranks, stop=self.stop
            )
        if scores is None:
            self._end_early()
        if not all(map(math.isfinite, scores.losses.values())):
            fault = (
                f"the validation loss is {scores.losses_in_words} after epoch {progress.epoch + 1}"
            )
            self.writer.end_diverged(fault, progress.total)
        noted = {}
        if scores.thresholds is not None:
            self.info = replace(self.info, thresholds=scores.thresholds)
            noted = {"thresholds": scores.thresholds}
        # The log says that the validation is done: best.pth is written before.
        if self.ranks.is_main and scores.value > progress.best:
            save_checkpoint(self.settings.folder / "best.pth", self._weights(model))
        self.logger.write(
            "val",
            epoch=progress.epoch,
            **scores.losses,
            **scores.values,
            **noted,
            seconds=round(time.perf_counter() - started, 2),
        )
        if self.ranks.is_main:
            self._report(scores)
        if scores.value > progress.best:
            progress.best = scores.value

    def _report(self, scores: ValidationScores) -> None:
        """Print the scores and draw the curves."""
        folder, name = self.settings.folder, SCORES[scores.name]
        value = f"{name} {100 * scores.value:.2f}"
        if math.isnan(scores.value):
            kept = "stays as it is" if (folder / "best.pth").exists() else "is not written"
            value = (
                f"no {name}: no class occurs in the ground truth of the validation images, so "
                f"there is nothing to score and best.pth {kept}; see --val-split, --val-samples"
            )
        losses = scores.losses_in_words
        beside = [
            f"no {SCORES[each.name]}: no class has edges"
            if math.isnan(each.value)
            else f"{SCORES[each.name]} {100 * each.value:.2f}"
            for each in scores.others
        ]
        listed = ", ".join([value, *beside])
        tqdm.write(f"epoch {self.progress.epoch + 1}: validation loss {losses}, {listed}")
        try:
            plot_curves(folder / "log.jsonl", folder / "curves.png")
        except InputError as error:
            tqdm.write(f"curves.png is not drawn: {error}")

    def save(self, *, again: bool = False) -> None:
        """Write last.pth. Its sums are means over the ranks, so that any number of them can
        resume.

        again: write it even if it is of this place, with the flags of this command.
        """
        self._collect_losses()
        self.progress.sums = {
            name: mean_over_ranks(value, self.ranks) for name, value in self.progress.sums.items()
        }
        self.writer.write(self.progress, self._state, again=again)

    def _weights(self, model: nn.Module) -> dict:
        return info_entries(self.info) | {"weights": model.state_dict()}

    def _state(self) -> dict:
        state = self._weights(self.model) | asdict(self.progress)
        if self.ema is not None:
            state["average"] = self.ema.state_dict()
        state["optimizer"] = self.optimizer.state_dict()
        state["scaler"] = self.precision.scaler.state_dict()
        state["args"] = self.settings.args
        return state


def _parts(batch: dict[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
    """The batch in `count` equal parts."""
    size = len(batch["image"]) // count
    for first in range(0, size * count, size):
        yield {key: value[first : first + size] for key, value in batch.items()}


def freeze_batch_norm(model: nn.Module) -> None:
    """Make every batch normalization use its running statistics and not update them.

    Its weights are still trained.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
