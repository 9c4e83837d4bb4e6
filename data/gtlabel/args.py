"""The flags that all label scripts share, and the options that they become."""

import argparse

from data.args import MAX_WORKERS, number, whole
from data.gtlabel.pool import WorkOptions
from data.gtlabel.products import ProductOptions

radius = number(1, 64)  # pixels
scale_factor = number(0.01, 4)


def add_mat_and_view_flags(group: argparse._ArgumentGroup) -> None:
    """Add --eval, --mat and --visualize."""
    boolean = argparse.BooleanOptionalAction
    group.add_argument(
        "--eval",
        action=boolean,
        default=False,
        help="also the evaluation ground truth, OUT/gt_eval",
    )
    group.add_argument(
        "--mat", action=boolean, default=False, help="also the published .mat structures"
    )
    group.add_argument(
        "--visualize", action=boolean, default=False, help="also coloured images, OUT/view"
    )


def add_product_flags(parser: argparse.ArgumentParser, *, scale: float) -> None:
    """Add the flags that become `ProductOptions`, and --instance.

    scale: the published size of the data set's evaluation ground truth.
    """
    rule = parser.add_argument_group("rule")
    rule.add_argument(
        "--instance",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="edges between two instances of one class",
    )
    rule.add_argument("--radius", type=radius, default=2, help="of training labels, in pixels")
    group = parser.add_argument_group("products")
    add_mat_and_view_flags(group)
    group.add_argument(
        "--scale",
        type=scale_factor,
        default=scale,
        help="size of the evaluation ground truth, 1 = full",
    )


def add_work_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that become `WorkOptions`."""
    group = parser.add_argument_group("work")
    group.add_argument(
        "--workers",
        type=whole(1, MAX_WORKERS),
        default=1,
        metavar="N",
        help="processes on this machine",
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="send the work to this Dask cluster instead; its workers must see the same paths and "
        "this repository",
    )
    group.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="make also what is up to date",
    )


def product_options(args: argparse.Namespace) -> ProductOptions:
    """What `add_product_flags` parsed."""
    return ProductOptions(
        radius=args.radius,
        scale=args.scale,
        evaluation=args.eval,
        mat=args.mat,
        view=args.visualize,
    )


def work_options(args: argparse.Namespace) -> WorkOptions:
    """What `add_work_flags` parsed."""
    return WorkOptions(args.workers, args.scheduler, args.overwrite)
