"""COCO's panoptic format: a JSON file, and a folder of PNGs beside it with its name.

    {"images": [...], "categories": [{"id": 1, "name": "person", "isthing": 1}],
     "annotations": [{"image_id": 1, "file_name": "a.png",
                      "segments_info": [{"id": 3226956, "category_id": 1, "iscrowd": 0}]}]}

A pixel's segment is R + 256 G + 65536 B, 0 is void. Each pixel has a segment, so there is no
background. Things have instances, stuff has none; a crowd is one region.
https://cocodataset.org/#format-data
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.files import first_few, inner_path
from data.image_io import read_header, read_image
from data.importer.annotations import Annotations, Drawing, Entry, ReaderOptions
from data.importer.formats.coco_file import CocoFile, CocoImage, Row
from data.importer.images import FoundImage, ImageIndex
from data.importer.labels import LabelTable

MAX_SEGMENT = (1 << 24) - 1
MAX_SEGMENTS = 65535
ABSENT = "segments of segments_info that have no pixel"


@dataclass(frozen=True)
class PanopticDrawer:
    """A `Drawer`. ids: of the segments; labels, instances: what each is drawn with.

    where: the JSON file, for messages.
    """

    path: Path
    ids: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    where: str

    def __call__(self, size: tuple[int, int]) -> Drawing:
        """Draw at the size of the PNG, which has to be (H, W)."""
        if (kind := read_header(self.path).kind) != "PNG":
            raise InputError(f"{self.path}: is a {kind}; expected a PNG of segments")
        pixels = read_image(self.path).astype(np.int32)
        segments = pixels[..., 0] + (pixels[..., 1] << 8) + (pixels[..., 2] << 16)
        # 1 + the place in the list of segments; memory of it that is not touched is not taken.
        places = np.zeros(MAX_SEGMENT + 1, np.uint16)
        places[self.ids] = np.arange(1, len(self.ids) + 1)
        found = places[segments]
        unknown = (found == 0) & (segments != 0)
        if unknown.any():
            names = np.unique(segments[unknown]).tolist()
            raise InputError(
                f"{self.path}: has segments that segments_info of {self.where} does not list: "
                f"{first_few(names)}"
            )
        counts = np.bincount(found.ravel(), minlength=len(self.ids) + 1)[1:]
        absent = int((counts == 0).sum())
        label = np.concatenate([[0], self.labels]).astype(np.uint8)[found]
        instance = np.concatenate([[0], self.instances]).astype(np.uint16)[found]
        return Drawing(label, instance, {ABSENT: absent} if absent else {})


def read_panoptic(file: CocoFile, index: ImageIndex, options: ReaderOptions) -> Annotations:
    """Read a panoptic file; InputError for ids that nothing explains, or that occur twice."""
    folder = file.path.with_suffix("")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; expected the PNGs of {file.path.name} there"
        )
    table = LabelTable(file.labels, options, str(file.path))
    entries: list[Entry] = []
    missing: list[str] = []
    seen: set[int | str] = set()
    for number, row in enumerate(file.annotations, start=1):
        key = row.get("image_id")
        where = f"{file.path}: annotation {number} (image_id {str(key)[:40]})"
        if not isinstance(key, int | str) or key not in file.images:
            raise InputError(f"{where}: that is the id of no image")
        if key in seen:
            raise InputError(f"{where}: this image has two annotations; expected one")
        seen.add(key)
        image = file.images[key]
        found = index.find(image.file_name)
        if found is None:
            missing.append(image.file_name)
        else:
            entries.append(_entry(file, image, found, row, folder, table, where))
    notes = table.notes()
    if bare := len(file.images) - len(seen):
        notes.append(f"{bare} images of {file.path.name} have no segments and are left out")
    return Annotations(table.classes, entries, covers=True, notes=notes, missing=missing)


def _entry(
    file: CocoFile,
    image: CocoImage,
    found: FoundImage,
    row: Row,
    folder: Path,
    table: LabelTable,
    where: str,
) -> Entry:
    """An image with its segments. where: of its row, for messages."""
    name = row.get("file_name")
    try:
        png = folder / inner_path(name if isinstance(name, str) else "")
    except ValueError as error:
        raise InputError(f'{where}: has no "file_name" of a PNG ({error})') from error
    segments = row.get("segments_info")
    if not isinstance(segments, list) or not all(isinstance(one, dict) for one in segments):
        raise InputError(f'{where}: has no list "segments_info"')
    ids: list[int] = []
    labels: list[int] = []
    instances: list[int] = []
    for segment in segments:
        key, number = segment.get("id"), segment.get("category_id")
        if type(key) is not int or not 0 < key <= MAX_SEGMENT:
            raise InputError(f"{where}: {str(key)[:40]} is no id of a segment, 1 to {MAX_SEGMENT}")
        if not isinstance(number, int) or number not in file.categories:
            raise InputError(
                f"{where}: segment {key} has the category_id {str(number)[:40]}, that of no "
                "category"
            )
        category = file.categories[number]
        label = table.id_of(category.name)
        ids.append(key)
        labels.append(label or 0)
        instances.append(len(ids) if label and category.thing else 0)
    if len(set(ids)) < len(ids):
        raise InputError(f"{where}: two segments have one id; expected one")
    if len(ids) > MAX_SEGMENTS:
        raise InputError(f"{where}: has {len(ids)} segments; expected at most {MAX_SEGMENTS}")
    drawer = PanopticDrawer(
        png,
        np.array(ids, np.int64),
        np.array(labels, np.int64),
        np.array(instances, np.int64),
        str(file.path),
    )
    return Entry(found.name, found.path, drawer, (png,), f"{ids} {labels} {instances}", image.size)
