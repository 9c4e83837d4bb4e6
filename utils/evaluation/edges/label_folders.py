"""Which folder of label files holds the ground truth of a mode, and whether it is any.

The label scripts write training labels below their output folder and the edges for evaluation below
gt_eval/, each with a `gtlabel.json` that says how they were made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from data.files import resolved
from data.gtlabel.stamp import NAME as STAMP
from data.gtlabel.stamp import read_stamp

LEVELS = 6  # of folders above a label file that may hold its stamp
KINDS = {"inst": "--instance", "cls": "--no-instance"}


@dataclass(frozen=True)
class ModeFolder:
    """The folder of a mode. by_kind: it is one of two, with and without edges of instances."""

    path: Path
    by_kind: bool


def find_mode_folders(root: Path, modes: Sequence[str], *, instance: bool) -> dict[str, ModeFolder]:
    """The most specific folder of each mode; see `ground_truth` for the layouts.

    InputError if the files at hand are of another mode or kind than what is to be scored.
    """
    _refuse_training_labels(root, modes)
    if (root / "gt_eval").is_dir():
        root = root / "gt_eval"
    there = [mode for mode in ("thin", "raw") if (root / f"gt_{mode}").is_dir()]
    # With a folder such as gt_thin/inst itself as root, its path says what it holds.
    above = [mode for mode in ("thin", "raw") if f"gt_{mode}" in resolved(root).parts[-2:]]
    for mode in modes:
        if (there or above) and mode not in (there or above):
            held = (there or above)[0]
            raise InputError(
                f"{root}: holds the {held} edges only (gt_{held}/), which are no {mode} ground "
                f"truth; make both with --eval and give the folder above, or score --no-{mode}"
            )
    return {
        mode: _of_kind(root / f"gt_{mode}" if mode in there else root, instance) for mode in modes
    }


def _of_kind(folder: Path, instance: bool) -> ModeFolder:
    wanted, other = ("inst", "cls") if instance else ("cls", "inst")
    if (folder / wanted).is_dir():
        return ModeFolder(folder / wanted, by_kind=True)
    if (folder / other).is_dir():
        within = "with" if other == "inst" else "without"
        raise InputError(
            f"{folder}: has {other}/ only, {within} the edges between instances of one class; make "
            f"{wanted}/ too, or score {KINDS[other]}"
        )
    return ModeFolder(folder, by_kind=False)


def _refuse_training_labels(root: Path, modes: Sequence[str]) -> None:
    radius = training_radius(root)
    if radius is not None and "thin" in modes:
        raise InputError(
            f"{root}: holds training labels (radius {radius}, no gt_eval/), which are no thin "
            "ground truth; make them with --eval, or score --no-thin"
        )


def training_radius(root: Path) -> object:
    """The radius of the training labels in a folder; None where no stamp says that it holds such.

    A folder that holds, or is, the edges for evaluation is none.
    """
    if (root / "gt_eval").is_dir():
        return None
    for folder in _with_parents(root):
        if folder.name == "gt_eval":
            return None
        if (settings := read_stamp(folder)) is not None:
            return settings.get("radius")
    return None


def require_classes(folder: Path, num_classes: int) -> None:
    """InputError if the stamp that is nearest above label files says another number of classes.

    The files of later classes would be taken for images of their own, or missing classes for some
    that occur nowhere.
    """
    for above in _with_parents(folder):
        if (settings := read_stamp(above)) is not None:
            found = settings.get("num_classes", num_classes)
            if found != num_classes:
                raise InputError(
                    f"{folder}: holds edges of {found} classes by its {above / STAMP}; expected "
                    f"{num_classes}; give --num-classes and predictions of as many"
                )
            return


def stamped_scale(folder: Path) -> float | None:
    """The scale of ground truth by the stamp that is nearest above it; None if none says it."""
    for above in _with_parents(folder):
        if (settings := read_stamp(above)) is not None:
            scale = settings.get("scale")
            return float(scale) if isinstance(scale, int | float) else None
    return None


def _with_parents(folder: Path) -> list[Path]:
    """The folders that may hold the stamp of label files in `folder`, the nearest first."""
    return [resolved(folder), *resolved(folder).parents][:LEVELS]
