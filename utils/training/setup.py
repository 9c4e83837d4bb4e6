"""What the flags of `train.py` ask for, built: samples and their order, objective, validation, net.

Everything that reads the flags one by one is here and in `train.py`; the rest takes values.
"""

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from data import build_dataset, parse_options
from data.base import Dataset
from data.errors import InputError, one_line
from data.samples.class_uniform import ClassUniform, ClassUniformSampler, class_index, pick_classes
from data.samples.edge import EdgeLabels, EdgeTraining
from data.samples.sampler import BatchSampler
from data.samples.seg import Relaxation, SegTraining
from data.samples.transforms import Augmentation
from models import MODELS, OPTIONS
from models.backbones import TIMM, is_timm
from models.contract import BackboneError
from models.fast import optimize_for_inference, optimize_for_training, tried_on
from models.timm_build import find_plan
from utils.checkpoint import ModelInfo, create_model
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main
from utils.distributed.sync_batchnorm import synchronise_batch_norm
from utils.inference.device import pick_device
from utils.training.args import TrainArgs
from utils.training.loading import KeyedItems
from utils.training.objective import Objective, losses_of
from utils.training.optimizer import edge_optimizer, seg_optimizer
from utils.training.schedule import PerEpoch, Schedule, per_iteration
from utils.training.start import start_from
from utils.training.validate_edges import EdgeScoring
from utils.training.validate_seg import SegScoring
from utils.training.validation import ImageValidation, Prepare, Scoring, Validation

# Term of a loss -> the flag with its weight in the total; a term without a flag weighs 1.
WEIGHT_FLAGS = {
    "side5": "side5_weight",
    "fuse": "fuse_weight",
    "seg": "seg_weight",
    "body": "body_weight",
    "edge": "edge_weight",
    "edge_attention": "att_weight",
}
VALIDATED = "to validate on; see --val-split and --val-every 0"


class OptimizerBuilder(Protocol):
    """The optimizer of a net's parameters."""

    def __call__(
        self, model: nn.Module, *, lr: float, momentum: float, weight_decay: float
    ) -> torch.optim.Optimizer: ...


@dataclass(frozen=True)
class TrainSetup:
    """What a net is trained on, in which order, towards what, and how it is scored.

    files: the image of each sample that the sampler may ask for. validation: None with
    --val-every 0.
    """

    items: KeyedItems
    files: list[Path | None]
    sampler: BatchSampler
    objective: Objective
    optimizer: OptimizerBuilder
    validation: Validation | None


def build_setup(args: TrainArgs, train_set: Dataset, ranks: Ranks) -> TrainSetup:
    """Everything but the net; InputError where the flags do not fit the data or each other."""
    build = edge_setup if MODELS[args.model][1] == "edge" else seg_setup
    setup = build(args, train_set, ranks)
    for note in from_main(lambda: notes_on_data(args, train_set), ranks):
        if ranks.is_main:
            print(f"note: {note}", file=sys.stderr)
    if ranks.is_main:
        note_faults_of_test_split(args)
    return setup


def edge_setup(args: TrainArgs, train_set: Dataset, ranks: Ranks) -> TrainSetup:
    """Of an edge net."""
    sampler = BatchSampler(
        len(train_set), args.batch_size, seed=args.seed, rank=ranks.rank, world=ranks.world
    )
    images_per_pass(args, sampler)
    objective = build_objective(args, train_set, per_iteration(args.lr, args.epochs))
    if not args.edge_labels:
        require_labels(train_set, "to make edges of; see --edge-labels")
    validation = validation_of(args, objective)
    return TrainSetup(
        items=EdgeTraining(edge_labels(args, train_set), augmentation(args), args.seed),
        files=files_of(train_set),
        sampler=sampler,
        objective=objective,
        optimizer=partial(edge_optimizer, kind=args.optimizer),
        validation=validation,
    )


def edge_labels(args: TrainArgs, dataset: Dataset) -> EdgeLabels:
    """The true edges, from a data set's labels or from files."""
    return EdgeLabels.of(dataset, instance_sensitive=args.instance, folder=args.edge_labels)


def own_edges(args: TrainArgs, dataset: Dataset) -> EdgeLabels:
    """The true edges from a data set's labels, whatever others are trained on."""
    return EdgeLabels.of(dataset, instance_sensitive=args.instance)


def has_edge_head(args: TrainArgs) -> bool:
    """Whether the net is one for segmentation that learns edges, too."""
    return MODELS[args.model].task == "seg" and args.edge_head != "none"


def seg_setup(args: TrainArgs, train_set: Dataset, ranks: Ranks) -> TrainSetup:
    """Of a segmentation net, base or decoupled, with or without an edge head."""
    require_classes("--strict-bdr-cls", args.strict_bdr_cls, train_set)
    require_classes("--coarse-boost-classes", args.coarse_boost_classes, train_set)
    coarse_set = split_of(args, args.coarse_split) if args.coarse_boost_classes else None
    for dataset in filter(None, (train_set, coarse_set)):
        require_labels(dataset, "to train on")
    objective = build_objective(
        args, train_set, seg_schedule(args), images_per_loss=args.images_per_loss
    )
    validation = validation_of(args, objective)
    edges = coarse_edges = None
    if has_edge_head(args):
        edges = edge_labels(args, train_set)
        coarse_edges = None if coarse_set is None else own_edges(args, coarse_set)
    sampler = seg_sampler(args, train_set, coarse_set, ranks)
    relaxation = Relaxation(args.border, tuple(args.strict_bdr_cls), args.rlx_off_epoch)
    return TrainSetup(
        items=SegTraining(
            train_set,
            augmentation(args),
            args.seed,
            relaxation if objective.loss.relaxed else None,
            coarse_set,
            edges,
            coarse_edges,
        ),
        files=files_of(train_set) + (files_of(coarse_set) if coarse_set else []),
        sampler=sampler,
        objective=objective,
        optimizer=partial(seg_optimizer, kind=args.optimizer),
        validation=validation,
    )


def validation_of(args: TrainArgs, objective: Objective) -> ImageValidation | None:
    """On whole images of the validation split; `best.pth` follows the score of the net's task."""
    if not args.val_every:
        return None
    val_set = split_of(args, args.val_split)
    require_labels(val_set, VALIDATED)
    edge_task = MODELS[args.model].task == "edge"
    scorings: list[Scoring] = [] if edge_task else [SegScoring(val_set)]
    if edge_task or has_edge_head(args):
        scorings.append(
            EdgeScoring(
                edge_labels(args, val_set),
                objective if edge_task else objective.of_edges(),
                thresholds=args.val_thresholds,
                workers=args.workers,
            )
        )
    return ImageValidation(
        val_set,
        *scorings,
        base_size=args.base_size,
        samples=args.val_samples,
        readers=0 if edge_task else args.workers,  # an edge net's workers count
        prepare=evaluation_form(args),
    )


def build_objective(
    args: TrainArgs, train_set: Dataset, schedule: Schedule, *, images_per_loss: int = 0
) -> Objective:
    """The loss that --loss names, with its flags' weights."""
    return Objective(
        losses_of(args.model)[args.loss],
        train_set.num_classes,
        {term: getattr(args, flag) for term, flag in WEIGHT_FLAGS.items()},
        schedule,
        images_per_loss=images_per_loss,
        quirks=args.quirks,
        edge_head=has_edge_head(args),
    )


def require_classes(flag: str, classes: list[int], dataset: Dataset) -> None:
    """InputError unless the data set has all of the classes that a flag names."""
    for number in classes:
        if number >= dataset.num_classes:
            raise InputError(
                f"{flag} {number}: {dataset.name} has the classes 0 to {dataset.num_classes - 1}"
            )


def require_labels(dataset: Dataset, purpose: str) -> None:
    """InputError if a sample has no label map, before anything is trained."""
    lacking = [record.name for record in dataset.records if record.label is None]
    if lacking:
        raise InputError(
            f"{dataset.name} {dataset.split}: {lacking[0]} has no label map {purpose} "
            f"({len(lacking)} of {len(dataset)} samples have none)"
        )


def images_per_pass(args: TrainArgs, sampler: BatchSampler) -> int:
    """The images that go through a rank's net at once."""
    if sampler.share % args.accumulate:
        raise InputError(
            f"--accumulate {args.accumulate} must divide the {sampler.share} images of a rank"
        )
    return sampler.share // args.accumulate


def require_batch(args: TrainArgs, images: int, ranks: Ranks) -> None:
    """InputError if `images`, those of a forward pass, are no batch of the loss or of the net."""
    if args.images_per_loss and images % args.images_per_loss:
        raise InputError(
            f"--images-per-loss {args.images_per_loss} must divide the {images} images of a rank"
        )
    # PSPNet, DeepLabV3+ and GFFNet normalize maps of one pixel: of one image, a batch of one value.
    needs_two = not (args.freeze_bn or args.model.startswith("fcn"))
    if needs_two and images * (ranks.world if args.sync_bn else 1) < 2:
        raise InputError(
            f"{args.model} pools whole images, whose batch normalisation needs two or more; "
            "see --batch-size"
        )


def seg_schedule(args: TrainArgs) -> PerEpoch:
    """poly, or scl-poly, which restarts where labels are no longer relaxed."""
    return PerEpoch(
        args.lr,
        args.epochs,
        args.poly_exp,
        restart=args.rlx_off_epoch if args.lr_schedule == "scl-poly" else None,
        rescale=args.rescale,
        repoly=args.repoly,
        quirks=args.quirks,
    )


def seg_sampler(
    args: TrainArgs, train_set: Dataset, coarse_set: Dataset | None, ranks: Ranks
) -> BatchSampler:
    """Plain shuffled epochs with --class-uniform-pct 0, else class-uniform ones.

    The main rank makes the index of classes for all, which takes minutes on a large data set:
    after the checks.
    """
    common = {"seed": args.seed, "rank": ranks.rank, "world": ranks.world}
    plain = BatchSampler(len(train_set), args.batch_size, **common)
    require_batch(args, images_per_pass(args, plain), ranks)
    if not args.class_uniform_pct:
        return plain
    tile, boost = args.class_uniform_tile, None
    index = from_main(lambda: class_index(train_set, tile, workers=args.workers), ranks)
    if coarse_set is not None:
        coarse = from_main(lambda: class_index(coarse_set, tile, workers=args.workers), ranks)
        boost = pick_classes(coarse, args.coarse_boost_classes, first_sample=len(train_set))
    uniform = ClassUniform(
        index, args.class_uniform_pct, train_set.num_classes, boost, args.max_cu_epoch
    )
    return ClassUniformSampler(len(train_set), args.batch_size, uniform, **common)


def split_of(args: TrainArgs, split: str) -> Dataset:
    """The samples of a split; without instance maps, which are not read then, if no edges are
    learned."""
    task = MODELS[args.model][1]
    dataset = build_dataset(
        args.dataset, args.data_root, split, task=task, **parse_options(args.data_option)
    )
    if task == "seg" and not has_edge_head(args):
        dataset.records = [replace(record, instance=None) for record in dataset.records]
    return dataset


def notes_on_data(args: TrainArgs, train_set: Dataset) -> list[str]:
    """What may surprise in the samples that are trained and validated on, each line once."""
    sets = [train_set, *([split_of(args, args.val_split)] if args.val_every else [])]
    return list(dict.fromkeys(note for each in sets for note in each.notes(args.workers)))


def note_faults_of_test_split(args: TrainArgs) -> None:
    """Say before the training what would stop `test.py` after it, in a list of the test split."""
    if not (Path(args.data_root) / "test.txt").is_file():
        return
    try:
        split_of(args, "test")
    except (InputError, OSError) as error:
        print(f"note: test.py will refuse the split test: {one_line(error)}", file=sys.stderr)


def files_of(dataset: Dataset) -> list[Path | None]:
    """The image of each sample."""
    return [record.image for record in dataset.records]


def folders_read(args: TrainArgs, train_set: Dataset) -> set[Path]:
    """The folders that training reads from."""
    sets = [train_set, *([split_of(args, args.val_split)] if args.val_every else [])]
    found = [record for dataset in sets for record in dataset.records]
    records = [(record.image, record.label, record.instance) for record in found]
    folders = {path.parent for paths in records for path in paths if path is not None}
    return folders | {Path(root) for root in (args.data_root, args.edge_labels) if root}


def augmentation(args: TrainArgs) -> Augmentation:
    """The random part of the samples."""
    return Augmentation(
        args.base_size,
        args.crop_size,
        tuple(args.scale),
        args.mirror,
        color=args.color_aug,
        blur=args.gblur,
    )


def require_backbone(args: TrainArgs) -> None:
    """InputError if timm has no such backbone, or one that cannot be a backbone here.

    Before the data set is opened: to draw the scenes takes minutes.
    """
    if is_timm(args.backbone):
        try:
            find_plan(args.backbone.removeprefix(TIMM))
        except BackboneError as error:
            raise InputError(str(error)) from error


def build_network(
    args: TrainArgs, dataset: Dataset, ranks: Ranks, device: str, *, fresh: bool
) -> tuple[nn.Module, ModelInfo]:
    """The net on its device, the same on every rank, and what its checkpoints say about it.

    fresh: no checkpoint of this run replaces its weights. Those to start from are read only then.
    """
    torch.manual_seed(args.seed)
    pretrained = args.pretrained if fresh and not args.init_from else "none"
    options = {name: getattr(args, name) for name in OPTIONS.get(args.model, ())}
    if options.get("edge_head") == "none":
        del options["edge_head"]  # earlier versions refuse an option that they do not know
    shape = {"num_classes": dataset.num_classes, "backbone": args.backbone}
    model = create_model(args.model, **shape, pretrained=pretrained, **options)
    if args.init_from and fresh:
        notes = start_from(
            model,
            args.init_from,
            name=args.model,
            backbone=args.backbone,
            classes=tuple(dataset.classes),
            reset_classifier=args.reset_classifier,
        )
        for note in notes if ranks.is_main else ():
            print(note)
    if use_fast_forms(args, device):
        model = optimize_for_training(model)
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
        upright=dataset.upright,
    )
    return model.to(device), info


def evaluation_form(args: TrainArgs) -> Prepare | None:
    """What makes the net that is validated: a folded copy, or None for the net itself."""
    fast = use_fast_forms(args, pick_device(args.device).type)
    return optimize_for_inference if fast else None


def use_fast_forms(args: TrainArgs, device: str) -> bool:
    """--fast, or where nobody said: on devices where the forms have been run.

    Not with --compile: the compiler fuses the definitions by itself, and the forms fall back to
    them in a graph.
    """
    if args.fast is not None:
        return args.fast
    return tried_on(device) and not args.compile
