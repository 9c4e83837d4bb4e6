"""What differs between training an edge net and a segmentation net: the terms of the loss, and the learning rate."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from data.samples.edge import unpack_edges
from data.samples.relaxed import unpack_relaxed
from models.losses import (
    body_edge_loss,
    cross_entropy,
    edge_losses,
    image_weighted_cross_entropy,
    ohem_cross_entropy,
    relaxed_nll,
)
from utils.training.schedule import Schedule

Terms = dict[str, Tensor]
SEG_LOSSES = ("ohem", "ce", "image-weighted", "relaxed")  # of a base net
RELAXED_LOSSES = ("relaxed", "body-edge")  # those that read the classes within the border


@dataclass(frozen=True)
class Task:
    """terms: (outputs of the net, batch on the device) -> the named terms of the loss. weights: what each weighs in the total.

    schedule: the learning rate of an iteration.
    """

    terms: Callable[[dict[str, Tensor], dict[str, Tensor]], Terms]
    weights: dict[str, float]
    schedule: Schedule

    def total(self, terms: dict[str, Tensor | float]) -> Tensor | float:
        """The weighted sum that is trained on."""
        return sum(self.weights[name] * term for name, term in terms.items())


def edge_task(num_classes: int, weights: dict[str, float], schedule: Schedule) -> Task:
    """Multi-label semantic edges: "side5" and "fuse"."""
    return Task(partial(_edge_terms, num_classes), weights, schedule)


def seg_task(
    num_classes: int,
    weights: dict[str, float],
    schedule: Schedule,
    *,
    loss: str,
    images_per_loss: int = 1,
    quirks: bool = True,
) -> Task:
    """Segmentation. loss: one of SEG_LOSSES, or "body-edge", the four terms of a decoupled net.

    images_per_loss: the losses are taken over so many images at a time, and averaged. That is what the published runs did, with one or two
    images on each GPU: hard pixels are chosen among, and edges balanced over, those of a GPU. So one number gives the same training on
    any number of GPUs. 0: all images of a rank at once.
    """
    terms = partial(
        _body_edge_terms if loss == "body-edge" else partial(_base_terms, loss), num_classes, quirks
    )
    return Task(partial(_in_groups, terms, images_per_loss), weights, schedule)


def _edge_terms(num_classes: int, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Terms:
    return edge_losses(outputs, unpack_edges(batch["edges"], num_classes), batch["valid"])


def _base_terms(
    loss: str, num_classes: int, quirks: bool, outputs: dict[str, Tensor], batch: dict[str, Tensor]
) -> Terms:
    seg, label = outputs["seg"], batch["label"]
    if loss == "relaxed":
        return {"seg": relaxed_nll(seg, unpack_relaxed(batch["bits"], num_classes), quirks=quirks)}
    functions = {
        "ohem": ohem_cross_entropy,
        "ce": cross_entropy,
        "image-weighted": image_weighted_cross_entropy,
    }
    return {"seg": functions[loss](seg, label)}


def _body_edge_terms(
    num_classes: int, quirks: bool, outputs: dict[str, Tensor], batch: dict[str, Tensor]
) -> Terms:
    targets = {
        "multihot": unpack_relaxed(batch["bits"], num_classes),
        "edge": batch["edge"],
        "label": batch["label"],
    }
    return body_edge_loss(outputs, targets, quirks=quirks)


def _in_groups(
    terms: Callable[[dict[str, Tensor], dict[str, Tensor]], Terms],
    size: int,
    outputs: dict[str, Tensor],
    batch: dict[str, Tensor],
) -> Terms:
    """The mean of the terms over groups of `size` images."""
    images = len(batch["label"])
    groups = [
        terms(_part(outputs, first, size or images), _part(batch, first, size or images))
        for first in range(0, images, size or images)
    ]
    return {name: torch.stack([group[name] for group in groups]).mean() for name in groups[0]}


def _part(maps: dict[str, Tensor], first: int, size: int) -> dict[str, Tensor]:
    return {name: values[first : first + size] for name, values in maps.items()}
