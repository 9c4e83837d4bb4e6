"""Boundary F and boundary IoU of label maps.

Boundary F: Perazzi et al., "A benchmark dataset and evaluation methodology for video object
segmentation", CVPR 2016; per class as in Takikawa et al., "Gated-SCNN", ICCV 2019, and Li et al.,
"Improving semantic segmentation via decoupled body and edge supervision", ECCV 2020.

Boundary IoU: Cheng et al., CVPR 2021.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from data.image_io import IGNORE
from data.system.compiled import compiled
from utils.seg_metrics.iou import count_pairs
from utils.seg_metrics.maps import as_ids, as_pair, require_classes

# Boundary F. A pixel is on the boundary of class k if it differs in "is k" from its right, lower or
# lower right neighbour. A boundary pixel is matched if the other map has a boundary pixel of the
# class within the tolerance; many may share one. As published:
# - ignored pixels are no class in both maps, so that both have the same boundary around them;
# - F is 1 where both maps lack a boundary of the class, which raises the mean of rare classes;
# - the score of a class is the mean of F over images.
#
# Boundary IoU. The IoU of the pixels of each class that are within `distance` of its contour or of
# the image's border (chessboard distance, as in the authors' code), counted over the data set. The
# authors round the distance to the nearest pixel, where boundary F rounds its tolerance up.

# Fractions of the diagonal; 2, 5, 9 and 12 px at 2048x1024.
PUBLISHED_BOUNDS = (0.0005, 0.001875, 0.00375, 0.005)
MATCHED_TRUE, TRUE, MATCHED_PREDICTED, PREDICTED = range(4)  # columns of `boundary_counts`
CLASSES_PER_PASS = 64  # boundaries are bits of a uint64


def tolerance_pixels(bound: float, size: tuple[int, int]) -> float:
    """The tolerance in pixels for an image of `size` (H, W).

    bound: below 1 a fraction of the diagonal, rounded up to whole pixels; from 1 on pixels.
    """
    _require_bound(bound)
    return bound if bound >= 1 else math.ceil(bound * math.hypot(*size))


def region_width(bound: float, size: tuple[int, int]) -> int:
    """How far boundary IoU's regions reach inwards in an image of `size` (H, W), in pixels.

    bound: below 1 a fraction of the diagonal, rounded to the nearest pixel as the authors do, but
    at least 1; from 1 on pixels.
    """
    _require_bound(bound)
    return math.floor(bound) if bound >= 1 else max(1, round(bound * math.hypot(*size)))


def _require_bound(bound: float) -> None:
    if not 0 < bound < math.inf:  # NaN fails both
        raise ValueError(
            f"a tolerance of {bound}; expected a fraction of the diagonal above 0, "
            "or pixels from 1 on"
        )


def boundary_f(
    pred: np.ndarray, label: np.ndarray, num_classes: int, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boundary F of one image, as published: (sums float64 (K,), counts int64 (K,)).

    They are each class's F, and 1: added up over images, their quotient is the score.

    Args:
        pred: Predicted label map (H, W).
        label: True label map (H, W).
        num_classes: K.
        bound: The tolerance, see `tolerance_pixels`.
    """
    f = boundary_f_measure(boundary_counts(pred, label, num_classes, [bound])[0])
    return f, np.ones(num_classes, np.int64)


def boundary_f_measure(counts: np.ndarray) -> np.ndarray:
    """Counts (..., 4) of `boundary_counts` -> F float64 (...).

    1 where both boundaries are empty, 0 where one is.
    """
    counts = np.asarray(counts, np.float64)
    if counts.ndim < 1 or counts.shape[-1] != 4:
        raise ValueError(f"expected counts (..., 4) of `boundary_counts`, found {counts.shape}")
    counts = np.moveaxis(counts, -1, 0)
    matched_true, true, matched_predicted, predicted = counts
    if not ((matched_true <= true) & (matched_predicted <= predicted) & (counts >= 0).all(0)).all():
        raise ValueError("counts below 0, or of more matched pixels than pixels")
    recall = matched_true / np.maximum(true, 1)
    precision = matched_predicted / np.maximum(predicted, 1)
    total = recall + precision
    f = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total > 0)
    return np.where((true == 0) & (predicted == 0), 1.0, f)


def boundary_counts(
    pred: np.ndarray, label: np.ndarray, num_classes: int, bounds: Sequence[float]
) -> np.ndarray:
    """Boundary pixels of one image at each of B tolerances, int64 (B, K, 4).

    The columns are matched true, true, matched predicted and predicted pixels.

    Args:
        pred: Predicted label map (H, W).
        label: True label map (H, W).
        num_classes: K.
        bounds: The tolerances in any order, see `tolerance_pixels`.
    """
    # All classes and bounds in one pass: a pixel's boundaries are the bits of one integer, and from
    # each boundary pixel the other map is searched outwards until every bit is found or the largest
    # tolerance is reached.
    require_classes(num_classes)
    pred, label = as_pair(pred, label)
    height, width = label.shape
    # No two pixels are more than the diagonal apart.
    reach = math.ceil(math.hypot(height, width))
    radii = [min(reach, tolerance_pixels(bound, (height, width))) for bound in bounds]
    if not radii:
        raise ValueError("no tolerance; expected at least one")
    distinct = sorted(set(radii))
    pad = math.floor(distinct[-1])
    offsets, levels = _disk(distinct, width + 2 * pad)
    found = np.zeros((len(distinct), num_classes, 4), np.int64)
    for first in range(0, num_classes, CLASSES_PER_PASS):
        count = min(CLASSES_PER_PASS, num_classes - first)
        bit_of = np.zeros(256, np.uint64)
        bit_of[first : first + count] = np.uint64(1) << np.arange(count, dtype=np.uint64)
        maps = np.zeros((2, height + 2 * pad, width + 2 * pad), np.uint64)
        _mark_boundaries(pred, label, num_classes, bit_of, pad, maps[0], maps[1])
        predicted, true = maps[0].ravel(), maps[1].ravel()
        part = found[:, first : first + count]
        _count_matched(true, predicted, offsets, levels, part[:, :, MATCHED_TRUE], part[:, :, TRUE])
        _count_matched(
            predicted, true, offsets, levels, part[:, :, MATCHED_PREDICTED], part[:, :, PREDICTED]
        )
    # So far each pixel stands at the smallest tolerance that matches it; larger ones do too.
    matched = (MATCHED_TRUE, MATCHED_PREDICTED)
    found[:, :, matched] = found[:, :, matched].cumsum(axis=0)
    return found[np.searchsorted(distinct, radii)]


def boundary_iou_counts(
    pred: np.ndarray, label: np.ndarray, num_classes: int, bound: float
) -> np.ndarray:
    """Pixels of one image in the intersection and the union of the boundary regions, int64 (K, 2).

    Ignored pixels are no class in both maps.

    Args:
        pred: Predicted label map (H, W).
        label: True label map (H, W).
        num_classes: K.
        bound: How far a region reaches inwards from the contour, see `region_width`.
    """
    require_classes(num_classes)
    pred, label = as_pair(pred, label)
    height, width = label.shape
    distance = region_width(bound, (height, width))
    ignored = label >= num_classes
    regions = [
        boundary_region(np.where(ignored, np.uint8(IGNORE), ids), distance) for ids in (pred, label)
    ]
    # "Outside of all regions" becomes class K, so that the confusion matrix counts all pixels.
    pred, label = (np.minimum(ids, num_classes) for ids in regions)
    counts = count_pairs(pred, label, num_classes + 1)[:, :-1]
    hits = np.diagonal(counts)
    return np.stack([hits, counts.sum(axis=0) + counts.sum(axis=1) - hits], axis=1)[:num_classes]


def boundary_region(ids: np.ndarray, distance: int) -> np.ndarray:
    """uint8 (H, W): `ids` near a contour, elsewhere 255.

    Near: another id, or the outside of the image, lies within `distance` pixels (chessboard).
    """
    ids = as_ids(ids)
    if distance < 1:
        raise ValueError(f"a distance of {distance} pixels; expected 1 or more")
    if 2 * distance >= min(ids.shape):  # the border is near everywhere
        return ids
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    # All ids within the distance are equal where the largest of them is the smallest.
    inside = cv2.dilate(ids, square) == cv2.erode(ids, square)
    framed = np.zeros_like(inside)
    inner = (slice(distance, ids.shape[0] - distance), slice(distance, ids.shape[1] - distance))
    framed[inner] = inside[inner]
    return np.where(framed, np.uint8(IGNORE), ids)


def label_boundaries(ids: np.ndarray) -> np.ndarray:
    """bool (H, W): the pixels on a boundary of any class, by boundary F's rule."""
    ids = as_ids(ids)
    edge = np.zeros(ids.shape, bool)
    edge[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    edge[:-1] |= ids[:-1] != ids[1:]
    edge[:-1, :-1] |= ids[:-1, :-1] != ids[1:, 1:]
    return edge


def _disk(radii: Sequence[float], row: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels within the largest of the ascending `radii`, nearest first, each int64.

    Returns their offsets in a flat map with rows of length `row`, and the index of the smallest
    radius that reaches each.
    """
    reach = math.floor(radii[-1])
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    squared = dy**2 + dx**2
    within = np.count_nonzero(squared <= radii[-1] ** 2)
    order = np.argsort(squared, axis=None, kind="stable")[:within]
    levels = np.searchsorted(np.square(radii), squared.ravel()[order])
    return (dy * row + dx).ravel()[order].astype(np.int64), levels.astype(np.int64)


@compiled
def _mark_boundaries(
    pred: np.ndarray,
    label: np.ndarray,
    classes: int,
    bit_of: np.ndarray,
    pad: int,
    predicted: np.ndarray,
    true: np.ndarray,
) -> None:
    """Set bit k of each boundary pixel of class k in the two maps, which are padded with zeros."""
    height, width = label.shape
    none = np.uint64(0)
    for y in range(height):
        for x in range(width):
            own = bit_of[label[y, x]]
            # Where the ground truth is ignored, the prediction is no class either.
            guess = bit_of[pred[y, x]] if label[y, x] < classes else none
            for step in range(1, 4):  # right, below, below right
                below, right = y + step // 2, x + step % 2
                if below < height and right < width:
                    other = label[below, right]
                    true[y + pad, x + pad] |= own ^ bit_of[other]
                    predicted[y + pad, x + pad] |= guess ^ (
                        bit_of[pred[below, right]] if other < classes else none
                    )


@compiled
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
    # A class without any boundary in the other map is not searched for.
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
