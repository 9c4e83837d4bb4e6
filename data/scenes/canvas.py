"""What every scene is drawn with: dice, a pinhole camera, a canvas that keeps image and ground truth together.

Every machine must draw the same bits. So choices come from the generator's raw doubles and from +, -, *, / and
rounding, which IEEE 754 fixes to the last bit (no sine, no power), shapes are polygons with whole-numbered corners, and
pixels are computed in integers.

World: x to the right, y up from the ground, z forward, in metres. Canvas: u to the right, v down, in pixels of the
canvas, which is twice as wide and high as the image: reduced, outlines get the mixed pixels of a real camera.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from data.cityscapes import LABELS
from data.scenes import raster

Color = tuple[int, int, int]
Points = list[tuple[int, int]]
T = TypeVar("T")

BY_NAME = {label.name: label for label in LABELS}
# A circle of radius 1024, counter-clockwise. Written out, because cosines may differ in the last bit between machines.
CIRCLE = (
    (1024, 0),
    (946, 392),
    (724, 724),
    (392, 946),
    (0, 1024),
    (-392, 946),
    (-724, 724),
    (-946, 392),
)
CIRCLE += tuple((-x, -y) for x, y in CIRCLE)


class Dice:
    """The random choices of one scene."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.rng.random())

    def whole(self, low: int, high: int) -> int:
        """One of low, ..., high."""
        return low + int((high - low + 1) * float(self.rng.random()))

    def chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.whole(0, len(choices) - 1)]

    def vary(self, color: Color, amount: int = 18) -> Color:
        """The colour, lighter or darker and a little off in hue."""
        shift = self.whole(-amount, amount)
        return tuple(
            min(255, max(0, c + shift + self.whole(-amount // 3, amount // 3))) for c in color
        )


def scaled(color: Color, percent: int) -> Color:
    return tuple(min(255, c * percent // 100) for c in color)


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera `above` metres over the ground, looking along z, on a street that bends by `bend` * z²."""

    width: int
    height: int
    focal: float
    horizon: float
    above: float
    bend: float

    def point(self, x: float, y: float, z: float) -> tuple[int, int]:
        scale = self.focal / z
        u = self.width / 2 + (x + self.bend * z * z) * scale
        return round(u), round(self.horizon + (self.above - y) * scale)

    def points(self, *corners: tuple[float, float, float]) -> Points:
        return [self.point(*corner) for corner in corners]

    def sees(self, quad: Points) -> bool:
        """Whether some of the quad's bounding box lies on the canvas."""
        us, vs = [u for u, _ in quad], [v for _, v in quad]
        return max(us) >= 0 and min(us) < self.width and max(vs) >= 0 and min(vs) < self.height


class Canvas:
    """Image, label ids and instance ids, drawn together from the farthest object to the nearest.

    image: uint8 (H, W, 3) RGB. label: uint8 (H, W) and instance: uint16 (H, W), Cityscapes' label and instance ids.
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
        """What is drawn from here on is one object of class `name`, hazier the farther (z, metres) it is.

        It gets an instance number of its own if its class has them; a crowd that cannot be told apart has none.
        """
        label = BY_NAME[name]
        number = label.id
        if label.has_instances and not group:
            number = label.id * 1000 + self._count[label.id]
            self._count[label.id] += 1
        self._ids = (label.id, number)
        self._haze_percent = min(60, int(z * 0.7))

    def fill(self, points: Points, color: Color) -> None:
        """A polygon of the object, in image and ground truth."""
        self._draw(points, color, marked=True)

    def detail(self, points: Points, color: Color) -> None:
        """A polygon in the image alone: something on the object that is no boundary of it."""
        self._draw(points, color, marked=False)

    def mark(self, points: Points) -> None:
        """A polygon in the ground truth alone: a part of the object that one sees through, as between fence bars."""
        self._draw(points, None, marked=True)

    def shade(self, points: Points, percent: int) -> None:
        """A shadow: what is in the polygon keeps `percent` of its light. The ground truth doesn't change."""
        raster.darken(self.image, self._runs(points), percent)

    def _draw(self, points: Points, color: Color | None, *, marked: bool) -> None:
        runs = self._runs(points)
        if color is not None:
            far = self._haze_percent
            mixed = [
                (c * (100 - far) + h * far) // 100 for c, h in zip(color, self.haze, strict=True)
            ]
            raster.paint(self.image, runs, (mixed[0], mixed[1], mixed[2]))
        if marked:
            raster.assign(self.label, runs, self._ids[0])
            raster.assign(self.instance, runs, self._ids[1])

    def _runs(self, points: Points) -> np.ndarray:
        return raster.spans(np.array(points, np.int64), *self.label.shape)


def between(quad: Points, left: float, right: float, low: float, high: float) -> Points:
    """The part of a quad (bottom left, bottom right, top right, top left) between fractions of its width and height."""
    (u0, v0), (u1, v1), (u2, v2), (u3, v3) = quad

    def at(a: float, b: float) -> tuple[int, int]:
        u = (u0 * (1 - a) + u1 * a) * (1 - b) + (u3 * (1 - a) + u2 * a) * b
        v = (v0 * (1 - a) + v1 * a) * (1 - b) + (v3 * (1 - a) + v2 * a) * b
        return round(u), round(v)

    return [at(left, low), at(right, low), at(right, high), at(left, high)]


def disc(u: float, v: float, ru: float, rv: float | None = None) -> Points:
    """The polygon of an ellipse with half axes ru and rv (rv = ru if it isn't given)."""
    rv = ru if rv is None else rv
    return [(round(u + ru * x / 1024), round(v + rv * y / 1024)) for x, y in CIRCLE]


def ragged(dice: Dice, u: float, v: float, radius: float) -> Points:
    """The polygon of a blob with an uneven outline, as of leaves."""
    reach = [radius * dice.uniform(0.6, 1.15) / 1024 for _ in CIRCLE]
    return [(round(u + r * x), round(v + r * y)) for r, (x, y) in zip(reach, CIRCLE, strict=True)]


@dataclass(frozen=True, slots=True)
class Block:
    """A box that narrows upwards: rectangles (x0, x1, z0, z1) at heights `low` and `high`, metres."""

    base: tuple[float, float, float, float]
    top: tuple[float, float, float, float]
    low: float
    high: float

    def faces(self, camera: Camera) -> dict[str, Points]:
        """The faces that the camera sees: bottom left, bottom right, top right, top left, as seen from outside."""
        (x0, x1, z0, z1), (a0, a1, c0, c1), low, high = self.base, self.top, self.low, self.high
        quads = {
            "top": camera.points((a0, high, c0), (a1, high, c0), (a1, high, c1), (a0, high, c1)),
            "left": camera.points((x0, low, z1), (x0, low, z0), (a0, high, c0), (a0, high, c1)),
            "right": camera.points((x1, low, z0), (x1, low, z1), (a1, high, c1), (a1, high, c0)),
            "near": camera.points((x0, low, z0), (x1, low, z0), (a1, high, c0), (a0, high, c0)),
        }
        return {side: quad for side, quad in quads.items() if _faces_us(quad)}


@dataclass(frozen=True, slots=True)
class Stage:
    """What every object is drawn with. `lit` is the side from which the sun shines: "left" or "right"."""

    dice: Dice
    camera: Camera
    canvas: Canvas
    lit: str

    def block(self, block: Block, color: Color) -> dict[str, Points]:
        """Fill the visible faces of a block, the sunny side lighter, and return them for details."""
        light = {"top": 114, "near": 90, "left": 78, "right": 78, self.lit: 106}
        faces = block.faces(self.camera)
        for side, quad in faces.items():
            self.canvas.fill(quad, scaled(color, light[side]))
        return faces

    def upright(self, x: float, z: float) -> "Cutout":
        """A flat figure that stands at (x, z) and faces us."""
        u, v = self.camera.point(x, 0, z)
        return Cutout(u, v, self.camera.focal / z)


@dataclass(frozen=True, slots=True)
class Cutout:
    """A flat figure: turns metres to the right of and above its foot into canvas points."""

    u: int
    v: int
    scale: float

    def points(self, *corners: tuple[float, float]) -> Points:
        return [
            (round(self.u + x * self.scale), round(self.v - y * self.scale)) for x, y in corners
        ]

    def disc(self, x: float, y: float, rx: float, ry: float | None = None) -> Points:
        ry = rx if ry is None else ry
        return disc(
            self.u + x * self.scale, self.v - y * self.scale, rx * self.scale, ry * self.scale
        )

    def bar(self, start: tuple[float, float], end: tuple[float, float], width: float) -> Points:
        """A straight bar, at least two pixels of the canvas wide, that is rather upright or rather level."""
        (x0, y0), (x1, y1), half = start, end, max(width, 2 / self.scale) / 2
        if abs(x1 - x0) < abs(y1 - y0):
            return self.points((x0 - half, y0), (x0 + half, y0), (x1 + half, y1), (x1 - half, y1))
        return self.points((x0, y0 - half), (x0, y0 + half), (x1, y1 + half), (x1, y1 - half))


def _faces_us(quad: Points) -> bool:
    """Whether the corners run counter-clockwise on the screen, whose v points down."""
    area = sum(
        u0 * v1 - u1 * v0 for (u0, v0), (u1, v1) in zip(quad, quad[1:] + quad[:1], strict=True)
    )
    return area < 0
