"""What a folder of predictions holds: a line for whoever gives label maps in place of edges."""

from collections.abc import Sequence
from pathlib import Path

from data.edges import PNG_CLASSES, decode_png, present_bits
from data.errors import InputError
from data.files import resolved
from data.image_io import read_header, read_image
from data.names import keyed_files
from utils.evaluation.edges.predictions import PredictionFolder
from utils.evaluation.edges.predictions.images import are_grey

HINT = "score the edges of label maps with --prediction-kind labels, the maps with --task seg"


def refuse_out_among_arrays(folder: PredictionFolder, out: Path) -> None:
    """InputError if results would lie among predictions that are arrays, as some of them are."""
    if folder.layout == "arrays" and resolved(folder.root) in resolved(out).parents:
        raise InputError(
            f"--out {out}: lies in the folder of predictions, and its arrays would be taken for "
            "some; choose another"
        )


def refuse_label_maps(root: Path, num_classes: int | None, names: Sequence[str]) -> None:
    """InputError that names the flag if a folder holds label maps, as far as that can be seen.

    Of images in colours the first is read: a label map has bits that an edge image does not have.

    Args:
        root: of the predictions.
        num_classes: of the ground truth; None if that is unknown.
        names: of the classes, which folders of edges may have.
    """
    if not root.is_dir() or (root / "prob").is_dir() or any(root.glob("class_*")):
        return
    if any((root / name).is_dir() for name in names):  # a folder per class
        return
    if (root / "labels").is_dir() and keyed_files(root / "labels", ".png"):
        raise InputError(f"{root}: holds label maps (labels/), and no edges; {HINT}")
    first = next(iter(keyed_files(root, ".png").values()), None)
    if first is None or num_classes is None:
        return
    header = read_header(first)
    if header.palette:
        raise InputError(f"{first}: has a palette, so it is no map of edges; {HINT}")
    # Three equal channels are grey scores of a class, which some programs save as RGB.
    if header.channels == 3 and header.bits == 8 and 1 < num_classes < PNG_CLASSES:
        if are_grey([first]):
            return
        found = present_bits(decode_png(read_image(first)))
        if found and found[-1] >= num_classes:
            raise InputError(
                f"{first}: is no edge image of {num_classes} classes, as it holds class "
                f"{found[-1]}, counted from 0; {HINT}"
            )
