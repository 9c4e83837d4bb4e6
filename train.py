"""Train a semantic edge net, a segmentation net, or one net for both.

    python train.py --recipe dff-scenes                           # drawn street scenes, on a CPU
    python train.py --recipe dff-cityscapes                       # the published settings
    torchrun --nproc-per-node 8 train.py --recipe dff-cityscapes  # the same on eight GPUs
    python train.py --model deeplabv3plus --edge-head dff --backbone resnet50  # both tasks

A run leaves last.pth, best.pth, args.json and log.jsonl in its folder. Started again, it resumes,
with other flags if --resume-with names them; asked to stop by SIGTERM or SIGUSR1, it writes its
checkpoint and ends with status 75.
"""

from data.errors import quiet_interrupts
from data.system.threads import let_threads_sleep

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow
    let_threads_sleep()

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import torch
from torch import nn

from data.errors import run
from data.files import write_aside
from utils.checkpoint import CheckpointError, ModelInfo
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main, own_device, process_group
from utils.distributed.preemption import REQUEUE, Preempted, StopRequest
from utils.inference.device import pick_device
from utils.training.args import parse_train_args
from utils.training.backends import backend_switches, choose_backends, keep_freed_memory
from utils.training.loading import make_loader
from utils.training.logger import Logger, to_json
from utils.training.precision import Precision
from utils.training.progress_lines import plural
from utils.training.recipes.choose import fit_defaults
from utils.training.records import describe_run
from utils.training.resume import (
    RunCheckpoint,
    go_back,
    open_run_dir,
    require_run_classes,
)
from utils.training.run_dir import LAST, keep_best
from utils.training.saving.command import (
    Change,
    describe_changes,
    require_same_command,
    scoring_note,
    steps_note,
)
from utils.training.saving.disk import checkpoint_bytes, require_space
from utils.training.setup import (
    TrainSetup,
    build_network,
    build_setup,
    folders_read,
    require_backbone,
    split_of,
    use_fast_forms,
)
from utils.training.state import Settings
from utils.training.trainer import Trainer


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the recipe's defaults filled in."""
    return parse_train_args(argv)


def main(args: argparse.Namespace) -> int:
    """Set up, then train. Returns the exit status: 0, or REQUEUE if a signal ended the run."""
    with contextlib.ExitStack() as closing:
        stop = closing.enter_context(StopRequest())
        device = pick_device(args.device).type
        ranks = enter_machine(args, device, closing)
        require_backbone(args)
        train_set = split_of(args, args.train_split)
        fit_defaults(args, train_set, ranks, device)
        setup = build_setup(args, train_set, ranks)

        folder = Path(args.run_dir)
        # Before --no-resume renames a run: what does not fit is refused then, and a file of that
        # run can be started from.
        network = None
        if args.resume is None:
            network = build_network(args, train_set, ranks, device, fresh=True)
        inputs = folders_read(args, train_set)
        checkpoint = open_run_dir(folder, args.resume, ranks, closing, inputs)
        stop.hold_sigterm()
        changes = allowed_changes(args, checkpoint)
        if checkpoint is not None:
            require_run_classes(checkpoint, train_set.classes)
        if checkpoint is None and args.resume_with and ranks.is_main:
            print(f"note: nothing to resume in {folder}; --resume-with has no effect", flush=True)
        if checkpoint is not None and checkpoint.state["epoch"] >= args.epochs:
            say_complete(args, ranks)
            return 0
        fresh = checkpoint is None
        model, info = network or build_network(args, train_set, ranks, device, fresh=fresh)
        logger = closing.enter_context(open_logger(args, folder, ranks))
        settings = loop_settings(args, folder, device, changed=bool(changes))
        trainer = build_trainer(args, setup, model, info, ranks, logger, stop, settings)
        look_at_disk(args, model, ranks)
        if checkpoint is None:
            logger.start_over()
            if ranks.is_main:
                keep_best(folder)
        else:
            changes = resume(args, trainer, checkpoint, ranks)
        if ranks.is_main and (checkpoint is None or changes):
            write_args(folder, args)
        del checkpoint  # its weights and momenta, of which the trainer has copies
        announce(args, trainer, changes, ranks, device)
        try:
            trainer.run()
        except Preempted as reason:
            if ranks.is_main:
                print(reason, flush=True)
            return REQUEUE
        if ranks.is_main:
            print(f"run: {folder}")
    return 0


def enter_machine(args: argparse.Namespace, device: str, closing: contextlib.ExitStack) -> Ranks:
    """Set PyTorch's switches, join the other processes, and take this one's device."""
    backends = choose_backends(device, tf32=args.tf32, deterministic=args.deterministic)
    closing.enter_context(backend_switches(backends))
    if device == "cpu":
        keep_freed_memory()
    timeout = timedelta(minutes=args.timeout_minutes)
    ranks = closing.enter_context(process_group(device, timeout=timeout))
    own_device(torch.device(device), ranks)
    return ranks


def build_trainer(
    args: argparse.Namespace,
    setup: TrainSetup,
    model: nn.Module,
    info: ModelInfo,
    ranks: Ranks,
    logger: Logger,
    stop: StopRequest,
    settings: Settings,
) -> Trainer:
    """The loop, with the optimizer and the loader that it drives."""
    device = settings.device
    return Trainer(
        model,
        info,
        setup.optimizer(model, lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay),
        make_loader(setup.items, setup.files, setup.sampler, workers=args.workers, device=device),
        setup.objective,
        setup.validation,
        settings=settings,
        precision=Precision(args.amp, device, clip=args.clip_grad),
        ranks=ranks,
        logger=logger,
        stop=stop,
    )


def loop_settings(
    args: argparse.Namespace, folder: Path, device: str, *, changed: bool
) -> Settings:
    """The numbers of the loop."""
    return Settings(
        epochs=args.epochs,
        seed=args.seed,
        device=device,
        batch_size=args.batch_size,
        val_every=args.val_every,
        save_every=args.save_every,
        folder=folder,
        save_minutes=args.save_every_minutes,
        accumulate=args.accumulate,
        freeze_bn=args.freeze_bn,
        channels_last=args.channels_last,
        compile=args.compile,
        ema=args.ema,
        profile=args.profile,
        args=vars(args),
        changed=changed,
    )


def open_logger(args: argparse.Namespace, folder: Path, ranks: Ranks) -> Logger:
    """The run's log, and the services that the flags ask for."""
    return Logger(
        folder,
        is_main=ranks.is_main,
        wandb=args.wandb,
        tensorboard=args.tensorboard,
        config=vars(args),
    )


def allowed_changes(args: argparse.Namespace, checkpoint: RunCheckpoint | None) -> list[Change]:
    """The flags that --resume-with changes; CheckpointError for any other difference."""
    if checkpoint is None:
        return []
    return require_same_command(checkpoint.path, checkpoint.state, vars(args))


def say_complete(args: argparse.Namespace, ranks: Ranks) -> None:
    """Nothing is left to do."""
    if ranks.is_main:
        print(
            f"this run is complete: {plural(args.epochs, 'epoch')}, see {args.run_dir}; "
            "a larger --epochs with --resume-with epochs trains it longer"
        )


def look_at_disk(args: argparse.Namespace, model: nn.Module, ranks: Ranks) -> None:
    """InputError if there is no room for a checkpoint, a warning if there is little."""
    momenta = 2 if args.optimizer == "adamw" else bool(args.momentum)
    sizes = checkpoint_bytes(model, momenta=momenta, average=bool(args.ema))
    warning = from_main(lambda: require_space(Path(args.run_dir), *sizes), ranks)
    if warning is not None and ranks.is_main:
        print(warning, file=sys.stderr, flush=True)


def resume(
    args: argparse.Namespace, trainer: Trainer, checkpoint: RunCheckpoint, ranks: Ranks
) -> list[Change]:
    """Put the checkpoint's state back, or that of the one before if it does not fit the net."""
    folder = Path(args.run_dir)
    try:
        trainer.restore(checkpoint.state, from_last=checkpoint.path == folder / LAST)
    except CheckpointError as error:
        checkpoint = go_back(folder, checkpoint, error, ranks)
        trainer.restore(checkpoint.state)
    changes = allowed_changes(args, checkpoint)
    if changes:
        trainer.save(again=True)  # with the new flags: the next start need not name them
    if ranks.is_main:
        progress = trainer.progress
        if changes:
            print(describe_changes(changes, progress.epoch, progress.step))
        if note := steps_note(checkpoint.state, progress.steps, changes):
            print(note)
        if note := scoring_note(checkpoint.state["args"], vars(args)):
            print(note)
    return changes


def announce(
    args: argparse.Namespace, trainer: Trainer, changes: list[Change], ranks: Ranks, device: str
) -> None:
    """Say what is going to happen, on the terminal and in the log."""
    progress = trainer.progress
    images = args.batch_size // (ranks.world * args.accumulate)
    batch = f"{args.batch_size} = {ranks.world} ranks x {args.accumulate} parts x {images} images"
    backends = choose_backends(device, tf32=args.tf32, deterministic=args.deterministic)
    changed = {change.name: {"was": change.was, "is": change.now} for change in changes}
    trainer.logger.write(
        "start",
        epoch=progress.epoch,
        step=progress.step,
        batch=batch,
        lr=args.lr,
        steps=progress.steps,
        fast=use_fast_forms(args, device),
        **({"changed": changed} if changed else {}),
        **asdict(backends),
        **describe_run(ranks, device),
    )
    if ranks.is_main:
        print(
            f"{trainer.info.net} on {device}: batch {batch}, "
            f"learning rate {args.lr:g}, {plural(args.epochs, 'epoch')} of "
            f"{plural(progress.steps, 'step')}, "
            f"from epoch {progress.epoch + 1}, step {progress.step}",
            flush=True,
        )
        if note := getattr(trainer.model.get_submodule("backbone"), "note", ""):
            print(f"note: {note}", flush=True)


def write_args(folder: Path, args: argparse.Namespace) -> None:
    """Keep the command's flags beside the run's checkpoints."""
    with write_aside(folder / "args.json") as aside:
        aside.write_text(to_json(vars(args), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
