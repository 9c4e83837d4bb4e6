"""What a training run works on: samples, their order, losses and validation, as the flags of `train.py` say."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import Dataset as Items

from data import build_dataset, parse_options
from data.base import Dataset
from data.errors import InputError
from data.samples.class_uniform import ClassUniform, ClassUniformSampler, class_index, pick_classes
from data.samples.edge import EdgeLabels, EdgeTraining
from data.samples.sampler import BatchSampler
from data.samples.seg import Relaxation, SegTraining
from data.samples.transforms import Augmentation
from models import DECOUPLED, MODELS
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main
from utils.training.objective import RELAXED_LOSSES, Task, edge_task, seg_task
from utils.training.optimizer import edge_optimizer, seg_optimizer
from utils.training.schedule import PerEpoch, per_iteration
from utils.training.scores import Scores
from utils.training.validate_edges import EdgeValidation
from utils.training.validate_seg import SegValidation


@dataclass(frozen=True)
class Work:
    """What is trained on, in which order, towards what, and how it is scored."""

    items: Items
    files: list[Path | None]  # the image of each sample that the sampler may ask for
    sampler: BatchSampler
    task: Task
    optimizer: Callable[..., torch.optim.Optimizer]
    validation: Callable[..., Scores] | None


def plan_work(args: argparse.Namespace, train_set: Dataset, ranks: Ranks) -> Work:
    """That of the model's task. InputError where the flags do not fit the data or each other."""
    return (edge_work if MODELS[args.model][1] == "edge" else seg_work)(args, train_set, ranks)


def edge_work(args: argparse.Namespace, train_set: Dataset, ranks: Ranks) -> Work:
    """Semantic edges."""

    def labels(dataset: Dataset) -> EdgeLabels:
        return EdgeLabels.of(dataset, instance_sensitive=args.instance, folder=args.edge_labels)

    weights = {"side5": args.side5_weight, "fuse": args.fuse_weight}
    validation = None
    if args.val_every:
        validation = EdgeValidation(
            labels(images(args, args.val_split)),
            base_size=args.base_size,
            thresholds=args.val_thresholds,
            weights=weights,
            samples=args.val_samples,
            workers=args.workers,
        )
    sampler = BatchSampler(
        len(train_set), args.batch_size, seed=args.seed, rank=ranks.rank, world=ranks.world
    )
    require_parts(args, sampler.share)
    return Work(
        items=EdgeTraining(labels(train_set), augmentation(args), args.seed),
        files=files_of(train_set),
        sampler=sampler,
        task=edge_task(train_set.num_classes, weights, per_iteration(args.lr, args.epochs)),
        optimizer=edge_optimizer,
        validation=validation,
    )


def seg_work(args: argparse.Namespace, train_set: Dataset, ranks: Ranks) -> Work:
    """Segmentation, of a base net or a decoupled one."""
    loss, weights = args.loss, {"seg": args.seg_weight}
    if args.model in DECOUPLED:
        loss = "body-edge"
        weights |= {
            "body": args.body_weight,
            "edge": args.edge_weight,
            "edge_attention": args.att_weight,
        }
    relaxation = Relaxation(args.border, tuple(args.strict_bdr_cls), args.rlx_off_epoch)
    further = images(args, args.coarse_split) if args.coarse_boost_classes else None
    sampler = seg_sampler(args, train_set, further, ranks)
    part = require_parts(args, sampler.share)
    if args.images_per_loss and part % args.images_per_loss:
        raise InputError(
            f"--images-per-loss {args.images_per_loss} must divide the {part} images of a rank"
        )
    if part * (ranks.world if args.sync_bn else 1) < 2 and not (
        args.freeze_bn or args.model.startswith("fcn")
    ):
        raise InputError(
            f"{args.model} pools whole images, whose batch normalisation needs two or more; see --batch-size"
        )
    validation = None
    if args.val_every:
        val_set = images(args, args.val_split)
        validation = SegValidation(
            val_set, base_size=args.base_size, samples=args.val_samples, workers=args.workers
        )
    relaxed = relaxation if loss in RELAXED_LOSSES else None
    losses = {"loss": loss, "images_per_loss": args.images_per_loss, "quirks": args.quirks}
    return Work(
        items=SegTraining(train_set, augmentation(args), args.seed, relaxed, further),
        files=files_of(train_set) + (files_of(further) if further else []),
        sampler=sampler,
        task=seg_task(train_set.num_classes, weights, seg_schedule(args), **losses),
        optimizer=seg_optimizer,
        validation=validation,
    )


def require_parts(args: argparse.Namespace, share: int) -> int:
    """The images that go through a rank's net at once."""
    if share % args.accumulate:
        raise InputError(f"--accumulate {args.accumulate} must divide the {share} images of a rank")
    return share // args.accumulate


def seg_schedule(args: argparse.Namespace) -> PerEpoch:
    """poly, or scl-poly, which starts anew where labels are no longer relaxed."""
    restart = args.rlx_off_epoch if args.lr_schedule == "scl-poly" else None
    shape = {"restart": restart, "rescale": args.rescale, "repoly": args.repoly}
    return PerEpoch(args.lr, args.epochs, args.poly_exp, **shape, quirks=args.quirks)


def seg_sampler(
    args: argparse.Namespace, train_set: Dataset, further: Dataset | None, ranks: Ranks
) -> BatchSampler:
    """Plain shuffled epochs with --class-uniform-pct 0, else class-uniform ones; the main rank makes the index for all."""
    common = {"seed": args.seed, "rank": ranks.rank, "world": ranks.world}
    if not args.class_uniform_pct:
        return BatchSampler(len(train_set), args.batch_size, **common)
    tile, boost = args.class_uniform_tile, None
    index = from_main(lambda: class_index(train_set, tile, workers=args.workers), ranks)
    if further is not None:
        coarse = from_main(lambda: class_index(further, tile, workers=args.workers), ranks)
        boost = pick_classes(coarse, args.coarse_boost_classes, first_sample=len(train_set))
    uniform = ClassUniform(
        index, args.class_uniform_pct, train_set.num_classes, boost, args.max_cu_epoch
    )
    return ClassUniformSampler(len(train_set), args.batch_size, uniform, **common)


def images(args: argparse.Namespace, split: str) -> Dataset:
    """The samples of a split; those of a segmentation run without the instance maps, which it would read for nothing."""
    dataset = build_dataset(args.dataset, args.data_root, split, **parse_options(args.data_option))
    if MODELS[args.model][1] == "seg":
        dataset.records = [replace(record, instance=None) for record in dataset.records]
    return dataset


def files_of(dataset: Dataset) -> list[Path | None]:
    """The image of each sample."""
    return [record.image for record in dataset.records]


def augmentation(args: argparse.Namespace) -> Augmentation:
    """The random part of the data, as the flags say."""
    return Augmentation(
        args.base_size,
        args.crop_size,
        tuple(args.scale),
        args.mirror,
        color=args.color_aug,
        blur=args.gblur,
    )
