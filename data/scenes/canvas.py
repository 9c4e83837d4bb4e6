"""A canvas that keeps image and ground truth together, and the polygons that are drawn on it.

Every machine must draw the same bits, so shapes are polygons with whole-numbered corners, and
pixels are computed in integers.

Canvas points are (u, v): u to the right, v down, in pixels of the canvas. It is twice as wide and
high as the image: reduced, outlines get the mixed pixels of a real camera.
"""

from collections import Counter

import numpy as np

from data.cityscapes import LABELS
from data.scenes import raster
from data.scenes.choices import Color, SceneRandom, mixed

Points = list[tuple[int, int]]

BY_NAME = {label.name: label for label in LABELS}
RADIUS = 1024
# Half a circle of that radius, counter-clockwise. Written out, because cosines may differ in the
# last bit between machines.
HALF_CIRCLE = (
    (1024, 0),
    (946, 392),
    (724, 724),
    (392, 946),
    (0, 1024),
    (-392, 946),
    (-724, 724),
    (-946, 392),
)
CIRCLE = (*HALF_CIRCLE, *((-x, -y) for x, y in HALF_CIRCLE))


class Canvas:
    """Image, label ids and instance ids, drawn together from the farthest object to the nearest.

    image: uint8 (H, W, 3) RGB.
    label: uint8 (H, W), Cityscapes' label ids.
    instance: uint16 (H, W), Cityscapes' instance ids.
    """

    def __init__(self, width: int, height: int, haze: Color) -> None:
        self.image = np.zeros((height, width, 3), np.uint8)
        self.label = np.zeros((height, width), np.uint8)
        self.instance = np.zeros((height, width), np.uint16)
        self.haze = haze
        self._haze_percent = 0
        self._ids = (0, 0)
        self._count: Counter[int] = Counter()

    def begin(self, name: str, z: float = 0, *, group: bool = False) -> None:
        """Begin a new object: what is drawn from here on belongs to it.

        Args:
            name: its class. It gets a new instance number if the class has instances.
            z: its distance in metres; the farther, the hazier.
            group: a crowd whose members are not separate; it gets no instance number.
        """
        label = BY_NAME[name]
        number = label.id
        if label.has_instances and not group:
            number = label.id * 1000 + self._count[label.id]
            self._count[label.id] += 1
        self._ids = (label.id, number)
        self._haze_percent = min(60, int(z * 0.7))

    def fill(self, points: Points, color: Color) -> None:
        """Draw a polygon of the object, in image and ground truth."""
        runs = self._runs(points)
        self._paint(runs, color)
        self._assign(runs)

    def detail(self, points: Points, color: Color) -> None:
        """Draw a polygon in the image alone: something on the object that is no boundary of it."""
        self._paint(self._runs(points), color)

    def mark(self, points: Points) -> None:
        """Draw a polygon in the ground truth alone.

        It is a part of the object that one sees through, as between the bars of a fence.
        """
        self._assign(self._runs(points))

    def shade(self, points: Points, percent: int) -> None:
        """Draw a shadow, in the image alone: the polygon keeps `percent` of its light."""
        raster.darken(self.image, self._runs(points), percent)

    def _paint(self, runs: np.ndarray, color: Color) -> None:
        raster.paint(self.image, runs, mixed(color, self.haze, self._haze_percent))

    def _assign(self, runs: np.ndarray) -> None:
        raster.assign(self.label, runs, self._ids[0])
        raster.assign(self.instance, runs, self._ids[1])

    def _runs(self, points: Points) -> np.ndarray:
        return raster.spans(np.array(points, np.int64), *self.label.shape)


def rectangle(u0: int, u1: int, v0: int, v1: int) -> Points:
    """The polygon of an upright rectangle."""
    return [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]


def between(quad: Points, left: float, right: float, low: float, high: float) -> Points:
    """The part of a quad between fractions of its width and height.

    A quad is bottom left, bottom right, top right, top left.
    """
    (u0, v0), (u1, v1), (u2, v2), (u3, v3) = quad

    def at(a: float, b: float) -> tuple[int, int]:
        u = (u0 * (1 - a) + u1 * a) * (1 - b) + (u3 * (1 - a) + u2 * a) * b
        v = (v0 * (1 - a) + v1 * a) * (1 - b) + (v3 * (1 - a) + v2 * a) * b
        return round(u), round(v)

    return [at(left, low), at(right, low), at(right, high), at(left, high)]


def disc(u: float, v: float, ru: float, rv: float | None = None) -> Points:
    """The polygon of an ellipse around (u, v) with half axes ru and rv; None: rv = ru."""
    rv = ru if rv is None else rv
    return [(round(u + ru * x / RADIUS), round(v + rv * y / RADIUS)) for x, y in CIRCLE]


def ragged(rng: SceneRandom, u: float, v: float, radius: float) -> Points:
    """The polygon of a blob around (u, v) with an uneven outline, as of leaves."""
    reach = [radius * rng.uniform(0.6, 1.15) / RADIUS for _ in CIRCLE]
    return [(round(u + r * x), round(v + r * y)) for r, (x, y) in zip(reach, CIRCLE, strict=True)]
