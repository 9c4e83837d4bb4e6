"""Semantic edges of a label map, as one uint32 per pixel: bit k set = edge of class k.

The rule is that of the published CASENet, SEAL and DFF label scripts: a pixel is an edge if another pixel of the image
within `radius` has another id. So edges are two-sided (2 pixels wide at radius 1, 4 at radius 2), and the border of the
image is no edge.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np

from data.errors import InputError
from data.image_io import IGNORE
from data.thinning import thin

__all__ = [
    "decode_png",
    "encode_png",
    "evaluation_edges",
    "label_to_edges",
    "pack",
    "resize_nearest",
    "thin",
    "unpack",
]

MAX_CLASSES = 32  # bits of a uint32
PNG_CLASSES = 24  # bits of an RGB pixel
STRIP = 128  # rows worked on at once


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

    label: uint8 (H, W), train ids; ids >= `num_classes` (255) have no edges of their own. instance: integers (H, W),
    ids as on disk, every region that has a boundary of its own with a number other than 0; None: every id of `label` is
    one region.

    A pixel is a candidate if `instance` differs within `radius` and neither pixel is ignored. It is an edge of class k
    if it is a candidate and the class's own map differs within `radius`: its instance ids, 0 elsewhere, or, if not
    `instance_sensitive`, its mask. Ignored are the pixels with an instance id in `ignored_ids` and no class:
    Cityscapes' rectification border (2) and out of roi (3). Other void is not: an edge between a class and void counts,
    as published.
    """
    _check(label, instance, num_classes)
    if instance is None:
        instance, instance_sensitive, ignored_ids = label, False, ()
    instance, rule = (
        _plain(instance),
        _Rule(num_classes, radius, instance_sensitive, tuple(ignored_ids)),
    )
    edges, height, halo = np.empty(label.shape, np.uint32), len(label), int(radius)
    for top in range(
        0, height, STRIP
    ):  # strip by strip, so that what is computed on the way stays in the cache
        first, last = max(top - halo, 0), min(top + STRIP + halo, height)
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
        """uint32 (H, W): the few candidates are found by comparing whole arrays, their bits are gathered one by one."""
        ignored = np.zeros(label.shape, bool)
        for ignored_id in self.ignored_ids:
            ignored |= instance == ignored_id
        ignored &= label >= self.num_classes
        if self.instance_sensitive:
            label = np.where(
                instance == 0, np.uint8(IGNORE), label
            )  # "0 elsewhere": id 0 is on no class's map
        edges = np.zeros(label.shape, np.uint32)
        where = np.flatnonzero(_may_be_edge(instance, self.radius))
        edges.ravel()[where] = self._bits_at(
            where, label, instance, ignored if ignored.any() else None
        )
        return edges

    def _bits_at(
        self, where: np.ndarray, label: np.ndarray, instance: np.ndarray, ignored: np.ndarray | None
    ) -> np.ndarray:
        """uint32 (N,), the edges at the N pixels whose flat indices are `where`."""
        pad, width = int(self.radius), label.shape[1]
        stride = width + 2 * pad
        at = (where // width + pad) * stride + where % width + pad
        ids, labels = _padded(instance, pad), _padded(label, pad)
        ignored = None if ignored is None else _padded(ignored.view(np.uint8), pad).view(bool)
        bit_of = np.zeros(256, np.uint32)
        bit_of[: self.num_classes] = np.uint32(1) << np.arange(self.num_classes, dtype=np.uint32)
        own_id, own_label = ids[at], labels[at]
        own_bit = bit_of[own_label]
        candidate, bits = np.zeros(at.size, bool), np.zeros(at.size, np.uint32)
        for dy, dx in _disk(self.radius):
            there = at + (dy * stride + dx)
            other_label = labels[there]
            other_region = ids[there] != own_id
            candidate |= other_region if ignored is None else other_region & ~ignored[there]
            # Class k's map differs between the two if k is the class of only one of them, or of both as two instances.
            differs = other_label != own_label
            if self.instance_sensitive:
                differs |= other_region
            bits |= (own_bit | bit_of[other_label]) * differs
        if ignored is not None:
            candidate &= ~ignored[at]
        return bits * candidate


def evaluation_edges(
    label: np.ndarray,
    instance: np.ndarray | None = None,
    *,
    num_classes: int,
    thin: bool,
    scale: float = 0.5,
    instance_sensitive: bool = True,
    ignored_ids: tuple[int, ...] = (2, 3),
) -> np.ndarray:
    """The published ground truth to evaluate against, uint32 (ceil(H * scale), ceil(W * scale)).

    Thin: label and instance are resized first, then the rule at radius 1, then each class is thinned. Raw: the rule at
    radius 2 at full size, then the edges are resized; not thinned.
    """
    options = {
        "num_classes": num_classes,
        "instance_sensitive": instance_sensitive,
        "ignored_ids": ignored_ids,
    }
    if not thin:
        return resize_nearest(label_to_edges(label, instance, radius=2, **options), scale)
    label = resize_nearest(label, scale)
    instance = None if instance is None else resize_nearest(instance, scale)
    return thin_classes(label_to_edges(label, instance, radius=1, **options))


def thin_classes(bits: np.ndarray) -> np.ndarray:
    """Thin the edges of each class by itself. uint32 (H, W) -> uint32 (H, W)."""
    thinned = np.zeros_like(bits)
    present = int(np.bitwise_or.reduce(bits, axis=None))
    for k in range(present.bit_length()):
        if present >> k & 1:
            thinned |= thin(bits & np.uint32(1 << k) != 0).astype(np.uint32) << np.uint32(k)
    return thinned


def resize_nearest(ids: np.ndarray, scale: float) -> np.ndarray:
    """Nearest-neighbour resize of (H, W, ...) by MATLAB's imresize rule, same dtype.

    Output index i of ceil(n * scale) takes source min(floor((i + 0.5) / scale), n - 1): at 0.5 the odd rows and columns
    (OpenCV's INTER_NEAREST takes the even ones).
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"the scale is {scale}; expected a number above 0")
    if scale == 1:
        return ids
    rows, columns = (
        np.minimum(((np.arange(math.ceil(n * scale)) + 0.5) / scale).astype(np.intp), n - 1)
        for n in ids.shape[:2]
    )
    return ids.take(rows, axis=0).take(columns, axis=1)


def encode_png(bits: np.ndarray) -> np.ndarray:
    """uint32 (H, W) -> uint8 (H, W, 3), RGB: bit k of R << 16 | G << 8 | B is class k. Classes 0..7 are in B."""
    if (bits >> np.uint32(PNG_CLASSES)).any():
        raise ValueError(
            f"bits above {PNG_CLASSES - 1} are set; an RGB pixel holds {PNG_CLASSES} classes, write groups"
        )
    return (
        np.ascontiguousarray(bits.astype("<u4", copy=False))
        .view(np.uint8)
        .reshape(*bits.shape, 4)[..., 2::-1]
    )


def decode_png(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3), RGB -> uint32 (H, W). The inverse of `encode_png`."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"found an array of {image.dtype} {image.shape}; expected uint8 (H, W, 3)")
    bits = np.zeros((*image.shape[:2], 4), np.uint8)
    bits[..., :3] = image[..., ::-1]
    return bits.view("<u4")[..., 0].astype(np.uint32, copy=False)


def unpack(bits: np.ndarray, num_classes: int) -> np.ndarray:
    """uint32 (H, W) -> bool (K, H, W)."""
    edges = np.empty((num_classes, *bits.shape), bool)
    for k in range(num_classes):
        np.not_equal(bits & np.uint32(1 << k), 0, out=edges[k])
    return edges


def pack(edges: np.ndarray) -> np.ndarray:
    """bool (K, H, W) -> uint32 (H, W). The inverse of `unpack`."""
    if len(edges) > MAX_CLASSES:
        raise ValueError(f"found {len(edges)} classes; a uint32 holds {MAX_CLASSES}")
    bits = np.zeros(edges.shape[1:], np.uint32)
    for k, edge in enumerate(edges):
        bits |= edge.astype(np.uint32) << np.uint32(k)
    return bits


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


def _plain(instance: np.ndarray) -> np.ndarray:
    """The same ids in a type that OpenCV pads (it has no uint32 or int64)."""
    return (
        instance
        if instance.dtype in (np.uint8, np.uint16, np.int16, np.int32)
        else instance.astype(np.int32)
    )


def _padded(ids: np.ndarray, pad: int) -> np.ndarray:
    """Flat, with a frame in which each pixel is a copy of the nearest one inside.

    Neighbours outside the image do not count, and their copies change nothing: a copy's original is nearer, so it is in
    the disk too, or is the pixel itself.
    """
    return cv2.copyMakeBorder(ids, pad, pad, pad, pad, cv2.BORDER_REPLICATE).ravel()


def _disk(radius: float) -> list[tuple[int, int]]:
    """The offsets (dy, dx) != 0 with dx^2 + dy^2 <= radius^2."""
    reach = range(-int(radius), int(radius) + 1)
    return [
        (dy, dx) for dy, dx in product(reach, reach) if 0 < dy * dy + dx * dx <= radius * radius
    ]


def _may_be_edge(instance: np.ndarray, radius: float) -> np.ndarray:
    """bool (H, W), True at every pixel whose id differs within `radius`, for little work; above radius 2 at a few more.

    Walk from p to a differing q by steps of one pixel that lead away from p: some step changes the id, and both its
    ends are in the disk. So p is within reach of a pixel that differs from a 4-neighbour.
    """
    change = np.zeros(instance.shape, np.uint8)
    down, right = instance[1:] != instance[:-1], instance[:, 1:] != instance[:, :-1]
    change[1:] |= down
    change[:-1] |= down
    change[:, 1:] |= right
    change[:, :-1] |= right
    reach = int(radius)
    grid = np.abs(np.arange(-reach, reach + 1))
    y, x = grid[:, None], grid[None, :]
    starts = np.minimum((y + 1) ** 2 + x**2, y**2 + (x + 1) ** 2) <= radius * radius
    return (change if starts.sum() == 1 else cv2.dilate(change, starts.astype(np.uint8))).view(bool)


def class_groups(
    label: np.ndarray,
    instance: np.ndarray | None,
    *,
    num_classes: int,
    instance_sensitive: bool = True,
    ignored_ids: tuple[int, ...] = (2, 3),
) -> Iterator[tuple[np.ndarray, np.ndarray | None, dict[str, Any]]]:
    """What to call `label_to_edges` with, (label, instance, options), to get each group of 24 classes from bit 0 up.

    An edge between classes of two groups is one of both: the candidates still come from all ids.
    """
    options = {
        "num_classes": num_classes,
        "instance_sensitive": instance_sensitive,
        "ignored_ids": ignored_ids,
    }
    if num_classes <= PNG_CLASSES:
        yield label, instance, options
        return
    if instance is None:
        instance, options["instance_sensitive"], ignored_ids = label, False, ()
    # What is ignored depends on which labels are classes, and that must be all of them, not those of one group.
    ignored = np.isin(instance, ignored_ids) & (label >= num_classes)
    instance = np.where(ignored, -1, instance.astype(np.int32))
    for first in range(0, num_classes, PNG_CLASSES):
        count = min(PNG_CLASSES, num_classes - first)
        inside = (label >= first) & (label < first + count)
        shifted = np.where(inside, label - np.uint8(first), np.uint8(IGNORE))
        yield shifted, instance, {**options, "num_classes": count, "ignored_ids": (-1,)}
