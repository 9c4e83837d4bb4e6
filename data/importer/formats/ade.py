"""Label maps as those of ADE20K's scene parsing benchmark: 0 is none, and classes count from 1.

    annotations/{training,validation}/*.png    SOURCE is annotations/, or the folder above it
    images/{training,validation}/*.jpg         wherever --images says; the folders are the splits
    objectInfo150.txt                          beside annotations/, with the names; may be absent

objectInfo150.txt has a head line and columns that tabs separate, of which Idx and Name are read.
Without it, and without --class-names, a class is called "class 7".
"""

from collections import Counter
from pathlib import Path

from data.errors import InputError
from data.files import read_list
from data.importer.annotations import IGNORED_ID, NONE_ID, Annotations, FoundClass, ReaderOptions
from data.importer.map_folders import find_maps, map_annotations, pair_with_images
from data.importer.map_values import choose_values, require_distinct_values
from data.importer.maps import MapFile, count_values

FOLDER, INFO = "annotations", "objectInfo150.txt"


def read(source: Path, options: ReaderOptions) -> Annotations:
    """Find the maps and the names of their classes; InputError for a file that is no such map."""
    source = Path(source)
    if (source / FOLDER).is_dir():
        source /= FOLDER
    maps = find_maps(source, options, (".png",))
    pairs, missing = pair_with_images(maps, source, options)
    files = {name: MapFile(maps[name], colored=False) for name in pairs}
    infos = [path for path in (source.parent / INFO, source / INFO) if path.is_file()]
    where: object = source
    if options.class_names is not None:
        where, names = "--class-names", options.class_names
    elif infos:
        where, names = infos[0], _read_info(infos[0])
    else:
        found = count_values(files.values())
        names = {f"class {value}": value for value in found if value not in (NONE_ID, IGNORED_ID)}
    named = [(FoundClass(name), value) for name, value in names.items() if value != NONE_ID]
    require_distinct_values(named, where, colored=False)
    values = choose_values(named, options, where, {NONE_ID: NONE_ID, IGNORED_ID: IGNORED_ID})
    return map_annotations(files, pairs, values, options, missing)


def _read_info(path: Path) -> dict[str, int]:
    """name -> id: the first of a class's names, or all of them where two begin alike."""
    rows = read_list(path, lambda line: [cell.strip() for cell in line.split("\t")])
    head = rows[0] if rows else []
    if not {"Idx", "Name"} <= set(head):
        raise InputError(
            f"{path}: its first line has no columns Idx and Name, which tabs separate; correct it, "
            "or give --class-names"
        )
    at, called = head.index("Idx"), head.index("Name")
    for row in rows[1:]:
        if len(row) <= max(at, called) or not row[at].isdecimal():
            raise InputError(f"{path}: {' '.join(row)[:60]!r} is no line of a class")
    firsts = Counter(row[called].partition(",")[0] for row in rows[1:])
    names = {}
    for row in rows[1:]:
        first = row[called].partition(",")[0]
        names[first if firsts[first] == 1 else row[called]] = int(row[at])
    return names
