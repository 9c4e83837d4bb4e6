"""The edges that predictions are scored against, by the published rules."""

import math

import numpy as np

from data.edges.bits import present_bits
from data.edges.rule import RuleOptions, label_to_edges
from data.thinning import thin as thin_map


def evaluation_edges(
    label: np.ndarray,
    instance: np.ndarray | None = None,
    *,
    num_classes: int,
    thin: bool,
    scale: float = 0.5,
    instance_sensitive: bool = True,
    ignored_ids: tuple[int, ...] = (2, 3),
) -> np.ndarray:
    """The published ground truth to evaluate against, uint32 (ceil(H * scale), ceil(W * scale)).

    Args:
        label: see `label_to_edges`, also for the arguments that are not named here.
        thin: True resizes label and instance, applies the rule at radius 1 and thins each class;
            False applies the rule at radius 2 at full size and resizes the edges.
        scale: size of the result relative to the label.
    """
    options: RuleOptions = {
        "num_classes": num_classes,
        "instance_sensitive": instance_sensitive,
        "ignored_ids": ignored_ids,
    }
    if not thin:
        return resize_nearest(label_to_edges(label, instance, radius=2, **options), scale)
    label = resize_nearest(label, scale)
    instance = None if instance is None else resize_nearest(instance, scale)
    return thin_classes(label_to_edges(label, instance, radius=1, **options))


def thin_classes(bits: np.ndarray) -> np.ndarray:
    """Thin the edges of each class by itself. uint32 (H, W) -> uint32 (H, W)."""
    thinned = np.zeros_like(bits)
    for k in present_bits(bits):
        one = bits & np.uint32(1 << k) != 0
        thinned |= thin_map(one).astype(np.uint32) << np.uint32(k)
    return thinned


def resize_nearest(ids: np.ndarray, scale: float) -> np.ndarray:
    """Resize (H, W, ...) by MATLAB's imresize rule for nearest neighbours, same dtype.

    Output index i of ceil(n * scale) takes source min(floor((i + 0.5) / scale), n - 1): at 0.5
    the odd rows and columns (OpenCV's INTER_NEAREST takes the even ones).
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"the scale is {scale}; expected a number above 0")
    if scale == 1:
        return ids
    rows, columns = (
        np.minimum(((np.arange(math.ceil(n * scale)) + 0.5) / scale).astype(np.intp), n - 1)
        for n in ids.shape[:2]
    )
    return ids.take(rows, axis=0).take(columns, axis=1)
