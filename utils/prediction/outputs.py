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
from data.files import NAME_MAX, resolved, write_aside
from data.image_io import write_png
from data.names import require_own_targets
from data.visualize import add_legend, color_labels
from utils.inference.drawing import Choice, DrawnEdges, beside, present_classes
from utils.inference.scores import dequantize, quantize
from utils.model_info import ModelInfo
from utils.prediction.page.image_data import edge_data, label_data, page_file, write_image_data
from utils.prediction.results import Result
from utils.prediction.vector import FORMATS, write_vectors

Files = dict[str, list[Path]]  # kind of output -> its files for one image
# Of a segmentation with edges of its own, beside those of the segmentation.
EDGES_OVERLAY, EDGES_BESIDE = "edges overlay", "edges side by side"


@dataclass(frozen=True)
class OutputChoice:
    """What is written beside the drawing (edges) or the drawing and the label map (segmentation).

    Args:
        overlay: the drawing over the image.
        side_by_side: the image and the drawing beside each other.
        prob: edges: a 16-bit PNG of probabilities for each class.
        npz: edges: one array of probabilities for all classes.
        bits: edges: one PNG of `data.edges.encode_png`.
        vector: edges: names of `utils.prediction.vector.FORMATS`, a file of polylines for each.
        outlines: segmentation: the outlines of the label map, as edges.
        edges: segmentation: the edges of its edge head, with all that is written of edges.
        page: what the page of `utils.prediction.page` shows of it.
    """

    overlay: bool = True
    side_by_side: bool = False
    prob: bool = False
    npz: bool = False
    bits: bool = False
    vector: tuple[str, ...] = ()
    outlines: bool = False
    edges: bool = False
    page: bool = False


def output_files(out: Path, name: str, info: ModelInfo, choice: OutputChoice) -> Files:
    """The files of the image `name` in the folder `out`, by kind: one, but for "prob" one a class.

    InputError for a choice that the network's task or number of classes does not allow.
    """
    drawing = "edges" if info.task == "edge" else "colors"
    files = {drawing: [out / f"{name}_{drawing}.png"]}
    if choice.overlay:
        files["overlay"] = [out / f"{name}_overlay.png"]
    if choice.side_by_side:
        files["side by side"] = [out / f"{name}_side_by_side.png"]
    if choice.page:
        files["page"] = [page_file(out, name)]
    if info.task == "seg":
        files["labels"] = [out / "labels" / f"{name}.png"]
        if choice.outlines or choice.edges:
            files["edges"] = [out / f"{name}_edges.png"]
        if choice.edges and choice.overlay:
            files[EDGES_OVERLAY] = [out / f"{name}_edges_overlay.png"]
        if choice.edges and choice.side_by_side:
            files[EDGES_BESIDE] = [out / f"{name}_edges_side_by_side.png"]
    _require_edges(info, choice)
    if choice.prob:
        folders = [out / "prob" / f"class_{k + 1:03d}" for k in range(info.num_classes)]
        files["prob"] = [folder / f"{name}.png" for folder in folders]
    if choice.npz:
        files["npz"] = [out / "prob" / f"{name}.npz"]
    if choice.bits:
        files["bits"] = [out / "bits" / f"{name}.png"]
    for form in choice.vector:
        files[form] = [out / "vector" / f"{name}{FORMATS[form].ending}"]
    return files


def _require_edges(info: ModelInfo, choice: OutputChoice) -> None:
    """InputError for files of edges where there are none, or too many classes for them."""
    without = info.task == "seg" and not choice.edges
    own = "--edges for those of its edge head" if info.has_edge_head else ""
    if without and (choice.prob or choice.npz):
        add = f": add {own}" if own else ""
        raise InputError(f"--save-prob is for edges; the checkpoint holds {info.name}{add}")
    if without and not choice.outlines and (choice.bits or choice.vector):
        add = f"{own}, or " if own else ""
        raise InputError(
            f"{'--save-bits' if choice.bits else '--vector'} is for edges; the checkpoint holds "
            f"{info.name}: add {add}--outlines for the outlines of its label maps"
        )
    if info.task == "edge" and choice.outlines:
        raise InputError(
            f"--outlines is for label maps; the checkpoint holds {info.name}, a net for edges"
        )
    if choice.bits and info.num_classes > PNG_CLASSES:
        instead = "--vector" if without else "--save-prob"
        raise InputError(
            f"--save-bits holds {PNG_CLASSES} classes, this network has {info.num_classes}; "
            f"use {instead}"
        )


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
            raise InputError(
                f"{path} is there already; give --overwrite, --skip-existing or another --out"
            )
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
    files: Files,
    image: np.ndarray,
    result: Result,
    info: ModelInfo,
    choice: Choice | None,
    source: Path | None = None,
) -> None:
    """Draw and write the files of one image.

    Args:
        files: those of `output_files`.
        image: uint8 (H, W, 3), RGB.
        result: what the net said of it.
        info: classes and colours.
        choice: which edges are drawn, and set in the bits; None for segmentation without edges.
        source: the file of the image, which files of polylines name.
    """
    drawn = None if choice is None else DrawnEdges(result.chosen_in(choice), info, choice)
    if result.labels is not None:
        write_labels(files, image, result.labels, info)
    _write_page(files, image, result, info, drawn)
    if choice is None or drawn is None:
        return
    if result.prob is None:
        _write_drawing(files["edges"], drawn.drawing, drawn.classes, info)
    elif result.labels is None:
        write_edges(files, image, result.prob, info, drawn)
    else:
        of_edges = {"overlay": EDGES_OVERLAY, "side by side": EDGES_BESIDE}
        own = {kind: files[name] for kind, name in of_edges.items() if name in files}
        others = {kind: paths for kind, paths in files.items() if kind not in of_edges}
        write_edges(others | own, image, result.prob, info, drawn)
    for path in files.get("bits", ()):
        write_png(path, encode_png(pack(drawn.edges)))
    vectors = {form: path for form in FORMATS for path in files.get(form, ())}
    write_vectors(vectors, drawn, info, choice, source)


def write_edges(
    files: Files, image: np.ndarray, prob: np.ndarray, info: ModelInfo, drawn: DrawnEdges
) -> None:
    """Write drawing, overlay and probabilities of an image, as far as `files` has them.

    image: uint8 (H, W, 3). prob: float32 (K, H, W).
    """
    _write_drawings(files, "edges", image, drawn.drawing, drawn.classes, info)
    for path in files.get("overlay", ()):
        write_png(path, drawn.over(image))
    if "prob" in files:
        for path, plane in zip(files["prob"], prob, strict=True):
            write_png(path, quantize(plane))
    for path in files.get("npz", ()):
        # In the PNGs' steps: the two give equal scores, and this compresses.
        with write_aside(path, sync=False) as aside, aside.open("wb") as file:
            np.savez_compressed(file, prob=dequantize(quantize(prob)))


def write_labels(files: Files, image: np.ndarray, labels: np.ndarray, info: ModelInfo) -> None:
    """Write label map, drawing and overlay of an image, as far as `files` has them.

    image: uint8 (H, W, 3). labels: uint8 (H, W).
    """
    for path in files["labels"]:
        write_png(path, labels)
    colors = color_labels(labels, info.palette)
    _write_drawings(files, "colors", image, colors, present_classes(labels, info), info)
    for path in files.get("overlay", ()):
        write_png(path, cv2.addWeighted(image, 0.5, colors, 0.5, 0))


def _write_page(
    files: Files, image: np.ndarray, result: Result, info: ModelInfo, drawn: DrawnEdges | None
) -> None:
    """Write what the page shows of an image, if `files` has it: areas, edges of a net, or both."""
    for path in files.get("page", ()):
        areas = {} if result.labels is None else label_data(image, result.labels)
        data = areas
        if result.prob is not None and drawn is not None:
            data = areas | edge_data(image, result.prob, drawn.edges)
            data |= {"areas": areas["classes"]} if areas else {}
        write_image_data(path, data, info)


def _write_drawing(
    paths: list[Path], drawing: np.ndarray, classes: list[int], info: ModelInfo
) -> None:
    for path in paths:
        write_png(path, add_legend(drawing, classes, info.classes, info.palette))


def _write_drawings(
    files: Files,
    kind: str,
    image: np.ndarray,
    drawing: np.ndarray,
    classes: list[int],
    info: ModelInfo,
) -> None:
    """Write the drawing with its legend, alone and beside the image, as far as `files` has them."""
    _write_drawing(files[kind], drawing, classes, info)
    if "side by side" in files:
        _write_drawing(files["side by side"], beside(image, drawing), classes, info)
