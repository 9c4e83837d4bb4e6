"""A whole import, looked at before anything is written.

Refused: an OUT that has files that no importer wrote, or that is SOURCE or the images' folder; two
images with one name; no image at all; a folder that cannot be written to or is too full.
What only one image is at fault for is kept as its failure, and the others are done.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError, one_line
from data.files import first_few, require_space, require_writable, resolved
from data.folder import shown_size
from data.gtlabel.job import Failure
from data.image_io import Header
from data.importer.annotations import Annotations, Drawing, Entry
from data.importer.images import ImageIndex
from data.importer.splits import Placed, SplitChoice, place
from data.importer.state import Import, digest_of
from data.importer.upright import Seen, choose_upright
from data.importer.write import ImageMaker, Targets, image_header
from data.names import composed, require_own_targets, require_utf8, walk_files

VERSION = 1  # of how maps are drawn: another one makes all of them stale
SHOWN = 20  # missing images that a line names
LEAST_BYTES = 4096  # that a file of labels takes


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


def require_out(out: Path, source: Path, images: Path, *, ours: bool) -> None:
    """InputError if OUT is no place for an import. ours: an importer wrote what is in it."""
    place, source, images = resolved(out), resolved(source), resolved(images)
    for what, folder in (("SOURCE", source), ("--images", images)):
        if folder == place:
            raise InputError(f"--out {out}: is also {what}; choose another folder")
        if folder.is_relative_to(place / "images") or folder.is_relative_to(place / "labels"):
            raise InputError(
                f"{what} {folder}: lies in what --out holds; give another --out (only ids and "
                "colors take OUT/labels with --images OUT/images as they are)"
            )
    if not ours and out.is_dir() and (files := walk_files(out, ())):
        raise InputError(
            f"--out {out}: has {len(files)} files that no importer wrote, such as "
            f"{files[0].relative_to(out)}; choose another folder"
        )
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; expected a folder")


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


def require_room(out: Path, plan: Plan, *, link: bool) -> None:
    """InputError if no file can be made below OUT, or not all of them."""
    require_writable(out)
    missing = [image for image in plan.images
               if not targets_of(out, image).label_path.exists()]  # fmt: skip
    needed = 2 * LEAST_BYTES * len(missing)
    for image in missing:
        if image.entry.embedded is None and not (link and _same_disk(out, image.entry.image)):
            needed += image.entry.image.stat().st_size
    require_space(out, needed, f"{len(missing)} images with labels")


def _same_disk(out: Path, path: Path) -> bool:
    place = out
    while not place.exists():
        place = place.absolute().parent
    return place.stat().st_dev == path.stat().st_dev


def require_own_names(
    out: Path, ours: Import, present: Sequence[Import], *, overwrite: bool
) -> tuple[Import, ...]:
    """The other imports of OUT; InputError if an image of theirs, or of nobody, would be replaced.

    Args:
        out: of --out.
        ours: this import, with the names of the images to write.
        present: the imports of OUT.
        overwrite: images that no importer wrote may be replaced.
    """
    others = tuple(other for other in present if not other.is_same(ours))
    if others and not (ours.in_folders and all(other.in_folders for other in others)):
        raise InputError(
            f"--out {out}: holds the import of {others[0].source}; to put several sources into one "
            "folder, give each of them a --split NAME from the start, or choose another --out"
        )
    theirs = {name: other for other in others for name in other.names}
    known = {name for other in present if other.is_same(ours) for name in other.names}
    for name in ours.names:
        if name in theirs:
            raise InputError(
                f"--out {out}: has an image {name} of {theirs[name].source} already; give another "
                "--split, or rename one"
            )
        label = Targets(out, name, "").label_path
        if name not in known and not overwrite and label.exists():
            raise InputError(
                f"{label}: would be replaced, but no importer wrote it; move it away, choose "
                "another --out, or give --overwrite"
            )
    return others


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
