"""The semantic edges of a segmentation, made as the ground truth is made of true label maps.

Hard: of a predicted label map, edge or no edge. Soft: of the class probabilities of a network, the
probability of an edge. Both follow `data.edges.evaluation_edges` at the protocol's scale, thin and
raw, so that a perfect segmentation has the edges of the ground truth. Two things differ from it:

- A predicted map has no instances, so the borders between two objects of one class are lost.
- A predicted map has a class at (nearly) every pixel, where a true one may have none. An edge
  between a class and no class (255) counts in both, by the rule. Nothing is masked: an edge that is
  predicted where nobody has labelled is a false positive, as for every other prediction.
"""

from collections.abc import Iterable
from math import ceil, nextafter

import cv2
import numpy as np

from data.edges.evaluation import evaluation_edges, resize_nearest
from data.edges.rule import class_groups, disk_offsets

THIN_RADIUS = 1  # of `evaluation_edges`, at the scale
RAW_RADIUS = 2  # of `evaluation_edges`, at full size


def hard_edges(
    label: np.ndarray, *, num_classes: int, thin: bool, scale: float = 1.0
) -> list[np.ndarray]:
    """The edges of a predicted label map as groups of 24 classes (`data.edges.bits`).

    Each group is uint32 (ceil(H * scale), ceil(W * scale)).

    Args:
        label: uint8 (H, W), train ids; an id >= `num_classes` is no class.
        num_classes: any number.
        thin: see `evaluation_edges`.
        scale: see `evaluation_edges`.
    """
    groups = class_groups(label, None, num_classes=num_classes)
    return [
        evaluation_edges(ids, regions, thin=thin, scale=scale, **rule)
        for ids, regions, rule in groups
    ]


def soft_edges(prob: np.ndarray, *, thin: bool, scale: float = 1.0) -> np.ndarray:
    """The probability of an edge of one class, float32 (ceil(H * scale), ceil(W * scale)).

    As `evaluation_edges`: thin, the map is resized and the rule has radius 1; else the rule has
    radius 2 at full size, and its result is resized. Thinning is left to the evaluation, which
    thins the predictions at each threshold.

    Args:
        prob: float32 (H, W), the probability of the class in each pixel.
        thin: for thinned predictions.
        scale: of the result relative to `prob`.
    """
    if thin:
        return boundary_probability(resize_nearest(prob, scale), THIN_RADIUS)
    return resize_nearest(boundary_probability(prob, RAW_RADIUS), scale)


def boundary_probability(prob: np.ndarray, radius: float) -> np.ndarray:
    """The probability that a pixel is an edge of a class: float32 (H, W) -> float32 (H, W).

    By the rule of `label_to_edges`, a pixel x is an edge of class k if, for some other pixel q of
    the image within the radius, just one of the two is of class k. With p the probability of the
    class, and the two pixels taken as independent, that has for one q the probability

        p(x) (1 - p(q)) + (1 - p(x)) p(q) = p(x) + p(q) (1 - 2 p(x)),

    and the result is its maximum over q: the most probable of the boundaries through x. For
    probabilities of 0 and 1 it is `label_to_edges` itself. (This is our own rule. Pixels are not
    independent, so it is no calibrated probability; but unlike |p(x) - p(q)|, the least that the
    marginals allow, it does not vanish where bilinear up-sampling spreads a step over many pixels.)

    The expression is linear in p(q), so that its maximum lies at the largest or at the smallest
    p(q): a dilation and an erosion, in place of a loop over q.
    """
    if prob.size == 1:  # there is no other pixel
        return np.zeros_like(prob)
    reach = int(radius)
    others = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    for dy, dx in disk_offsets(radius):
        others[reach + dy, reach + dx] = 1
    # What lies outside the image is never the extreme: OpenCV's default border.
    most, least = cv2.dilate(prob, others), cv2.erode(prob, others)
    either = np.where(prob < 0.5, most, least)
    return np.clip(prob + either * (1 - 2 * prob), 0, 1, dtype=np.float32)


def scale_between(
    size: tuple[int, int], target: tuple[int, int], usual: Iterable[float] = (1.0, 0.5)
) -> float | None:
    """The scale at which a map of `size` (H, W) gets the size `target`, as `resize_nearest` counts.

    The first of the `usual` ones that does, else the largest; None if none does, or only one
    above 1.
    """
    largest = min(t / n for n, t in zip(size, target, strict=True))
    # The division may have been rounded up, and the size with it.
    for scale in (*usual, largest, nextafter(largest, 0)):
        if 0 < scale <= 1 and tuple(ceil(n * scale) for n in size) == tuple(target):
            return scale
    return None
