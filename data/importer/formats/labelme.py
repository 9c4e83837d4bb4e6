"""LabelMe's JSON files, one an image, of versions 3 to 5; SOURCE is searched for them.

    {"version": "5.4.1", "flags": {}, "imagePath": "a.jpg", "imageData": null,
     "imageHeight": 480, "imageWidth": 640,
     "shapes": [{"label": "dog", "points": [[x, y], ...], "group_id": null,
                 "shape_type": "polygon", "flags": {}}]}

Shapes are drawn in their order, a later one over an earlier one. Those of one label and one
group_id are one object. Labels that LabelMe's own converters know: `__ignore__` is ignored,
`_background_` is none. LabelMe turns images as their EXIF data say before it shows them.
https://github.com/wkentaro/labelme
"""

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError, one_line
from data.files import read_json, resolved
from data.importer.annotations import (
    NONE_ID,
    Annotations,
    Entry,
    FoundClass,
    ReaderOptions,
    Refusal,
)
from data.importer.formats.labelme_shapes import LINES, shape_of
from data.importer.images import FoundImage, ImageIndex
from data.importer.labels import LabelTable, counted, label_name
from data.importer.shapes import DrawnObject, ShapeDrawer
from data.names import IMAGE_ENDINGS, composed, walk_files

IGNORE = "__ignore__"
BACKGROUND = "_background_"


@dataclass(frozen=True)
class Sheet:
    """A file of annotations. inner: its path below SOURCE. size: (H, W), None: it says none."""

    path: Path
    inner: Path
    image_path: str
    shapes: list[dict[str, Any]]
    size: tuple[int, int] | None
    has_image: bool
    flags: tuple[str, ...]


@dataclass(frozen=True)
class EmbeddedImage:
    """Returns the bytes of the image in a file's imageData."""

    path: Path

    def __call__(self) -> bytes:
        """Decode it; InputError if it is damaged."""
        found = read_json(self.path)["imageData"]
        try:
            return base64.b64decode(found, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise InputError(f"{self.path}: its imageData is damaged ({error})") from error


def read(source: Path, options: ReaderOptions) -> Annotations:
    """Read all files below SOURCE; one that is wrong makes its image fail, not the others."""
    index = ImageIndex(options.images, skip=options.out, required=False)
    sheets, others, failed = _sheets(source, options.out)
    table = _label_table(sheets, source, options)
    entries: list[Entry] = []
    missing: list[str] = []
    undrawn: Counter[str] = Counter()
    for sheet in sheets:
        found = _image_of(sheet, index)
        if found is not None or sheet.has_image:
            entries.append(_entry(sheet, found, table, options.line_width, undrawn))
        else:
            missing.append(f"{sheet.image_path} of {sheet.path}")
    notes = [*table.notes()]
    if undrawn:
        notes.append(f"shapes not drawn, as there is no --line-width: {counted(undrawn)}")
    if flags := Counter(flag for sheet in sheets for flag in sheet.flags):
        notes.append(f"flags of images, which are no labels of pixels: {counted(flags)}")
    if others:
        notes.append(f"JSON files below {source} that are none of LabelMe's: {len(others)}, such "
                     f"as {others[0]}")  # fmt: skip
    return Annotations(
        table.classes, entries, upright=True, notes=notes, missing=missing, failed=failed
    )


def _sheets(
    source: Path, out: Path | None
) -> tuple[list[Sheet], list[Path], list[tuple[str, str]]]:
    """LabelMe's files below SOURCE, other JSON files, and (file, reason) of wrong ones."""
    if not source.is_dir():
        raise InputError(f"{source}: expected the folder of LabelMe's JSON files")
    left_out = resolved(out) if out else None
    files = walk_files(source, (".json",), skip=lambda inner: resolved(inner) == left_out)
    sheets: list[Sheet] = []
    others: list[Path] = []
    failed: list[tuple[str, str]] = []
    for path in files:
        try:
            content = read_json(path)
            if isinstance(content, dict) and "shapes" in content and "imagePath" in content:
                sheets.append(_sheet(path, path.relative_to(source), content))
            else:
                others.append(path)
        except (InputError, OSError) as error:
            failed.append((str(path), one_line(error).removeprefix(f"{path}: ")))
    if not sheets and not failed:
        raise FileNotFoundError(f"{source}: no JSON file of LabelMe below it")
    return sheets, others, failed


def _sheet(path: Path, inner: Path, content: dict[str, Any]) -> Sheet:
    shapes, image, data = content["shapes"], content["imagePath"], content.get("imageData")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise InputError(f'{path}: "shapes" is no list of objects')
    if not isinstance(image, str) or not image.strip():
        raise InputError(f'{path}: "imagePath" is {str(image)[:40]!r}; expected a path')
    for number, shape in enumerate(shapes, start=1):
        if not isinstance(shape.get("label"), str) or not shape["label"].strip():
            raise InputError(f"{path}: shape {number} has no label")
        if not isinstance(shape.get("shape_type") or "", str):
            kind = str(shape["shape_type"])[:40]
            raise InputError(f"{path}: shape {number} has the shape_type {kind}; expected a name")
    sides = content.get("imageHeight"), content.get("imageWidth")
    size = None
    if any(side is not None for side in sides):
        if not all(type(side) is int and side > 0 for side in sides):
            raise InputError(f"{path}: imageHeight and imageWidth are {sides}; expected pixels")
        size = (content["imageHeight"], content["imageWidth"])
    flags = content.get("flags") or {}
    true = tuple(flag for flag, value in flags.items() if value) if isinstance(flags, dict) else ()
    return Sheet(path, inner, image, shapes, size, isinstance(data, str) and bool(data), true)


def _label_table(sheets: Sequence[Sheet], source: Path, options: ReaderOptions) -> LabelTable:
    """LabelMe has no list of classes: all labels that occur, by name."""
    names = {label_name(shape["label"]) for sheet in sheets for shape in sheet.shapes}
    ignored = [IGNORE] if IGNORE in names else []
    found = [FoundClass(name) for name in sorted(names - {BACKGROUND})]
    return LabelTable(found, options, str(source), ignored)


def _image_of(sheet: Sheet, index: ImageIndex) -> FoundImage | None:
    """The image that imagePath means, relative to the file, or that has the file's name."""
    path = sheet.image_path.replace("\\", "/")
    beside = composed((sheet.inner.parent / path).as_posix())
    return index.find(beside) or index.find(composed(sheet.inner.with_suffix("").as_posix()))


def _entry(
    sheet: Sheet,
    found: FoundImage | None,
    table: LabelTable,
    line_width: int,
    undrawn: Counter[str],
) -> Entry:
    if found is None:
        ending = Path(sheet.image_path.replace("\\", "/")).suffix
        ending = ending if ending.lower() in IMAGE_ENDINGS else ".png"  # or nobody would find it
        inner = sheet.inner.with_suffix("").as_posix()
        found = FoundImage(composed(inner), sheet.path.with_suffix(ending))
        embedded = EmbeddedImage(sheet.path)
    else:
        embedded = None
    try:
        objects = list(_objects(sheet, table, line_width, undrawn))
    except InputError as error:
        draw, digest = Refusal(f"{sheet.path}: {error}"), str(error)
    else:
        draw = ShapeDrawer(objects)
        numbers = repr([(drawn.label, drawn.instance) for drawn in objects])
        digest = hashlib.blake2b(numbers.encode(), digest_size=16).hexdigest()
    return Entry(found.name, found.path, draw, (sheet.path,), digest, sheet.size, embedded=embedded)


def _objects(
    sheet: Sheet, table: LabelTable, line_width: int, undrawn: Counter[str]
) -> Iterator[DrawnObject]:
    """The shapes with their numbers. undrawn: counts the kinds that need a line's width."""
    groups: dict[tuple[str, str], int] = {}
    instances = 0
    for number, shape in enumerate(sheet.shapes, start=1):
        name = label_name(shape["label"])
        kind = shape.get("shape_type") or "polygon"  # version 3 had no other
        label = NONE_ID if name == BACKGROUND else table.id_of(name)
        if label is None:
            continue
        if kind in LINES and not line_width:
            undrawn[kind] += 1
            continue
        try:
            drawn = shape_of(kind, shape, line_width)
        except InputError as error:
            raise InputError(f"shape {number} ({name[:40]}): {error}") from error
        group = shape.get("group_id")
        key = (name, str(number) if group is None else f"group {group}")
        if key not in groups:
            instances += 1
            groups[key] = instances
        yield DrawnObject(label, drawn, groups[key])
