"""Label Studio: an export as JSON or JSON_MIN.

    [{"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-photo.jpg"},
      "annotations": [{"was_cancelled": false, "updated_at": "2024-...", "result": [
         {"type": "polygonlabels", "original_width": 640, "original_height": 480,
          "image_rotation": 0, "value": {"points": [[x, y], ...], "polygonlabels": ["car"]}}]}]}]

What a region's value has: points; x, y, width, height, rotation (rectangle, about its upper left
corner); x, y, radiusX, radiusY, rotation (ellipse, about its centre); format "rle" and rle (brush:
`data.importer.formats.labelstudio_brush`); vertices, closed (vector); x, y, width (key point).
Coordinates are percent of the image's size as it was shown, turned clockwise by image_rotation.
Later regions are above.

JSON_MIN has the regions' values, and the data, as plain fields of a task.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from data.errors import InputError, one_line
from data.files import read_json
from data.folder import shown_size
from data.image_io import read_header
from data.importer.annotations import (
    Annotations,
    Entry,
    FoundClass,
    ReaderOptions,
    Refusal,
)
from data.importer.formats.labelstudio_regions import (
    Region,
    is_curved,
    is_drawn,
    kind_of,
    labels_of,
    shape_of,
    why_not_drawn,
)
from data.importer.images import FoundImage, ImageIndex, split_address
from data.importer.labels import LabelTable
from data.importer.shapes import DrawnObject, ShapeDrawer
from data.names import IMAGE_ENDINGS

UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the names of uploads
TURNS = (0, 90, 180, 270)


@dataclass
class _Task:
    """A task with its one annotation. source: what `data` has for the image."""

    source: str
    regions: list[Region]
    text: str


@dataclass
class _Export:
    tasks: list[_Task] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def read(source: Path, options: ReaderOptions) -> Annotations:
    """Parse an export; InputError that names the task and the region that is wrong."""
    source = Path(source)
    export = _parse(read_json(source, "JSON export"), source)
    drawn = [r for task in export.tasks for r in task.regions if is_drawn(r, options.line_width)]
    names = sorted({region.label for region in drawn})
    labels = LabelTable(map(FoundClass, names), options, str(source))
    index = ImageIndex(options.images, skip=options.out)
    entries, missing = [], []
    for task in export.tasks:
        found = _find(index, task.source)
        if found is None:
            missing.append(task.source)
            continue
        entries.append(_entry(task, found, labels, options.line_width, export.notes))
    counts = [f"{count} {what}" for what, count in export.notes.items() if count]
    return Annotations(
        labels.classes, entries, upright=True, notes=[*labels.notes(), *counts], missing=missing
    )


def _parse(found: Any, source: Path) -> _Export:
    tasks = found if isinstance(found, list) else [found]
    if not tasks or not all(isinstance(task, dict) for task in tasks):
        raise InputError(
            f"{source}: expected a list of tasks; export the project from Label Studio as JSON"
        )
    export = _Export()
    if any(isinstance(task.get("annotations", task.get("completions")), list) for task in tasks):
        for number, task in enumerate(tasks):
            _add_task(export, task, f"{source}: task {task.get('id', number)}")
    elif any(_min_regions(task) for task in tasks):
        _add_minimal(export, tasks, source)
    else:
        raise InputError(
            f"{source}: has neither tasks with annotations nor regions; export the project from "
            "Label Studio as JSON or JSON_MIN"
        )
    if not export.tasks:
        raise InputError(f"{source}: none of its {len(tasks)} tasks has an annotation")
    return export


def _add_task(export: _Export, task: Mapping[str, Any], where: str) -> None:
    """The newest annotation of a task that was not cancelled."""
    annotations = task.get("annotations", task.get("completions")) or []
    data = task.get("data")
    if not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        raise InputError(f'{where}: "annotations" is no list of objects')
    if not isinstance(data, dict):
        raise InputError(f'{where}: has no "data"; expected {{"image": ...}}')
    predictions = task.get("predictions")
    export.notes["predictions: not taken"] += (
        len(predictions) if isinstance(predictions, list) else 0
    )
    valid = [a for a in annotations if not a.get("was_cancelled")]
    export.notes["cancelled annotations: not taken"] += len(annotations) - len(valid)
    if not valid:
        export.notes["tasks without an annotation: not taken"] += 1
        return
    export.notes["annotations of tasks with a newer one: not taken"] += len(valid) - 1
    newest = max(valid, key=_age)
    results = newest.get("result")
    if not isinstance(results, list) or not all(isinstance(r, dict) for r in results):
        raise InputError(f'{where}: "result" of its annotation is no list of regions')
    named = {str(r.get("id")) for r in results if labels_of(r.get("value"), str(r.get("type")))}
    regions = []
    for number, result in enumerate(results):
        if _is_alone(result, named, export.notes):
            place = f"{where}: region {result.get('id', number)}"
            regions.append(_region(result, result["value"], str(result.get("type")), place, export))
    source = _image_of(data, where)
    export.tasks.append(_Task(source, _with_labels(regions, export), json.dumps(results)))


def _age(annotation: Mapping[str, Any]) -> tuple[str, str]:
    """What is the larger the newer; times are ISO 8601, in one time zone."""
    return str(annotation.get("updated_at") or ""), str(annotation.get("created_at") or "")


def _is_alone(result: Mapping[str, Any], named: set[str], notes: Counter[str]) -> bool:
    """Whether a result is a region, and not that of another result again, without its label."""
    value, kind = result.get("value"), str(result.get("type"))
    if not isinstance(value, dict) or kind_of(value) is None:
        notes[f"results of type {kind[:40]!r}: not taken"] += 1
        return False
    return bool(labels_of(value, kind)) or str(result.get("id")) not in named


def _add_minimal(export: _Export, tasks: list[dict[str, Any]], source: Path) -> None:
    """JSON_MIN: each annotation is a task, so the newest of each image is taken."""
    newest: dict[str, dict[str, Any]] = {}
    for number, task in enumerate(tasks):
        image = _image_of(task, f"{source}: task {task.get('id', number)}")
        if image in newest:
            export.notes["annotations of tasks with a newer one: not taken"] += 1
        if image not in newest or _age(task) >= _age(newest[image]):
            newest[image] = task
    for image, task in newest.items():
        where = f"{source}: task {task.get('id', image)}"
        values = _min_regions(task)
        regions = [
            _region(value, value, "", f"{where}: region {number}", export)
            for number, value in enumerate(values)
        ]
        export.tasks.append(_Task(image, _with_labels(regions, export), json.dumps(values)))


def _min_regions(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of the regions of a task of JSON_MIN, whatever their fields are called."""
    lists = [found for found in task.values() if isinstance(found, list)]
    values = [value for found in lists for value in found if isinstance(value, dict)]
    return [value for value in values if kind_of(value)]


def _region(
    sizes: Mapping[str, Any], value: Mapping[str, Any], kind: str, where: str, export: _Export
) -> Region:
    labels = labels_of(value, kind)
    if len(labels) > 1:
        export.notes["regions with several labels, of which the first is taken"] += 1
    turn = sizes.get("image_rotation") or 0
    if turn not in TURNS:
        raise InputError(f"{where}: image_rotation is {str(turn)[:40]}; expected one of {TURNS}")
    width, height = (sizes.get(f"original_{side}") for side in ("width", "height"))
    size = None
    if width is not None and height is not None:
        if not all(type(side) in (int, float) and side >= 1 for side in (width, height)):
            raise InputError(f"{where}: the image's size is {str(width)[:20]} x {str(height)[:20]}")
        size = (int(height), int(width))
    return Region(kind_of(value) or "", labels[0] if labels else "", value, size, int(turn), where)


def _with_labels(regions: list[Region], export: _Export) -> list[Region]:
    kept = [region for region in regions if region.label]
    export.notes["regions without a label: not taken"] += len(regions) - len(kept)
    return kept


def _image_of(data: Mapping[str, Any], where: str) -> str:
    """The field of the image: "image", or the only one that looks like one."""
    texts = {key: text for key, text in data.items() if isinstance(text, str)}
    likely = [key for key, text in texts.items() if _looks_like_image(text)]
    if "image" not in texts and len(likely) != 1:
        raise InputError(
            f"{where}: has {len(likely)} fields that name an image ({', '.join(likely)}); expected "
            'one, or one that is called "image"'
        )
    found = texts["image"] if "image" in texts else texts[likely[0]]
    if found.startswith("data:"):
        raise InputError(f"{where}: holds the image itself; expected its name or address")
    return found


def _looks_like_image(text: str) -> bool:
    return any(name.lower().endswith(IMAGE_ENDINGS) for name in _names(text))


def _names(source: str) -> Iterator[str]:
    """The names that an address may mean: the file that it asks a server for, or its path."""
    parts = split_address(source)
    query = parse_qs(parts.query)
    yield from query.get("d", [])  # /data/local-files/?d=folder/photo.jpg
    for coded in query.get("fileuri", []):  # /tasks/1/resolve/?fileuri=..., of cloud storage
        try:
            text = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
        except ValueError:  # no base64, or no text
            continue
        yield unquote(split_address(text).path)
    yield source
    yield unquote(parts.path)


def _find(index: ImageIndex, source: str) -> FoundImage | None:
    """The image of a task; one that was uploaded also without what was put before its name."""
    names = [name for name in _names(source) if name]
    for name in names:
        if found := index.find(name):
            return found
    for name in names:
        folder, slash, base = name.rpartition("/")
        if UPLOAD.match(base) and (found := index.find(folder + slash + UPLOAD.sub("", base, 1))):
            return found
    return None


def _entry(
    task: _Task, found: FoundImage, labels: LabelTable, line_width: int, notes: Counter[str]
) -> Entry:
    sizes = {region.size for region in task.regions if region.size}
    if len(sizes) > 1:
        raise InputError(
            f"{task.regions[0].where}: its task has regions of images of {len(sizes)} sizes; "
            "expected one"
        )
    try:
        size = next(iter(sizes)) if sizes else shown_size(read_header(found.path), upright=True)
    except (InputError, OSError) as error:  # the image is broken, which is its failure alone
        return Entry(found.name, found.path, Refusal(one_line(error)))
    notes["images that were turned in Label Studio: look at them in python -m data.inspect"] += any(
        region.turn for region in task.regions
    )
    notes["images without a region that is drawn: all of them is background"] += not task.regions
    drawn = []
    for number, region in enumerate(task.regions, 1):
        if not is_drawn(region, line_width):
            notes[f"regions of type {region.kind!r}: not drawn ({why_not_drawn(region)})"] += 1
        elif (label := labels.id_of(region.label)) is not None:
            notes["vectors whose curves are drawn as straight lines"] += is_curved(region)
            shape = shape_of(region, size, line_width)
            drawn.append(DrawnObject(label, shape, number))
    parts = (task.text, [(entry.label, entry.instance) for entry in drawn], line_width)
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    stated = size if sizes else None
    return Entry(found.name, found.path, ShapeDrawer(drawn), digest=digest, size=stated)
