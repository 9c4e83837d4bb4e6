"""Train a semantic edge net.

    python train.py --recipe dff-scenes                                       # drawn street scenes, two CPU cores
    python train.py --recipe dff-cityscapes --data-root datasets/cityscapes   # the published settings
    torchrun --nproc-per-node 8 train.py --recipe dff-cityscapes              # the same on eight GPUs

A run leaves last.pth, best.pth, args.json and log.jsonl in its folder.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from data import build_dataset, parse_options
from data.base import Dataset, InputError, write_aside
from data.cli import run
from data.sampling import BatchSampler
from data.targets import EdgeLabels, EdgeTraining
from data.transforms import Augmentation
from models import MODELS
from utils.args import FREE_ON_RESUME, parse_train_args
from utils.checkpoint import ModelInfo, create_model, load_weights
from utils.distributed import Ranks, close_distributed, init_distributed, synchronise_batch_norm
from utils.engine import Settings, Trainer, make_loader
from utils.inference import pick_device
from utils.logger import Logger
from utils.schedule import edge_optimizer
from utils.validation import EdgeValidation


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the recipe's defaults filled in."""
    return parse_train_args(argv)


def main(args: argparse.Namespace) -> None:
    """Build everything, then train."""
    device = pick_device(args.device).type
    ranks = init_distributed(device)
    if device == "cuda":
        torch.cuda.set_device(ranks.local_rank)
    try:
        train_set = open_split(args, args.train_split)
        sampler = BatchSampler(len(train_set), args.batch_size, seed=args.seed, rank=ranks.rank, world=ranks.world)
        items = EdgeTraining(edge_labels(args, train_set), augmentation(args), args.seed)
        model, info = network(args, train_set, ranks, device)
        folder = prepare_folder(args, ranks)
        logger = Logger(folder, is_main=ranks.is_main, wandb=args.wandb, config=vars(args))
        trainer = Trainer(
            model,
            info,
            edge_optimizer(model, lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay),
            make_loader(items, sampler, args.workers, device),
            validation(args),
            settings=settings(args, folder, device),
            ranks=ranks,
            logger=logger,
        )
        if args.resume:
            trainer.resume(folder / "last.pth" if args.resume == "last" else Path(args.resume), FREE_ON_RESUME)
        elif ranks.is_main:
            write_args(folder, args)
        trainer.run()
        logger.close()
    finally:
        close_distributed()
    if ranks.is_main:
        print(f"run: {folder}")


def open_split(args: argparse.Namespace, split: str) -> Dataset:
    """One split of the data set that the flags name."""
    return build_dataset(args.dataset, args.data_root, split, **parse_options(args.data_option))


def edge_labels(args: argparse.Namespace, dataset: Dataset) -> EdgeLabels:
    """Where the true edges of a data set come from."""
    return EdgeLabels.of(dataset, instance_sensitive=args.instance, folder=args.edge_labels)


def augmentation(args: argparse.Namespace) -> Augmentation:
    """The random part of the data, as the flags say."""
    return Augmentation(args.base_size, args.crop_size, tuple(args.scale), args.mirror)


def network(args: argparse.Namespace, dataset: Dataset, ranks: Ranks, device: str) -> tuple[torch.nn.Module, ModelInfo]:
    """The net on its device, the same on every rank, and what its checkpoints say about it."""
    torch.manual_seed(args.seed)
    # Weights that are going to be replaced anyway are never asked for.
    pretrained = "none" if args.init_from or args.resume else args.pretrained
    model = create_model(args.model, num_classes=dataset.num_classes, backbone=args.backbone, pretrained=pretrained)
    if args.init_from:
        fresh = load_weights(model, args.init_from, reset_classifier=args.reset_classifier)
        if fresh and ranks.is_main:
            print(f"{args.init_from}: {len(fresh)} parameters keep their initial values: {', '.join(fresh)}")
    if ranks.world > 1 and args.sync_bn:
        model = synchronise_batch_norm(model, device)
    info = ModelInfo(
        name=args.model,
        backbone=args.backbone,
        num_classes=dataset.num_classes,
        task=MODELS[args.model][1],
        classes=tuple(dataset.classes),
        palette=dataset.palette,
        base_size=args.base_size,
        dataset=args.dataset,
    )
    return model.to(device), info


def validation(args: argparse.Namespace) -> EdgeValidation | None:
    """What scores the net during training; None with --val-every 0."""
    if not args.val_every:
        return None
    return EdgeValidation(
        edge_labels(args, open_split(args, args.val_split)),
        base_size=args.base_size,
        thresholds=args.val_thresholds,
        samples=args.val_samples,
        workers=args.workers,
    )


def settings(args: argparse.Namespace, folder: Path, device: str) -> Settings:
    """The numbers of the loop."""
    return Settings(
        epochs=args.epochs,
        lr=args.lr,
        weights={"side5": args.side5_weight, "fuse": args.fuse_weight},
        device=device,
        val_every=args.val_every,
        save_every=args.save_every,
        folder=folder,
        args=vars(args),
    )


def prepare_folder(args: argparse.Namespace, ranks: Ranks) -> Path:
    """The run's folder; an InputError if it holds another run and this one does not resume it."""
    folder = Path(args.run_dir)
    if ranks.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "last.pth").exists() and not args.resume:
            raise InputError(f"{folder} holds a run already; go on with --resume, or choose another --checkname")
    return folder


def write_args(folder: Path, args: argparse.Namespace) -> None:
    """Keep the command's flags beside the run's checkpoints."""
    with write_aside(folder / "args.json") as aside:
        aside.write_text(json.dumps(vars(args), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
