"""The files that predict.py leaves for an image: their names, how each is drawn and written."""

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.edges import PNG_CLASSES, encode_png, pack
from data.errors import InputError
from data.files import NAME_MAX, resolved
from data.image_io import write_png
from data.names import require_own_targets
from data.visualize import add_legend, color_labels, draw_edges, draw_overlay, present_classes
from utils.checkpoint import ModelInfo
from utils.inference.scores import quantize

Files = dict[str, list[Path]]  # kind of output -> its files for one image


@dataclass(frozen=True)
class OutputChoice:
    """What is written beside the drawing (edges) or the drawing and the label map (segmentation).

    Args:
        overlay: the drawing over the image.
        prob: edges: a 16-bit PNG of probabilities for each class.
        bits: edges: one PNG of `data.edges.encode_png`.
    """

    overlay: bool = True
    prob: bool = False
    bits: bool = False


def output_files(out: Path, name: str, info: ModelInfo, choice: OutputChoice) -> Files:
    """The files of the image `name` in the folder `out`, by kind: one, but for "prob" one a class.

    InputError for a choice that the network's task or number of classes does not allow.
    """
    drawing = "edges" if info.task == "edge" else "colors"
    files = {drawing: [out / f"{name}_{drawing}.png"]}
    if choice.overlay:
        files["overlay"] = [out / f"{name}_overlay.png"]
    if info.task == "seg":
        if choice.prob or choice.bits:
            raise InputError(
                f"--save-prob and --save-bits are for edges; the checkpoint holds {info.name}"
            )
        return files | {"labels": [out / "labels" / f"{name}.png"]}
    if choice.prob:
        folders = [out / "prob" / f"class_{k + 1:03d}" for k in range(info.num_classes)]
        files["prob"] = [folder / f"{name}.png" for folder in folders]
    if choice.bits:
        if info.num_classes > PNG_CLASSES:
            raise InputError(
                f"--save-bits holds {PNG_CLASSES} classes, this network has {info.num_classes}; "
                "use --save-prob"
            )
        files["bits"] = [out / "bits" / f"{name}.png"]
    return files


def check_outputs(
    files: Mapping[Path, Files], checkpoint: Path, *, overwrite: bool
) -> dict[Path, Exception]:
    """The images whose files cannot be written, and why. Nothing has been written yet.

    InputError if a file would replace an image or the checkpoint, two images would be written to
    one file, or, without `overwrite`, a file is there already.

    files: the outputs of each image.
    """
    targets = [
        (image, path)
        for image, kinds in files.items()
        for group in kinds.values()
        for path in group
    ]
    require_own_targets(targets)
    inputs = {resolved(image) for image in files}
    failures: dict[Path, Exception] = {}
    for image, path in targets:
        if resolved(path) in inputs:
            raise InputError(f"{path} would replace an input; give another --out")
        if resolved(path) == resolved(checkpoint):
            raise InputError(f"{path} would replace the checkpoint; give another --out")
        try:
            there = _require_possible(path)
        except OSError as error:
            failures[image] = error
            continue
        if there and not overwrite:
            raise InputError(f"{path} is there already; give --overwrite or another --out")
    return failures


def _require_possible(path: Path) -> bool:
    """True if a file is there; OSError if none can be: the name is too long, a folder is there."""
    if len(os.fsencode(path.name)) > NAME_MAX:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return True


def write_outputs(
    files: Files, image: np.ndarray, result: np.ndarray, info: ModelInfo, threshold: float
) -> None:
    """Draw and write the files of one image.

    Args:
        files: those of `output_files`.
        image: uint8 (H, W, 3), RGB.
        result: what a `Predictor` returned for it.
        info: classes and colours.
        threshold: the least probability of an edge that is drawn, and set in the bits.
    """
    if info.task == "edge":
        write_edges(files, image, result, info, threshold)
    else:
        write_labels(files, image, result, info)


def write_edges(
    files: Files, image: np.ndarray, prob: np.ndarray, info: ModelInfo, threshold: float
) -> None:
    """Write drawing, overlay, probabilities and bits of an image, as far as `files` has them.

    image: uint8 (H, W, 3). prob: float32 (K, H, W).
    """
    for path in files["edges"]:
        write_png(path, draw_result(prob, info, threshold))
    for path in files.get("overlay", ()):
        write_png(path, draw_overlay(image, prob, info.palette, threshold=threshold))
    if "prob" in files:
        for path, plane in zip(files["prob"], prob, strict=True):
            write_png(path, quantize(plane))
    for path in files.get("bits", ()):
        write_png(path, encode_png(pack(prob >= threshold)))


def write_labels(files: Files, image: np.ndarray, labels: np.ndarray, info: ModelInfo) -> None:
    """Write label map, drawing and overlay of an image, as far as `files` has them.

    image: uint8 (H, W, 3). labels: uint8 (H, W).
    """
    for path in files["labels"]:
        write_png(path, labels)
    for path in files["colors"]:
        write_png(path, draw_result(labels, info))
    for path in files.get("overlay", ()):
        colors = color_labels(labels, info.palette)
        write_png(path, cv2.addWeighted(image, 0.5, colors, 0.5, 0))


def draw_result(result: np.ndarray, info: ModelInfo, threshold: float = 0.5) -> np.ndarray:
    """Edges or classes in colour, with a legend of those that occur: uint8 (H', W', 3), RGB.

    result: probabilities float32 (K, H, W) or labels uint8 (H, W), by the network's task.
    threshold: for edges.
    """
    if info.task == "edge":
        present = present_classes(result, info.num_classes, threshold=threshold)
        drawing = draw_edges(result, info.palette, threshold=threshold)
    else:
        present = np.flatnonzero(np.bincount(result.ravel(), minlength=info.num_classes)).tolist()
        drawing = color_labels(result, info.palette)
    return add_legend(drawing, present, info.classes, info.palette)
