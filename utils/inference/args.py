"""The flags that say which network to use, and how."""

import argparse
import sys
from pathlib import Path

import torch

from data.args import file_path, number, positive, size, whole
from data.image_io import MAX_PIXELS
from models import MODELS
from models.gffnet import FUSIONS
from models.joint import EDGE_HEAD_CHOICES
from utils.args import backbone
from utils.edge_metrics.calibration import COLDEST, HOTTEST
from utils.inference.engines.choose import ENGINES
from utils.inference.loading import NET_OPTIONS, RUN_OPTIONS, load_predictor
from utils.inference.options import MAX_SCALE, MIN_SIDE
from utils.inference.predictor import Predictor


def add_network_flags(group: argparse._ArgumentGroup) -> None:
    """The flags of a network that is run: what it is, where it runs and how images go through it.

    Those of `NET_OPTIONS` and `RUN_OPTIONS` are called as the keywords of `utils.inference.load`.
    """
    boolean = argparse.BooleanOptionalAction
    text = "for a checkpoint that does not say it, such as the published ones"
    group.add_argument("--model", choices=MODELS, help=text)
    group.add_argument("--backbone", type=backbone, metavar="NAME", help="likewise")
    text = "likewise, of a decoupled net's warp (default: yes; see models/decouple.py)"
    group.add_argument("--align-corners", action=boolean, help=text)
    text = "likewise, of gffnet (default: sequential; see models/gffnet.py)"
    group.add_argument("--fusion", choices=FUSIONS, help=text)
    text = "likewise, of a segmentation net; none leaves out the one that the checkpoint has"
    group.add_argument("--edge-head", choices=EDGE_HEAD_CHOICES, help=text)
    text = "auto (default: a GPU if there is one), cpu, cuda, cuda:1"
    group.add_argument("--device", default="auto", help=text)
    text = "run equal, faster forms of the layers (default: on CPUs; see models/fast)"
    group.add_argument("--fast", action=boolean, help=text)
    text = (
        "what computes: torch, compile (PyTorch's compiler), onnx, openvino; default: auto, torch "
        "for a checkpoint, openvino or onnx for an exported net"
    )
    engines = ("auto", *ENGINES)
    group.add_argument("--engine", choices=engines, default="auto", metavar="NAME", help=text)
    text = "long side for the network, 0: as on disk; default: the checkpoint's"
    group.add_argument("--base-size", type=size, metavar="N", help=text)
    text = "side of a sliding window (published: 832)"
    group.add_argument("--window", type=whole(MIN_SIDE), metavar="N", help=text)
    text = "share of a window that the next one covers again (default: a third, as published)"
    group.add_argument(
        "--overlap", type=number(0, 1, below=True), default=1 / 3, metavar="SHARE", help=text
    )
    text = (
        "average over these sizes of the image (default: 1; published: 0.5 0.75 1 1.25 1.5 1.75 2)"
    )
    factor = number(0, MAX_SCALE, above=True)
    group.add_argument("--scales", type=factor, nargs="+", default=[1.0], metavar="S", help=text)
    text = "average over the image and its mirror image (default: no; published with windows: yes)"
    group.add_argument("--mirror", action=boolean, default=False, help=text)
    text = "the number of windows in one forward pass (default 1)"
    group.add_argument("--batch-size", type=positive, default=1, metavar="N", help=text)
    text = (
        "refuse larger images before they are decoded (default: those that would not fit into "
        "memory)"
    )
    group.add_argument("--max-pixels", type=whole(1, MAX_PIXELS), metavar="N", help=text)
    group.add_argument("--half", action=boolean, default=False, help="16-bit floats in the network")
    text = (
        "of an edge net: what its logits are divided by, a number or a temperature.json of test.py "
        "--fit-temperature (default: 1)"
    )
    group.add_argument("--temperature", type=temperature, metavar="T|FILE.json", help=text)
    text = (
        "weigh windows as the published code does, by mistake; matters with several scales "
        "(default: no)"
    )
    group.add_argument("--quirks", action=boolean, default=False, help=text)


def temperature(given: str) -> float | Path:
    """A type for a number in the range of temperatures, or the path of a file of them."""
    if given.lower().endswith(".json"):
        return file_path(given)
    return number(COLDEST, HOTTEST)(given)


def predictor_from_flags(
    args: argparse.Namespace, device: torch.device, *, dataset: str | None
) -> Predictor:
    """The network of `--checkpoint` on `device`, with its options as the flags say.

    args: those of `add_network_flags`, and `checkpoint`. dataset: see `load`.
    """
    return load_predictor(
        args.checkpoint,
        device,
        model=args.model,
        backbone=args.backbone,
        dataset=dataset,
        fast=args.fast,
        engine=args.engine,
        device_asked=args.device != "auto",
        names_flags=True,
        **{name: getattr(args, name) for name in (*NET_OPTIONS, *RUN_OPTIONS)},
    )


def announce(predictor: Predictor) -> None:
    """Print which net it is, and what is worth knowing of its engine and its temperature."""
    print(f"net: {predictor.describe()}")
    if predictor.note:
        print(predictor.note)
    if predictor.warning:
        print(f"note: {predictor.warning}", file=sys.stderr)
