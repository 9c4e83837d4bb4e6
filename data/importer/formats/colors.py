"""A folder of label maps in colours, and a palette that says which colour is which class.

Colours that the palette does not have are no class, and are counted.
"""

import json
from collections.abc import Collection
from pathlib import Path

from data.dataset_file import pack_color, unpack_color
from data.errors import InputError
from data.importer.annotations import Annotations, FoundClass, ReaderOptions
from data.importer.map_folders import find_maps, map_annotations, pair_with_images
from data.importer.map_values import choose_values, require_distinct_values
from data.importer.maps import MapFile, count_values

LOOKED_AT = 100  # maps that are searched for colours, where there is no palette
SHOWN = 24  # colours of the message


def read(source: Path, options: ReaderOptions) -> Annotations:
    """Find the maps; InputError without a palette, which has the colours that were found."""
    source = Path(source)
    maps = find_maps(source, options)
    pairs, missing = pair_with_images(maps, source, options)
    files = {name: MapFile(maps[name], colored=True) for name in pairs}
    if not options.palette:
        raise InputError(_without_palette(source, list(files.values())))
    named = [(FoundClass(name, c), pack_color(c)) for name, c in options.palette.items()]
    require_distinct_values(named, "--palette", colored=True)
    values = choose_values(named, options, "--palette", {})
    return map_annotations(files, pairs, values, options, missing)


def _without_palette(source: Path, files: Collection[MapFile]) -> str:
    """The message that shows a palette to begin with."""
    looked_at = list(files)[:: max(1, len(files) // LOOKED_AT)][:LOOKED_AT]
    counts = count_values(looked_at)
    frequent = sorted(counts, key=lambda value: -counts[value][1])[:SHOWN]
    palette = {f"name {k}": unpack_color(value) for k, value in enumerate(frequent, 1)}
    shown = f"the {SHOWN} most frequent of " if len(counts) > SHOWN else ""
    return (
        f"{source}: needs --palette FILE, a JSON file of names and colours; {shown}{len(counts)} "
        f"colours in {len(looked_at)} of {len(files)} maps, for that file: {json.dumps(palette)}"
    )
