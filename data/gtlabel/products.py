"""What a label script makes from one image's label map.

That is the training label, the ground truth for evaluation, and a coloured image to look at.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.edge_files import group_paths, write_edges
from data.edges import (
    PNG_CLASSES,
    class_groups,
    evaluation_edges,
    label_to_edges,
    present_bits,
    resize_nearest,
)
from data.errors import InputError
from data.gtlabel.job import Product
from data.gtlabel.mat import write_gt_cls, write_gt_inst, write_label_edge
from data.gtlabel.stamp import Stamp
from data.image_io import image_size, require_size, write_png
from data.visualize import Color, add_legend, draw_edges

# Of PNG, 0 to 9. Nearly all bits are 0: more effort takes longer and saves next to nothing.
COMPRESSION = 1


class GroundTruth(NamedTuple):
    """The label map of one image, as the rule takes it.

    label: uint8 (H, W) of train ids.
    instance: instance ids (H, W), or None where there are none.
    ids: that the label map held before they became classes; empty where nobody asks for them.
    """

    label: np.ndarray
    instance: np.ndarray | None
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rule:
    """How labels become edges: the options of `label_to_edges` that all products of a run share."""

    num_classes: int
    instance_sensitive: bool = True
    ignored_ids: tuple[int, ...] = (2, 3)

    def training(self, ground_truth: GroundTruth, radius: float) -> list[np.ndarray]:
        """The training label in groups of 24 classes, uint32 (H, W) each."""
        return [
            label_to_edges(label, instance, radius=radius, **options)
            for label, instance, options in class_groups(
                ground_truth.label, ground_truth.instance, **asdict(self)
            )
        ]

    def evaluation(self, ground_truth: GroundTruth, thin: bool, scale: float) -> list[np.ndarray]:
        """The edges to evaluate against in groups of 24 classes, uint32 (h, w) each."""
        return [
            evaluation_edges(label, instance, thin=thin, scale=scale, **options)
            for label, instance, options in class_groups(
                ground_truth.label, ground_truth.instance, **asdict(self)
            )
        ]


@dataclass(frozen=True)
class TrainingLabel:
    """The training label: the rule at full size, never thinned.

    With `mat` also the published structure `labelEdge`.
    """

    path: Path
    stamp: Stamp
    rule: Rule
    radius: float
    mat: bool

    def files(self) -> list[Path]:
        return _edge_files(self.path, self.rule, self.mat)

    def make(self, labels: GroundTruth) -> None:
        groups = self.rule.training(labels, self.radius)
        write_edges(self.path, groups, compression=COMPRESSION)
        if self.mat:
            write_label_edge(self.path.with_suffix(".mat"), groups[0], self.rule.num_classes)


@dataclass(frozen=True)
class EvaluationLabel:
    """What predictions are scored against; with `mat` also the published `GTinst` or `GTcls`."""

    path: Path
    stamp: Stamp
    rule: Rule
    thin: bool
    scale: float
    mat: bool

    def files(self) -> list[Path]:
        return _edge_files(self.path, self.rule, self.mat)

    def make(self, labels: GroundTruth) -> None:
        groups = self.rule.evaluation(labels, self.thin, self.scale)
        write_edges(self.path, groups, compression=COMPRESSION)
        if self.mat:
            self._write_mat(groups[0], labels.label, labels.instance)

    def _write_mat(self, bits: np.ndarray, label: np.ndarray, instance: np.ndarray | None) -> None:
        path = self.path.with_suffix(".mat")
        label = resize_nearest(label, self.scale)
        if self.rule.instance_sensitive:
            instance = None if instance is None else resize_nearest(instance, self.scale)
            write_gt_inst(path, bits, label, instance, self.rule.num_classes)
        else:
            write_gt_cls(path, bits, label, self.rule.num_classes)


@dataclass(frozen=True)
class ColorImage:
    """The training label to look at: a colour per class, a legend of the classes that occur."""

    path: Path
    stamp: Stamp
    rule: Rule
    radius: float
    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def files(self) -> list[Path]:
        return [self.path]

    def make(self, labels: GroundTruth) -> None:
        groups = self.rule.training(labels, self.radius)
        write_png(self.path, draw_groups(groups, self.names, self.colors))


def draw_groups(
    groups: Sequence[np.ndarray], names: Sequence[str], colors: Sequence[Color]
) -> np.ndarray:
    """Draw groups of edges in their classes' colours, with a legend: uint8 (H + legend, W, 3)."""
    classes = [
        number * PNG_CLASSES + k for number, bits in enumerate(groups) for k in present_bits(bits)
    ]
    palette = np.array(colors, np.uint8)
    image = np.full((*groups[0].shape, 3), 255, np.uint8)
    # Only the classes that occur: 19 maps of probabilities of a 2048x1024 frame take 160 MB.
    if classes:
        edges = np.stack(
            [groups[k // PNG_CLASSES] & np.uint32(1 << k % PNG_CLASSES) != 0 for k in classes]
        )
        image = draw_edges(edges, palette[classes])
    return add_legend(image, classes, names, palette)


@dataclass(frozen=True)
class ProductOptions:
    """Which products are made, and how.

    radius: of training labels, in pixels.
    scale: size of the evaluation ground truth relative to the label map.
    evaluation: also the evaluation ground truth.
    mat: also the published .mat structures.
    view: also coloured images.
    """

    radius: float
    scale: float
    evaluation: bool
    mat: bool
    view: bool


@dataclass(frozen=True)
class ProductMaker:
    """The products of each image. They lie below `out`.

    rule: of training labels and evaluation ground truth.
    names: of the classes.
    palette: uint8 (K, 3), RGB.
    settings: what else the products depend on, to be kept in the stamps.
    """

    out: Path
    rule: Rule
    names: tuple[str, ...]
    palette: np.ndarray
    options: ProductOptions
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.options.mat and self.rule.num_classes > PNG_CLASSES:
            raise InputError(
                f"--mat: the published structures hold up to {PNG_CLASSES} classes, not "
                f"{self.rule.num_classes}"
            )

    def products(self, label: Path, evaluation_name: str) -> tuple[Product[GroundTruth], ...]:
        """The products of one image.

        label: path of the training label below `out`.
        evaluation_name: path of the evaluation ground truth below its folder, without .png.
        """
        options, stamp = self.options, self._training_stamp
        made: list[Product[GroundTruth]] = [
            TrainingLabel(self.out / label, stamp, self.rule, options.radius, options.mat)
        ]
        if options.view:
            colors = palette_colors(self.palette)
            path = self.out / "view" / label
            made.append(ColorImage(path, stamp, self.rule, options.radius, self.names, colors))
        if options.evaluation:
            made += self._evaluation_labels(evaluation_name)
        return tuple(made)

    def _evaluation_labels(self, name: str) -> list[EvaluationLabel]:
        """Thin and raw ones, with edges between instances (inst) and without (cls)."""
        kinds = ("inst", "cls") if self.rule.instance_sensitive else ("cls",)
        return [
            EvaluationLabel(
                path=self.out / "gt_eval" / f"gt_{mode}" / kind / f"{name}.png",
                stamp=self._evaluation_stamp,
                rule=Rule(self.rule.num_classes, kind == "inst", self.rule.ignored_ids),
                thin=mode == "thin",
                scale=self.options.scale,
                mat=self.options.mat,
            )
            for mode, kind in product(("thin", "raw"), kinds)
        ]

    # Cached: one object, which all products of a run share.
    @cached_property
    def _training_stamp(self) -> Stamp:
        settings = {**self.settings, **asdict(self.rule), "radius": self.options.radius}
        return Stamp.of(self.out, settings)

    @cached_property
    def _evaluation_stamp(self) -> Stamp:
        settings = {
            **self.settings,
            "num_classes": self.rule.num_classes,
            "ignored_ids": self.rule.ignored_ids,
            "scale": self.options.scale,
        }
        return Stamp.of(self.out / "gt_eval", settings)


def pair_maps(label: np.ndarray, instance: np.ndarray, path: Path) -> GroundTruth:
    """Both maps, if they have one size; else InputError that names `path`, the instance map."""
    if label.shape != instance.shape:
        raise InputError(
            f"{path}: the instance map is {instance.shape} (H, W), its label map {label.shape}"
        )
    return GroundTruth(label, instance)


def read_for_image(read: Callable[[], GroundTruth], label: Path, image: Path | None) -> GroundTruth:
    """What `read` returns, if it has the size of the image.

    Args:
        read: the job's reader.
        label: the file that it reads, for the InputError.
        image: whose header is read; None: there is none.
    """
    ground_truth = read()
    if image is not None:
        require_size(ground_truth.label, image_size(image), "label", label, image)
    return ground_truth


def palette_colors(palette: np.ndarray) -> tuple[Color, ...]:
    """uint8 (K, 3) as a tuple of colours, which can be compared and sent to a worker cheaply."""
    return tuple((red, green, blue) for red, green, blue in palette.tolist())


def _edge_files(path: Path, rule: Rule, mat: bool) -> list[Path]:
    return [*group_paths(path, rule.num_classes), *([path.with_suffix(".mat")] if mat else [])]
