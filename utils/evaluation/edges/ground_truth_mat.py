"""Ground truth of edges in the published .mat files."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.io

from data.edges import PNG_CLASSES
from data.errors import InputError
from data.files import reading, require_file
from data.image_io import IGNORE, MAX_PIXELS

EXPECTED = (
    "expected GTcls or GTinst with Boundaries, or groundTruth, saved as MATLAB version 7 or older"
)
MANY_CLASSES_IGNORE = 65535  # marks pixels without a class where IGNORE is the id of one


def read_mat(path: Path, num_classes: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """(edges in groups, uint32 (h, w) or (A, h, w) each; label (h, w) or None) of a published file.

    It holds one of three structures: `GTcls` (Boundaries per class), `GTinst` (Boundaries per
    instance, and their Categories) or the `groundTruth` of BSDS500 (Boundaries of A annotators, one
    class). Only GTcls has a label: uint8 or uint16, from 0, with 255 or 65535 for no class.

    Raises:
        InputError: The file cannot be read, or has a class above `num_classes`.
    """
    require_file(path, ".mat file")
    with reading(path, EXPECTED):
        contents = scipy.io.loadmat(path)
    kind = next((name for name in ("GTcls", "GTinst") if name in contents), "groundTruth")
    try:
        if kind == "groundTruth":
            if num_classes != 1:
                raise InputError(f"holds the edges of one class (groundTruth), not {num_classes}")
            return _annotators(contents[kind]), None
        return _boundaries(contents[kind][0, 0], num_classes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    # A structure with other fields, or with something else in them.
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: the file cannot be read as ground truth ({type(error).__name__}: {error}); "
            f"{EXPECTED}"
        ) from error


def _annotators(cells: np.ndarray) -> list[np.ndarray]:
    maps = [_edge_map(cell["Boundaries"][0, 0]) for cell in cells.ravel()]
    if len({edge.shape for edge in maps}) != 1:
        sizes = [edge.shape for edge in maps]
        raise InputError(f"holds the maps of {len(maps)} annotators, of sizes {sizes}; {EXPECTED}")
    return [np.stack(maps).astype(np.uint32)]


def _edge_map(stored: Any) -> np.ndarray:
    """bool (h, w) of a dense or sparse matrix; InputError for anything else."""
    if stored.ndim != 2 or stored.dtype.kind not in "biuf" or 0 in stored.shape:
        raise InputError(
            f"holds a boundary of {stored.dtype} {stored.shape}; expected a map (h, w)"
        )
    if stored.shape[0] * stored.shape[1] > MAX_PIXELS:
        raise InputError(f"holds a boundary of {stored.shape}; expected at most {MAX_PIXELS:,}")
    return (stored.toarray() if hasattr(stored, "toarray") else np.asarray(stored)) != 0


def _boundaries(structure: np.void, num_classes: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """The edges and the label, if it has one, of a GTcls or GTinst."""
    cells = structure["Boundaries"].ravel()
    segmentation = np.asarray(structure["Segmentation"])
    is_map = segmentation.ndim == 2 and segmentation.size > 0
    if not is_map or segmentation.dtype.kind not in "biuf":
        raise InputError(
            f"holds a Segmentation of {segmentation.dtype} {segmentation.shape}; expected a map of "
            "ids (h, w)"
        )
    # The published scripts store an absent class as an empty map, at times of another size: it is
    # no edge. Most are sparse, and never become whole maps.
    maps = [_edge_map(cell) if _any_edge(cell) else None for cell in cells]
    # GTinst numbers its instances, so its Segmentation says no class.
    is_instances = "Categories" in (structure.dtype.names or ())
    classes = np.arange(1, len(cells) + 1)
    if (
        is_instances
        and structure["Categories"].size == len(cells)
        and _one_per_region(maps, segmentation)
    ):
        classes = _whole_numbers(structure["Categories"])
    if classes.size and not 1 <= classes.min() <= classes.max() <= num_classes:
        wrong = classes.max() if classes.max() > num_classes else classes.min()
        raise InputError(f"holds class {wrong}; expected 1 to {num_classes}")
    size = next((edge.shape for edge in maps if edge is not None), segmentation.shape)
    groups = [np.zeros(size, np.uint32) for _ in range(0, num_classes, PNG_CLASSES)]
    for number, edge in zip(classes.tolist(), maps, strict=True):
        if edge is None:
            continue
        if edge.shape != size:
            raise InputError(f"holds boundaries of {edge.shape} and of {size}; expected one size")
        group, bit = divmod(number - 1, PNG_CLASSES)
        groups[group] |= edge.astype(np.uint32) << np.uint32(bit)
    if is_instances or segmentation.shape != size:
        return groups, None
    return groups, _label(segmentation, num_classes)


def _any_edge(cell: Any) -> bool:
    if cell.dtype.kind not in "biuf":  # text, a structure: `_edge_map` says so
        return True
    return bool(cell.nnz if hasattr(cell, "nnz") else np.asarray(cell).any())


def _whole_numbers(stored: np.ndarray) -> np.ndarray:
    numbers = stored.ravel()
    if numbers.dtype.kind not in "biuf" or (numbers != np.rint(numbers)).any():
        raise InputError("holds Categories that are no whole numbers; expected a class each")
    return numbers.astype(np.int64)


def _label(segmentation: np.ndarray, num_classes: int) -> np.ndarray:
    has_class = (segmentation > 0) & (segmentation <= num_classes)
    if num_classes <= IGNORE:
        return np.where(has_class, segmentation - 1, IGNORE).astype(np.uint8)
    return np.where(has_class, segmentation - 1, MANY_CLASSES_IGNORE).astype(np.uint16)


def _one_per_region(maps: list[np.ndarray | None], segmentation: np.ndarray) -> bool:
    """Whether map i surrounds region i of the segmentation, as in SBD's GTinst.

    In Cityscapes' GTinst map i is that of class i. Where there are as many regions as classes, only
    the maps themselves can tell the two apart.
    """
    for number, edge in enumerate(maps, start=1):
        if edge is not None and edge.shape == segmentation.shape:
            region = (segmentation == number).astype(np.uint8)
            if not cv2.dilate(region, np.ones((5, 5), np.uint8))[edge].all():
                return False
    return True
