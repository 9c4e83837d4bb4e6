"""The formats that are read, one module each: `read(source, options) -> Annotations`."""

import importlib
from typing import NamedTuple, cast

from data.importer.annotations import Reader


class Format(NamedTuple):
    """module: of this folder. source: what SOURCE is, for the help."""

    module: str
    source: str


FORMATS = {
    "coco": Format("coco", "a JSON file of COCO instances, or of COCO panoptic segments"),
    "labelme": Format("labelme", "a folder of LabelMe's JSON files"),
    "cvat": Format("cvat", "annotations.xml of CVAT for images, or a folder of its mask archive"),
    "labelstudio": Format("labelstudio", "a JSON export of Label Studio"),
    "voc": Format("voc", "a folder of PASCAL VOC: SegmentationClass/, SegmentationObject/"),
    "ade": Format("ade", "a folder of label maps as ADE20K's, 0 is none"),
    "colors": Format("colors", "a folder of coloured label maps, with --palette"),
    "ids": Format("ids", "a folder of label maps whose numbers are ids"),
}


def reader_of(kind: str) -> Reader:
    """The reader of a format, imported now."""
    module = importlib.import_module(f"{__name__}.{FORMATS[kind].module}")
    return cast("Reader", module.read)
