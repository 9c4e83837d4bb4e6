"""The world of a scene: a pinhole camera, boxes, flat figures.

World: x to the right, y up from the ground, z forward, in metres. Every machine must project to
the same canvas points, so there is no sine and no power: +, -, *, / and rounding are fixed to the
last bit by IEEE 754.
"""

from collections.abc import Callable
from dataclasses import dataclass

from data.scenes.canvas import Canvas, Points, disc
from data.scenes.choices import Color, SceneRandom, scaled

Actor = tuple[float, Callable[[], None]]  # depth, what draws it


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera that looks along z, on a street that bends by `bend` * z².

    width, height: of the canvas.
    focal: focal length in pixels of the canvas.
    horizon: v of the horizon.
    above: metres over the ground.
    """

    width: int
    height: int
    focal: float
    horizon: float
    above: float
    bend: float

    def point(self, x: float, y: float, z: float) -> tuple[int, int]:
        """The canvas point of a point of the world."""
        scale = self.focal / z
        u = self.width / 2 + (x + self.bend * z * z) * scale
        return round(u), round(self.horizon + (self.above - y) * scale)

    def points(self, *corners: tuple[float, float, float]) -> Points:
        """The canvas polygon of a polygon of the world."""
        return [self.point(*corner) for corner in corners]

    def on_ground(self, x0: float, x1: float, z0: float, z1: float) -> Points:
        """The canvas polygon of a rectangle on the ground."""
        return self.points((x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1))

    def sees(self, quad: Points) -> bool:
        """Whether some of the quad's bounding box lies on the canvas."""
        us, vs = [u for u, _ in quad], [v for _, v in quad]
        return max(us) >= 0 and min(us) < self.width and max(vs) >= 0 and min(vs) < self.height


@dataclass(frozen=True, slots=True)
class Block:
    """A box that narrows upwards: rectangles (x0, x1, z0, z1) at heights `low` and `high`."""

    base: tuple[float, float, float, float]
    top: tuple[float, float, float, float]
    low: float
    high: float

    def faces(self, camera: Camera) -> dict[str, Points]:
        """The faces that the camera sees.

        Each is bottom left, bottom right, top right, top left, as seen from outside.
        """
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
    """What every object is drawn with. `lit`: where the sun shines from, "left" or "right"."""

    rng: SceneRandom
    camera: Camera
    canvas: Canvas
    lit: str

    def block(self, block: Block, color: Color) -> dict[str, Points]:
        """Fill the visible faces of a block, lit by the sun, and return them for details."""
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
    """A flat figure: turns metres to the right of and above its foot into canvas points.

    u, v: of the foot.
    scale: pixels of the canvas per metre.
    """

    u: int
    v: int
    scale: float

    def points(self, *corners: tuple[float, float]) -> Points:
        """The canvas polygon of a polygon of the figure."""
        return [
            (round(self.u + x * self.scale), round(self.v - y * self.scale)) for x, y in corners
        ]

    def disc(self, x: float, y: float, rx: float, ry: float | None = None) -> Points:
        """An ellipse around (x, y) with half axes rx and ry; None: ry = rx."""
        ry = rx if ry is None else ry
        return disc(
            self.u + x * self.scale, self.v - y * self.scale, rx * self.scale, ry * self.scale
        )

    def bar(self, start: tuple[float, float], end: tuple[float, float], width: float) -> Points:
        """A straight bar, at least two pixels of the canvas wide."""
        (x0, y0), (x1, y1) = start, end
        half = max(width, 2 / self.scale) / 2
        # Widened along one axis only, which needs no square root.
        if abs(x1 - x0) < abs(y1 - y0):
            return self.points((x0 - half, y0), (x0 + half, y0), (x1 + half, y1), (x1 - half, y1))
        return self.points((x0, y0 - half), (x0, y0 + half), (x1, y1 + half), (x1, y1 - half))


def _faces_us(quad: Points) -> bool:
    """Whether the corners run counter-clockwise on the screen, whose v points down."""
    following = quad[1:] + quad[:1]
    area = sum(u0 * v1 - u1 * v0 for (u0, v0), (u1, v1) in zip(quad, following, strict=True))
    return area < 0
