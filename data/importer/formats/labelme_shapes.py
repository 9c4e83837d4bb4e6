"""LabelMe's shapes: points of the image, and a PNG for a mask."""

import base64
import binascii
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.image_io.decode import decode
from data.image_io.header import header_of
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

LINES = {"line", "linestrip", "point", "points"}  # that cover no area of their own
POLYGONS = {"polygon", "oriented_rectangle"}
AS_STORED = -1  # cv2.IMREAD_UNCHANGED
MASK = Path("mask")  # its name in messages


@dataclass(frozen=True)
class EncodedMask:
    """A `Shape`: pixels in a PNG, other than 0, whose first is at (top, left)."""

    top: int
    left: int
    png: bytes

    def mask(self, size: Size) -> Mask:
        """The part inside the image."""
        return self._bitmap().mask(size)

    def is_outside(self, size: Size) -> bool:
        """Whether a pixel that is set lies outside the image."""
        return self._bitmap().is_outside(size)

    def _bitmap(self) -> Bitmap:
        pixels = decode(self.png, header_of(io.BytesIO(self.png), MASK), MASK, AS_STORED)
        return Bitmap(self.top, self.left, pixels > 0)


def shape_of(kind: str, shape: dict[str, Any], line_width: int) -> Shape:
    """One of LabelMe's shapes; InputError that says what is wrong with it."""
    points = _points(shape.get("points"))
    count = len(points)
    if kind in POLYGONS or (kind == "rectangle" and count == 4):
        _require(count >= 3, kind, count, "at least 3")
        return Polygons((points,))
    if kind == "rectangle":
        _require(count == 2, kind, count, "2 corners")
        (x0, y0), (x1, y1) = points
        return Polygons((np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]),))
    if kind == "circle":
        _require(count == 2, kind, count, "2, its centre and a point of it")
        radius = float(np.hypot(*(points[1] - points[0])))
        return Ellipse(float(points[0, 0]), float(points[0, 1]), radius, radius)
    if kind in LINES:
        _require(count >= 1, kind, count, "at least 1")
        return Line(points, line_width)
    if kind == "mask":
        return _mask(points, shape.get("mask"))
    raise InputError(
        f"is a {kind[:40]!r}; expected a polygon, rectangle, circle, line, linestrip, point or mask"
    )


def _require(fits: bool, kind: str, count: int, expected: str) -> None:
    if not fits:
        raise InputError(f"a {kind} has {count} points; expected {expected}")


def _points(found: Any) -> np.ndarray:
    """float64 (n, 2) of (x, y)."""
    if not isinstance(found, list) or not all(
        isinstance(point, list) and len(point) == 2 and {*map(type, point)} <= {int, float}
        for point in found
    ):
        raise InputError("its points are no list of [x, y]")
    try:
        points = np.array(found, np.float64).reshape(-1, 2)
    except OverflowError:
        points = np.full((1, 2), np.inf)
    if not (np.abs(points) <= MAX_COORDINATE).all():
        raise InputError("has a coordinate that is no place in an image")
    return points


def _mask(points: np.ndarray, text: Any) -> EncodedMask:
    """A mask at a box, whose corners are its first and last pixel."""
    _require(len(points) == 2, "mask", len(points), "2, its first and its last pixel")
    try:
        png = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InputError(f"its mask is no base64 ({error})") from error
    header = header_of(io.BytesIO(png), MASK)
    left, top = points.min(axis=0).round().astype(int).tolist()
    right, bottom = points.max(axis=0).round().astype(int).tolist()
    if header.kind != "PNG" or header.channels != 1:
        raise InputError(
            f"its mask is a {header.kind} of {header.channels} channels; expected a PNG of one"
        )
    if header.size != (bottom - top + 1, right - left + 1):
        raise InputError(
            f"its mask is {header.width}x{header.height}, and its box "
            f"{right - left + 1}x{bottom - top + 1}; expected one size"
        )
    return EncodedMask(top, left, png)
