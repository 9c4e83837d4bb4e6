"""Checks that all metrics of label maps share."""

from numbers import Integral

import numpy as np

MAX_CLASSES = 255  # ids are uint8, and 255 is no class


def as_ids(ids: np.ndarray) -> np.ndarray:
    """A label map as uint8 (H, W).

    ValueError for another shape, an empty map or a masked one, for numbers with fractions, and for
    ids outside 0..255.
    """
    if isinstance(ids, np.ma.MaskedArray):
        raise ValueError("a masked array, whose mask would be lost; fill it with 255, no class")
    ids = np.asarray(ids)
    if ids.ndim != 2 or not ids.size:
        raise ValueError(f"a label map is (H, W), found an array of shape {ids.shape}")
    if ids.dtype.kind not in "bui":
        raise ValueError(
            f"a label map holds ids, found numbers of {ids.dtype}; expected integers, such as uint8"
        )
    if ids.dtype != np.uint8:
        if ids.min() < 0 or ids.max() > 255:
            raise ValueError(f"label ids {ids.min()}..{ids.max()}; expected 0..255")
        ids = ids.astype(np.uint8)
    return np.ascontiguousarray(ids)


def as_pair(pred: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both label maps as uint8 (H, W); ValueError also if their sizes differ."""
    pred, label = as_ids(pred), as_ids(label)
    if pred.shape != label.shape:
        raise ValueError(f"the prediction is {pred.shape} (H, W), its ground truth {label.shape}")
    return pred, label


def require_classes(num_classes: int) -> None:
    """ValueError unless label maps can hold that many classes beside "no class"."""
    if not isinstance(num_classes, Integral) or not 1 <= num_classes <= MAX_CLASSES:
        raise ValueError(
            f"{num_classes!r} classes; expected a whole number, 1 to {MAX_CLASSES}: label maps "
            "have 8 bits, and 255 is no class"
        )


def require_matrix(counts: np.ndarray) -> np.ndarray:
    """A confusion matrix (K, K) or (K, K + 1); ValueError for anything else, such as a map."""
    counts = np.asarray(counts)
    square = counts.ndim == 2 and counts.shape[0] and counts.shape[1] - counts.shape[0] in (0, 1)
    if not square or counts.dtype.kind not in "uif":
        raise ValueError(
            f"found an array of {counts.dtype} and shape {counts.shape}; expected the numbers of "
            "pixels (K, K) or (K, K + 1) that `confusion` returns"
        )
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError("a confusion matrix counts pixels; found numbers below 0, or none")
    # Sums of small types overflow.
    return counts.astype(np.float64) if counts.dtype.kind == "f" else counts
