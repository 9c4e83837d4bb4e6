"""PASCAL VOC's layout, and CVAT's "Segmentation mask 1.1", which follows it.

    JPEGImages/NAME.jpg                        or wherever --images says
    SegmentationClass/NAME.png                 ids, as indices of a palette, or colours
    SegmentationObject/NAME.png                objects, likewise; may be absent
    ImageSets/Segmentation/{train,val,trainval,test}.txt   a NAME a line; may be absent
    labelmap.txt                               NAME:R,G,B:PARTS:ACTIONS, a line for each label
    class_names.txt                            or this: line i is the name of id i, from 0

With labelmap.txt or --palette, maps with colours or a palette are taken by their colours, grey ones
by the order of the labels. Without a list of labels, the ids and colours are those of PASCAL VOC.
Id 0 is the background, 255 the border of objects, which is ignored.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.dataset_file import pack_color
from data.errors import InputError
from data.files import first_few, read_list
from data.image_io import read_header
from data.importer.annotations import (
    IGNORED_ID,
    NONE_ID,
    Annotations,
    Entry,
    FoundClass,
    ReaderOptions,
)
from data.importer.map_folders import find_maps, pair_with_images
from data.importer.map_values import ChosenValues, choose_values, digest_of, require_distinct_values
from data.importer.maps import MapDrawer, MapFile
from data.importer.splits import KNOWN, split_name
from data.names import composed
from data.sbd import CLASSES

CLASS_FOLDER, OBJECT_FOLDER = "SegmentationClass", "SegmentationObject"
LISTS = Path("ImageSets") / "Segmentation"
LABEL_MAP, CLASS_NAMES = "labelmap.txt", "class_names.txt"
BORDER = pack_color((224, 224, 192))  # the colour of 255 in PASCAL VOC's palette
SPECIAL_IDS = {0: NONE_ID, 255: IGNORED_ID}
SPECIAL_COLORS = {0: NONE_ID, BORDER: IGNORED_ID}
LABEL = re.compile(r"(?P<name>.+?):(?P<color>\d+,\d+,\d+):[^:]*:[^:]*")
COMMENT = "#"

Named = list[tuple[FoundClass, int]]  # classes, each with its value in the maps


@dataclass(frozen=True)
class _Names:
    """What maps of ids, and maps in colours, mean.

    where: what has the names, for messages. by_color: that holds for maps with a palette, too.
    """

    ids: Named
    colors: Named
    where: object
    by_color: bool


def read(source: Path, options: ReaderOptions) -> Annotations:
    """Find the maps, their classes and splits; InputError that names the file that is wrong."""
    source = Path(source)
    folder = source / CLASS_FOLDER
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{source}: has no folder {CLASS_FOLDER}/; give the folder that has it, such as "
            "VOCdevkit/VOC2012 (an archive has to be unzipped first)"
        )
    maps = find_maps(folder, options, (".png",))
    names = _names(source, options)
    ids, colors = _chosen(names, options)
    splits, notes = _read_lists(source / LISTS, maps)
    pairs, missing = pair_with_images(maps, folder, options)
    objects = _object_maps(source / OBJECT_FOLDER, list(pairs))
    entries = []
    for name, found in pairs.items():
        label, instance = _map_file(maps[name], names.by_color), objects.get(name)
        values = colors if label.colored else ids
        if values is None:
            raise InputError(
                f"{label.path}: is in colours, and {names.where} names ids; give --palette FILE"
            )
        none = tuple(SPECIAL_COLORS if instance and instance.colored else SPECIAL_IDS)
        entries.append(
            Entry(
                found.name,
                found.path,
                MapDrawer(label, values.ids, IGNORED_ID, instance, none),
                inputs=(label.path, *([instance.path] if instance else [])),
                digest=digest_of(values),
                size=label.check().size,
                split=splits.get(name),
            )
        )
    if splits and (rest := [name for name in pairs if name not in splits]):
        notes.append(f"{len(rest)} images are in no list of {LISTS}: {first_few(rest)}")
    if names.where == source:
        notes.append(f"without {LABEL_MAP} or --class-names, the classes are those of PASCAL VOC")
    return Annotations(ids.found, entries, notes=[*ids.notes, *notes], missing=missing)


def usual_split(word: str) -> str | None:
    """train, val or test for a word for one of them; None for any other."""
    return split_name(word) if word.lower() in KNOWN else None


def _names(source: Path, options: ReaderOptions) -> _Names:
    """By the flags, else by the list of labels in the folder, else as PASCAL VOC's."""
    label_map, class_names = source / LABEL_MAP, source / CLASS_NAMES
    if options.class_names is not None:
        ids = [(FoundClass(name), value) for name, value in options.class_names.items()]
        return _Names(ids, [], "--class-names", by_color=False)
    if options.palette:
        found = [FoundClass(name, color) for name, color in options.palette.items()]
        return _by_color(found, "--palette")
    if label_map.is_file():
        found = read_list(label_map, lambda line: None if line[0] == COMMENT else _label(line))
        return _by_color([entry for entry in found if entry], label_map)
    if class_names.is_file():
        ids = [(FoundClass(name), k) for k, name in enumerate(read_list(class_names, str))]
        return _Names(ids, [], class_names, by_color=False)
    published = [FoundClass(name, color) for name, color in CLASSES]
    colors = [(entry, pack_color(entry.color or (0, 0, 0))) for entry in published]
    return _Names([(e, k) for k, e in enumerate(published, 1)], colors, source, by_color=False)


def _by_color(found: Sequence[FoundClass], where: object) -> _Names:
    colors = [(entry, pack_color(entry.color or (0, 0, 0))) for entry in found]
    return _Names([(entry, k) for k, entry in enumerate(found)], colors, where, by_color=True)


def _label(line: str) -> FoundClass:
    """A line of labelmap.txt; ValueError if it is none."""
    match = LABEL.fullmatch(line)
    if not match:
        raise ValueError("expected NAME:R,G,B:PARTS:ACTIONS")
    red, green, blue = (int(part) for part in match["color"].split(","))
    if max(red, green, blue) > 255:
        raise ValueError("a colour is above 255")
    return FoundClass(match["name"], (red, green, blue))


def _chosen(names: _Names, options: ReaderOptions) -> tuple[ChosenValues, ChosenValues | None]:
    """What is drawn for ids, and for colours."""
    both = []
    for named, colored in ((names.ids, False), (names.colors, True)):
        require_distinct_values(named, names.where, colored=colored)
        special = SPECIAL_COLORS if colored else SPECIAL_IDS
        both.append(choose_values(named, options, names.where, special, covers=False))
    return both[0], both[1] if names.colors else None


def _map_file(path: Path, by_color: bool) -> MapFile:
    header = read_header(path)
    return MapFile(path, colored=header.channels > 2 or (header.palette and by_color))


def _object_maps(folder: Path, names: Sequence[str]) -> dict[str, MapFile]:
    """The maps of objects; none without the folder, InputError if only some are there."""
    if not folder.is_dir():
        return {}
    paths = {name: folder / f"{name}.png" for name in names}
    if lacking := [path for path in paths.values() if not path.is_file()]:
        raise InputError(
            f"{folder}: {len(lacking)} of {len(names)} maps are missing: {first_few(lacking)}; add "
            "them, or move the folder away to import classes alone"
        )
    files = {name: _map_file(path, by_color=False) for name, path in paths.items()}
    for file in files.values():
        file.check()
    return files


def _read_lists(folder: Path, maps: Mapping[str, Path]) -> tuple[dict[str, str], list[str]]:
    """The split of each name that a list has; InputError for names without map, and for doubles.

    PASCAL VOC's test list names images whose maps it keeps to itself.
    """
    splits: dict[str, str] = {}
    notes = []
    available = {composed(name) for name in maps}
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
        names = [composed(name) for name in read_list(path, str)]
        lacking = [name for name in names if name not in available]
        split = usual_split(path.stem)
        if lacking and split == "test":
            notes.append(f"{path.name}: {len(lacking)} names have no label map")
        elif lacking:
            raise InputError(
                f"{path}: {len(lacking)} of {len(names)} names have no map in {CLASS_FOLDER}/: "
                f"{first_few(lacking)}; add the files, or take the names out of the list"
            )
        for name in (name for name in names if split and name in available):
            if splits.setdefault(name, str(split)) != split:
                raise InputError(f"{path}: {name} is in the list of {splits[name]}, too")
    return splits, notes
