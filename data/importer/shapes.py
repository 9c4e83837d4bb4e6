"""Shapes of annotation tools to pixels, and drawings of many of them.

Coordinates are those of all the tools: x to the right and y down, in pixels, (0, 0) the corner of
the image. A pixel belongs to a shape if its centre, (x + 0.5, y + 0.5), lies inside, so a rectangle
from 2 to 5 covers the pixels 2, 3 and 4, and shapes that share an edge share no pixel and leave
none out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from data.errors import InputError
from data.importer.annotations import IGNORED_ID, NONE_ID, Drawing

Size = tuple[int, int]  # (H, W)
MAX_COORDINATE = 1e6  # beyond this nothing is a coordinate of a pixel
MAX_OBJECTS = 65535  # of an image: instance maps have 16 bits
TOLERANCE = 1.0  # pixels beyond the border that tools produce by rounding
NO_PIXEL = "objects that cover no pixel"
OUTSIDE = "objects that reach beyond the image"
COVERED = "objects that later ones cover completely"


class Mask(NamedTuple):
    """Pixels of an image: bool (h, w), whose first is at row `top`, column `left`."""

    top: int
    left: int
    bits: np.ndarray


EMPTY = Mask(0, 0, np.zeros((0, 0), bool))


class Shape(Protocol):
    """Something that covers pixels. It holds plain data, since it is sent to worker processes."""

    def mask(self, size: Size) -> Mask:
        """The pixels that it covers, inside an image of (H, W)."""
        ...

    def is_outside(self, size: Size) -> bool:
        """Whether it reaches beyond the image by more than TOLERANCE."""
        ...


@dataclass(frozen=True)
class Polygons:
    """The union of polygons, each float64 (n, 2) of (x, y); of each by the even-odd rule."""

    rings: tuple[np.ndarray, ...]

    def mask(self, size: Size) -> Mask:
        """The pixels whose centres lie inside."""
        height, width = size
        points = np.concatenate(self.rings)
        left, top = np.clip(np.floor(points.min(axis=0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, (width, height)).astype(int)
        bits = np.zeros((max(0, bottom - top), max(0, right - left)), bool)
        if bits.size:
            for ring in self.rings:
                bits |= _inside(ring - (left, top), bits.shape)
        return Mask(top, left, bits)

    def is_outside(self, size: Size) -> bool:
        """Whether a corner lies beyond the image by more than TOLERANCE."""
        points = np.concatenate(self.rings)
        beyond = (points < -TOLERANCE) | (points > np.array(size[::-1]) + TOLERANCE)
        return bool(beyond.any())


@dataclass(frozen=True)
class Ellipse:
    """An ellipse with centre (x, y), half axes and its angle in degrees, clockwise as seen."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    angle: float = 0.0

    def mask(self, size: Size) -> Mask:
        """The pixels whose centres lie inside."""
        if min(self.radius_x, self.radius_y) <= 0:
            return EMPTY
        reach_x, reach_y = self._reach()
        left, right = np.clip((self.x - reach_x, self.x + reach_x + 1), 0, size[1]).astype(int)
        top, bottom = np.clip((self.y - reach_y, self.y + reach_y + 1), 0, size[0]).astype(int)
        rows, columns = np.mgrid[top:bottom, left:right] + 0.5
        turn = np.deg2rad(self.angle)
        dx, dy = columns - self.x, rows - self.y
        along = (dx * np.cos(turn) + dy * np.sin(turn)) / self.radius_x
        across = (dy * np.cos(turn) - dx * np.sin(turn)) / self.radius_y
        return Mask(int(top), int(left), along**2 + across**2 <= 1)

    def is_outside(self, size: Size) -> bool:
        """Whether it reaches beyond the image by more than TOLERANCE."""
        (height, width), (reach_x, reach_y) = size, self._reach()
        return (
            min(self.x - reach_x, self.y - reach_y) < -TOLERANCE
            or self.x + reach_x > width + TOLERANCE
            or self.y + reach_y > height + TOLERANCE
        )

    def _reach(self) -> tuple[float, float]:
        """How far it reaches from its centre, (in x, in y)."""
        cos, sin = np.cos(np.deg2rad(self.angle)), np.sin(np.deg2rad(self.angle))
        reach_x = float(np.hypot(self.radius_x * cos, self.radius_y * sin))
        return reach_x, float(np.hypot(self.radius_x * sin, self.radius_y * cos))


@dataclass(frozen=True)
class Bitmap:
    """Pixels that are stored one by one. bits: bool (h, w), its first at (top, left)."""

    top: int
    left: int
    bits: np.ndarray

    def mask(self, size: Size) -> Mask:
        """The part inside the image."""
        height, width = size
        top, left = max(0, self.top), max(0, self.left)
        inside = self.bits[
            top - self.top : max(0, height - self.top), left - self.left : max(0, width - self.left)
        ]
        return Mask(top, left, inside)

    def is_outside(self, size: Size) -> bool:
        """Whether a pixel that is set lies outside the image."""
        return int(self.mask(size).bits.sum()) != int(self.bits.sum())


@dataclass(frozen=True)
class Line:
    """A line of a width in pixels through points, float64 (n, 2) of (x, y); one point is a disk."""

    points: np.ndarray
    width: float

    def mask(self, size: Size) -> Mask:
        """The pixels whose centres are within half the width."""
        reach = self.width / 2
        left, top = np.clip(np.floor(self.points.min(axis=0) - reach), 0, size[::-1]).astype(int)
        right, bottom = np.clip(np.ceil(self.points.max(axis=0) + reach), 0, size[::-1]).astype(int)
        bits = np.zeros((max(0, bottom - top), max(0, right - left)), bool)
        rows, columns = np.mgrid[top:bottom, left:right] + 0.5
        ends = self.points[1:] if len(self.points) > 1 else self.points
        for (x0, y0), (x1, y1) in zip(self.points, ends, strict=False):
            length = (x1 - x0) ** 2 + (y1 - y0) ** 2
            along = (columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)
            along = np.clip(along / length, 0, 1) if length else np.zeros_like(rows)
            dx, dy = columns - x0 - along * (x1 - x0), rows - y0 - along * (y1 - y0)
            bits |= dx * dx + dy * dy <= reach * reach
        return Mask(int(top), int(left), bits)

    def is_outside(self, size: Size) -> bool:
        """Whether a point lies beyond the image by more than TOLERANCE."""
        return Polygons((self.points,)).is_outside(size)


def _inside(ring: np.ndarray, shape: Size) -> np.ndarray:
    """bool (H, W): the pixels whose centres are inside one polygon, (n, 2) of (x, y)."""
    following = np.roll(ring, -1, axis=0)
    # From top to bottom, so that two polygons compute their shared edge's crossings alike.
    flip = (ring[:, 1] > following[:, 1])[:, None]
    x0, y0 = np.where(flip, following, ring).T
    x1, y1 = np.where(flip, ring, following).T
    # The rows whose centre lines, y = row + 0.5, an edge crosses: y0 <= row + 0.5 < y1.
    first = np.clip(np.ceil(y0 - 0.5), 0, shape[0]).astype(np.int64)
    end = np.clip(np.ceil(y1 - 0.5), 0, shape[0]).astype(np.int64)
    counts = np.maximum(end - first, 0)
    edge = np.repeat(np.arange(len(ring)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    crossing = x0[edge] + (rows + 0.5 - y0[edge]) * slope
    columns = np.clip(np.ceil(crossing - 0.5), 0, shape[1]).astype(np.int64)
    toggles = np.zeros((shape[0], shape[1] + 1), np.int32)
    np.add.at(toggles, (rows, columns), 1)
    return (np.cumsum(toggles, axis=1)[:, :-1] & 1).astype(bool)


@dataclass(frozen=True)
class DrawnObject:
    """An object of a drawing. label: the id to write. instance: its number, 0 for none."""

    label: int
    shape: Shape
    instance: int = 0


@dataclass(frozen=True)
class ShapeDrawer:
    """Draws objects in their order, the later ones over the earlier ones. A `Drawer`.

    has_instances: an instance map is made, even for an image without objects.
    """

    objects: Sequence[DrawnObject]
    has_instances: bool = True

    def __call__(self, size: Size) -> Drawing:
        """Draw at (H, W)."""
        if (most := max((o.instance for o in self.objects), default=0)) > MAX_OBJECTS:
            raise InputError(f"has {most} objects; expected at most {MAX_OBJECTS} in an image")
        label = np.zeros(size, np.uint8)
        instance = np.zeros(size, np.uint16)
        notes: Counter[str] = Counter()
        seen: set[int] = set()  # objects of classes that cover pixels
        for drawn in self.objects:
            mask = drawn.shape.mask(size)
            covers = bool(mask.bits.any())
            notes[NO_PIXEL] += not covers
            if covers and drawn.label not in (NONE_ID, IGNORED_ID):
                seen.add(drawn.instance)
            notes[OUTSIDE] += drawn.shape.is_outside(size)
            height, width = mask.bits.shape
            rows = slice(mask.top, mask.top + height)
            columns = slice(mask.left, mask.left + width)
            label[rows, columns][mask.bits] = drawn.label
            instance[rows, columns][mask.bits] = drawn.instance
        left = np.flatnonzero(np.bincount(instance.ravel()))
        notes[COVERED] = len(seen.difference(left.tolist()))
        found = {note: count for note, count in notes.items() if count}
        return Drawing(label, instance if self.has_instances else None, found)
