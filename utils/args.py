"""Recipes, and the flags of `train.py`."""

import argparse
from collections.abc import Sequence

from data import DATASETS
from models import model_names
from models.resnet import DEPTHS

# The settings of the published runs (Hu et al., IJCAI 2019; the same for CASENet, which that paper trains as its baseline).
_CITYSCAPES = {
    "dataset": "cityscapes",
    "data_root": "datasets/cityscapes",
    "backbone": "resnet101",
    "pretrained": "imagenet",
    "epochs": 200,
    "batch_size": 8,
    "lr": 0.08,
    "base_size": 2048,
    "crop_size": 640,
    "scale": [0.75, 2.0],
}
# The published runs train on the whole train list, test on the val list ("test" here) and never validate: they took the last
# checkpoint, so last.pth is the one to compare. Their training pictures are resized beforehand (data.sbd_gtlabel), not here.
_SBD = {
    "dataset": "sbd",
    "train_split": "trainval",
    "val_split": "test",
    "val_samples": 200,
    "data_root": "datasets/sbd",
    "backbone": "resnet101",
    "pretrained": "imagenet",
    "epochs": 10,
    "batch_size": 16,
    "lr": 0.05,
    "base_size": 0,
    "crop_size": 352,
    "scale": [1.0, 1.0],
}
RECIPES: dict[str, dict[str, object]] = {
    "dff-cityscapes": {**_CITYSCAPES, "model": "dff"},
    "dff-sbd": {**_SBD, "model": "dff"},
    "casenet-cityscapes": {**_CITYSCAPES, "model": "casenet"},
    "casenet-sbd": {**_SBD, "model": "casenet"},
    # Not published: small settings for two CPU cores, random weights.
    "dff-scenes": {
        "dataset": "scenes",
        "data_root": "datasets/scenes",
        "model": "dff",
        "backbone": "resnet18",
        "pretrained": "none",
        "epochs": 12,
        "batch_size": 4,
        "lr": 0.02,
        "base_size": 0,
        "crop_size": 96,
        "scale": [0.75, 1.25],
        "val_every": 4,
        "val_samples": 20,
    },
    "dff-camvid-small": {
        "dataset": "camvid",
        "data_root": "datasets/CamVid",
        "model": "dff",
        "backbone": "resnet18",
        "pretrained": "none",
        "epochs": 18,
        "batch_size": 4,
        "lr": 0.02,
        "base_size": 240,
        "crop_size": 160,
        "scale": [0.75, 1.5],
        "val_every": 3,
        "val_samples": 50,
    },
}

# Flags in which a resumed command may differ: they change nothing that is computed on a CPU.
FREE_ON_RESUME = {"resume", "workers", "device", "wandb", "run_dir", "data_root", "recipe", "save_every"}


def train_parser() -> argparse.ArgumentParser:
    """The flags of `train.py`, grouped."""
    parser = argparse.ArgumentParser(
        prog="train.py", description="Train CASENet or DFF.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    boolean = argparse.BooleanOptionalAction
    parser.add_argument("--recipe", choices=RECIPES, help="defaults of a published run; other flags override them")

    data = parser.add_argument_group("data")
    data.add_argument("--dataset", choices=DATASETS, default="scenes")
    data.add_argument("--data-root", help="folder of the data set (default: datasets/<dataset>)")
    data.add_argument("--data-option", nargs="+", default=[], metavar="NAME=VALUE", help="of the data set, e.g. cv=1")
    data.add_argument("--train-split", default="train")
    data.add_argument("--val-split", default="val")
    data.add_argument("--base-size", type=size, default=0, help="long side before the random scale; 0: as on disk")
    data.add_argument("--crop-size", type=positive, default=640, help="side of the training crop in pixels")
    data.add_argument("--scale", type=float, nargs=2, default=[0.75, 2.0], metavar=("LOW", "HIGH"))
    data.add_argument(
        "--edge-labels", metavar="DIR", help="train on the files of a label script (default: from labels)"
    )
    data.add_argument("--mirror", action=boolean, default=True, help="flip half of the crops")
    data.add_argument("--instance", action=boolean, default=True, help="edges between instances of one class count")

    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=model_names("edge"), default="dff")
    model.add_argument("--backbone", choices=DEPTHS, default="resnet101")
    model.add_argument("--pretrained", default="imagenet", help="weights of the trunk: none, imagenet or a file")
    model.add_argument("--init-from", help="start from the weights of this checkpoint")
    model.add_argument("--reset-classifier", action=boolean, default=False, help="leave its classifier out")
    model.add_argument(
        "--sync-bn", action=boolean, default=True, help="batch normalisation over all ranks, as published"
    )

    optimisation = parser.add_argument_group("optimisation")
    optimisation.add_argument("--epochs", type=positive, default=200)
    optimisation.add_argument("--batch-size", type=positive, default=8, help="over all ranks together")
    optimisation.add_argument("--lr", type=float, default=0.08, help="of the trunk; the heads get ten times as much")
    optimisation.add_argument("--momentum", type=float, default=0.9)
    optimisation.add_argument("--weight-decay", type=float, default=1e-4)
    optimisation.add_argument("--side5-weight", type=float, default=1.0)
    optimisation.add_argument("--fuse-weight", type=float, default=1.0)
    optimisation.add_argument("--seed", type=int, default=0)

    validation = parser.add_argument_group("validation")
    validation.add_argument("--val-every", type=size, default=1, metavar="EPOCHS", help="0: never")
    validation.add_argument("--val-thresholds", type=positive, default=9, help="for the MF in training")
    validation.add_argument("--val-samples", type=size, default=0, help="so many, spread over the split; 0: all")

    run = parser.add_argument_group("run")
    run.add_argument("--checkname", default="default", help="name of the run")
    run.add_argument("--run-dir", help="folder of the run (default: runs/<dataset>/<model>-<backbone>/<checkname>)")
    run.add_argument(
        "--resume", nargs="?", const="last", help="go on from this checkpoint (default: the run's last.pth)"
    )
    run.add_argument("--save-every", type=positive, default=1, metavar="EPOCHS", help="write last.pth so often")
    run.add_argument("--workers", type=size, default=4, help="loader processes on each rank")
    run.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    run.add_argument("--wandb", action=boolean, default=False, help="also log to Weights & Biases")
    return parser


def parse_train_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags over the recipe's defaults over the parser's."""
    parser = train_parser()
    recipe, _ = _recipe_parser().parse_known_args(argv)
    if recipe.recipe in RECIPES:
        parser.set_defaults(**RECIPES[recipe.recipe])
    args = parser.parse_args(argv)
    args.data_root = args.data_root or f"datasets/{args.dataset}"
    args.run_dir = args.run_dir or f"runs/{args.dataset}/{args.model}-{args.backbone}/{args.checkname}"
    if not 0 < args.scale[0] <= args.scale[1]:
        parser.error(f"--scale {args.scale[0]} {args.scale[1]}: expected 0 < LOW <= HIGH")
    if args.crop_size < 32:
        parser.error(f"--crop-size {args.crop_size}: the networks take 32 pixels and more")
    return args


def _recipe_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--recipe")
    return parser


def positive(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number above 0")
    return number


def size(text: str) -> int:
    """A whole number, 0 or above."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number, 0 or above")
    return number
