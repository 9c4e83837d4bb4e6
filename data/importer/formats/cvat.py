"""CVAT: "CVAT for images 1.1", and archives of "Segmentation mask 1.1" (as `voc` reads them).

SOURCE is annotations.xml, the zip that holds it, or an unpacked folder. What the XML holds:

    <annotations>
      <meta>... <label><name>car</name><color>#2080c0</color><type>any</type></label> ...</meta>
      <image id="0" name="a.jpg" width="640" height="480" subset="Train">
        <polygon label="car" points="1.0,2.0;3.5,4.0;..." z_order="0" group_id="1"/>
        <box xtl ytl xbr ybr rotation/>  <ellipse cx cy rx ry rotation/>
        <mask rle="3, 5, ..." left top width height/>
        <polyline points/>  <points points/>  <cuboid/>  <skeleton/>  <tag/>

Rotations are clockwise, in degrees, about the centre. `rle` counts pixels without and with the
object in turn, row by row in the box. What has the larger z_order is above; then the later one.
"""

import hashlib
import io
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, ParseError, tostring

from data.errors import InputError
from data.files import reading, require_file
from data.importer.annotations import Annotations, Entry, FoundClass, ReaderOptions
from data.importer.formats import voc
from data.importer.formats.cvat_shapes import LINES, SHAPES, lines, number, whole
from data.importer.images import ImageIndex
from data.importer.labels import LabelTable
from data.importer.shapes import DrawnObject, Shape, ShapeDrawer, Size

NAME = "annotations.xml"
MAX_BYTES = 1 << 30  # of a member of an archive, unpacked
NOT_DRAWN = ("cuboid", "skeleton", "tag")  # kinds of shapes, and types of labels


@dataclass(frozen=True)
class _Object:
    """Of one <image>: shapes that are one object."""

    label: str
    z_order: float
    group: int
    shapes: tuple[Shape, ...]


@dataclass
class _Image:
    name: str
    size: Size
    subset: str
    digest: str
    objects: list[_Object] = field(default_factory=list)


@dataclass
class _Export:
    """All that an XML file holds. skipped: (kind, label) -> how many were not drawn."""

    labels: dict[str, FoundClass] = field(default_factory=dict)
    undrawn: set[str] = field(default_factory=set)  # labels of kinds that are not drawn
    images: list[_Image] = field(default_factory=list)
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)


def read(source: Path, options: ReaderOptions) -> Annotations:
    """Parse an export of CVAT; InputError that names the image and the object that is wrong."""
    source = Path(source)
    if source.is_dir() and not (source / NAME).is_file():
        if (source / voc.CLASS_FOLDER).is_dir():
            return voc.read(source, options)
        raise FileNotFoundError(
            f"{source}: has neither {NAME} (CVAT for images 1.1) nor {voc.CLASS_FOLDER}/ "
            "(Segmentation mask 1.1); give the folder that was exported"
        )
    file = source / NAME if source.is_dir() else source
    with _opened(file) as stream:
        export = _parse(stream, file, options.line_width)
    found = [e for name, e in export.labels.items() if name not in export.undrawn]
    return _annotations(export, LabelTable(found, options, str(file)), file, options)


def _opened(file: Path) -> IO[bytes]:
    """The XML file, or that of an archive."""
    require_file(file, "XML file or zip")
    if not zipfile.is_zipfile(file):
        return file.open("rb")
    with reading(file), zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if Path(m.filename).name == NAME]
        if len(members) != 1:
            raise InputError(
                f"{file}: holds {len(members)} files {NAME}, expected one; unzip it first, and "
                "give the folder"
            )
        if members[0].file_size > MAX_BYTES:
            raise InputError(f"{file}: {NAME} has {members[0].file_size:,} bytes; unzip it first")
        return io.BytesIO(archive.read(members[0]))


def _parse(stream: IO[bytes], file: Path, line_width: int) -> _Export:
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import iterparse
    except ImportError as error:
        raise InputError(f"{file}: needs defusedxml: pip install defusedxml") from error
    export = _Export()
    undrawn = NOT_DRAWN if line_width else (*NOT_DRAWN, *LINES)
    root = None
    try:
        for event, element in iterparse(stream, events=("start", "end")):
            if event == "start":
                root = _root(element, file) if root is None else root
                if element.tag == "track":
                    raise InputError(
                        f'{file}: holds tracks of a video; export the task as "CVAT for images 1.1"'
                    )
            elif element.tag == "label" and element.find("name") is not None:
                _add_label(export, element, undrawn)
            elif element.tag == "image" and root is not None:
                export.images.append(_image(element, file, export.skipped, line_width))
                root.clear()
    except DefusedXmlException as error:
        raise InputError(
            f"{file}: defines entities or refers to other files, which no export of CVAT does; "
            "refused"
        ) from error
    except (ParseError, LookupError) as error:  # LookupError: an encoding that is none
        raise InputError(f"{file}: is no complete XML ({error}); export it again") from error
    if not export.images:
        raise InputError(f'{file}: has no <image>; expected an export as "CVAT for images 1.1"')
    for image in export.images:
        for drawn in image.objects:
            export.labels.setdefault(drawn.label, FoundClass(drawn.label))
            export.undrawn.discard(drawn.label)
    return export


def _root(element: Element, file: Path) -> Element:
    if element.tag != "annotations":
        raise InputError(
            f"{file}: begins with <{element.tag[:40]}>, expected <annotations>; export it as "
            '"CVAT for images 1.1"'
        )
    return element


def _add_label(export: _Export, element: Element, undrawn: tuple[str, ...]) -> None:
    """A <label> of <meta>: its name and colour, and whether anything of it can be drawn."""
    name = (element.findtext("name") or "").strip()
    if not name or name in export.labels:
        return
    export.labels[name] = FoundClass(name, _color(element.findtext("color") or ""))
    if (element.findtext("type") or "") in undrawn or element.findtext("parent"):
        export.undrawn.add(name)


def _color(text: str) -> tuple[int, int, int] | None:
    try:
        red, green, blue = bytes.fromhex(text.strip().removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue


def _image(
    element: Element, file: Path, skipped: Counter[tuple[str, str]], line_width: int
) -> _Image:
    name = element.get("name", "")
    where = f"{file}: image {name!r}"
    if not name:
        raise InputError(f"{file}: image {element.get('id')!r} has no name")
    width, height = (whole(element, key, where, 1) for key in ("width", "height"))
    digest = hashlib.sha256(tostring(element)).hexdigest()
    image = _Image(name, (height, width), element.get("subset", ""), digest)
    for position, child in enumerate(element, 1):
        kind, label = str(child.tag), child.get("label", "")
        place = f"{where}: <{kind[:40]}> {position}"
        if not label:
            raise InputError(f"{place}: has no label")
        if kind in SHAPES or (kind in LINES and line_width):
            shapes = (
                SHAPES[kind](child, place) if kind in SHAPES else lines(child, place, line_width)
            )
            z_order = number(child, "z_order", place, "0")
            group = int(number(child, "group_id", place, "0"))
            image.objects.append(_Object(label, z_order, group, shapes))
        else:
            skipped[kind, label] += 1
    return image


def _annotations(
    export: _Export, labels: LabelTable, file: Path, options: ReaderOptions
) -> Annotations:
    index = ImageIndex(options.images, skip=options.out)
    entries, missing = [], []
    for image in export.images:
        found = index.find(image.name)
        if found is None:
            missing.append(image.name)
            continue
        drawn = _drawn(image.objects, labels)
        parts = [image.digest, *((entry.label, entry.instance) for entry in drawn)]
        entries.append(
            Entry(
                found.name,
                found.path,
                ShapeDrawer(drawn),
                digest=repr(parts),
                size=image.size,
                split=voc.usual_split(image.subset),
            )
        )
    notes = [*labels.notes(), *_skipped_notes(export.skipped)]
    if empty := sum(not image.objects for image in export.images):
        notes.append(f"{empty} images have no object that is drawn: all of them is background")
    return Annotations(labels.classes, entries, upright=True, notes=notes, missing=missing)


def _drawn(objects: list[_Object], labels: LabelTable) -> list[DrawnObject]:
    """The objects from the lowest to the uppermost; those of one group are one instance."""
    drawn: list[DrawnObject] = []
    numbers: dict[object, int] = {}
    for place, entry in sorted(enumerate(objects), key=lambda pair: pair[1].z_order):
        if (label := labels.id_of(entry.label)) is not None:
            key = ("group", entry.group) if entry.group else ("alone", place)
            number = numbers.setdefault(key, len(numbers) + 1)
            drawn += [DrawnObject(label, shape, number) for shape in entry.shapes]
    return drawn


def _skipped_notes(skipped: Counter[tuple[str, str]]) -> list[str]:
    notes = []
    for (kind, label), count in sorted(skipped.items()):
        why = "not drawn" if kind in NOT_DRAWN else "unknown, so not drawn"
        why = "not drawn without --line-width" if kind in LINES else why
        notes.append(f"{count} <{kind[:40]}> of {label!r}: {why}")
    return notes
