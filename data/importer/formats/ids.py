"""A folder of label maps of ids, 8 or 16 bits: grey, or the indices of a palette.

With --class-names other ids are no class, and are counted; 255 is ignored unless it is named.
Without, each id that occurs is a class, 255 apart.
"""

from pathlib import Path

from data.importer.annotations import IGNORED_ID, Annotations, FoundClass, ReaderOptions
from data.importer.map_folders import find_maps, map_annotations, pair_with_images
from data.importer.map_values import choose_values, require_distinct_values
from data.importer.maps import MapFile, count_values


def read(source: Path, options: ReaderOptions) -> Annotations:
    """Find the maps and their classes; InputError for a file that is no map of ids."""
    source = Path(source)
    maps = find_maps(source, options)
    pairs, missing = pair_with_images(maps, source, options)
    files = {name: MapFile(maps[name], colored=False) for name in pairs}
    if options.class_names is None:
        found = count_values(files.values())
        named = [(FoundClass(f"id {value}"), value) for value in found if value != IGNORED_ID]
        where: object = source
    else:
        named = [(FoundClass(name), value) for name, value in options.class_names.items()]
        where = "--class-names"
    require_distinct_values(named, where, colored=False)
    values = choose_values(named, options, where, {IGNORED_ID: IGNORED_ID})
    return map_annotations(files, pairs, values, options, missing)
