"""The flags of `train.py`."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from data import DATASETS
from data.args import Parser, data_option, number, seed, share, size, text, whole, workers
from data.image_io import IGNORE
from models import ALL_BACKBONES, MODELS
from models.gffnet import FUSIONS
from models.joint import EDGE_HEAD_CHOICES
from utils.args import backbone as backbone_name
from utils.training.objective import LOSS_NAMES, default_loss, losses_of
from utils.training.optimizer import OPTIMIZERS
from utils.training.precision import KINDS
from utils.training.recipes import RECIPES, SECOND_STAGES
from utils.training.recipes.fitted import FITTED, FITTED_SEG

# The defaults of each task; recipes and flags override them.
TASK_DEFAULTS: dict[str, dict[str, object]] = {
    "edge": {},
    "seg": {
        "epochs": 80,
        "lr": 0.01,
        "crop_size": 832,
        "scale": [0.5, 2.0],
        "color_aug": 0.25,
        "gblur": True,
    },
}
# Flags that one task alone has.
EDGE_GROUP = "edge nets and edge heads"
SEG_GROUP = "segmentation nets"

# What `parse_train_args` returns. Modules that read flags import it from here.
TrainArgs = argparse.Namespace

BOOLEAN = argparse.BooleanOptionalAction

# Types of numbers. Their bounds are far above what any run was made with; they keep out what no
# memory, no timer and no float can take.
MOST_EPOCHS = 10**6
MOST_IMAGES = 10**6  # of a batch
MOST_MINUTES = 525_600  # a year; gloo counts nanoseconds in 64 bits
epoch_count = whole(1, MOST_EPOCHS)
image_count = whole(1, MOST_IMAGES)
class_id = whole(0, IGNORE - 1)
weight = number(0, 1e6)
factor = number(0, 100, above=True)
exponent = number(0, 100)


def train_parser() -> argparse.ArgumentParser:
    """The flags of `train.py`, grouped."""
    parser = Parser(
        prog="train.py",
        description="Train a semantic edge net, a segmentation net, or one net for both.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--recipe", choices=RECIPES, help="defaults of a published run; other flags override them"
    )
    parser.add_argument(
        "--fit-defaults",
        action=BOOLEAN,
        help="fit what neither flags nor recipe say to the images, and print it (default: with "
        "--dataset folder)",
    )
    for add in (
        _add_data,
        _add_model,
        _add_optimisation,
        _add_edge,
        _add_seg,
        _add_validation,
        _add_run,
        _add_machine,
    ):
        add(parser)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", choices=DATASETS, default="scenes")
    data.add_argument(
        "--data-root", type=text, help="folder of the data set (default: datasets/<dataset>)"
    )
    data.add_argument(
        "--data-option",
        type=data_option,
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of the data set, e.g. cv=1",
    )
    data.add_argument("--train-split", type=text, default="train")
    data.add_argument("--val-split", type=text, default="val")
    data.add_argument(
        "--base-size",
        type=whole(0, 16384),
        default=0,
        help="long side before the random scale; 0: as on disk",
    )
    data.add_argument(
        "--crop-size",
        type=whole(32, 16384),
        default=640,
        help="side of the training crop in pixels",
    )
    data.add_argument("--scale", type=factor, nargs=2, default=[0.75, 2.0], metavar=("LOW", "HIGH"))
    data.add_argument("--mirror", action=BOOLEAN, default=True, help="flip half of the crops")
    data.add_argument(
        "--color-aug",
        type=number(0, 0.5),  # 0.5 allows every hue
        default=0.0,
        help="amount of the colour jitter, 0 to 0.5",
    )
    data.add_argument(
        "--gblur", action=BOOLEAN, default=False, help="Gaussian blur of random width"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=MODELS, default="dff")
    model.add_argument(
        "--backbone",
        type=backbone_name,
        default="resnet101",
        metavar="NAME",
        help=f"{', '.join(ALL_BACKBONES)}, or timm:NAME",
    )
    model.add_argument(
        "--pretrained",
        type=text,
        default="imagenet",
        help="weights of the backbone: none, imagenet or a file",
    )
    model.add_argument(
        "--init-from",
        type=text,
        help="start from this checkpoint; a decoupled net also from its base net's",
    )
    model.add_argument(
        "--reset-classifier", action=BOOLEAN, default=False, help="leave its classifier out"
    )
    model.add_argument(
        "--sync-bn",
        action=BOOLEAN,
        default=True,
        help="batch normalisation over all ranks, as published",
    )
    model.add_argument(
        "--freeze-bn", action=BOOLEAN, default=False, help="keep its running statistics as they are"
    )
    model.add_argument(
        "--align-corners",
        action=BOOLEAN,
        default=True,
        help="of a decoupled net's warp, see models/decouple.py",
    )
    model.add_argument(
        "--fusion", choices=FUSIONS, default="sequential", help="of gffnet, see models/gffnet.py"
    )
    model.add_argument(
        "--edge-head",
        choices=EDGE_HEAD_CHOICES,
        default="none",
        help="of a segmentation net: learn semantic edges, too, on the same backbone, see "
        "models/joint.py",
    )


def _add_optimisation(parser: argparse.ArgumentParser) -> None:
    optimisation = parser.add_argument_group("optimisation")
    optimisation.add_argument(
        "--loss",
        choices=LOSS_NAMES,
        help="default: the published one of the net; edge nets have reweighted, decoupled nets "
        "body-edge, the others ohem and the rest; an edge head adds reweighted",
    )
    optimisation.add_argument("--epochs", type=epoch_count, default=200)
    optimisation.add_argument(
        "--batch-size", type=image_count, default=8, help="images over all ranks"
    )
    optimisation.add_argument(
        "--lr",
        type=number(0, 1e30, above=True),  # finite in float32 after every factor
        default=0.08,
        help="ten times as much for the heads of edge nets, and edge heads",
    )
    optimisation.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default="sgd",
        help="adamw learns faster from random weights in a short run; its --lr is 0.001 or so",
    )
    optimisation.add_argument("--momentum", type=number(0, 1, below=True), default=0.9)
    optimisation.add_argument("--weight-decay", type=share, default=1e-4)
    optimisation.add_argument(
        "--accumulate",
        type=image_count,
        default=1,
        metavar="PARTS",
        help="parts of a rank's batch that go through the net in turn: less memory",
    )
    optimisation.add_argument(
        "--clip-grad",
        type=weight,
        default=0.0,
        metavar="NORM",
        help="bound of the gradients' norm; 0: none",
    )
    optimisation.add_argument(
        "--ema",
        type=number(0, 1, below=True),  # 1 would keep the first weights
        default=0.0,
        metavar="DECAY",
        help="validate and keep an exponential moving average of the weights; 0: none",
    )
    optimisation.add_argument("--seed", type=seed, default=0)


def _add_edge(parser: argparse.ArgumentParser) -> None:
    edge = parser.add_argument_group(EDGE_GROUP)
    edge.add_argument(
        "--edge-labels",
        type=text,
        metavar="DIR",
        help="train on the files of a label script (default: from labels)",
    )
    edge.add_argument(
        "--instance",
        action=BOOLEAN,
        default=True,
        help="edges between instances of one class count",
    )
    edge.add_argument("--side5-weight", type=weight, default=1.0)
    edge.add_argument("--fuse-weight", type=weight, default=1.0)


def _add_seg(parser: argparse.ArgumentParser) -> None:
    seg = parser.add_argument_group(SEG_GROUP)
    seg.add_argument(
        "--images-per-loss",
        type=whole(0, MOST_IMAGES),
        default=1,
        help="as on each GPU of the published runs; 0: all of a rank",
    )
    for name, what in (
        ("seg", "seg"),
        ("body", "body"),
        ("edge", "edge"),
        ("att", "edge attention"),
    ):
        seg.add_argument(f"--{name}-weight", type=weight, default=1.0, help=f"of the term: {what}")
    seg.add_argument(
        "--border",
        type=whole(0, 1024),
        default=1,
        help="pixels within which labels are relaxed",
    )
    seg.add_argument(
        "--strict-bdr-cls",
        type=class_id,
        nargs="*",
        default=[],
        help="classes that are not relaxed",
    )
    seg.add_argument(
        "--rlx-off-epoch",
        type=whole(-1, MOST_EPOCHS),
        default=-1,
        help="no relaxation after this epoch; -1: never",
    )
    _add_class_uniform(seg)
    _add_seg_schedule(seg)
    seg.add_argument(
        "--quirks",
        action=BOOLEAN,
        default=True,
        help="with the published code's oddities",
    )


def _add_class_uniform(seg: argparse._ArgumentGroup) -> None:
    seg.add_argument(
        "--class-uniform-pct",
        type=share,
        default=0.5,
        help="share of crops centred on classes, 0 to 1",
    )
    seg.add_argument(
        "--class-uniform-tile",
        type=whole(1, 65536),
        default=1024,
        help="side of its tiles in pixels",
    )
    seg.add_argument(
        "--coarse-boost-classes",
        type=class_id,
        nargs="*",
        default=[],
        help="centred on in coarse labels too",
    )
    seg.add_argument(
        "--coarse-split", type=text, default="train_extra", help="the split that has them"
    )
    seg.add_argument(
        "--max-cu-epoch",
        type=whole(0, MOST_EPOCHS),
        default=150,
        help="the last epoch that uses coarse labels",
    )


def _add_seg_schedule(seg: argparse._ArgumentGroup) -> None:
    seg.add_argument("--lr-schedule", choices=["poly", "scl-poly"], default="poly")
    seg.add_argument("--poly-exp", type=exponent, default=1.0)
    seg.add_argument(
        "--rescale",
        type=factor,
        default=1.0,
        help="scl-poly: share of --lr after --rlx-off-epoch",
    )
    seg.add_argument(
        "--repoly",
        type=exponent,
        default=1.5,
        help="scl-poly: exponent after --rlx-off-epoch",
    )


def _add_validation(parser: argparse.ArgumentParser) -> None:
    validation = parser.add_argument_group("validation")
    validation.add_argument(
        "--val-every", type=whole(0, MOST_EPOCHS), default=1, metavar="EPOCHS", help="0: never"
    )
    validation.add_argument(
        "--val-thresholds", type=whole(1, 1000), default=9, help="for MF, of edges"
    )
    validation.add_argument(
        "--val-samples",
        type=size,
        default=0,
        metavar="N",
        help="N images at equal distances in the split; 0: all",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("run")
    run.add_argument("--checkname", type=text, default="default", help="name of the run")
    run.add_argument(
        "--run-dir",
        type=text,
        help="folder of the run (default: runs/<dataset>/<model>-<backbone>/<checkname>)",
    )
    run.add_argument(
        "--resume",
        type=text,
        nargs="?",
        const="last",
        default="auto",
        metavar="PATH",
        help="resume from this checkpoint (default: the run's newest intact one, if there is any)",
    )
    run.add_argument(
        "--resume-with",
        nargs="+",
        default=[],
        metavar="FLAG",
        help="names of flags that may differ from the checkpoint's, such as: lr epochs",
    )
    run.add_argument(
        "--no-resume",
        dest="resume",
        action="store_const",
        const=None,
        help="start from scratch; an older run is renamed",
    )
    run.add_argument(
        "--save-every",
        type=epoch_count,
        default=1,
        metavar="EPOCHS",
        help="between writes of last.pth",
    )
    run.add_argument(
        "--save-every-minutes",
        type=number(0, MOST_MINUTES),
        default=15.0,
        metavar="M",
        help="also within epochs; 0: never",
    )
    run.add_argument("--wandb", action=BOOLEAN, default=False, help="also log to Weights & Biases")
    run.add_argument("--tensorboard", action=BOOLEAN, default=False, help="also log to TensorBoard")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    machine.add_argument("--workers", type=workers, default=4, help="loader processes on each rank")
    machine.add_argument(
        "--amp",
        choices=KINDS,
        default="none",
        help="autocast to 16 bits in the net; fp16 scales losses",
    )
    machine.add_argument(
        "--channels-last",
        action=BOOLEAN,
        default=True,
        help="memory layout (B, H, W, C): faster, equal up to rounding",
    )
    machine.add_argument("--compile", action=BOOLEAN, default=False, help="torch.compile the net")
    machine.add_argument(
        "--fast",
        action=BOOLEAN,
        help="equal forms of the layers that take less time and memory, see models/fast "
        "(default: on CPUs, without --compile)",
    )
    machine.add_argument(
        "--tf32", action=BOOLEAN, default=True, help="TF32 products and convolutions on GPUs"
    )
    machine.add_argument(
        "--deterministic",
        action=BOOLEAN,
        default=False,
        help="deterministic kernels where there are any, and no TF32; see "
        "utils/training/backends.py",
    )
    machine.add_argument(
        "--profile", action=BOOLEAN, default=False, help="write trace.json of a few steps"
    )
    machine.add_argument(
        "--timeout-minutes",
        type=number(0, MOST_MINUTES, above=True),
        default=10.0,
        metavar="M",
        help="after which a rank that does not answer is lost",
    )


def parse_train_args(argv: Sequence[str] | None = None) -> TrainArgs:
    """The flags; those not given have the recipe's default, else the task's, else the parser's.

    `fitted` names those that neither the command nor the recipe gives and that `fit_defaults`
    (utils.training.recipes.choose) is to fit to the data.
    """
    parser = train_parser()
    early, _ = _early_parser(parser.prog).parse_known_args(argv)
    recipe = RECIPES.get(early.recipe, {})
    typo = early.recipe is not None and early.recipe not in RECIPES  # reported below
    if early.data_root and not early.dataset and "dataset" not in recipe and not typo:
        # Else the drawn data set would be looked for, or drawn, in a folder of something else.
        parser.error(
            f"--data-root {early.data_root} needs --dataset, or a --recipe that names the data "
            f"set; expected one of {', '.join(DATASETS)}"
        )
    # A model that does not exist has no task; `parser` reports it below.
    task = task_of(early.model or str(recipe.get("model", parser.get_default("model"))))
    parser.set_defaults(**TASK_DEFAULTS.get(task or "", {}) | recipe)
    words = _with_bare_names(argv, parser)
    args = parser.parse_args(words)
    if args.fit_defaults is None:
        args.fit_defaults = args.dataset == "folder"
    args.fitted = _open_flags(words, recipe, task) if args.fit_defaults else []
    args.data_root = args.data_root or f"datasets/{args.dataset}"
    args.run_dir = args.run_dir or default_run_dir(vars(args))
    args.loss = args.loss or default_loss(args.model)
    args.resume_with = sorted({_flag_name(name, parser) for name in args.resume_with})
    if fault := _first_fault(args, parser):
        parser.error(fault)
    return args


def _open_flags(words: list[str], recipe: Mapping[str, object], task: str | None) -> list[str]:
    """The names of the flags that may be fitted to the data."""
    parser = train_parser()
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    given = vars(parser.parse_args(words)).keys() | recipe.keys()
    return sorted((FITTED | (FITTED_SEG if task == "seg" else set())) - given)


def default_run_dir(flags: Mapping[str, object]) -> str:
    """The folder of a run without --run-dir; one's own data have the name of their folder."""
    own = Path(str(flags["data_root"])).name if flags["dataset"] == "folder" else ""
    data = own or flags["dataset"]
    backbone = str(flags["backbone"]).replace(":", "_")  # no name of a file on every system
    return f"runs/{data}/{flags['model']}-{backbone}/{flags['checkname']}"


def _flag_name(text: str, parser: argparse.ArgumentParser) -> str:
    """lr, --lr, no-mirror, or batch-size -> the name in the namespace, of --resume-with."""
    flag = f"--{text.removeprefix('--').replace('_', '-')}"
    found = [action for action in parser._actions if flag in action.option_strings]
    if not found or found[0].dest == "help":
        parser.error(f"--resume-with {text}: is no flag; expected names such as lr or epochs")
    return found[0].dest


def _with_bare_names(argv: Sequence[str] | None, parser: argparse.ArgumentParser) -> list[str]:
    """Take the dashes off flags that follow --resume-with without a value: they are its names."""
    words = list(sys.argv[1:] if argv is None else argv)
    valued = {
        option
        for action in parser._actions
        if action.nargs is None or (isinstance(action.nargs, int) and action.nargs > 0)
        for option in action.option_strings
    }
    place = words.index("--resume-with") + 1 if "--resume-with" in words else len(words)
    while place < len(words):
        ends = place + 1 == len(words) or words[place + 1].startswith("--")
        if words[place].startswith("--") and not (words[place] in valued and ends):
            break
        words[place] = words[place].removeprefix("--")
        place += 1
    return words


def task_of(model: str) -> str | None:
    """ "edge" or "seg"; None if there is no such model."""
    return MODELS[model][1] if model in MODELS else None


def _first_fault(args: TrainArgs, parser: argparse.ArgumentParser) -> str | None:
    """What is wrong with flags that are right one by one."""
    if args.scale[0] > args.scale[1]:
        return f"--scale {args.scale[0]} {args.scale[1]}: expected LOW <= HIGH"
    if not MODELS[args.model].takes(args.backbone):
        known = ", ".join(MODELS[args.model].backbones)
        return f"--backbone {args.backbone}: {args.model} has {known}, timm:NAME"
    if args.lr_schedule == "scl-poly" and not 0 <= args.rlx_off_epoch < args.epochs:
        return "--lr-schedule scl-poly: say with --rlx-off-epoch where it restarts, within --epochs"
    if args.recipe in SECOND_STAGES and not args.init_from:
        return (
            f"--recipe {args.recipe} is a second stage: "
            "give the trained net that it starts from with --init-from"
        )
    if args.loss not in losses_of(args.model):
        return f"--loss {args.loss}: {args.model} has {', '.join(losses_of(args.model))}"
    if task_of(args.model) == "edge":
        if args.edge_head != "none":
            return (
                f"--edge-head {args.edge_head} is for {SEG_GROUP}; {args.model} is an edge head "
                "itself"
            )
        if flag := _given(SEG_GROUP, args, parser):
            return f"{flag} is for {SEG_GROUP}; {args.model} is none"
    elif args.edge_head == "none" and (flag := _given(EDGE_GROUP, args, parser)):
        return f"{flag} is for {EDGE_GROUP}; {args.model} is none; see --edge-head"
    return None


def _given(title: str, args: TrainArgs, parser: argparse.ArgumentParser) -> str | None:
    """The first flag of a group that has another value than its default."""
    group = next(group for group in parser._action_groups if group.title == title)
    given = (
        action.option_strings[0]
        for action in group._group_actions
        if getattr(args, action.dest) != parser.get_default(action.dest)
    )
    return next(given, None)


def _early_parser(prog: str) -> argparse.ArgumentParser:
    """Of the flags that decide about the defaults of the others, or about each other."""
    parser = Parser(prog=prog, add_help=False)
    for flag in ("--recipe", "--model", "--dataset", "--data-root"):
        parser.add_argument(flag)
    return parser
