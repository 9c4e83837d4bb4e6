"""Counting the matched edge pixels of one image: a function of scores, ground truth and protocol.

It knows no files and no data set: `counter` reads them, `partial` keeps the results, `workers`
spreads them over processes. Neither this module nor those three import torch, so that a worker
process takes 0.2 GB less memory and starts a second sooner.

Several results are counted in one pass. A result is a variant of the scores (a network may give
several, such as hard and soft edges) at a tolerance; all share the ground truth. What an image adds
to them is its record: arrays by name, see `entries`. Its counts have the axes (V, P, M, K),
variants, tolerances, modes and classes, and their own axes behind them. What depends on no
tolerance and is of no mode has the axes (V, K).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from data.edges import class_edges
from data.imresize import resize_bicubic
from utils.edge_metrics import default_thresholds, evaluate_both, evaluate_image
from utils.edge_metrics.calibration import bin_starts, count_calibration
from utils.edge_metrics.crispness import crisp_sums
from utils.evaluation.edges.protocols import TRUTHS, EdgeProtocol

COUNTS, CRISPNESS, CALIBRATION = "counts", "crispness", "calibration"

Record = dict[str, np.ndarray]
# The scores (h, w) of each class that is scored, in turn: uint8, uint16 or float, see
# `as_probability`. Of any size with the ground truth's aspect ratio: they are resized bicubically.
Stack = Iterable[np.ndarray]
# One stack for all modes, or mode -> stack where thin and raw edges are scored on their own maps.
ModeStacks = Stack | Mapping[str, Stack]
ImageScores = Mapping[str, ModeStacks]  # by variant


def entries(protocol: EdgeProtocol, classes: int) -> dict[str, tuple[int, ...]]:
    """What a record holds of one variant, by name, with the shapes. All are int64.

    counts: (P, M, K, T, 4), without P, the tolerances; columns as `edge_metrics.evaluate_image`.
    crispness: (K, 2), as `edge_metrics.crispness.crisp_sums`, of the scores at their own size.
    calibration: (K, B, 3), as `edge_metrics.calibration.count_calibration`, at the ground truth's.
    """
    shapes: dict[str, tuple[int, ...]] = {
        COUNTS: (len(protocol.modes), classes, protocol.thresholds, 4)
    }
    if protocol.crisp:
        shapes[CRISPNESS] = (classes, 2)
    if protocol.calibration:
        shapes[CALIBRATION] = (classes, len(bin_starts()), 3)
    return shapes


@dataclass(frozen=True, slots=True)
class ImageGroundTruth:
    """The ground truth of one image.

    edges: "thin" or "raw" -> groups of classes (`data.edges.bits`), each uint32 (h, w), or
    (A, h, w) for A annotators. label: (h, w), the class of each pixel, other values for none; or
    None where the files do not contain it.
    """

    edges: dict[str, list[np.ndarray]]
    label: np.ndarray | None

    def __post_init__(self) -> None:
        if any(isinstance(groups, np.ndarray) for groups in self.edges.values()):
            raise ValueError("edges are lists of groups; see `data.edges.to_groups`")


def count_edge_image(
    scores: Stack, ground_truth: ImageGroundTruth, protocol: EdgeProtocol
) -> np.ndarray:
    """Counts of every mode and class of one image for a single result, int64 (M, K, T, 4).

    The columns are those of `edge_metrics.evaluate_image`. A class that `protocol.skip_absent`
    leaves out has only zeros, which count nowhere.

    Args:
        scores: Of each class in turn.
        ground_truth: Has edges for each of the protocol's `truths`.
        protocol: How the two are compared.
    """
    return measure_image({"": scores}, ground_truth, (protocol,))["counts"][0, 0]


def measure_image(
    scores: ImageScores,
    ground_truth: ImageGroundTruth,
    protocols: Sequence[EdgeProtocol],
    classes: Sequence[int] | None = None,
) -> Record:
    """The record of one image.

    Args:
        scores: Of each variant.
        ground_truth: Has edges for each of the protocols' `truths`.
        protocols: Equal but for their tolerance.
        classes: Whose scores these are; None: of all classes, from 0 on.
    """
    variants = [
        _measure_variant(stacks, ground_truth, protocols, classes) for stacks in scores.values()
    ]
    return {name: np.stack([each[name] for each in variants]) for name in variants[0]}


def _measure_variant(
    stacks: ModeStacks,
    ground_truth: ImageGroundTruth,
    protocols: Sequence[EdgeProtocol],
    classes: Sequence[int] | None,
) -> Record:
    """Counts (P, M, K, ...), the other entries (K, ...)."""
    in_turn = _classes_in_turn(stacks, protocols[0].modes)
    numbered = enumerate(in_turn) if classes is None else zip(classes, in_turn, strict=True)
    measured = [_measure_class(k, score, ground_truth, protocols) for k, score in numbered]
    return {
        name: np.stack([each[name] for each in measured], axis=2 if name == COUNTS else 0)
        for name in entries(protocols[0], len(measured))
    }


def _classes_in_turn(stacks: ModeStacks, modes: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """mode -> scores (h, w), of each class in turn.

    Who has thin and raw edges has drawn the thin ones to be crisp.
    """
    if isinstance(stacks, Mapping):
        own = cast("Mapping[str, Stack]", stacks)
        source = {mode: mode if mode in own else TRUTHS[mode] for mode in modes}
        used = tuple(dict.fromkeys(source.values()))  # each is iterated over once
        for scores in zip(*(own[name] for name in used), strict=True):
            found = dict(zip(used, scores, strict=True))
            yield {mode: found[source[mode]] for mode in modes}
        return
    for score in stacks:
        yield dict.fromkeys(modes, score)


def _measure_class(
    k: int,
    scores: Mapping[str, np.ndarray],
    ground_truth: ImageGroundTruth,
    protocols: Sequence[EdgeProtocol],
) -> Record:
    """Counts (P, M, ...) and the other entries, of one class. scores: by mode."""
    protocol = protocols[0]
    edges = {mode: class_edges(ground_truth.edges[TRUTHS[mode]], k) for mode in scores}
    inside = None if ground_truth.label is None else ground_truth.label == k
    any_truth = next(iter(edges.values())) if inside is None else inside
    if protocol.skip_absent and not any_truth.any():
        zeros = {name: np.zeros(s, np.int64) for name, s in entries(protocol, 1).items()}
        return {
            name: np.stack([zero[:, 0]] * len(protocols)) if name == COUNTS else zero[0]
            for name, zero in zeros.items()
        }
    fitted = _fit_all(scores, edges)
    record = {COUNTS: np.stack([_count_class(fitted, edges, inside, each) for each in protocols])}
    if protocol.crisp:
        record[CRISPNESS] = np.array(crisp_sums(scores["crisp"]))
    if protocol.calibration:
        pair = (_inner(each["raw"], protocol.margin) for each in (fitted, edges))
        record[CALIBRATION] = count_calibration(*pair)
    return record


def _count_class(
    scores: Mapping[str, np.ndarray],
    edges: Mapping[str, np.ndarray],
    inside: np.ndarray | None,
    protocol: EdgeProtocol,
) -> np.ndarray:
    """int64 (M, T, 4). scores: by mode, of the size of the mode's edges. inside: bool (h, w)."""
    counts: dict[str, np.ndarray] = {}
    thresholds = default_thresholds(protocol.thresholds)
    if _share_a_pass(scores, edges):
        # The scores are sorted by threshold only once.
        counts["thin"], counts["raw"] = evaluate_both(
            scores["thin"],
            edges["thin"],
            edges["raw"],
            thresholds=thresholds,
            max_dist=protocol.reach(edges["thin"].shape),
            margin=protocol.margin,
        )
    for mode, edge in edges.items():
        if mode not in counts:
            counts[mode] = evaluate_image(
                scores[mode],
                edge,
                thresholds=thresholds,
                max_dist=protocol.reach(edge.shape[-2:]),
                thin=mode == "thin",
                margin=protocol.margin,
                interior=inside if protocol.kill_internal else None,
            )
    return np.stack([counts[mode] for mode in edges])


def _inner(maps: np.ndarray, margin: int) -> np.ndarray:
    """(..., h, w) without `margin` pixels on all four sides; `evaluate_image` has checked it."""
    height, width = maps.shape[-2:]
    return maps[..., margin : height - margin, margin : width - margin]


def _share_a_pass(scores: Mapping[str, np.ndarray], edges: Mapping[str, np.ndarray]) -> bool:
    """Whether thin and raw edges are scored on the same map, at one size, by one annotator."""
    if not edges.keys() >= {"thin", "raw"} or scores["thin"] is not scores["raw"]:
        return False
    return edges["thin"].ndim == 2 and edges["thin"].shape == edges["raw"].shape


def _fit_all(
    scores: Mapping[str, np.ndarray], edges: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The scores of each mode at the size of its edges (h, w) or (A, h, w).

    Modes of the same scores and size get the same array.
    """
    resized: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}
    fitted = {}
    for mode, score in scores.items():
        size = edges[mode].shape[-2:]
        key = (id(score), size)
        if key not in resized:
            whole = score.shape == size
            resized[key] = score if whole else resize_bicubic(score, size, as_probability)
        fitted[mode] = resized[key]
    return fitted


def as_probability(score: np.ndarray) -> np.ndarray:
    """Stored scores as numbers 0..1: uint16 / 65536 and uint8 / 255 as published; float as is."""
    scale = {np.dtype(np.uint16): 65536, np.dtype(np.uint8): 255}.get(score.dtype)
    return score if scale is None else score / scale
