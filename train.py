"""Train a semantic edge net or a segmentation net.

    python train.py --recipe dff-scenes                           # drawn street scenes, on a CPU
    python train.py --recipe dff-cityscapes                       # the published settings
    torchrun --nproc-per-node 8 train.py --recipe dff-cityscapes  # the same on eight GPUs

A run leaves last.pth, best.pth, args.json and log.jsonl in its folder. Started again, it resumes;
asked to stop by SIGTERM or SIGUSR1, it writes its checkpoint and ends with status 75.
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import torch
from torch import nn

from data.errors import run
from data.files import write_aside
from utils.checkpoint import ModelInfo
from utils.distributed.environment import Ranks
from utils.distributed.group import own_device, process_group
from utils.distributed.preemption import REQUEUE, Preempted, StopRequest
from utils.inference.device import pick_device
from utils.training.args import parse_train_args
from utils.training.backends import backend_switches, choose_backends, keep_freed_memory
from utils.training.loading import make_loader
from utils.training.logger import Logger
from utils.training.precision import Precision
from utils.training.records import describe_run
from utils.training.resume import open_run_dir, require_same_command
from utils.training.setup import TrainSetup, build_network, build_setup, split_of, use_fast_forms
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
        train_set = split_of(args, args.train_split)
        setup = build_setup(args, train_set, ranks)

        folder = Path(args.run_dir)
        checkpoint = open_run_dir(folder, args.resume, ranks, closing)
        stop.hold_sigterm()
        if checkpoint is not None:
            require_same_command(checkpoint, vars(args))
        model, info = build_network(args, train_set, ranks, device, fresh=checkpoint is None)
        logger = closing.enter_context(open_logger(args, folder, ranks))
        trainer = build_trainer(args, setup, model, info, ranks, logger, stop, device)
        if checkpoint is not None:
            trainer.restore(checkpoint.state)
            del checkpoint  # its weights and momenta, of which the trainer has copies
        elif ranks.is_main:
            write_args(folder, args)
        announce(args, trainer, ranks, device)
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
    device: str,
) -> Trainer:
    """The loop, with the optimizer and the loader that it drives."""
    return Trainer(
        model,
        info,
        setup.optimizer(model, lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay),
        make_loader(setup.items, setup.files, setup.sampler, workers=args.workers, device=device),
        setup.objective,
        setup.validation,
        settings=loop_settings(args, Path(args.run_dir), device),
        precision=Precision(args.amp, device, clip=args.clip_grad),
        ranks=ranks,
        logger=logger,
        stop=stop,
    )


def loop_settings(args: argparse.Namespace, folder: Path, device: str) -> Settings:
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


def announce(args: argparse.Namespace, trainer: Trainer, ranks: Ranks, device: str) -> None:
    """Say what is going to happen, on the terminal and in the log."""
    steps, progress = len(trainer.loader), trainer.progress
    images = args.batch_size // (ranks.world * args.accumulate)
    batch = f"{args.batch_size} = {ranks.world} ranks x {args.accumulate} parts x {images} images"
    backends = choose_backends(device, tf32=args.tf32, deterministic=args.deterministic)
    trainer.logger.write(
        "start",
        epoch=progress.epoch,
        step=progress.step,
        batch=batch,
        lr=args.lr,
        steps=steps,
        fast=use_fast_forms(args, device),
        **asdict(backends),
        **describe_run(ranks, device),
    )
    if ranks.is_main:
        print(
            f"{args.model} over {args.backbone} on {device}: batch {batch}, "
            f"learning rate {args.lr:g}, {args.epochs} epochs of {steps} steps, "
            f"from epoch {progress.epoch + 1}, step {progress.step}",
            flush=True,
        )


def write_args(folder: Path, args: argparse.Namespace) -> None:
    """Keep the command's flags beside the run's checkpoints."""
    with write_aside(folder / "args.json") as aside:
        aside.write_text(json.dumps(vars(args), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
