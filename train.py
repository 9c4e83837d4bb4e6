"""Train a semantic edge net or a segmentation net.

    python train.py --recipe dff-scenes                                       # drawn street scenes, two CPU cores
    python train.py --recipe dff-cityscapes --data-root datasets/cityscapes   # the published settings
    torchrun --nproc-per-node 8 train.py --recipe dff-cityscapes              # the same on eight GPUs
    torchrun --nproc-per-node 8 train.py --recipe deeplabv3plus-r50-cityscapes-decouple --init-from base.pth

A run leaves last.pth, best.pth, args.json and log.jsonl in its folder. Started again, it goes on where it was; asked to stop by SIGTERM or
SIGUSR1, it writes its checkpoint and ends with status 75.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch

from data.base import Dataset
from data.errors import run
from data.files import write_aside
from models import MODELS, OPTIONS
from utils.checkpoint import CheckpointError, ModelInfo, create_model, load_start, read_checkpoint
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main, own_device, process_group
from utils.distributed.preemption import REQUEUE, Preempted, StopRequest
from utils.distributed.sync_batchnorm import synchronise_batch_norm
from utils.inference.device import pick_device
from utils.training.allocator import keep_freed_memory
from utils.training.args import FREE_ON_RESUME, parse_train_args
from utils.training.loading import make_loader
from utils.training.logger import Logger
from utils.training.precision import Precision
from utils.training.records import describe_run
from utils.training.run_folder import (
    LAST,
    PREVIOUS,
    newest_whole,
    only_one,
    remove_parts,
    set_aside,
)
from utils.training.setup import images, plan_work
from utils.training.state import Settings
from utils.training.trainer import Trainer


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the recipe's defaults filled in."""
    return parse_train_args(argv)


def main(args: argparse.Namespace) -> int:
    """Build everything, then train. Returns the exit status: 0, or REQUEUE if a signal ended the run early."""
    with contextlib.ExitStack() as closing:
        stop = closing.enter_context(StopRequest())
        device = pick_device(args.device).type
        if device == "cpu":
            keep_freed_memory()
        ranks = closing.enter_context(
            process_group(device, timeout=timedelta(minutes=args.timeout_minutes))
        )
        own_device(torch.device(device), ranks)
        train_set = images(args, args.train_split)
        work = plan_work(args, train_set, ranks)
        folder = Path(args.run_dir)
        checkpoint = from_main(lambda: open_folder(folder, args.resume, closing), ranks)
        model, info = network(args, train_set, ranks, device, fresh=checkpoint is None)
        logger = closing.enter_context(
            Logger(
                folder,
                is_main=ranks.is_main,
                wandb=args.wandb,
                tensorboard=args.tensorboard,
                config=vars(args),
            )
        )
        trainer = Trainer(
            model,
            info,
            work.optimizer(
                model, lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay
            ),
            make_loader(work.items, work.files, work.sampler, workers=args.workers, device=device),
            work.task,
            work.validation,
            settings=settings(args, folder, device),
            precision=Precision(args.amp, device, clip=args.clip_grad),
            ranks=ranks,
            logger=logger,
            stop=stop,
        )
        if checkpoint is not None:
            trainer.resume(read_checkpoint(checkpoint), str(checkpoint), FREE_ON_RESUME)
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


def network(
    args: argparse.Namespace, dataset: Dataset, ranks: Ranks, device: str, *, fresh: bool
) -> tuple[torch.nn.Module, ModelInfo]:
    """The net on its device, the same on every rank, and what its checkpoints say about it."""
    torch.manual_seed(args.seed)
    # Weights that are going to be replaced anyway are never asked for.
    pretrained = "none" if args.init_from or not fresh else args.pretrained
    options = {name: getattr(args, name) for name in OPTIONS.get(args.model, ())}
    shape = {"num_classes": dataset.num_classes, "backbone": args.backbone}
    model = create_model(args.model, **shape, pretrained=pretrained, **options)
    if args.init_from and fresh:
        new = load_start(model, args.init_from, reset_classifier=args.reset_classifier)
        if new and ranks.is_main:
            print(
                f"{args.init_from}: {len(new)} parameters keep their initial values: {', '.join(new)}"
            )
    if ranks.world > 1 and args.sync_bn:
        model = synchronise_batch_norm(model, device)
    info = ModelInfo(
        name=args.model,
        **shape,
        task=MODELS[args.model][1],
        classes=tuple(dataset.classes),
        palette=dataset.palette,
        base_size=args.base_size,
        dataset=args.dataset,
        options=options,
    )
    return model.to(device), info


def settings(args: argparse.Namespace, folder: Path, device: str) -> Settings:
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


def open_folder(folder: Path, resume: str | None, closing: contextlib.ExitStack) -> Path | None:
    """Make the run's folder, hold it until `closing`, and find the checkpoint to go on from; None: start anew.

    resume: "auto" (the newest whole one, if there is any), "last" (there must be one), a path, or None (start anew, and rename a folder
    that holds a run already).
    """
    if resume is None and any((folder / name).exists() for name in (LAST, PREVIOUS)):
        print(f"--no-resume: the run that was in {folder} is now in {set_aside(folder)}")
    folder.mkdir(parents=True, exist_ok=True)
    closing.enter_context(only_one(folder))
    remove_parts(folder)
    if resume not in ("auto", "last"):
        return resume and Path(resume)
    found = newest_whole(folder)
    if found is None and resume == "last":
        raise CheckpointError(
            f"--resume: {folder / LAST}: no such weight file; leave --resume out to start"
        )
    return found


def announce(args: argparse.Namespace, trainer: Trainer, ranks: Ranks, device: str) -> None:
    """Say what is going to happen, on the terminal and in the log."""
    steps, done, accumulate = len(trainer.loader), trainer.progress, args.accumulate
    images = args.batch_size // (ranks.world * accumulate)
    batch = f"{args.batch_size} = {ranks.world} ranks x {accumulate} parts x {images} images"
    where = {"epoch": done.epoch, "step": done.step}
    trainer.logger.write(
        "start", **where, batch=batch, lr=args.lr, steps=steps, **describe_run(ranks, device)
    )
    if ranks.is_main:
        print(
            f"{args.model} over {args.backbone} on {device}: batch {batch}, learning rate {args.lr:g}, "
            f"{args.epochs} epochs of {steps} steps, from epoch {done.epoch + 1}, step {done.step}",
            flush=True,
        )


def write_args(folder: Path, args: argparse.Namespace) -> None:
    """Keep the command's flags beside the run's checkpoints."""
    with write_aside(folder / "args.json") as aside:
        aside.write_text(json.dumps(vars(args), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
