"""A whole import, looked at before anything is written.

Refused: two images with one name; no image at all. What only one image is at fault for is kept as
its failure, and the others are done. `data.importer.checks` looks at OUT.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError, one_line
from data.files import first_few
from data.folder import shown_size
from data.gtlabel.job import Failure
from data.image_io import Header
from data.importer.annotations import Annotations, Drawing, Entry
from data.importer.images import ImageIndex
from data.importer.splits import Placed, SplitChoice, place
from data.importer.state import digest_of
from data.importer.upright import Seen, choose_upright
from data.importer.write import ImageMaker, Targets, image_header
from data.names import composed, require_own_targets, require_utf8

VERSION = 1  # of how maps are drawn: another one makes all of them stale
SHOWN = 20  # missing images that a line names


@dataclass(frozen=True)
class PlannedImage:
    """An entry, with what is known of its image. name: below images/ of --out."""

    entry: Entry
    header: Header
    name: str


@dataclass(frozen=True)
class Plan:
    """What an import will write.

    Args:
        images: that can be made.
        placed: the splits.
        upright: whether images are turned by their EXIF data.
        failures: of images that cannot be made.
        notes: for the user.
    """

    images: tuple[PlannedImage, ...]
    placed: Placed
    upright: bool
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]


def plan_images(
    found: Annotations,
    index: ImageIndex | None,
    choice: SplitChoice,
    *,
    upright: bool | None,
    before: bool | None,
) -> Plan:
    """Look at every image.

    Args:
        found: what the reader returned.
        index: of the images that no annotation names, to be kept with empty labels.
        choice: of splits.
        upright: of --upright; None: to be found out.
        before: what dataset.json says of it already.
    """
    entries = [*found.entries, *_unlabelled(found.entries, index)]
    _require_own_images(entries)
    seen, failures = _look_at(entries, found)
    if not seen:
        reason = f": {failures[0].about}: {failures[0].reason}" if failures else ""
        raise InputError(f"no image can be imported{reason or ', as none is annotated'}")
    turned, notes = choose_upright(
        (Seen(str(entry.image), header, entry.size) for entry, header in seen),
        found.upright,
        upright,
        before,
    )
    fitting = []
    for entry, header in seen:
        if wrong := _wrong_size(entry, header, turned):
            failures.append(Failure(str(entry.image), wrong))
        else:
            fitting.append((entry, header))
    placed = place([e.name for e, _ in fitting], [e.split for e, _ in fitting], choice)
    images = tuple(
        PlannedImage(entry, header, composed(name))
        for (entry, header), name in zip(fitting, placed.names, strict=True)
    )
    require_utf8((image.name for image in images), "images")
    require_own_targets((image.entry.image, image.name) for image in images)
    return Plan(images, placed, turned, tuple(failures), (*placed.notes, *notes))


def _look_at(
    entries: Sequence[Entry], found: Annotations
) -> tuple[list[tuple[Entry, Header]], list[Failure]]:
    """The entries whose images are there, with their headers; and why others are not."""
    seen: list[tuple[Entry, Header]] = []
    failures = [Failure(about, reason) for about, reason in found.failed]
    missing = list(found.missing)
    for entry in entries:
        try:
            seen.append((entry, image_header(entry.image, entry.embedded)))
        except FileNotFoundError:
            missing.append(str(entry.image))
        except (InputError, OSError) as error:
            text = one_line(error)
            failures.append(Failure(str(entry.image), text.removeprefix(f"{entry.image}: ")))
    if missing:
        what = f"{len(missing)} images that are annotated"
        reason = f"not found below --images: {first_few(missing, SHOWN)}"
        failures.append(Failure(what, reason))
    return seen, failures


def _unlabelled(entries: Sequence[Entry], index: ImageIndex | None) -> Iterator[Entry]:
    """An entry without objects for each image of the index that has none."""
    if index is None:
        return
    annotated = {entry.image for entry in entries}
    for path in index.files:
        if path not in annotated:
            yield Entry(index.found(path).name, path, draw_nothing)


def draw_nothing(size: tuple[int, int]) -> Drawing:
    """A label map without labels. (Its instance map follows from the others.)"""
    return Drawing(np.zeros(size, np.uint8), None, {})


def _require_own_images(entries: Sequence[Entry]) -> None:
    """InputError if two annotations mean one image."""
    first: set[Path] = set()
    for entry in entries:
        if entry.image in first and not entry.embedded:
            raise InputError(
                f"{entry.image}: two annotations mean this image; expected one for each: give "
                "--images a folder where each has its own file, or remove one"
            )
        first.add(entry.image)


def _wrong_size(entry: Entry, header: Header, upright: bool) -> str:
    """Why the size that the annotation states cannot be; "" if it can."""
    size = shown_size(header, upright=upright)
    if entry.size is None or entry.size == size:
        return ""
    return (
        f"is {size[1]}x{size[0]}, and its annotation says {entry.size[1]}x{entry.size[0]}; replace "
        "the image by the one that was annotated"
    )


def targets_of(out: Path, image: PlannedImage) -> Targets:
    """The files of an image."""
    return Targets(out, image.name, f"{image.name}{image.entry.image.suffix.lower()}")


def maker_of(
    image: PlannedImage, targets: Targets, table: np.ndarray, settings: dict[str, Any], plan: Plan
) -> tuple[ImageMaker, tuple[Path, ...]]:
    """What makes an image's files, and the files that it reads.

    Args:
        image: to make.
        targets: its files.
        table: see `Merged`.
        settings: of the command, that decide how maps are drawn, and "link".
        plan: that the image is of.
    """
    entry = image.entry
    inputs = (*(() if entry.embedded else (entry.image,)), *entry.inputs)
    stated = [VERSION, settings, table.tolist(), plan.upright, entry.digest]
    maker = ImageMaker(
        targets,
        entry.image,
        entry.embedded,
        entry.draw,
        shown_size(image.header, upright=plan.upright),
        table,
        settings["link"],
        digest_of(json.dumps(stated, default=str), inputs),
    )
    return maker, inputs
