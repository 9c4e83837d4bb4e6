"""Train a semantic edge net or a segmentation net.

    python train.py --recipe dff-scenes                                       # drawn street scenes, two CPU cores
    python train.py --recipe dff-cityscapes --data-root datasets/cityscapes   # the published settings
    torchrun --nproc-per-node 8 train.py --recipe dff-cityscapes              # the same on eight GPUs
    torchrun --nproc-per-node 8 train.py --recipe deeplabv3plus-r50-cityscapes-decouple --init-from base.pth

A run leaves last.pth, best.pth, args.json and log.jsonl in its folder.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import Dataset as Items

from data import build_dataset, parse_options
from data.base import Dataset, InputError, write_aside
from data.class_uniform import ClassUniform, ClassUniformSampler, class_index, pick_classes
from data.cli import run
from data.sampling import BatchSampler
from data.seg_targets import Relaxation, SegTraining
from data.targets import EdgeLabels, EdgeTraining
from data.transforms import Augmentation
from models import DECOUPLED, MODELS, OPTIONS
from utils.args import FREE_ON_RESUME, parse_train_args
from utils.checkpoint import ModelInfo, create_model, load_start
from utils.distributed import Ranks, close_distributed, from_main, init_distributed, synchronise_batch_norm
from utils.engine import Settings, Trainer, make_loader
from utils.inference import pick_device
from utils.logger import Logger
from utils.schedule import PerEpoch, edge_optimizer, per_iteration, seg_optimizer
from utils.seg_validation import SegValidation
from utils.tasks import RELAXED_LOSSES, Task, edge_task, seg_task
from utils.validation import EdgeValidation, Scores


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
        train_set = pictures(args, args.train_split)
        work = (edge_work if MODELS[args.model][1] == "edge" else seg_work)(args, train_set, ranks)
        model, info = network(args, train_set, ranks, device)
        folder = prepare_folder(args, ranks)
        logger = Logger(folder, is_main=ranks.is_main, wandb=args.wandb, config=vars(args))
        trainer = Trainer(
            model,
            info,
            work.optimizer(model, lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay),
            make_loader(work.items, work.sampler, args.workers, device),
            work.task,
            work.validation,
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


@dataclass(frozen=True)
class Work:
    """What is trained on, in which order, towards what, and how it is scored."""

    items: Items
    sampler: BatchSampler
    task: Task
    optimizer: Callable[..., torch.optim.Optimizer]
    validation: Callable[..., Scores] | None


def edge_work(args: argparse.Namespace, train_set: Dataset, ranks: Ranks) -> Work:
    """Semantic edges."""

    def labels(dataset: Dataset) -> EdgeLabels:
        return EdgeLabels.of(dataset, instance_sensitive=args.instance, folder=args.edge_labels)

    weights = {"side5": args.side5_weight, "fuse": args.fuse_weight}
    validation = None
    if args.val_every:
        validation = EdgeValidation(
            labels(pictures(args, args.val_split)),
            base_size=args.base_size,
            thresholds=args.val_thresholds,
            weights=weights,
            samples=args.val_samples,
            workers=args.workers,
        )
    return Work(
        items=EdgeTraining(labels(train_set), augmentation(args), args.seed),
        sampler=BatchSampler(len(train_set), args.batch_size, seed=args.seed, rank=ranks.rank, world=ranks.world),
        task=edge_task(train_set.num_classes, weights, per_iteration(args.lr, args.epochs)),
        optimizer=edge_optimizer,
        validation=validation,
    )


def seg_work(args: argparse.Namespace, train_set: Dataset, ranks: Ranks) -> Work:
    """Segmentation, of a base net or a decoupled one."""
    loss, weights = args.loss, {"seg": args.seg_weight}
    if args.model in DECOUPLED:
        loss = "body-edge"
        weights |= {"body": args.body_weight, "edge": args.edge_weight, "edge_attention": args.att_weight}
    relaxation = Relaxation(args.border, tuple(args.strict_bdr_cls), args.rlx_off_epoch)
    further = pictures(args, args.coarse_split) if args.coarse_boost_classes else None
    sampler = seg_sampler(args, train_set, further, ranks)
    if args.images_per_loss and sampler.share % args.images_per_loss:
        raise InputError(f"--images-per-loss {args.images_per_loss} must divide the {sampler.share} images of a rank")
    if (args.batch_size if args.sync_bn else sampler.share) < 2 and not (
        args.freeze_bn or args.model.startswith("fcn")
    ):
        raise InputError(
            f"{args.model} pools whole images, whose batch normalisation needs two or more; see --batch-size"
        )
    validation = None
    if args.val_every:
        val_set = pictures(args, args.val_split)
        validation = SegValidation(val_set, base_size=args.base_size, samples=args.val_samples, workers=args.workers)
    relaxed = relaxation if loss in RELAXED_LOSSES else None
    losses = {"loss": loss, "images_per_loss": args.images_per_loss, "quirks": args.quirks}
    return Work(
        items=SegTraining(train_set, augmentation(args), args.seed, relaxed, further),
        sampler=sampler,
        task=seg_task(train_set.num_classes, weights, seg_schedule(args), **losses),
        optimizer=seg_optimizer,
        validation=validation,
    )


def seg_schedule(args: argparse.Namespace) -> PerEpoch:
    """poly, or scl-poly, which starts anew where labels are no longer relaxed."""
    restart = args.rlx_off_epoch if args.lr_schedule == "scl-poly" else None
    shape = {"restart": restart, "rescale": args.rescale, "repoly": args.repoly}
    return PerEpoch(args.lr, args.epochs, args.poly_exp, **shape, quirks=args.quirks)


def seg_sampler(args: argparse.Namespace, train_set: Dataset, further: Dataset | None, ranks: Ranks) -> BatchSampler:
    """Plain shuffled epochs with --class-uniform-pct 0, else class-uniform ones; the main rank makes the index for all."""
    common = {"seed": args.seed, "rank": ranks.rank, "world": ranks.world}
    if not args.class_uniform_pct:
        return BatchSampler(len(train_set), args.batch_size, **common)
    tile, boost = args.class_uniform_tile, None
    index = from_main(lambda: class_index(train_set, tile, workers=args.workers), ranks)
    if further is not None:
        coarse = from_main(lambda: class_index(further, tile, workers=args.workers), ranks)
        boost = pick_classes(coarse, args.coarse_boost_classes, first_sample=len(train_set))
    uniform = ClassUniform(index, args.class_uniform_pct, train_set.num_classes, boost, args.max_cu_epoch)
    return ClassUniformSampler(len(train_set), args.batch_size, uniform, **common)


def pictures(args: argparse.Namespace, split: str) -> Dataset:
    """The samples of a split; those of a segmentation run without the instance maps, which it would read for nothing."""
    dataset = build_dataset(args.dataset, args.data_root, split, **parse_options(args.data_option))
    if MODELS[args.model][1] == "seg":
        dataset.records = [replace(record, instance=None) for record in dataset.records]
    return dataset


def augmentation(args: argparse.Namespace) -> Augmentation:
    """The random part of the data, as the flags say."""
    return Augmentation(
        args.base_size, args.crop_size, tuple(args.scale), args.mirror, color=args.color_aug, blur=args.gblur
    )


def network(args: argparse.Namespace, dataset: Dataset, ranks: Ranks, device: str) -> tuple[torch.nn.Module, ModelInfo]:
    """The net on its device, the same on every rank, and what its checkpoints say about it."""
    torch.manual_seed(args.seed)
    # Weights that are going to be replaced anyway are never asked for.
    pretrained = "none" if args.init_from or args.resume else args.pretrained
    options = {name: getattr(args, name) for name in OPTIONS.get(args.model, ())}
    shape = {"num_classes": dataset.num_classes, "backbone": args.backbone}
    model = create_model(args.model, **shape, pretrained=pretrained, **options)
    if args.init_from and not args.resume:
        fresh = load_start(model, args.init_from, reset_classifier=args.reset_classifier)
        if fresh and ranks.is_main:
            print(f"{args.init_from}: {len(fresh)} parameters keep their initial values: {', '.join(fresh)}")
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
        val_every=args.val_every,
        save_every=args.save_every,
        folder=folder,
        freeze_bn=args.freeze_bn,
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
