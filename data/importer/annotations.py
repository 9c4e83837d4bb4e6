"""What a reader of a format returns, and what is drawn of it: the contract within this room.

A reader (`data.importer.formats`) parses SOURCE once, in the main process, and returns an
`Annotations`. Each of its entries is then drawn on its own, in a worker process, to a `Drawing`,
and written. Readers know nothing of files that are written; the writer knows no format.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from data.dataset_file import DatasetFile
from data.errors import InputError

NONE_ID = 0  # of a written label map: no class
IGNORED_ID = 255  # no class, and its border is no edge
FIRST_CLASS_ID = 1  # class k has the id k + 1


class Drawing(NamedTuple):
    """The maps of one image.

    label: uint8 (H, W): NONE_ID, IGNORED_ID, or k + FIRST_CLASS_ID for class k.
    instance: uint16 (H, W), a number for each object, 0 where there is none; None where the
        format has no objects.
    notes: what could not be drawn as it stands, such as "polygon outside the image" -> how often.
    """

    label: np.ndarray
    instance: np.ndarray | None
    notes: dict[str, int]


class Drawer(Protocol):
    """Draws one image's annotation. It is pickled and sent to a worker, so it holds plain data."""

    def __call__(self, size: tuple[int, int]) -> Drawing:
        """Draw at (H, W), the size of the image as it is seen; InputError if it cannot be."""
        ...


@dataclass(frozen=True)
class Refusal:
    """A `Drawer` of an image whose annotation is wrong: its failure, not that of the others."""

    reason: str

    def __call__(self, size: tuple[int, int]) -> Drawing:
        """Raise the InputError."""
        raise InputError(self.reason)


@dataclass(frozen=True)
class Entry:
    """One image and its annotation.

    Args:
        name: path below images/ without the ending: "city/frame 01". `ImageIndex.find` gives it.
        image: the image's file. One that is not there is reported as missing.
        draw: makes its maps.
        inputs: files that `draw` reads, and that a change of makes the result stale.
        digest: stands for what `draw` holds that is in no file of `inputs` by itself, such as the
            image's part of a large JSON file: any text that changes when that does.
        size: (H, W) that the annotation states; None: it states none.
        split: the format's own, such as "train"; None: it has none.
        embedded: returns the image file's bytes where the annotation holds the image itself, and
            `image` is only its name. It is pickled and called in a worker, too.
    """

    name: str
    image: Path
    draw: Drawer
    inputs: tuple[Path, ...] = ()
    digest: str = ""
    size: tuple[int, int] | None = None
    split: str | None = None
    embedded: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class FoundClass:
    """A class of the format. color: RGB, None where the format has none."""

    name: str
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Annotations:
    """All that a reader found.

    Args:
        classes: in the order of their ids in the drawings.
        entries: one for each image that is annotated.
        covers: the format gives each pixel a class, or says that it has none, so that pixels
            without one are not the background of objects: there is no background class.
        upright: whether the format's tools draw on images turned as their EXIF data say; None:
            only the stated or drawn sizes tell.
        notes: what was found and not taken, a line each, with counts, for the user to read.
        missing: names of images, as the format has them, that are annotated and not there: they
            are listed, and the exit status is 2 after all others are done.
        failed: (file, reason) of annotations of single images that cannot be read: they are listed
            like images that fail.
        dataset_file: only with `ReaderOptions.in_place`: what dataset.json is to say of the label
            maps as they are (classes, ids or colours, none, ignored; upright and splits are the
            command's). Entries are still one for each image; nothing is drawn.
    """

    classes: tuple[FoundClass, ...]
    entries: Sequence[Entry]
    covers: bool = False
    upright: bool | None = None
    notes: list[str] = field(default_factory=list)
    missing: Sequence[str] = ()
    failed: Sequence[tuple[str, str]] = ()
    dataset_file: DatasetFile | None = None


@dataclass(frozen=True)
class ReaderOptions:
    """What the command says to every reader.

    Args:
        images: the folder of --images.
        classes: the names to take, in this order; empty: all, in the format's order.
        ignored: names of labels whose pixels are ignored (IGNORED_ID).
        palette: of --palette, name -> RGB, for `colors`.
        class_names: of --class-names, name -> id, for `ids` and `ade`.
        line_width: pixels that lines and points are drawn with; 0: they are not drawn.
        out: the folder of --out, which may lie below SOURCE and is not to be searched.
        in_place: SOURCE is OUT/labels and --images OUT/images: only dataset.json will be written.
            A reader that cannot do that (all but `ids` and `colors`) need not look at it.
    """

    images: Path
    classes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    palette: dict[str, tuple[int, int, int]] | None = None
    class_names: dict[str, int] | None = None
    line_width: int = 0
    out: Path | None = None
    in_place: bool = False


class Reader(Protocol):
    """A format's reader: `read(source, options)` in `data.importer.formats.KIND`."""

    def __call__(self, source: Path, options: ReaderOptions) -> Annotations:
        """Parse SOURCE; InputError that names the file and the place for whatever is wrong."""
        ...
