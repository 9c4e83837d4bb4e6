"""The confusion matrix of label maps, and what follows from it: IoU and accuracy."""

import math

import numpy as np

from data.system.compiled import compiled
from utils.seg_metrics.maps import as_pair, require_classes, require_matrix


def confusion(
    pred: np.ndarray, label: np.ndarray, num_classes: int, *, void: bool = False
) -> np.ndarray:
    """int64 (K, K): the number of pixels of true class i that are predicted as class j.

    Args:
        pred: Predicted label map (H, W).
        label: True label map (H, W). Pixels of K and above are ignored.
        num_classes: K.
        void: Count predictions of no class (K and above) in a last column: (K, K + 1).

    Raises:
        ValueError: Without `void`, a prediction of no class where the ground truth has one. Maps of
            two sizes, of no integers, or with ids outside 0..255; K outside 1..255.
    """
    require_classes(num_classes)
    counts = count_pairs(*as_pair(pred, label), num_classes)
    if void:
        return counts
    if lost := counts[:, -1].sum():
        raise ValueError(
            f"{lost} labelled pixels are predicted as no class; expected ids 0..{num_classes - 1}"
        )
    return counts[:, :-1].copy()


def count_pairs(pred: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """`confusion` with void, without its checks: maps uint8 (H, W), any number of classes."""
    counts = np.zeros((classes, classes + 1), np.int64)
    _count_pairs(pred.ravel(), label.ravel(), counts)
    return counts


def class_iou(counts: np.ndarray) -> np.ndarray:
    """IoU of each class, float64 (K,), from a confusion matrix (K, K) or (K, K + 1).

    True positives / (true positives + false positives + false negatives); nan for a class that is
    neither true nor predicted anywhere.
    """
    counts = require_matrix(counts)
    classes = len(counts)
    hits = np.diagonal(counts)
    union = counts.sum(axis=1) + counts[:, :classes].sum(axis=0) - hits
    return _ratio(hits, union)


def mean_iou(counts: np.ndarray) -> float:
    """The mean of `class_iou` over the classes that are true or predicted; nan without any."""
    return mean_of_numbers(class_iou(counts))


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """The share of each class's true pixels that are right, float64 (K,); nan without any."""
    counts = require_matrix(counts)
    return _ratio(np.diagonal(counts), counts.sum(axis=1))


def pixel_accuracy(counts: np.ndarray) -> float:
    """The share of all labelled pixels that are right; nan if there are none."""
    counts = require_matrix(counts)
    return float(_ratio(np.trace(counts), counts.sum()))


def frequency_weighted_iou(counts: np.ndarray) -> float:
    """The mean of `class_iou` weighted by the true pixels of each class; nan without any.

    Long et al., "Fully convolutional networks for semantic segmentation", CVPR 2015.
    """
    counts = require_matrix(counts)
    true = counts.sum(axis=1)
    return float(_ratio((true * np.nan_to_num(class_iou(counts))).sum(), true.sum()))


def mean_of_numbers(values: np.ndarray) -> float:
    """The mean of those of `values` that are numbers, such as classes with a score; nan without."""
    numbers = values[np.isfinite(values)]
    return float(numbers.mean()) if numbers.size else math.nan


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, nan where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


@compiled
def _count_pairs(pred: np.ndarray, label: np.ndarray, counts: np.ndarray) -> None:
    classes = counts.shape[0]
    for i in range(label.size):
        if label[i] < classes:
            counts[label[i], min(np.int64(pred[i]), classes)] += 1
