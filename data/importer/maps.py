"""Label maps of other layouts: PNGs of ids or colours, translated image by image."""

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from os import cpu_count
from pathlib import Path

import cv2
import numpy as np

from data.dataset_file import MAX_ID, value_name
from data.errors import InputError
from data.folder import LOSSLESS, pack_colors
from data.image_io import MAX_PIXELS, Header, index_header, read_header, read_image, read_index
from data.image_io.decode import decode, read_whole
from data.importer.annotations import NONE_ID, Drawing
from data.importer.shapes import MAX_OBJECTS, Size

UNNAMED = 256  # beside the ids of drawings
SHOWN = 5  # values of one image that are counted one by one


@dataclass(frozen=True)
class MapFile:
    """A map, and how it is read: ids as they are stored, or packed colours."""

    path: Path
    colored: bool

    def check(self) -> Header:
        """The header; InputError for a file that cannot be such a map."""
        if self.colored:
            return color_header(self.path)
        header = read_header(self.path)
        if header.kind in LOSSLESS and header.channels > 2:
            raise InputError(
                f"{self.path}: is in colours ({header.channels} channels), expected ids; maps in "
                "colours are of the kind colors, with --palette FILE"
            )
        return index_header(self.path)

    def values(self) -> np.ndarray:
        """int32 (H, W); InputError also for pixels of a map of colours that are transparent."""
        header = self.check()
        if not self.colored:
            return read_index(self.path).astype(np.int32)
        if header.channels in (2, 4):
            encoded, _ = read_whole(self.path, MAX_PIXELS)
            alpha = decode(encoded, header, self.path, cv2.IMREAD_UNCHANGED)[:, :, -1]
            if clear := int((alpha != 255).sum()):
                raise InputError(
                    f"{self.path}: {clear} pixels are transparent, so they have no colour; "
                    "expected a map without alpha"
                )
        return pack_colors(read_image(self.path))


@dataclass(frozen=True)
class MapDrawer:
    """Translates one image's map. A `Drawer`.

    Args:
        label: the map.
        ids: its values -> the ids to draw.
        unnamed: the id of values that are not in `ids`, which are counted in the notes.
        instance: a map that gives each object a value of its own.
        no_instance: its values that are no object.
    """

    label: MapFile
    ids: Mapping[int, int]
    unnamed: int = NONE_ID
    instance: MapFile | None = None
    no_instance: tuple[int, ...] = (0,)

    def __call__(self, size: Size) -> Drawing:
        """Translate; InputError if the maps do not have the size (H, W) of the image."""
        values = self._read(self.label, size)
        codes = _table(tuple(self.ids.items()), 1 << 24 if self.label.colored else MAX_ID + 1)[
            values
        ]
        is_unnamed = codes == UNNAMED
        notes = _unnamed_notes(values[is_unnamed], colored=self.label.colored)
        label = np.where(is_unnamed, self.unnamed, codes).astype(np.uint8)
        instance = None if self.instance is None else self._instances(self.instance, size)
        return Drawing(label, instance, notes)

    def _instances(self, file: MapFile, size: Size) -> np.ndarray:
        """uint16 (H, W): its objects, numbered in the order of their values."""
        values = self._read(file, size)
        found = np.unique(values)
        is_object = ~np.isin(found, self.no_instance)
        if (total := int(is_object.sum())) > MAX_OBJECTS:
            raise InputError(f"{file.path}: has {total} objects; expected at most {MAX_OBJECTS}")
        numbers = np.where(is_object, np.cumsum(is_object), 0).astype(np.uint16)
        return numbers[np.searchsorted(found, values)]

    def _read(self, file: MapFile, size: Size) -> np.ndarray:
        values = file.values()
        if values.shape != size:
            raise InputError(
                f"{file.path}: the map is {values.shape[1]}x{values.shape[0]}, but its image is "
                f"{size[1]}x{size[0]}; each map must have the size of its image"
            )
        return values


@lru_cache(maxsize=2)
def _table(ids: tuple[tuple[int, int], ...], size: int) -> np.ndarray:
    """uint16 (size,), value -> id or UNNAMED. A worker makes it once for all its images."""
    table = np.full(size, UNNAMED, np.uint16)
    for value, number in ids:
        if value < size:
            table[value] = number
    return table


def _unnamed_notes(pixels: np.ndarray, *, colored: bool) -> dict[str, int]:
    """Pixels of values without a meaning: the most frequent one by one, then the rest."""
    found, counts = np.unique(pixels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    notes = {
        f"pixels of {value_name(int(found[k]), colored=colored)}, which has no name": int(counts[k])
        for k in order[:SHOWN]
    }
    if rest := int(counts[order[SHOWN:]].sum()):
        notes[f"pixels of other {'colours' if colored else 'ids'} without a name"] = rest
    return notes


def color_header(path: Path) -> Header:
    """The header of a map of colours; InputError for a file that may not keep them exactly."""
    header = read_header(path)
    if header.kind not in LOSSLESS:
        raise InputError(
            f"{path}: is a {header.kind}, which may not keep colours exactly; expected a PNG"
        )
    if header.bits > 8 and not header.palette:
        raise InputError(
            f"{path}: has {header.bits} bits in each channel; expected colours of 3 x 8 bits"
        )
    return header


def count_values(files: Iterable[MapFile]) -> dict[int, tuple[int, int]]:
    """value -> (images that have it, pixels), over all maps, which are all read."""
    images: Counter[int] = Counter()
    pixels: Counter[int] = Counter()

    def count(file: MapFile) -> tuple[list[int], list[int]]:
        found, counts = np.unique(file.values(), return_counts=True)
        return found.tolist(), counts.tolist()

    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        for found, counts in pool.map(count, files):
            images.update(found)
            pixels.update(dict(zip(found, counts, strict=True)))
    return {value: (images[value], pixels[value]) for value in sorted(images)}
