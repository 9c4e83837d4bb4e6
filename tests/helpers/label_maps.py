"""Random label maps, and the metrics of label maps by plain loops and definitions."""

import math

import numpy as np
from scipy.ndimage import distance_transform_edt


def random_maps(
    rng: np.random.Generator,
    size: tuple[int, int] = (24, 31),
    classes: int = 4,
    *,
    block: int = 5,
) -> tuple[np.ndarray, np.ndarray]:
    """(prediction, ground truth), each uint8 (H, W).

    Blocks of random classes; some of the ground truth is ignored (255), and the prediction is
    shifted and partly redrawn.
    """
    coarse = rng.integers(0, classes + 1, (-(-size[0] // block), -(-size[1] // block)))
    truth = np.kron(coarse, np.ones((block, block), int))[: size[0], : size[1]].astype(np.uint8)
    pred = np.roll(truth, 1, axis=1) % classes
    pred[3:9, 4:12] = rng.integers(0, classes)
    truth[truth == classes] = 255
    return pred.astype(np.uint8), truth


def loop_confusion(pred: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """int64 (K, K), pixel by pixel."""
    counts = np.zeros((classes, classes), np.int64)
    for p, t in zip(pred.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if t < classes:
            counts[t, p] += 1
    return counts


def plain_iou(pairs: list[tuple[np.ndarray, np.ndarray]], k: int, classes: int) -> float:
    """IoU of class k over pairs of (prediction, ground truth), from masks; nan if it is absent."""
    inside = union = 0
    for pred, truth in pairs:
        valid = truth < classes
        inside += np.count_nonzero(valid & (pred == k) & (truth == k))
        union += np.count_nonzero(valid & ((pred == k) | (truth == k)))
    return inside / union if union else math.nan


def loop_boundary(mask: np.ndarray) -> np.ndarray:
    """The pixels that differ from their right, lower or lower right neighbour."""
    height, width = mask.shape
    rows = mask.tolist()  # Python's lists are read ten times faster than an array, one at a time
    edge = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (1, 1)):
                if y + dy < height and x + dx < width and rows[y][x] != rows[y + dy][x + dx]:
                    edge[y, x] = True
    return edge


def count_near(edge: np.ndarray, others: np.ndarray, radius: float) -> int:
    """The number of pixels of `edge` with one of `others` within the radius; neither is empty."""
    return np.count_nonzero(distance_transform_edt(~others)[edge] <= radius)


def plain_boundary_f(
    pred: np.ndarray, truth: np.ndarray, k: int, radius: float, *, classes: int = 255
) -> float:
    """Boundary F of class k in one image. Ground truth of `classes` and above is ignored."""
    predicted, true = (loop_boundary((ids == k) & (truth < classes)) for ids in (pred, truth))
    if not predicted.any() and not true.any():
        return 1.0
    if not predicted.any() or not true.any():
        return 0.0
    precision = count_near(predicted, true, radius) / predicted.sum()
    recall = count_near(true, predicted, radius) / true.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def loop_boundary_region(mask: np.ndarray, distance: int) -> np.ndarray:
    """A mask without itself eroded `distance` times by a 3x3 square, zeros outside."""
    padded = np.pad(mask, distance)
    kept = padded.copy()
    for y in range(distance, padded.shape[0] - distance):
        for x in range(distance, padded.shape[1] - distance):
            square = padded[y - distance : y + distance + 1, x - distance : x + distance + 1]
            kept[y, x] = square.all()
    return (padded & ~kept)[distance:-distance, distance:-distance]


def loop_boundary_regions(
    pred: np.ndarray, truth: np.ndarray, k: int, distance: int
) -> tuple[int, int]:
    """Pixels in the intersection and in the union of the two boundary regions of class k."""
    valid = truth != 255
    one, other = (loop_boundary_region((ids == k) & valid, distance) for ids in (pred, truth))
    return np.count_nonzero(one & other), np.count_nonzero(one | other)
