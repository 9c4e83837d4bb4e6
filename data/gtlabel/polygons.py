"""Cityscapes' polygons as maps of ids, drawn by cityscapesscripts."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from data.cityscapes import LABELS
from data.errors import InputError
from data.files import parse_json, read_text, reading

MAX_SIDE = 1 << 16  # of an image, in pixels
MAX_COORDINATE = 1 << 20  # beyond this Pillow's drawing overflows
MAX_POINTS = 1 << 20  # of all polygons of a frame; the published ones have some thousands
MAX_INSTANCES = 1000  # of a class: an instance's id is the label's, times 1000, plus its number
NAMES = {*(label.name for label in LABELS), "license plate"}  # the last one is never drawn


def draw_polygons(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(label ids uint8 (H, W), instance ids int32 (H, W)) of a *_polygons.json."""
    try:
        from cityscapesscripts.helpers.annotation import Annotation
        from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
        from cityscapesscripts.preparation.json2labelImg import createLabelImage
    except ImportError as error:
        raise InputError(
            f"{path}: drawing polygons needs cityscapesscripts: pip install cityscapesscripts"
        ) from error
    text = read_text(path, "file of polygons")
    if fault := _fault_of(parse_json(text, str(path))):
        raise InputError(f"{path}: cannot be read as polygons of Cityscapes ({fault}); replace it")
    annotation = Annotation()
    with reading(path):
        annotation.fromJsonText(text)
        ids = np.array(createLabelImage(annotation, "ids"))
        numbers = np.array(createInstanceImage(annotation, "ids"), np.int32)
    return ids, numbers


def _fault_of(frame: Any) -> str | None:
    """What is wrong with a frame's JSON, of all that cityscapesscripts reads; None: nothing.

    It would end the process at a label that it does not know, and print what it cannot draw.
    """
    if not isinstance(frame, dict):
        return "expected an object with imgHeight, imgWidth and objects"
    for side in ("imgHeight", "imgWidth"):
        if type(frame.get(side)) is not int or not 1 <= frame[side] <= MAX_SIDE:
            return f"{side} is {str(frame.get(side))[:20]}; expected 1 to {MAX_SIDE}"
    objects = frame.get("objects")
    if not isinstance(objects, list):
        return "expected a list of objects"
    for number, drawn in enumerate(objects):
        fields = drawn if isinstance(drawn, dict) else {}
        if fault := _fault_of_object(fields):
            return f"object {number}: {fault}"
    if (points := sum(len(drawn["polygon"]) for drawn in objects)) > MAX_POINTS:
        return f"found {points} points; expected at most {MAX_POINTS}"
    instances = Counter(drawn["label"] for drawn in objects)
    counted = [label.name for label in LABELS if label.has_instances]
    if many := [name for name in counted if instances[name] > MAX_INSTANCES]:
        return f"found {instances[many[0]]} of {many[0]}; expected at most {MAX_INSTANCES}"
    return None


def _fault_of_object(fields: dict[str, Any]) -> str | None:
    label, polygon = fields.get("label"), fields.get("polygon")
    if not isinstance(label, str):
        return "its label is no text"
    known = label in NAMES or label.removesuffix("group") in NAMES
    if not known and not fields.get("deleted"):
        return f"its label {label[:40]!r} is not in Cityscapes' table"
    if not isinstance(polygon, list) or not all(map(_is_point, polygon)):
        return "its polygon is no list of points [x, y]"
    if len(polygon) < 2:
        return f"its polygon has {len(polygon)} points; expected 2 or more"
    return None


def _is_point(point: Any) -> bool:
    return (
        isinstance(point, list)
        and len(point) >= 2
        and all(type(x) in (int, float) and abs(x) <= MAX_COORDINATE for x in point[:2])
    )
