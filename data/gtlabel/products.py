"""What a label script makes from one image's label map: training label, evaluation truth, coloured image."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from data.edge_files import group_paths, write_edges
from data.edges import PNG_CLASSES, class_groups, evaluation_edges, label_to_edges, resize_nearest
from data.errors import InputError
from data.gtlabel.jobs import Product, write_stamp
from data.gtlabel.mat import write_gt_cls, write_gt_inst, write_label_edge
from data.image_io import write_png

Truth = tuple[np.ndarray, np.ndarray | None]  # label uint8 (H, W) of train ids; instance ids (H, W)
COMPRESSION = 1  # of PNG, 0 to 9: nearly all bits are 0, so that more effort takes longer and saves next to nothing


@dataclass(frozen=True)
class Rule:
    """How labels become edges: the options of `label_to_edges` that all products of a run share."""

    num_classes: int
    instance_sensitive: bool = True
    ignored_ids: tuple[int, ...] = (2, 3)

    def training(self, truth: Truth, radius: float) -> list[np.ndarray]:
        """The training label in groups of 24 classes, uint32 (H, W) each."""
        return [
            label_to_edges(*ids, radius=radius, **options)
            for *ids, options in class_groups(*truth, **asdict(self))
        ]

    def evaluation(self, truth: Truth, thin: bool, scale: float) -> list[np.ndarray]:
        """The evaluation truth in groups of 24 classes, uint32 (h, w) each."""
        groups = class_groups(*truth, **asdict(self))
        return [
            evaluation_edges(*ids, thin=thin, scale=scale, **options) for *ids, options in groups
        ]


@dataclass(frozen=True)
class TrainingLabel:
    """The training label: the rule at full size, never thinned; with `mat` also the published `labelEdge`."""

    path: Path
    stamp: Path
    rule: Rule
    radius: float
    mat: bool

    def files(self) -> list[Path]:
        return _edge_files(self.path, self.rule, self.mat)

    def make(self, truth: Truth) -> None:
        groups = self.rule.training(truth, self.radius)
        write_edges(self.path, groups, compression=COMPRESSION)
        if self.mat:
            write_label_edge(self.path.with_suffix(".mat"), groups[0], self.rule.num_classes)


@dataclass(frozen=True)
class EvaluationTruth:
    """What predictions are scored against; with `mat` also the published `GTinst` or `GTcls`."""

    path: Path
    stamp: Path
    rule: Rule
    thin: bool
    scale: float
    mat: bool

    def files(self) -> list[Path]:
        return _edge_files(self.path, self.rule, self.mat)

    def make(self, truth: Truth) -> None:
        groups = self.rule.evaluation(truth, self.thin, self.scale)
        write_edges(self.path, groups, compression=COMPRESSION)
        if self.mat:
            label, instance = (
                None if ids is None else resize_nearest(ids, self.scale) for ids in truth
            )
            path, num_classes = self.path.with_suffix(".mat"), self.rule.num_classes
            if self.rule.instance_sensitive:
                write_gt_inst(path, groups[0], label, instance, num_classes)
            else:
                write_gt_cls(path, groups[0], label, num_classes)


@dataclass(frozen=True)
class ColourImage:
    """The training label as people look at it: a colour per class, with a legend of the classes that occur."""

    path: Path
    stamp: Path
    rule: Rule
    radius: float
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def files(self) -> list[Path]:
        return [self.path]

    def make(self, truth: Truth) -> None:
        write_png(self.path, draw(self.rule.training(truth, self.radius), self.names, self.colours))


def draw(
    groups: list[np.ndarray], names: tuple[str, ...], colours: tuple[tuple[int, int, int], ...]
) -> np.ndarray:
    """uint8 (H + legend, W, 3), RGB: groups of edges in their classes' colours."""
    # The label scripts are doors of the house like train.py, above `utils`; nothing in `utils` imports them.
    from data.visualize import add_legend, draw_edges

    classes = list(_present(groups))
    palette = np.array(colours, np.uint8)
    image = np.full((*groups[0].shape, 3), 255, np.uint8)
    if (
        classes
    ):  # only the classes that occur: 19 maps of probabilities of a 2048x1024 frame take 160 MB
        edges = np.stack(
            [groups[k // PNG_CLASSES] & np.uint32(1 << k % PNG_CLASSES) != 0 for k in classes]
        )
        image = draw_edges(edges, palette[classes])
    return add_legend(image, classes, names, palette)


def add_product_flags(parser: argparse.ArgumentParser, *, scale: float) -> None:
    """The flags that `ProductMaker` reads. scale: the published size of the data set's evaluation truth."""
    boolean = argparse.BooleanOptionalAction
    rule = parser.add_argument_group("rule")
    rule.add_argument(
        "--instance", action=boolean, default=True, help="edges between two instances of one class"
    )
    rule.add_argument("--radius", type=float, default=2, help="of training labels, in pixels")
    group = parser.add_argument_group("products")
    group.add_argument(
        "--eval", action=boolean, default=False, help="also the evaluation truth, OUT/gt_eval"
    )
    group.add_argument(
        "--scale", type=float, default=scale, help="size of the evaluation truth, 1 = full"
    )
    group.add_argument(
        "--mat", action=boolean, default=False, help="also the published .mat structures"
    )
    group.add_argument(
        "--visualize", action=boolean, default=False, help="also coloured images, OUT/view"
    )


@dataclass(frozen=True)
class ProductMaker:
    """The products of each image, by the flags; they lie below `out`.

    palette: uint8 (K, 3), RGB. settings: what else the products depend on, to be kept in the stamps.
    """

    out: Path
    rule: Rule
    names: tuple[str, ...]
    palette: np.ndarray
    args: argparse.Namespace
    settings: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        args, count = self.args, self.rule.num_classes
        if args.mat and count > PNG_CLASSES:
            raise InputError(
                f"--mat: the published structures hold up to {PNG_CLASSES} classes, not {count}"
            )
        if not 1 <= args.radius <= 64:
            raise InputError(f"--radius {args.radius}: expected 1 to 64 pixels")
        if not 0 < args.scale <= 4:
            raise InputError(f"--scale {args.scale}: expected a number above 0, up to 4")

    def products(self, label: Path, evaluation_name: str) -> tuple[Product, ...]:
        """label: path of the training label below `out`. evaluation_name: path of the evaluation truth without .png."""
        args, rule, radius = self.args, self.rule, self.args.radius
        made: list[Product] = [
            TrainingLabel(self.out / label, self._training_stamp, rule, radius, args.mat)
        ]
        if args.visualize:
            colours = tuple(tuple(colour) for colour in self.palette.tolist())
            view = self.out / "view" / label
            made.append(ColourImage(view, self._training_stamp, rule, radius, self.names, colours))
        if args.eval:
            kinds = ("inst", "cls") if rule.instance_sensitive else ("cls",)
            for mode, kind in product(("thin", "raw"), kinds):
                path = self.out / "gt_eval" / f"gt_{mode}" / kind / f"{evaluation_name}.png"
                one = Rule(rule.num_classes, kind == "inst", rule.ignored_ids)
                made.append(
                    EvaluationTruth(
                        path, self._evaluation_stamp, one, mode == "thin", args.scale, args.mat
                    )
                )
        return tuple(made)

    @cached_property
    def _training_stamp(self) -> Path:
        settings = {**self.settings, **asdict(self.rule), "radius": self.args.radius}
        return write_stamp(self.out / "gtlabel.json", settings)

    @cached_property
    def _evaluation_stamp(self) -> Path:
        rule = {"num_classes": self.rule.num_classes, "ignored_ids": self.rule.ignored_ids}
        return write_stamp(
            self.out / "gt_eval" / "gtlabel.json",
            {**self.settings, **rule, "scale": self.args.scale},
        )


def _edge_files(path: Path, rule: Rule, mat: bool) -> list[Path]:
    return [*group_paths(path, rule.num_classes), *([path.with_suffix(".mat")] if mat else [])]


def _present(groups: list[np.ndarray]) -> Iterator[int]:
    """The classes that have an edge."""
    for place, bits in enumerate(groups):
        present = int(np.bitwise_or.reduce(bits, axis=None))
        yield from (
            place * PNG_CLASSES + k for k in range(present.bit_length()) if present >> k & 1
        )
