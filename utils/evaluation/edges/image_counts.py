"""Counting the matched edge pixels of one image: a function of scores, ground truth and protocol.

It knows no files and no data set: `counter` reads them, `partial` keeps the results, `workers`
spreads them over processes. Neither this module nor those three import torch, so that a worker
process takes 0.2 GB less memory and starts a second sooner.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from data.edges import class_edges
from data.imresize import resize_bicubic
from utils.edge_metrics import default_thresholds, evaluate_both, evaluate_image
from utils.evaluation.edges.protocols import EdgeProtocol


@dataclass(frozen=True, slots=True)
class ImageGroundTruth:
    """The ground truth of one image.

    edges: mode -> groups of classes (`data.edges.bits`), each uint32 (h, w), or (A, h, w) for A
    annotators. label: (h, w), the class of each pixel, other values for none; or None where the
    files do not contain it.
    """

    edges: dict[str, list[np.ndarray]]
    label: np.ndarray | None

    def __post_init__(self) -> None:
        if any(isinstance(groups, np.ndarray) for groups in self.edges.values()):
            raise ValueError("edges are lists of groups; see `data.edges.to_groups`")


def count_edge_image(
    scores: Iterable[np.ndarray], ground_truth: ImageGroundTruth, protocol: EdgeProtocol
) -> np.ndarray:
    """Counts of every mode and class of one image, int64 (M, K, T, 4).

    The columns are those of `edge_metrics.evaluate_image`. A class that `protocol.skip_absent`
    leaves out has only zeros, which count nowhere.

    Args:
        scores: (h, w) for each class in turn, uint8, uint16 or float, see `as_probability`. Of any
            size with the ground truth's aspect ratio: another size is resized bicubically.
        ground_truth: Has edges for each of the protocol's modes.
        protocol: How the two are compared.
    """
    return np.stack(
        [_count_class(k, score, ground_truth, protocol) for k, score in enumerate(scores)], axis=1
    )


def _count_class(
    k: int, score: np.ndarray, ground_truth: ImageGroundTruth, protocol: EdgeProtocol
) -> np.ndarray:
    """int64 (M, T, 4)."""
    edges = [class_edges(ground_truth.edges[mode], k) for mode in protocol.modes]
    inside = None if ground_truth.label is None else ground_truth.label == k
    if protocol.skip_absent and not (edges[0] if inside is None else inside).any():
        return np.zeros((len(edges), protocol.thresholds, 4), np.int64)
    thresholds = default_thresholds(protocol.thresholds)
    max_dist, margin = protocol.max_dist, protocol.margin
    if len(edges) == 2 and edges[0].ndim == 2 and edges[0].shape == edges[1].shape:
        # Thin and raw in one pass: the scores are resized and sorted by threshold only once.
        both = evaluate_both(
            _fit(score, edges[0]), *edges, thresholds=thresholds, max_dist=max_dist, margin=margin
        )
        return np.stack(both)
    counts = [
        evaluate_image(
            _fit(score, edge),
            edge,
            thresholds=thresholds,
            max_dist=max_dist,
            thin=mode == "thin",
            margin=margin,
            interior=inside if protocol.kill_internal else None,
        )
        for mode, edge in zip(protocol.modes, edges, strict=True)
    ]
    return np.stack(counts)


def _fit(score: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """The scores at the size of the edge map (h, w) or maps (A, h, w)."""
    size = edge.shape[-2:]
    return score if score.shape == size else resize_bicubic(score, size, as_probability)


def as_probability(score: np.ndarray) -> np.ndarray:
    """Stored scores as numbers 0..1: uint16 / 65536 and uint8 / 255 as published; float as is."""
    scale = {np.dtype(np.uint16): 65536, np.dtype(np.uint8): 255}.get(score.dtype)
    return score if scale is None else score / scale
