"""COCO's JSON files: instances here, panoptic segments in `coco_panoptic`.

    {"images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
     "categories": [{"id": 18, "name": "dog"}],
     "annotations": [{"id": 7, "image_id": 1, "category_id": 18, "iscrowd": 0,
                      "segmentation": [[x, y, x, y, ...], ...]}]}

A segmentation is a list of polygons, whose union is one object, or run lengths (`coco_rle`).
Crowds are drawn first, below all others, each as one region. The others are drawn in their order
in the file, a later one over an earlier one: COCO itself has no order, and its objects hardly
overlap. Images without annotations have empty labels. https://cocodataset.org/#format-data
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.importer.annotations import Annotations, Entry, ReaderOptions, Refusal
from data.importer.formats.coco_file import CocoFile, CocoImage, Row, read_coco
from data.importer.formats.coco_panoptic import read_panoptic
from data.importer.formats.coco_rle import RunLengths, run_lengths
from data.importer.images import FoundImage, ImageIndex
from data.importer.labels import LabelTable, counted
from data.importer.shapes import MAX_COORDINATE, DrawnObject, Polygons, ShapeDrawer, Size

MIN_POINTS = 3
NUMBERS = {int, float}


def read(source: Path, options: ReaderOptions) -> Annotations:
    """Read a file of instances, or of panoptic segments.

    An annotation that cannot be drawn makes its image fail; ids that nothing explains, or that
    occur twice, are an InputError.
    """
    file = read_coco(source)
    index = ImageIndex(options.images, skip=options.out)
    if any("segments_info" in row for row in file.annotations):
        return read_panoptic(file, index, options)
    table = LabelTable(file.labels, options, str(source))
    rows = _by_image(file)
    undrawn: Counter[str] = Counter()
    entries: list[Entry] = []
    missing: list[str] = []
    for image in file.images.values():
        found = index.find(image.file_name)
        if found is None:
            missing.append(image.file_name)
        else:
            entries.append(_entry(file, image, found, rows.pop(image.id, []), table, undrawn))
    notes = table.notes()
    if undrawn:
        notes.append(f"annotations with a box and no outline, not drawn: {counted(undrawn)}")
    return Annotations(table.classes, entries, notes=notes, missing=missing)


def _by_image(file: CocoFile) -> dict[int | str, list[Row]]:
    """The annotations of each image, in one walk through the file."""
    rows: dict[int | str, list[Row]] = {}
    seen: set[int | str] = set()
    for number, row in enumerate(file.annotations, start=1):
        key = row.get("id")
        if not isinstance(key, int | str):
            raise InputError(f'{file.path}: annotation {number} of the list has no "id"')
        where = f"{file.path}: annotation {key}"
        if key in seen:
            raise InputError(f"{where}: two annotations have this id; expected one")
        seen.add(key)
        image = row.get("image_id")
        if not isinstance(image, int | str) or image not in file.images:
            raise InputError(f"{where}: its image_id {str(image)[:40]} is that of no image")
        category = row.get("category_id")
        if not isinstance(category, int) or category not in file.categories:
            raise InputError(
                f"{where}: its category_id {str(category)[:40]} is that of no category"
            )
        rows.setdefault(image, []).append(row)
    return rows


def _entry(
    file: CocoFile,
    image: CocoImage,
    found: FoundImage,
    rows: Iterable[Row],
    table: LabelTable,
    undrawn: Counter[str],
) -> Entry:
    """An image with its objects. undrawn: counts the labels of annotations without an outline."""
    objects: list[DrawnObject] = []
    digest = hashlib.blake2b(digest_size=16)
    size = image.size
    # Sorting keeps the order of those that are equal.
    for row in sorted(rows, key=lambda row: not row.get("iscrowd")):
        name = file.categories[row["category_id"]].name
        if not row.get("segmentation"):
            undrawn[name] += 1
            continue
        label = table.id_of(name)
        if label is None:
            continue
        try:
            shape = _shape(row["segmentation"])
            size = _one_size(shape, size)
        except InputError as error:
            reason = f"{file.path}: annotation {row['id']}: {error}"
            return Entry(found.name, found.path, Refusal(reason), digest=reason, size=image.size)
        objects.append(DrawnObject(label, shape, len(objects) + 1))
        digest.update(f"{label} {_kind(shape)}".encode())
        for part in shape.rings if isinstance(shape, Polygons) else (shape.counts,):
            digest.update(len(part).to_bytes(8, "little") + part.tobytes())
    drawer = ShapeDrawer(objects)
    return Entry(found.name, found.path, drawer, digest=digest.hexdigest(), size=size)


def _one_size(shape: Polygons | RunLengths, size: Size | None) -> Size | None:
    """The image's size (H, W), which run lengths state, too; InputError if they differ."""
    if not isinstance(shape, RunLengths):
        return size
    if size and shape.size != size:
        raise InputError(
            f"its RLE is {shape.size[1]}x{shape.size[0]}, and its image, by the file or by another "
            f"RLE, {size[1]}x{size[0]}; expected one size"
        )
    return shape.size


def _kind(shape: Polygons | RunLengths) -> str:
    return f"RLE {shape.size}" if isinstance(shape, RunLengths) else "polygons"


def _shape(segmentation: Any) -> Polygons | RunLengths:
    if isinstance(segmentation, dict):
        return run_lengths(segmentation)
    if not isinstance(segmentation, list) or not all(isinstance(r, list) for r in segmentation):
        raise InputError("its segmentation is neither a list of polygons nor an RLE")
    return Polygons(tuple(_ring(numbers) for numbers in segmentation))


def _ring(numbers: list[Any]) -> np.ndarray:
    """float64 (n, 2) from x, y, x, y, ..."""
    if not set(map(type, numbers)) <= NUMBERS:
        raise InputError("a polygon of it has something that is no number")
    if len(numbers) % 2:
        raise InputError(
            f"a polygon of it has {len(numbers)} coordinates; expected an even number, x and y in "
            "turn"
        )
    if len(numbers) < 2 * MIN_POINTS:
        raise InputError(
            f"a polygon of it has {len(numbers) // 2} points; expected at least {MIN_POINTS}"
        )
    try:
        points = np.array(numbers, np.float64).reshape(-1, 2)
    except OverflowError:
        points = np.full((1, 2), np.inf)
    if not (np.abs(points) <= MAX_COORDINATE).all():  # NaN fails every comparison
        raise InputError("a polygon of it has a coordinate that is no place in an image")
    return points
