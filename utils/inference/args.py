"""The flags that say which network to use, and how."""

import argparse
from dataclasses import asdict

from data.args import positive, size
from models import ALL_BACKBONES, MODELS
from models.gffnet import FUSIONS
from utils.inference.predictor import Modes, ModeValue


def add_network_flags(net: argparse._ArgumentGroup) -> None:
    """The flags of a network that is run: what it is, where it runs and how images go through it."""
    boolean = argparse.BooleanOptionalAction
    text = "for a checkpoint that does not say it, such as the published ones"
    net.add_argument("--model", choices=MODELS, help=text)
    net.add_argument("--backbone", choices=ALL_BACKBONES, help="likewise")
    text = "likewise, of a decoupled net's warp (default: yes; see models/decouple.py)"
    net.add_argument("--align-corners", action=boolean, help=text)
    net.add_argument(
        "--fusion",
        choices=FUSIONS,
        help="likewise, of gffnet (default: sequential; see models/gffnet.py)",
    )
    net.add_argument(
        "--device", default="auto", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1"
    )
    text = "long side for the network, 0: as on disk; default: the checkpoint's"
    net.add_argument("--base-size", type=size, metavar="N", help=text)
    net.add_argument(
        "--window", type=positive, metavar="N", help="side of a sliding window (published: 832)"
    )
    text = "share of a window that the next one covers again (default: a third, as published)"
    net.add_argument("--overlap", type=float, default=1 / 3, metavar="SHARE", help=text)
    text = (
        "average over these sizes of the image (default: 1; published: 0.5 0.75 1 1.25 1.5 1.75 2)"
    )
    net.add_argument("--scales", type=float, nargs="+", default=[1.0], metavar="S", help=text)
    text = "average over the image and its mirror image (default: no; published with windows: yes)"
    net.add_argument("--mirror", action=boolean, default=False, help=text)
    net.add_argument(
        "--batch-size", type=positive, default=1, metavar="N", help="windows at once (default 1)"
    )
    net.add_argument("--half", action=boolean, default=False, help="16-bit floats in the network")
    text = "weigh windows as the published code does, by mistake; matters with several scales (default: no)"
    net.add_argument("--quirks", action=boolean, default=False, help=text)


def described_network(args: argparse.Namespace) -> dict[str, object]:
    """The keyword arguments of `load_model`: what the flags say of the network."""
    options = {name: getattr(args, name) for name in ("align_corners", "fusion")}
    given = {name: value for name, value in options.items() if value is not None}
    return {
        "name": args.model,
        "backbone": args.backbone,
        "dataset": args.dataset,
        "options": given,
    }


def chosen_modes(args: argparse.Namespace, base_size: int) -> dict[str, ModeValue]:
    """The keyword arguments of `predict_edges` and `predict_labels`. base_size: the checkpoint's."""
    modes = Modes(
        base_size=base_size if args.base_size is None else args.base_size,
        window=args.window,
        overlap=args.overlap,
        scales=tuple(args.scales),
        mirror=args.mirror,
        batch_size=args.batch_size,
        half=args.half,
        quirks=args.quirks,
    )
    return asdict(modes)
