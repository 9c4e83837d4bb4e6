"""Checks that all metrics of label maps share."""

import numpy as np


def as_ids(ids: np.ndarray) -> np.ndarray:
    """A label map as uint8 (H, W); ValueError for another shape, or ids outside 0..255."""
    ids = np.asarray(ids)
    if ids.ndim != 2:
        raise ValueError(f"a label map is (H, W), found an array of shape {ids.shape}")
    if ids.dtype != np.uint8:
        if ids.size and (ids.min() < 0 or ids.max() > 255):
            raise ValueError(f"label ids {ids.min()}..{ids.max()}; expected 0..255")
        ids = ids.astype(np.uint8)
    return np.ascontiguousarray(ids)


def as_pair(pred: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both label maps as uint8 (H, W); ValueError also if their sizes differ."""
    pred, label = as_ids(pred), as_ids(label)
    if pred.shape != label.shape:
        raise ValueError(f"the prediction is {pred.shape} (H, W), its ground truth {label.shape}")
    return pred, label
