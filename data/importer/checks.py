"""Whether OUT is a place for an import, looked at before anything is written.

Refused: an OUT that has files that no importer wrote, or that is SOURCE or the images' folder;
images that another import has; a folder that cannot be written to or is too full.
"""

from collections.abc import Sequence
from pathlib import Path

from data.errors import InputError
from data.files import require_space, require_writable, resolved
from data.importer.plan import Plan, targets_of
from data.importer.state import Import
from data.importer.write import Targets
from data.names import walk_files

LEAST_BYTES = 4096  # that a file of labels takes


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
