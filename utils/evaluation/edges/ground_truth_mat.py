"""Ground truth of edges in the published .mat files."""

from pathlib import Path

import cv2
import numpy as np
import scipy.io

from data.errors import InputError

EXPECTED = (
    "expected GTcls or GTinst with Boundaries, or groundTruth, saved as MATLAB version 7 or older"
)


def read_mat(path: Path, num_classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(edges uint32 (h, w) or (A, h, w), label uint8 (h, w) or None) of a published file.

    It holds one of three structures: `GTcls` (Boundaries per class), `GTinst` (Boundaries per
    instance, and their Categories) or the `groundTruth` of BSDS500 (Boundaries of A annotators, one
    class). Only GTcls has a label.

    Raises:
        InputError: The file cannot be read, or has a class above `num_classes`.
    """
    try:
        contents = scipy.io.loadmat(path)
        kind = next((name for name in ("GTcls", "GTinst") if name in contents), "groundTruth")
        if kind == "groundTruth":
            return _annotators(contents[kind]), None
        return _boundaries(contents[kind][0, 0], num_classes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # scipy raises whatever the broken part of the file leads to
        raise InputError(
            f"{path}: cannot be read as ground truth ({type(error).__name__}: {error}); {EXPECTED}"
        ) from error


def _annotators(cells: np.ndarray) -> np.ndarray:
    maps = [np.asarray(cell["Boundaries"][0, 0]) != 0 for cell in cells.ravel()]
    return np.stack(maps).astype(np.uint32)


def _boundaries(structure: np.void, num_classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The edges and the label, if it has one, of a GTcls or GTinst."""
    cells = structure["Boundaries"].ravel()
    segmentation = np.asarray(structure["Segmentation"])
    maps = [cell.toarray() if hasattr(cell, "toarray") else np.asarray(cell) for cell in cells]
    # GTinst numbers its instances, so its Segmentation says no class.
    is_instances = "Categories" in (structure.dtype.names or ())
    classes = np.arange(1, len(cells) + 1)
    if (
        is_instances
        and structure["Categories"].size == len(cells)
        and _one_per_region(maps, segmentation)
    ):
        classes = structure["Categories"].ravel()
    if classes.size and classes.max() > num_classes:
        raise InputError(f"holds class {classes.max()}; expected at most {num_classes}")
    # The published scripts store an absent class as an empty map, at times of another size: it is
    # no edge.
    size = next((edge.shape for edge in maps if edge.any()), segmentation.shape)
    bits = np.zeros(size, np.uint32)
    for number, edge in zip(classes.tolist(), maps, strict=True):
        if edge.any():
            bits |= (edge != 0).astype(np.uint32) << np.uint32(number - 1)
    if is_instances or segmentation.shape != size:
        return bits, None
    has_class = (segmentation > 0) & (segmentation <= num_classes)
    return bits, np.where(has_class, segmentation - 1, 255).astype(np.uint8)


def _one_per_region(maps: list[np.ndarray], segmentation: np.ndarray) -> bool:
    """Whether map i surrounds region i of the segmentation, as in SBD's GTinst.

    In Cityscapes' GTinst map i is that of class i. Where there are as many regions as classes, only
    the maps themselves can tell the two apart.
    """
    for number, edge in enumerate(maps, start=1):
        if edge.any() and edge.shape == segmentation.shape:
            region = (segmentation == number).astype(np.uint8)
            if not cv2.dilate(region, np.ones((5, 5), np.uint8))[edge != 0].all():
                return False
    return True
