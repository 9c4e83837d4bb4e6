"""The shapes of CVAT's XML; see `data.importer.formats.cvat` for the format."""

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from data.errors import InputError
from data.image_io import MAX_PIXELS
from data.importer.shapes import (
    MAX_COORDINATE,
    Bitmap,
    Ellipse,
    Line,
    Mask,
    Polygons,
    Shape,
    Size,
)

LINES = ("polyline", "points")
MAX_DIGITS = 18  # of a number of pixels


@dataclass(frozen=True)
class Runs:
    """A mask as it is stored. A `Shape`; counts: of pixels without and with it, in turn."""

    top: int
    left: int
    size: Size
    counts: np.ndarray

    def mask(self, size: Size) -> Mask:
        """The part inside the image."""
        return self._bitmap().mask(size)

    def is_outside(self, size: Size) -> bool:
        """Whether a pixel that is set lies outside the image."""
        return self._bitmap().is_outside(size)

    def _bitmap(self) -> Bitmap:
        bits = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        return Bitmap(self.top, self.left, bits.reshape(self.size))


def number(element: Element, key: str, where: str, default: str | None = None) -> float:
    """An attribute; InputError if it is missing or no number of pixels. where: for messages."""
    text = element.get(key, default)
    if text is None:
        raise InputError(f"{where}: has no {key}")
    return _coordinate(text, f"{where}: {key}")


def _coordinate(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not abs(value) <= MAX_COORDINATE:  # NaN fails every comparison
        raise InputError(f"{where} is {text[:40]!r}; expected a number of pixels")
    return value


def whole(element: Element, key: str, where: str, low: float = -MAX_COORDINATE) -> int:
    """An attribute that is a whole number, not below `low`; InputError for any other."""
    value = number(element, key, where)
    if value != int(value) or value < low:
        raise InputError(f"{where}: {key} is {value:g}; expected a whole number of pixels")
    return int(value)


def _points(element: Element, where: str) -> np.ndarray:
    """float64 (n, 2) of points="x,y;x,y"."""
    text = element.get("points", "")
    if not text.strip():
        raise InputError(f"{where}: has no points")
    rows = [pair.split(",") for pair in text.strip().rstrip(";").split(";")]
    if odd := next((row for row in rows if len(row) != 2), None):
        raise InputError(f"{where}: {','.join(odd)[:40]!r} is no point; expected x,y;x,y;...")
    flat = [part for row in rows for part in row]
    try:
        points = np.array(list(map(float, flat)))
    except ValueError:
        points = np.array([np.nan])
    if not (np.abs(points) <= MAX_COORDINATE).all():
        points = np.array([_coordinate(part, f"{where}: a point") for part in flat])  # which raises
    return points.reshape(-1, 2)


def _polygon(element: Element, where: str) -> tuple[Shape, ...]:
    return (Polygons((_points(element, where),)),)


def _box(element: Element, where: str) -> tuple[Shape, ...]:
    left, top, right, bottom = (number(element, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
    angle = np.deg2rad(number(element, "rotation", where, "0"))
    ring = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    if angle:
        cos, sin = np.cos(angle), np.sin(angle)
        centre = ring.mean(axis=0)
        ring = (ring - centre) @ np.array([(cos, sin), (-sin, cos)]) + centre
    return (Polygons((ring,)),)


def _ellipse(element: Element, where: str) -> tuple[Shape, ...]:
    x, y, radius_x, radius_y = (number(element, key, where) for key in ("cx", "cy", "rx", "ry"))
    return (Ellipse(x, y, radius_x, radius_y, number(element, "rotation", where, "0")),)


def _mask(element: Element, where: str) -> tuple[Shape, ...]:
    left, top = (whole(element, key, where) for key in ("left", "top"))
    width, height = (whole(element, key, where, 1) for key in ("width", "height"))
    if width * height > MAX_PIXELS:
        raise InputError(f"{where}: its box is {width}x{height}, larger than any image")
    texts = [text.strip() for text in element.get("rle", "").split(",")]
    if not all(text.isdecimal() and len(text) <= MAX_DIGITS for text in texts):
        raise InputError(f"{where}: its rle is no list of whole numbers of pixels")
    counts = [int(text) for text in texts]
    if sum(counts) != width * height:
        raise InputError(
            f"{where}: its rle has {sum(counts)} pixels, but its box {width}x{height} has "
            f"{width * height}"
        )
    return (Runs(top, left, (height, width), np.array(counts, np.int64)),)


SHAPES: dict[str, Callable[[Element, str], tuple[Shape, ...]]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}


def lines(element: Element, where: str, width: int) -> tuple[Shape, ...]:
    """A <polyline>, or each point of <points>, `width` pixels wide."""
    points = _points(element, where)
    if element.tag == "polyline":
        return (Line(points, width),)
    return tuple(Line(point[None], width) for point in points)
