"""Counting the matched pixels of one class in one image, at each threshold.

The protocol is that of the Berkeley benchmark (Martin, Fowlkes & Malik 2004; Arbelaez et al., TPAMI
2011) as SBD, SEAL and DFF use it. Pixels are matched exactly (`utils.edge_metrics.matching`), so
the counts do not depend on a seed, on order or on the number of workers.
"""

import numpy as np

from data.errors import InputError
from utils.edge_metrics.annotators import count_annotators
from utils.edge_metrics.geometry import matching_geometry
from utils.edge_metrics.matching import Scratch, Side, match_smaller
from utils.edge_metrics.sweep import Sweep


def match(pred: np.ndarray, gt: np.ndarray, max_dist: float) -> tuple[int, int]:
    """(matched predicted pixels, matched true pixels) of two maps bool (H, W): two equal numbers.

    As many pairs as possible are formed of a predicted and a true pixel, each pixel in one pair at
    most, whose distance d satisfies d^2 <= (max_dist * diagonal)^2, diagonal = sqrt(H^2 + W^2).
    """
    _require_same_size(pred, gt)
    pred = _as_edges(pred, "pred")
    gt = _as_edges(gt, "gt")
    height, width = gt.shape
    grid, runs = matching_geometry((height, width), max_dist)
    sides = Side.of(grid.pack(pred)), Side.of(grid.pack(gt))
    pairs = int(match_smaller(runs, *sides, Scratch.on(grid)))
    return pairs, pairs


def evaluate_image(
    prob: np.ndarray,
    gt: np.ndarray,
    *,
    thresholds: np.ndarray,
    max_dist: float,
    thin: bool,
    margin: int = 0,
    interior: np.ndarray | None = None,
) -> np.ndarray:
    """Count the pixels of one class in one image at each of T thresholds, int64 (T, 4).

    The columns are matched true, true, matched predicted and predicted pixels.

    Args:
        prob: The scores (H, W): float, or uint16 for score * 65536, or uint8 for score * 255. A
            pixel is predicted where score >= threshold.
        gt: The true pixels bool (H, W), thinned by the caller if the protocol asks for it. Or
            (A, H, W), the maps of A annotators: then the true pixels of all are added up, and a
            predicted pixel is matched if it is in the matching with any of them.
        thresholds: float64 (T,), ascending.
        max_dist: How far a match may lie, as a fraction of the diagonal; as in `match`.
        thin: Thin the predicted map at each threshold.
        margin: Pixels cropped off on all four sides, before anything else, so that the diagonal
            shrinks too.
        interior: The inside of the true objects, bool (H, W): thinned predicted pixels in it that
            are out of reach of every true pixel are not counted (SBD's "kill internal"). For
            thinned predictions and one annotator only.

    Raises:
        InputError: Sizes, types or values of the arrays do not fit.
    """
    if interior is not None and (gt.ndim == 3 or not thin):
        raise ValueError("interior is defined for thinned predictions and one annotator only")
    gt = _as_edges(gt, "gt")
    if gt.ndim == 3:
        levels = _crop(_levels(prob, gt.shape[1:], thresholds), margin)
        cropped = np.stack([_crop(each, margin) for each in gt])
        return count_annotators(levels, cropped, len(thresholds), max_dist, thin)
    levels = _crop(_levels(prob, gt.shape, thresholds), margin)
    if interior is not None:
        _require_same_size(interior, gt)
        interior = _as_edges(interior, "interior")
        interior = _crop(interior, margin)
    return Sweep(levels, len(thresholds), max_dist).count(_crop(gt, margin), thin, interior)


def evaluate_both(
    prob: np.ndarray,
    gt_thin: np.ndarray,
    gt_raw: np.ndarray,
    *,
    thresholds: np.ndarray,
    max_dist: float,
    margin: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Count with thinning against `gt_thin` and without against `gt_raw`, each int64 (T, 4).

    The pixels of `prob` are read and sorted only once. Arguments as of `evaluate_image`.
    """
    _require_same_size(gt_thin, gt_raw)
    gt_thin = _as_edges(gt_thin, "gt_thin")
    gt_raw = _as_edges(gt_raw, "gt_raw")
    levels = _crop(_levels(prob, gt_thin.shape, thresholds), margin)
    sweep = Sweep(levels, len(thresholds), max_dist)
    return sweep.count(_crop(gt_thin, margin), True), sweep.count(_crop(gt_raw, margin), False)


def _levels(prob: np.ndarray, shape: tuple[int, ...], thresholds: np.ndarray) -> np.ndarray:
    """The number of thresholds that each score reaches, uint16 (H, W), compared as float64."""
    if isinstance(prob, np.ma.MaskedArray):
        raise InputError("scores are a masked array, whose mask would be lost; fill it with 0")
    thresholds = np.asarray(thresholds, np.float64)
    if prob.shape != shape:
        raise InputError(
            f"the prediction is {_size(prob.shape)}, the ground truth {_size(shape)}; "
            "resize the prediction first"
        )
    ascending = (
        thresholds.ndim == 1
        and np.isfinite(thresholds).all()
        and ((np.diff(thresholds) >= 0).all())
    )
    if not ascending or not 0 < thresholds.size < 2**16:
        raise InputError(
            f"thresholds must be a list of 1 to 65535 ascending numbers, got {thresholds}"
        )
    if prob.dtype in (np.uint8, np.uint16):
        # Stored scores have few values: look up each value's level instead of searching for each
        # pixel's.
        scores = np.arange(256) / 255 if prob.dtype == np.uint8 else np.arange(65536) / 65536
        return np.searchsorted(thresholds, scores, side="right").astype(np.uint16)[prob]
    if not np.issubdtype(prob.dtype, np.floating):
        raise InputError(f"scores must be float, uint16 or uint8, got {prob.dtype}")
    if np.isnan(prob).any():
        raise InputError(f"{int(np.isnan(prob).sum())} of the predicted scores are not a number")
    return np.searchsorted(thresholds, prob.astype(np.float64), side="right").astype(np.uint16)


def _crop(array: np.ndarray, margin: int) -> np.ndarray:
    """Crop `margin` pixels off on all four sides of (H, W)."""
    height, width = array.shape
    if not isinstance(margin, int | np.integer):
        raise InputError(f"a margin of {margin!r}; expected a whole number of pixels")
    if margin < 0 or 2 * margin >= min(height, width):
        raise InputError(f"a margin of {margin} px leaves nothing of a map of {_size(array.shape)}")
    return np.ascontiguousarray(array[margin : height - margin, margin : width - margin])


def _as_edges(mask: np.ndarray, name: str) -> np.ndarray:
    """A mask as bool; InputError for anything but bool, or 0 and one other integer such as 255."""
    if mask.ndim not in (2, 3) or not mask.size:
        raise InputError(
            f"{name} is {mask.dtype} {mask.shape}; expected a map (H, W), or (A, H, W) of A "
            "annotators"
        )
    if mask.dtype == bool:
        return mask
    is_mask = mask.dtype.kind in "iu"
    if is_mask:
        high, low = mask.max(), mask.min()
        is_mask = low >= 0 and bool(((mask == 0) | (mask == high)).all())
    if not is_mask:
        raise InputError(
            f"{name} holds {mask.dtype} numbers, not edges or none; expected bool, or 0 and one "
            "other integer"
        )
    return mask != 0


def _require_same_size(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape != second.shape or first.ndim != 2:
        raise InputError(
            f"two maps (H, W) of one size are needed, got {first.shape} and {second.shape}"
        )


def _size(shape: tuple[int, ...]) -> str:
    """ "width x height" of (H, W)."""
    return "x".join(str(n) for n in reversed(shape))
