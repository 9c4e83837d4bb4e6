"""The rule by which labels become edges: that of the published CASENet, SEAL and DFF label scripts.

A pixel is an edge if another pixel of the image within `radius` has another id. So edges are
two-sided (2 pixels wide at radius 1, 4 at radius 2), and the border of the image is no edge.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypedDict

import cv2
import numpy as np

from data.edges.bits import MAX_CLASSES, PNG_CLASSES
from data.errors import InputError
from data.image_io import IGNORE

STRIP = 128  # rows worked on at once


class RuleOptions(TypedDict):
    """Keyword arguments of `label_to_edges` and `evaluation_edges`."""

    num_classes: int
    instance_sensitive: bool
    ignored_ids: tuple[int, ...]


def label_to_edges(
    label: np.ndarray,
    instance: np.ndarray | None = None,
    *,
    num_classes: int,
    radius: float = 2,
    instance_sensitive: bool = True,
    ignored_ids: tuple[int, ...] = (2, 3),
) -> np.ndarray:
    """Edges of every class of a label map, uint32 (H, W).

    A pixel is a candidate if `instance` differs within `radius` and neither pixel is ignored. A
    candidate is an edge of class k if the class's own map differs within `radius`: its instance
    ids, 0 elsewhere, or, if not `instance_sensitive`, its mask.

    Args:
        label: uint8 (H, W), train ids; an id >= `num_classes` (255) is no class.
        instance: integers (H, W), ids as on disk. Every region that has a boundary of its own has
            its own id other than 0. None: every id of `label` is one region.
        num_classes: 1 to 32.
        radius: pixels, Euclidean.
        instance_sensitive: edges also between two instances of one class.
        ignored_ids: pixels with one of these instance ids and no class are ignored. Cityscapes'
            are rectification border (2) and out of roi (3). Other void is not ignored: an edge
            between a class and void counts, as published.
    """
    _check(label, instance, num_classes)
    if instance is None:
        instance = label
        instance_sensitive = False
        ignored_ids = ()
    instance = _as_padded_type(instance)
    rule = _Rule(num_classes, radius, instance_sensitive, tuple(ignored_ids))
    edges = np.empty(label.shape, np.uint32)
    height = len(label)
    halo = int(radius)
    # Strip by strip, so that the intermediate arrays stay in the processor's cache.
    for top in range(0, height, STRIP):
        first = max(top - halo, 0)
        last = min(top + STRIP + halo, height)
        strip = rule.edges(label[first:last], instance[first:last])
        edges[top : top + STRIP] = strip[top - first :][:STRIP]
    return edges


@dataclass(frozen=True)
class _Rule:
    num_classes: int
    radius: float
    instance_sensitive: bool
    ignored_ids: tuple[int, ...]

    def edges(self, label: np.ndarray, instance: np.ndarray) -> np.ndarray:
        """uint32 (H, W).

        The few candidates are found by comparing whole arrays; the bits are computed at these.
        """
        ignored = np.zeros(label.shape, bool)
        for ignored_id in self.ignored_ids:  # np.isin takes several times as long
            ignored |= instance == ignored_id
        ignored &= label >= self.num_classes
        if self.instance_sensitive:
            # "0 elsewhere": a pixel with id 0 is on no class's map.
            label = np.where(instance == 0, np.uint8(IGNORE), label)
        where = np.flatnonzero(_may_be_edge(instance, self.radius))
        edges = np.zeros(label.shape, np.uint32)
        edges.ravel()[where] = self._bits_at(
            where, label, instance, ignored if ignored.any() else None
        )
        return edges

    def _bits_at(
        self, where: np.ndarray, label: np.ndarray, instance: np.ndarray, ignored: np.ndarray | None
    ) -> np.ndarray:
        """uint32 (N,), the edges at the N pixels whose flat indices are `where`."""
        pad = int(self.radius)
        width = label.shape[1]
        stride = width + 2 * pad
        at = (where // width + pad) * stride + where % width + pad
        ids = _padded(instance, pad)
        labels = _padded(label, pad)
        ignored = None if ignored is None else _padded(ignored.view(np.uint8), pad).view(bool)
        bit_of = np.zeros(256, np.uint32)
        bit_of[: self.num_classes] = np.uint32(1) << np.arange(self.num_classes, dtype=np.uint32)
        own_id = ids[at]
        own_label = labels[at]
        own_bit = bit_of[own_label]
        candidate = np.zeros(at.size, bool)
        bits = np.zeros(at.size, np.uint32)
        for dy, dx in disk_offsets(self.radius):
            there = at + (dy * stride + dx)
            other_label = labels[there]
            other_region = ids[there] != own_id
            candidate |= other_region if ignored is None else other_region & ~ignored[there]
            # Class k's map differs between the two pixels if k is the class of only one of them,
            # or of both as two instances.
            differs = other_label != own_label
            if self.instance_sensitive:
                differs |= other_region
            bits |= (own_bit | bit_of[other_label]) * differs
        if ignored is not None:
            candidate &= ~ignored[at]
        return bits * candidate


def class_groups(
    label: np.ndarray,
    instance: np.ndarray | None,
    *,
    num_classes: int,
    instance_sensitive: bool = True,
    ignored_ids: tuple[int, ...] = (2, 3),
) -> Iterator[tuple[np.ndarray, np.ndarray | None, RuleOptions]]:
    """For each group of 24 classes what to call `label_to_edges` with: (label, instance, options).

    The group's first class becomes bit 0. An edge between classes of two groups is one of both:
    candidates still come from all ids.
    """
    if num_classes <= PNG_CLASSES:
        yield (
            label,
            instance,
            {
                "num_classes": num_classes,
                "instance_sensitive": instance_sensitive,
                "ignored_ids": ignored_ids,
            },
        )
        return
    if instance is None:
        instance = label
        instance_sensitive = False
        ignored_ids = ()
    # What is ignored depends on which labels are classes. That must be all classes, not the
    # group's, so it is decided here and marked by an id that occurs nowhere else.
    ignored = np.isin(instance, ignored_ids) & (label >= num_classes)
    instance = np.where(ignored, -1, instance.astype(np.int32))
    for first in range(0, num_classes, PNG_CLASSES):
        count = min(PNG_CLASSES, num_classes - first)
        inside = (label >= first) & (label < first + count)
        shifted = np.where(inside, label - np.uint8(first), np.uint8(IGNORE))
        yield (
            shifted,
            instance,
            {
                "num_classes": count,
                "instance_sensitive": instance_sensitive,
                "ignored_ids": (-1,),
            },
        )


def _check(label: np.ndarray, instance: np.ndarray | None, num_classes: int) -> None:
    if not 1 <= num_classes <= MAX_CLASSES:
        raise InputError(
            f"edges of {num_classes} classes were asked for; 1 to {MAX_CLASSES} fit into one map"
        )
    if label.dtype != np.uint8 or label.ndim != 2:
        raise ValueError(f"the label is {label.dtype} {label.shape}; expected uint8 (H, W)")
    if instance is not None and instance.shape != label.shape:
        raise InputError(
            f"the instance map is {instance.shape}, but the label map is {label.shape} (H, W)"
        )


def _as_padded_type(instance: np.ndarray) -> np.ndarray:
    """The same ids in a type that OpenCV pads: it has no uint32 and no int64."""
    padded_types = (np.uint8, np.uint16, np.int16, np.int32)
    return instance if instance.dtype in padded_types else instance.astype(np.int32)


def _padded(ids: np.ndarray, pad: int) -> np.ndarray:
    """Flat, with a frame in which each pixel is a copy of the nearest one inside.

    Neighbours outside the image do not count, and their copies change nothing: a copy's original
    is nearer, so it is in the disk too, or is the pixel itself.
    """
    return cv2.copyMakeBorder(ids, pad, pad, pad, pad, cv2.BORDER_REPLICATE).ravel()


def disk_offsets(radius: float) -> list[tuple[int, int]]:
    """The offsets (dy, dx) != 0 with dx^2 + dy^2 <= radius^2."""
    reach = range(-int(radius), int(radius) + 1)
    return [
        (dy, dx) for dy, dx in product(reach, reach) if 0 < dy * dy + dx * dx <= radius * radius
    ]


def _may_be_edge(instance: np.ndarray, radius: float) -> np.ndarray:
    """bool (H, W), True at every pixel whose id differs within `radius`; cheap to compute.

    Above radius 2 it is True at a few more pixels. Walk from p to a differing q by steps of one
    pixel that lead away from p: some step changes the id, and both its ends are in the disk. So p
    is within reach of a pixel that differs from a 4-neighbour.
    """
    change = np.zeros(instance.shape, np.uint8)
    down = instance[1:] != instance[:-1]
    right = instance[:, 1:] != instance[:, :-1]
    change[1:] |= down
    change[:-1] |= down
    change[:, 1:] |= right
    change[:, :-1] |= right
    # The offsets from which a step away from p, down or to the right, still ends in the disk.
    reach = int(radius)
    grid = np.abs(np.arange(-reach, reach + 1))
    y = grid[:, None]
    x = grid[None, :]
    starts = np.minimum((y + 1) ** 2 + x**2, y**2 + (x + 1) ** 2) <= radius * radius
    if starts.sum() == 1:
        return change.view(bool)
    return cv2.dilate(change, starts.astype(np.uint8)).view(bool)
