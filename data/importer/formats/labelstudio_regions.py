"""The regions of Label Studio; see `data.importer.formats.labelstudio` for the format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.errors import InputError
from data.importer.formats.labelstudio_brush import CHANNELS, Brush, count_words
from data.importer.shapes import Ellipse, Line, Polygons, Shape, Size

MAX_PERCENT = 1000.0  # beyond this nothing is a place near an image


@dataclass(frozen=True)
class Region:
    """A region.

    Args:
        kind: what it is, see `kind_of`.
        label: "" if it has none.
        value: its coordinates, as the export has them.
        size: (H, W) of the image, not turned, if the export says it.
        turn: degrees that the image was turned by, clockwise.
        where: its place in the export, for messages.
    """

    kind: str
    label: str
    value: Mapping[str, Any]
    size: Size | None
    turn: int
    where: str


def labels_of(value: Any, kind: str) -> list[str]:
    """The labels of a region's value, which stand below the name of its type."""
    if not isinstance(value, dict):
        return []
    # Not "choices" of a region, which stand beside its coordinates, too.
    keys = [key for key in (kind, *value) if key.endswith("labels")]
    found = next((value[key] for key in keys if isinstance(value.get(key), list)), [])
    return [label for label in found if isinstance(label, str) and label.strip()]


def kind_of(value: Mapping[str, Any]) -> str | None:
    """What a region is, by the fields of its value; None if it is none."""
    fields = {
        "brush": "rle",
        "vector": "vertices",
        "polygon": "points",
        "ellipse": "radiusX",
        "rectangle": "height",
        "keypoint": "x",
    }
    return next((kind for kind, key in fields.items() if key in value), None)


def is_drawn(region: Region, line_width: int) -> bool:
    """Whether it covers pixels, or is drawn as a line."""
    if region.kind == "brush":
        return not region.turn
    open_vector = region.kind == "vector" and not region.value.get("closed")
    return bool(line_width) or not (region.kind == "keypoint" or open_vector)


def is_curved(region: Region) -> bool:
    """Whether it is a vector with curves, which are drawn as straight lines."""
    vertices = region.value.get("vertices")
    rows = vertices if isinstance(vertices, list) else []
    return any(isinstance(vertex, dict) and vertex.get("isBezier") for vertex in rows)


def why_not_drawn(region: Region) -> str:
    """For a region that is not."""
    return "on a turned image" if region.kind == "brush" else "without --line-width"


def shape_of(region: Region, size: Size, line_width: int) -> Shape:
    """The region in pixels of the image of (H, W), as it is without being turned.

    InputError that names the region for what is no coordinate.
    """
    value, where, turn = region.value, region.where, region.turn
    shown = size if turn % 180 == 0 else (size[1], size[0])
    if region.kind == "brush":
        return _brush(value, size, where)
    if region.kind == "polygon":
        return Polygons((_turned(_points(value["points"], shown, where), turn, size),))
    if region.kind == "vector":
        vertices = value["vertices"]
        if not isinstance(vertices, list) or not all(isinstance(v, dict) for v in vertices):
            raise InputError(f'{where}: "vertices" is no list of objects')
        corners = [_corner(vertex) for vertex in vertices]
        points = _turned(_points(corners, shown, where), turn, size)
        return Polygons((points,)) if value.get("closed") else Line(points, line_width)
    if region.kind == "keypoint":
        return Line(_turned(_points([_corner(value)], shown, where), turn, size), line_width)
    corner = _points([_corner(value)], shown, where)
    angle = _percent(value.get("rotation") or 0, f"{where}: rotation")
    if region.kind == "ellipse":
        radii = _points([[value["radiusX"], value.get("radiusY")]], shown, where)[0]
        x, y = _turned(corner, turn, size)[0]
        return Ellipse(float(x), float(y), float(radii[0]), float(radii[1]), angle - turn)
    width, height = _points([[value.get("width"), value["height"]]], shown, where)[0]
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    sides = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    ring = corner + sides @ np.array([(cos, sin), (-sin, cos)])
    return Polygons((_turned(ring, turn, size),))


def _brush(value: Mapping[str, Any], size: Size, where: str) -> Brush:
    numbers = value["rle"]
    if value.get("format", "rle") != "rle" or not isinstance(numbers, list):
        raise InputError(f'{where}: is a brush mask without format "rle"; export it again')
    try:
        packed = bytes(numbers)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: its rle has what is no byte, 0 to 255") from error
    words, expected = count_words(packed), size[0] * size[1] * CHANNELS
    if words != expected:
        raise InputError(
            f"{where}: its rle has {words:,} numbers, but its image of {size[1]}x{size[0]} has "
            f"{expected:,} ({CHANNELS} for each pixel)"
        )
    return Brush(packed, size, where)


def _corner(value: Mapping[str, Any]) -> list[Any]:
    return [value.get("x"), value.get("y")]


def _points(found: Any, size: Size, where: str) -> np.ndarray:
    """float64 (n, 2) of (x, y) in pixels, from percent of the size (H, W)."""
    if not isinstance(found, list) or not found:
        raise InputError(f"{where}: has no points")
    if odd := [row for row in found if not isinstance(row, list) or len(row) != 2]:
        raise InputError(f"{where}: {str(odd[0])[:40]} is no point; expected [x, y]")
    rows = [[_percent(number, f"{where}: a coordinate") for number in row] for row in found]
    return np.array(rows) * (size[1] / 100, size[0] / 100)


def _percent(found: Any, where: str) -> float:
    if type(found) not in (int, float) or not abs(found) <= MAX_PERCENT:
        raise InputError(f"{where} is {str(found)[:40]!r}; expected a number, percent or degrees")
    return float(found)


def _turned(points: np.ndarray, turn: int, size: Size) -> np.ndarray:
    """(x, y) on an image that was turned clockwise, on the image of (H, W) as it was before."""
    height, width = size
    x, y = points.T
    if turn == 90:
        x, y = y, height - x
    elif turn == 180:
        x, y = width - x, height - y
    elif turn == 270:
        x, y = width - y, x
    return np.stack([x, y], axis=1)
