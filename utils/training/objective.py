"""What is minimized: the table of losses of each task, which training and validation share.

A new loss is one function and one line in LOSSES. The formulas are in `models.losses`; here is what
they are called on the command line (`--loss`), and which targets and outputs they take.
"""

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from data.samples.edge import unpack_edges
from data.samples.relaxed import unpack_relaxed
from models import DECOUPLED, MODELS
from models.losses import (
    body_edge_loss,
    cross_entropy,
    edge_losses,
    image_weighted_cross_entropy,
    ohem_cross_entropy,
    relaxed_nll,
)
from utils.training.schedule import Schedule

Maps = dict[str, Tensor]
Number = TypeVar("Number", Tensor, float)


class LossFunction(Protocol):
    """(outputs of the net, targets) -> the named terms of the loss, scalars.

    Targets are what `unpack_targets` makes of a batch. quirks: with the published code's oddities.
    """

    def __call__(self, outputs: Maps, targets: Maps, *, quirks: bool) -> Maps: ...


@dataclass(frozen=True)
class Loss:
    """A line of the table.

    Args:
        function: computes the terms.
        terms: their names, each of which may have a weight.
        relaxed: the samples must have the classes within the border ("multihot") and "edge".
        decoupled: is for nets with a body/edge head, and only for them.
    """

    function: LossFunction
    terms: tuple[str, ...]
    relaxed: bool = False
    decoupled: bool = False


def _reweighted(outputs: Maps, targets: Maps, *, quirks: bool) -> Maps:
    return edge_losses(outputs, targets["edges"], targets["valid"])


def _ohem(outputs: Maps, targets: Maps, *, quirks: bool) -> Maps:
    return {"seg": ohem_cross_entropy(outputs["seg"], targets["label"])}


def _cross_entropy(outputs: Maps, targets: Maps, *, quirks: bool) -> Maps:
    return {"seg": cross_entropy(outputs["seg"], targets["label"])}


def _image_weighted(outputs: Maps, targets: Maps, *, quirks: bool) -> Maps:
    return {"seg": image_weighted_cross_entropy(outputs["seg"], targets["label"])}


def _relaxed(outputs: Maps, targets: Maps, *, quirks: bool) -> Maps:
    return {"seg": relaxed_nll(outputs["seg"], targets["multihot"], quirks=quirks)}


def _body_edge(outputs: Maps, targets: Maps, *, quirks: bool) -> Maps:
    return body_edge_loss(outputs, targets, quirks=quirks)


BODY_EDGE_TERMS = ("seg", "body", "edge", "edge_attention")

# task -> --loss -> loss. The first one that a net can take is its default.
LOSSES: dict[str, dict[str, Loss]] = {
    "edge": {
        "reweighted": Loss(_reweighted, ("side5", "fuse")),
    },
    "seg": {
        "ohem": Loss(_ohem, ("seg",)),
        "ce": Loss(_cross_entropy, ("seg",)),
        "image-weighted": Loss(_image_weighted, ("seg",)),
        "relaxed": Loss(_relaxed, ("seg",), relaxed=True),
        "body-edge": Loss(_body_edge, BODY_EDGE_TERMS, relaxed=True, decoupled=True),
    },
}
# Of edge nets and edge heads.
EDGE_LOSS = LOSSES["edge"]["reweighted"]
LOSS_NAMES = tuple(name for table in LOSSES.values() for name in table)


def losses_of(model: str) -> dict[str, Loss]:
    """The losses that a net of this name can be trained with, its default first."""
    table, decoupled = LOSSES[MODELS[model][1]], model in DECOUPLED
    return {name: loss for name, loss in table.items() if loss.decoupled == decoupled}


def default_loss(model: str) -> str:
    """The published loss of a net of this name."""
    return next(iter(losses_of(model)))


@dataclass(frozen=True)
class Objective:
    """What a net is trained towards.

    Args:
        loss: a line of LOSSES.
        num_classes: of the data set.
        weights: what each term weighs in the total; 1 if it is not named.
        schedule: the learning rate of an iteration.
        images_per_loss: the terms are computed over this number of images at a time, and averaged.
            That is what the published segmentation runs did, with one or two images on each GPU:
            hard pixels are chosen among, and edges balanced over, those of a GPU. So one number
            gives the same training on any number of GPUs. 0: all images of a rank at once. (An edge
            head's terms are means over images: the number changes nothing of them.)
        quirks: with the published code's oddities.
        edge_head: add the terms of EDGE_LOSS, for a segmentation net with an edge head.
    """

    loss: Loss
    num_classes: int
    weights: dict[str, float]
    schedule: Schedule
    images_per_loss: int = 0
    quirks: bool = True
    edge_head: bool = False

    @property
    def term_names(self) -> tuple[str, ...]:
        """The names of what `terms` returns."""
        return self.loss.terms + (EDGE_LOSS.terms if self.edge_head else ())

    def of_edges(self) -> "Objective":
        """The part that an edge head learns from alone."""
        return replace(self, loss=EDGE_LOSS, edge_head=False)

    def batch_terms(self, outputs: Maps, batch: Maps) -> Maps:
        """The terms of a batch as the loader sends it, on the device of `outputs`."""
        images = len(batch["image"])
        size = self.images_per_loss or images
        groups = [
            self.terms(
                _part(outputs, first, size),
                unpack_targets(_part(batch, first, size), self.num_classes),
            )
            for first in range(0, images, size)
        ]
        return {name: torch.stack([group[name] for group in groups]).mean() for name in groups[0]}

    def terms(self, outputs: Maps, targets: Maps) -> Maps:
        """The named terms of the loss over all images given."""
        terms = self.loss.function(outputs, targets, quirks=self.quirks)
        if self.edge_head:
            terms = terms | EDGE_LOSS.function(outputs, targets, quirks=self.quirks)
        return terms

    def total(self, terms: dict[str, Number]) -> Number:
        """The weighted sum that is trained on."""
        first, *others = (self.weights.get(name, 1.0) * term for name, term in terms.items())
        return sum(others, first)


def unpack_targets(batch: Maps, num_classes: int) -> Maps:
    """The maps that the losses read, from the compact ones that workers send.

    Edge task and edge heads: "edges" bool (N, K, H, W), "valid" (N, 1, H, W). Segmentation: "label"
    (N, H, W) and, of samples with relaxed labels, "multihot" (N, K + 1, H, W) and "edge"
    (N, 1, H, W).
    """
    targets = {name: batch[name] for name in ("valid", "label", "edge") if name in batch}
    if "edges" in batch:
        targets["edges"] = unpack_edges(batch["edges"], num_classes)
    if "bits" in batch:
        targets["multihot"] = unpack_relaxed(batch["bits"], num_classes)
    return targets


def _part(maps: Maps, first: int, size: int) -> Maps:
    return {name: values[first : first + size] for name, values in maps.items()}
