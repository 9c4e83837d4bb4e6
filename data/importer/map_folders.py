"""Folders of label maps: which maps there are, whose they are, and what a reader says of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from data.dataset_file import value_name
from data.errors import InputError
from data.files import first_few, resolved
from data.importer.annotations import Annotations, Entry, ReaderOptions
from data.importer.images import FoundImage, ImageIndex
from data.importer.map_values import ChosenValues, as_dataset_file, digest_of
from data.importer.maps import MapDrawer, MapFile, count_values
from data.names import IMAGE_ENDINGS, base_name, composed, require_unique, walk_files

MAP_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
SHOWN = 20  # values of maps in notes


def find_maps(
    source: Path, options: ReaderOptions, endings: Sequence[str] = MAP_ENDINGS
) -> dict[str, Path]:
    """The maps below a folder by name; FileNotFoundError if it is not there, or has none.

    Args:
        source: the folder.
        options: with --out, which is not searched.
        endings: of the maps.
    """
    if not source.is_dir():
        what = "is a file; expected a folder" if source.exists() else "no such folder"
        raise FileNotFoundError(f"{source}: {what} of label maps")
    left_out = resolved(options.out) if options.out and not options.in_place else None

    def files(*wanted: str) -> list[Path]:
        return walk_files(source, wanted, skip=lambda folder: resolved(folder) == left_out)

    if options.in_place and (others := files(*(e for e in endings if e != ".png"))):
        raise InputError(
            f"{others[0]}: label maps that stay as they are have to be PNGs, and {len(others)} are "
            "not; give --images and --out other folders, and PNGs are made of them"
        )
    if found := files(*endings):
        names = [composed(p.relative_to(source).with_suffix("").as_posix()) for p in found]
        require_unique(names, str(source))
        return dict(zip(names, found, strict=True))
    others = files(*IMAGE_ENDINGS)
    hint = f"; it has {others[0]}, but only lossless files keep labels" if others else ""
    raise FileNotFoundError(f"{source}: has no label maps ({', '.join(endings)}) below it{hint}")


def pair_with_images(
    maps: Mapping[str, Path], source: Path, options: ReaderOptions
) -> tuple[dict[str, FoundImage], list[str]]:
    """Find the image of each map: of its name, or all without one suffix, such as "_mask".

    FileNotFoundError if no map has an image.

    Args:
        maps: name -> file.
        source: their folder, for messages.
        options: with --images; in place, names have to be equal.

    Returns:
        name of the map -> its image, and the maps without one.
    """
    index = ImageIndex(options.images, skip=None if options.in_place else options.out)
    suffixes = [] if options.in_place else _suffixes(maps, index.files)
    for suffix in ("", *suffixes):
        images = {name: index.find(name.removesuffix(suffix)) for name in maps}
        pairs = {
            name: image
            for name, image in images.items()
            if image and (image.name == name or not options.in_place)
        }
        if pairs:
            return pairs, [str(path) for name, path in maps.items() if name not in pairs]
    raise FileNotFoundError(
        f"none of the {len(maps)} label maps below {source} has an image of its name below "
        f"{options.images}; there are maps such as {first_few(maps, 2)}, and images such as "
        f"{first_few((path.stem for path in index.files), 2)}"
    )


def _suffixes(maps: Iterable[str], images: Iterable[Path]) -> list[str]:
    """What the first map's name has after that of an image, the shortest first."""
    name = base_name(next(iter(maps)))
    stems = {composed(path.stem) for path in images}
    return [name[k:] for k in range(len(name) - 1, 0, -1) if name[:k] in stems]


def map_annotations(
    files: Mapping[str, MapFile],
    pairs: Mapping[str, FoundImage],
    values: ChosenValues,
    options: ReaderOptions,
    missing: Sequence[str],
) -> Annotations:
    """What a reader returns of maps without objects; their headers are checked.

    Args:
        files: the maps, by name.
        pairs: the image of each.
        values: what the maps mean.
        options: of the command; in place, nothing is drawn, so that values are counted here.
        missing: maps without image.
    """
    entries = [
        Entry(
            found.name,
            found.path,
            MapDrawer(files[name], values.ids, values.unnamed),
            inputs=(files[name].path,),
            digest=digest_of(values),
            size=files[name].check().size,
        )
        for name, found in pairs.items()
    ]
    notes, content = values.notes, None
    if options.in_place:
        colored = any(file.colored for file in files.values())
        content = as_dataset_file(values, colored=colored)
        notes = notes + unnamed_notes(list(files.values()), values.ids)
    return Annotations(
        values.found,
        entries,
        covers=values.covers,
        notes=notes,
        missing=missing,
        dataset_file=content,
    )


def unnamed_notes(files: Collection[MapFile], known: Collection[int]) -> list[str]:
    """Notes on the values of maps that have no name, the most frequent first; all are read."""
    found = [(v, *counts) for v, counts in count_values(files).items() if v not in known]
    found.sort(key=lambda row: -row[2])
    colored = any(file.colored for file in files)
    notes = [
        f"{value_name(value, colored=colored)} has no name: {pixels} pixels in {images} images"
        for value, images, pixels in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        notes.append(f"{len(found) - SHOWN} more values have no name")
    return notes
