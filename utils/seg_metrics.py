"""Scores of a label map against the true one: confusion matrix and IoU, boundary F, boundary IoU.

Label maps are integer (H, W), one id per pixel: classes 0..K-1; K and above in the truth is ignored, in a prediction it is no class.

Boundary F (Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation", CVPR 2016; per class as in
Takikawa et al., "Gated-SCNN", ICCV 2019, and Li et al., "Improving semantic segmentation via decoupled body and edge supervision",
ECCV 2020). A pixel is on the boundary of class k if it differs in "is k" from its right, lower or lower right neighbour. A boundary
pixel is matched if the other map has a boundary pixel of the class within the tolerance; many may share one. As published:
- ignored pixels are no class in both maps, so that both have the same boundary round them;
- F is 1 where both maps lack a boundary of the class, which raises the mean of rare classes;
- the score of a class is the mean of F over images.

Boundary IoU (Cheng et al., CVPR 2021): the IoU of the pixels of each class that lie within `distance` of its contour (chessboard distance,
as in the authors' code) or of the image's border, counted over the data set.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numba import njit

from data.image_io import IGNORE

PUBLISHED_BOUNDS = (
    0.0005,
    0.001875,
    0.00375,
    0.005,
)  # of the diagonal; 2, 5, 9 and 12 px at 2048x1024
MATCHED_TRUE, TRUE, MATCHED_PREDICTED, PREDICTED = range(4)
CLASSES_PER_PASS = 64  # boundaries are bits of a uint64


def confusion(
    pred: np.ndarray, label: np.ndarray, num_classes: int, *, void: bool = False
) -> np.ndarray:
    """int64 (K, K): how many pixels of true class i are predicted as j. Ignored pixels (label K and above) do not count.

    A prediction of no class (K and above) where the truth has one is a ValueError; with `void` it counts in a last column (K, K + 1).
    """
    pred, label = _as_ids(pred), _as_ids(label)
    _require_equal_size(pred, label)
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    _count_pairs(pred.ravel(), label.ravel(), counts)
    if void:
        return counts
    if lost := counts[:, -1].sum():
        raise ValueError(
            f"{lost} labelled pixels are predicted as no class; expected ids 0..{num_classes - 1}"
        )
    return counts[:, :-1].copy()


def class_iou(counts: np.ndarray) -> np.ndarray:
    """float64 (K,) from a confusion matrix (K, K or K + 1): true positives / (them + false positives + false negatives).

    nan for a class that is neither true nor predicted anywhere.
    """
    classes = len(counts)
    hits = np.diagonal(counts)
    union = counts.sum(axis=1) + counts[:, :classes].sum(axis=0) - hits
    return _ratio(hits, union)


def mean_iou(counts: np.ndarray) -> float:
    """The mean of `class_iou` over the classes that are true or predicted somewhere; nan if there are none."""
    return mean_of_numbers(class_iou(counts))


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """float64 (K,): the share of each class's true pixels that are right; nan for a class without any."""
    return _ratio(np.diagonal(counts), counts.sum(axis=1))


def pixel_accuracy(counts: np.ndarray) -> float:
    """The share of all labelled pixels that are right; nan if there are none."""
    return float(_ratio(np.trace(counts), counts.sum()))


def frequency_weighted_iou(counts: np.ndarray) -> float:
    """The mean of `class_iou` weighted by the true pixels of each class (Long et al., "FCN", CVPR 2015); nan without any."""
    true = counts.sum(axis=1)
    return float(_ratio((true * np.nan_to_num(class_iou(counts))).sum(), true.sum()))


def tolerance_pixels(bound: float, size: tuple[int, int]) -> float:
    """The tolerance in pixels for an image of `size` (H, W). bound < 1: fraction of the diagonal, rounded up; 1 and above: pixels."""
    if not bound > 0:
        raise ValueError(
            f"a tolerance of {bound}; expected a fraction of the diagonal above 0, or pixels from 1 on"
        )
    return bound if bound >= 1 else math.ceil(bound * math.hypot(*size))


def boundary_f(
    pred: np.ndarray, label: np.ndarray, num_classes: int, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """(sums float64 (K,), counts int64 (K,)) of one image, as published: each class's F, and 1. Add them up over images.

    bound: see `tolerance_pixels`.
    """
    f = boundary_f_measure(boundary_counts(pred, label, num_classes, [bound])[0])
    return f, np.ones(num_classes, np.int64)


def boundary_f_measure(counts: np.ndarray) -> np.ndarray:
    """Counts (..., 4) of `boundary_counts` -> F float64 (...): 1 where both boundaries are empty, 0 where one is."""
    matched_true, true, matched_predicted, predicted = np.moveaxis(
        np.asarray(counts, np.float64), -1, 0
    )
    recall, precision = (
        matched_true / np.maximum(true, 1),
        matched_predicted / np.maximum(predicted, 1),
    )
    total = recall + precision
    f = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total > 0)
    return np.where((true == 0) & (predicted == 0), 1.0, f)


def boundary_counts(
    pred: np.ndarray, label: np.ndarray, num_classes: int, bounds: Sequence[float]
) -> np.ndarray:
    """int64 (B, K, 4) of one image: matched true, true, matched predicted, predicted boundary pixels at each of B bounds.

    All classes and bounds in one pass: a pixel's boundaries are the bits of one integer, and from each boundary pixel the other map is
    searched outwards until every bit is found or the largest tolerance is reached.
    """
    pred, label = _as_ids(pred), _as_ids(label)
    _require_equal_size(pred, label)
    radii = [tolerance_pixels(bound, label.shape) for bound in bounds]
    pad = math.floor(max(radii))
    offsets, levels = _disk(sorted(set(radii)), label.shape[1] + 2 * pad)
    found = np.zeros((len(set(radii)), num_classes, 4), np.int64)
    for first in range(0, num_classes, CLASSES_PER_PASS):
        count = min(CLASSES_PER_PASS, num_classes - first)
        bit_of = np.zeros(256, np.uint64)
        bit_of[first : first + count] = np.uint64(1) << np.arange(count, dtype=np.uint64)
        maps = np.zeros((2, label.shape[0] + 2 * pad, label.shape[1] + 2 * pad), np.uint64)
        _mark_boundaries(pred, label, num_classes, bit_of, pad, maps[0], maps[1])
        predicted, true = maps[0].ravel(), maps[1].ravel()
        part = found[:, first : first + count]
        _count_matched(true, predicted, offsets, levels, part[:, :, MATCHED_TRUE], part[:, :, TRUE])
        _count_matched(
            predicted, true, offsets, levels, part[:, :, MATCHED_PREDICTED], part[:, :, PREDICTED]
        )
    found[:, :, (MATCHED_TRUE, MATCHED_PREDICTED)] = found[
        :, :, (MATCHED_TRUE, MATCHED_PREDICTED)
    ].cumsum(axis=0)
    return found[np.searchsorted(sorted(set(radii)), radii)]


def boundary_iou_counts(
    pred: np.ndarray, label: np.ndarray, num_classes: int, bound: float
) -> np.ndarray:
    """int64 (K, 2) of one image: pixels in the intersection and in the union of the two boundary regions of each class.

    bound: how far the region reaches inwards from the contour, see `tolerance_pixels`. Ignored pixels are no class in both maps.
    """
    pred, label = _as_ids(pred), _as_ids(label)
    _require_equal_size(pred, label)
    distance = math.floor(tolerance_pixels(bound, label.shape))
    ignored = label >= num_classes
    regions = [
        boundary_region(np.where(ignored, np.uint8(IGNORE), ids), distance) for ids in (pred, label)
    ]
    counts = confusion(*(np.minimum(ids, num_classes) for ids in regions), num_classes + 1)
    hits = np.diagonal(counts)
    return np.stack([hits, counts.sum(axis=0) + counts.sum(axis=1) - hits], axis=1)[:num_classes]


def boundary_region(ids: np.ndarray, distance: int) -> np.ndarray:
    """uint8 (H, W): `ids` where another id or the outside lies within `distance` (chessboard), elsewhere 255."""
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    inside = cv2.dilate(ids, square) == cv2.erode(ids, square)
    framed = np.zeros_like(inside)
    inner = (slice(distance, ids.shape[0] - distance), slice(distance, ids.shape[1] - distance))
    framed[inner] = inside[inner]
    return np.where(framed, np.uint8(IGNORE), ids)


def label_boundaries(ids: np.ndarray) -> np.ndarray:
    """bool (H, W): the pixels on a boundary of any class, by boundary F's rule."""
    edge = np.zeros(ids.shape, bool)
    edge[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    edge[:-1] |= ids[:-1] != ids[1:]
    edge[:-1, :-1] |= ids[:-1, :-1] != ids[1:, 1:]
    return edge


def _as_ids(ids: np.ndarray) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.ndim != 2:
        raise ValueError(f"a label map is (H, W), found an array of shape {ids.shape}")
    if ids.dtype != np.uint8:
        if ids.size and (ids.min() < 0 or ids.max() > 255):
            raise ValueError(f"label ids {ids.min()}..{ids.max()}; expected 0..255")
        ids = ids.astype(np.uint8)
    return np.ascontiguousarray(ids)


def _require_equal_size(pred: np.ndarray, label: np.ndarray) -> None:
    if pred.shape != label.shape:
        raise ValueError(f"the prediction is {pred.shape} (H, W), its truth {label.shape}")


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def mean_of_numbers(values: np.ndarray) -> float:
    """The mean of the numbers among `values`, such as the classes that have a score; nan if there are none."""
    numbers = values[np.isfinite(values)]
    return float(numbers.mean()) if numbers.size else math.nan


def _disk(radii: Sequence[float], row: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels within the largest radius, nearest first: (flat offsets int64, index of the smallest radius that reaches each)."""
    reach = math.floor(max(radii))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    squared = dy**2 + dx**2
    order = np.argsort(squared, axis=None, kind="stable")[
        : np.count_nonzero(squared <= max(radii) ** 2)
    ]
    levels = np.searchsorted(np.square(radii), squared.ravel()[order])
    return (dy * row + dx).ravel()[order].astype(np.int64), levels.astype(np.int64)


@njit(cache=True, nogil=True)
def _count_pairs(pred: np.ndarray, label: np.ndarray, counts: np.ndarray) -> None:
    classes = counts.shape[0]
    for i in range(label.size):
        if label[i] < classes:
            counts[label[i], min(np.int64(pred[i]), classes)] += 1


@njit(cache=True, nogil=True)
def _mark_boundaries(
    pred: np.ndarray,
    label: np.ndarray,
    classes: int,
    bit_of: np.ndarray,
    pad: int,
    predicted: np.ndarray,
    true: np.ndarray,
) -> None:
    """Set bit k of each boundary pixel of class k in the two maps, which have `pad` pixels of zeros around them."""
    height, width = label.shape
    none = np.uint64(0)
    for y in range(height):
        for x in range(width):
            own = bit_of[label[y, x]]
            guess = bit_of[pred[y, x]] if label[y, x] < classes else none
            for step in range(1, 4):  # right, below, below right
                below, right = y + step // 2, x + step % 2
                if below < height and right < width:
                    other = label[below, right]
                    true[y + pad, x + pad] |= own ^ bit_of[other]
                    predicted[y + pad, x + pad] |= guess ^ (
                        bit_of[pred[below, right]] if other < classes else none
                    )


@njit(cache=True, nogil=True)
def _count_matched(
    bits: np.ndarray,
    others: np.ndarray,
    offsets: np.ndarray,
    levels: np.ndarray,
    matched: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add to matched (B, K) the bits first matched at each tolerance, to total (B, K) all bits."""
    none, one = np.uint64(0), np.uint64(1)
    occurring = none
    for i in range(others.size):
        occurring |= others[i]
    for i in range(bits.size):
        own = bits[i]
        if own == none:
            continue
        left, k = own, 0
        while left != none:
            if left & one:
                for level in range(total.shape[0]):
                    total[level, k] += 1
            left, k = left >> one, k + 1
        left = own & occurring
        for j in range(offsets.size):
            if left == none:
                break
            found = left & others[i + offsets[j]]
            left &= ~found
            k = 0
            while found != none:
                if found & one:
                    matched[levels[j], k] += 1
                found, k = found >> one, k + 1
