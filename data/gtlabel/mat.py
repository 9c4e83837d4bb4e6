"""The published MATLAB structures of edge labels, for MATLAB's evaluation and training code.

labelEdge   cell (K, 1) of sparse logical (H, W)                                         training label
GTcls       Boundaries: such a cell; Segmentation: class of each pixel from 1, 0 = none; CategoriesPresent
GTinst      Boundaries: such a cell; Segmentation: region of each pixel from 1, 0 = none; Categories: their classes
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse

from data.edges import unpack
from data.files import write_aside


def boundaries(bits: np.ndarray, num_classes: int) -> np.ndarray:
    """The cell of a class's boundaries, object (K, 1), from uint32 (H, W)."""
    cell = np.empty((num_classes, 1), object)
    for k, edge in enumerate(unpack(bits, num_classes)):
        cell[k, 0] = scipy.sparse.csc_array(edge)
    return cell


def write_label_edge(path: Path, bits: np.ndarray, num_classes: int) -> None:
    """Write `labelEdge`."""
    _save(path, {"labelEdge": boundaries(bits, num_classes)})


def write_gt_cls(path: Path, bits: np.ndarray, label: np.ndarray, num_classes: int) -> None:
    """Write `GTcls`. label: uint8 (H, W) of train ids, at the size of `bits`."""
    segmentation = np.where(label < num_classes, label + np.uint8(1), np.uint8(0))
    present = np.setdiff1d(segmentation, [0])
    truth = {
        "Boundaries": boundaries(bits, num_classes),
        "Segmentation": segmentation,
        "CategoriesPresent": _column(present),
    }
    _save(path, {"GTcls": truth})


def write_gt_inst(
    path: Path, bits: np.ndarray, label: np.ndarray, instance: np.ndarray | None, num_classes: int
) -> None:
    """Write `GTinst`; regions are numbered by their instance id. Without instances each class is one region."""
    inside = label < num_classes
    ids = label if instance is None else instance
    pairs = (
        ids[inside].astype(np.int64) * 256 + label[inside]
    )  # ids that go with several classes become several regions
    regions, numbers = np.unique(pairs, return_inverse=True)
    segmentation = np.zeros(label.shape, np.uint16)
    segmentation[inside] = numbers + 1
    truth = {
        "Boundaries": boundaries(bits, num_classes),
        "Segmentation": segmentation,
        "Categories": _column(regions % 256 + 1),
    }
    _save(path, {"GTinst": truth})


def _column(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, 1).astype(np.uint8)


def _save(path: Path, variables: dict[str, object]) -> None:
    with write_aside(path) as aside, aside.open("wb") as file:
        scipy.io.savemat(file, variables, do_compression=True)


def write_mat_list(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a file list, `dataList`: a cell of strings, a row for each of `rows`."""
    cell = np.empty((len(rows), len(rows[0]) if rows else 0), object)
    for i, row in enumerate(rows):
        cell[i, :] = list(row)
    _save(path, {"dataList": cell})
