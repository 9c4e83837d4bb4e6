"""The published MATLAB structures of edge labels, for MATLAB's evaluation and training code.

labelEdge   cell (K, 1) of sparse logical (H, W): the training label
GTcls       Boundaries: such a cell; Segmentation: class of each pixel from 1, 0 = none;
            CategoriesPresent
GTinst      Boundaries: such a cell; Segmentation: region of each pixel from 1, 0 = none;
            Categories: the regions' classes
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse

from data.edges import unpack
from data.files import write_aside


def boundaries(bits: np.ndarray, num_classes: int) -> np.ndarray:
    """The cell of the classes' boundaries, object (K, 1), from uint32 (H, W)."""
    cell = np.empty((num_classes, 1), object)
    for k, edge in enumerate(unpack(bits, num_classes)):
        cell[k, 0] = scipy.sparse.csc_array(edge)
    return cell


def write_label_edge(path: Path, bits: np.ndarray, num_classes: int) -> None:
    """Write `labelEdge` from edges uint32 (H, W)."""
    _save(path, {"labelEdge": boundaries(bits, num_classes)})


def write_gt_cls(path: Path, bits: np.ndarray, label: np.ndarray, num_classes: int) -> None:
    """Write `GTcls` from edges uint32 (H, W) and label uint8 (H, W) of train ids."""
    segmentation = np.where(label < num_classes, label + np.uint8(1), np.uint8(0))
    structure = {
        "Boundaries": boundaries(bits, num_classes),
        "Segmentation": segmentation,
        "CategoriesPresent": _column(np.setdiff1d(segmentation, [0])),
    }
    _save(path, {"GTcls": structure})


def write_gt_inst(
    path: Path, bits: np.ndarray, label: np.ndarray, instance: np.ndarray | None, num_classes: int
) -> None:
    """Write `GTinst`.

    Args:
        path: the .mat file.
        bits: edges uint32 (H, W).
        label: uint8 (H, W) of train ids.
        instance: ids (H, W), by which regions are numbered; None: each class is one region.
        num_classes: ids of `label` from here on are no class.
    """
    inside = label < num_classes
    ids = label if instance is None else instance
    # Pairs of instance and class: an id that occurs with several classes becomes several regions.
    pairs = ids[inside].astype(np.int64) * 256 + label[inside]
    regions, numbers = np.unique(pairs, return_inverse=True)
    segmentation = np.zeros(label.shape, np.uint16)
    segmentation[inside] = numbers + 1
    structure = {
        "Boundaries": boundaries(bits, num_classes),
        "Segmentation": segmentation,
        "Categories": _column(regions % 256 + 1),
    }
    _save(path, {"GTinst": structure})


def write_mat_list(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a file list, `dataList`: a cell of strings, one row for each of `rows`."""
    cell = np.empty((len(rows), len(rows[0]) if rows else 0), object)
    for i, row in enumerate(rows):
        cell[i, :] = list(row)
    _save(path, {"dataList": cell})


def _column(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, 1).astype(np.uint8)


def _save(path: Path, variables: dict[str, Any]) -> None:
    with write_aside(path) as aside, aside.open("wb") as file:
        scipy.io.savemat(file, variables, do_compression=True)
