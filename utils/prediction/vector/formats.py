"""Polylines of an image as a text file: GeoJSON, SVG, LabelMe.

In all of them, coordinates are pixels of the image: x to the right, y down, (0, 0) its corner, so
that the centre of the first pixel is (0.5, 0.5).
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from utils.model_info import ModelInfo
from utils.prediction.vector.polylines import Polyline

COORDINATES = (
    "pixels, not degrees: x to the right, y down from the image's top left corner; the centre of "
    "the first pixel is [0.5, 0.5]"
)
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LABELME_VERSION = "5.4.1"  # whose fields these are


@dataclass(frozen=True)
class Sheet:
    """What a file is made of.

    Args:
        lines: class by class.
        info: names and colours of the classes.
        size: (H, W) of the image.
        image: the path of the image, relative to the file's folder, with slashes.
        line_width: pixels, for the formats that say it.
    """

    lines: Sequence[Polyline]
    info: ModelInfo
    size: tuple[int, int]
    image: str
    line_width: int = 1

    def name(self, class_id: int) -> str:
        """The class's name, or one with its number where it is empty."""
        return self.info.classes[class_id].strip() or f"class {class_id + 1}"

    def color(self, class_id: int) -> str:
        """The class's colour: "#804080"."""
        red, green, blue = self.info.palette[class_id].tolist()
        return f"#{red:02x}{green:02x}{blue:02x}"


def geojson(sheet: Sheet) -> str:
    """RFC 7946: a Feature for each line, a LineString, or a Point for an isolated pixel.

    GeoJSON means degrees of longitude and latitude, so the member "image" says what these are.
    """
    height, width = sheet.size
    image = {"path": sheet.image, "width": width, "height": height, "coordinates": COORDINATES}
    features = [json.dumps(_feature(line, sheet)) for line in sheet.lines]
    return (
        f'{{"type": "FeatureCollection",\n"image": {json.dumps(image)},\n"features": ['
        + ",".join(f"\n{feature}" for feature in features)
        + "\n]}\n"
    )


def _feature(line: Polyline, sheet: Sheet) -> dict[str, object]:
    points = line.points.tolist()
    alone = len(points) == 1
    return {
        "type": "Feature",
        "properties": {
            "class": line.class_id,
            "name": sheet.name(line.class_id),
            "color": sheet.color(line.class_id),
            "score": _rounded(line.score),
            "closed": line.closed,
        },
        "geometry": {
            "type": "Point" if alone else "LineString",
            "coordinates": points[0] if alone else points,
        },
    }


def svg(sheet: Sheet) -> str:
    """SVG 1.1: a group for each class with its lines; loops are polygons without a filling."""
    height, width = sheet.size
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">',
        f'<g fill="none" stroke-width="{sheet.line_width}" stroke-linecap="round" '
        'stroke-linejoin="round">',
    ]
    for class_id, lines in groupby(sheet.lines, key=lambda line: line.class_id):
        name = NO_XML.sub("\ufffd", sheet.name(class_id))
        text.append(
            f'<g id="class-{class_id}" data-class="{class_id}" data-name={quoteattr(name)} '
            f'stroke="{sheet.color(class_id)}"><title>{escape(name)}</title>'
        )
        text += [_element(line) for line in lines]
        text.append("</g>")
    return "\n".join((*text, "</g>", "</svg>\n"))


def _element(line: Polyline) -> str:
    """A line of one point has no length; the round ends make it a dot."""
    points = line.points[:-1] if line.closed else line.points
    points = points.repeat(2, axis=0) if len(points) == 1 else points
    shape = "polygon" if line.closed else "polyline"
    score = "" if line.score is None else f' data-score="{_rounded(line.score)}"'
    return f'<{shape} points="{" ".join(f"{x},{y}" for x, y in points.tolist())}"{score}/>'


def labelme(sheet: Sheet) -> str:
    """LabelMe 5: a linestrip for each line, a point for an isolated pixel."""
    shapes = [
        {
            "label": sheet.name(line.class_id),
            "points": line.points.tolist(),
            "group_id": None,
            "shape_type": "point" if len(line.points) == 1 else "linestrip",
            "flags": {},
        }
        for line in sheet.lines
    ]
    rows = ",".join(f"\n{json.dumps(shape)}" for shape in shapes)
    rest = {
        "imagePath": sheet.image,
        "imageData": None,
        "imageHeight": sheet.size[0],
        "imageWidth": sheet.size[1],
    }
    return (
        f'{{"version": "{LABELME_VERSION}",\n"flags": {{}},\n"shapes": [{rows}\n],\n'
        f"{json.dumps(rest)[1:]}\n"
    )


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


class Format(NamedTuple):
    """A kind of file: its ending, and what makes the text of one."""

    ending: str
    text: Callable[[Sheet], str]


FORMATS = {
    "geojson": Format(".geojson", geojson),
    "svg": Format(".svg", svg),
    "labelme": Format(".json", labelme),
}
