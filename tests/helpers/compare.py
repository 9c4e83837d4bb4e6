"""Folders of results, as test.py leaves them, from drawn counts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.compare import __main__ as command
from utils.evaluation.edges.protocols import EdgeProtocol
from utils.evaluation.edges.run import metrics_document
from utils.evaluation.edges.scores import score_modes
from utils.evaluation.segmentation.run import write_seg_results
from utils.evaluation.segmentation.scores import SegProtocol, count_label_map, score_images

CLASSES = ("road", "car", "person", "rider")


def draw_edge_counts(
    rng: np.random.Generator,
    skill: float,
    *,
    images: int = 12,
    modes: int = 2,
    classes: int = len(CLASSES),
    thresholds: int = 9,
) -> np.ndarray:
    """int64 (N, M, K, T, 4). The true pixels are the same for any generator and skill.

    The last class is nowhere, the one before it in one image in three.
    """
    true = np.random.default_rng(7).integers(50, 400, (images, modes, classes, 1))
    true[:, :, -1] = 0
    true[np.arange(images) % 3 > 0, :, -2] = 0
    level = np.linspace(0.95, 0.05, thresholds)
    share = skill * level**0.7 * rng.uniform(0.6, 1, (images, modes, classes, 1))
    matched = np.floor(true * share).astype(np.int64)
    predicted = matched + rng.integers(0, 200, true.shape) * (level**2 * 10).astype(np.int64)
    columns = np.broadcast_arrays(matched, true, matched, predicted)
    return np.stack(columns, axis=-1).astype(np.int64)


def write_edges(
    folder: Path,
    counts: np.ndarray,
    *,
    classes: Sequence[str] = CLASSES,
    names: Sequence[str] | None = None,
    binary: bool = False,
    source: dict[str, Any] | None = None,
    **knobs: Any,
) -> Path:
    """The files of an edge test with these counts; returns the folder."""
    protocol = EdgeProtocol("dff", 0.02, thresholds=counts.shape[3], **knobs)
    scores = score_modes(counts, classes, protocol, binary=binary)
    origin = {"dataset": "camvid", "split": "test", "images": len(counts)} | (source or {})
    names = names or [f"image{i:03d}" for i in range(len(counts))]
    folder.mkdir(parents=True)
    np.savez(folder / "counts.npz", counts=counts.astype(np.int32), names=np.array(names))
    document = metrics_document(scores, protocol, origin)
    (folder / "metrics.json").write_text(json.dumps(document))
    return folder


def draw_maps(rng: np.random.Generator, mistakes: float, images: int = 8) -> list:
    """(predicted, true) label maps of 4 classes; the true ones are the same for any generator."""
    drawn = np.random.default_rng(3)
    pairs = []
    for _ in range(images):
        true = drawn.integers(0, 3, (4, 5)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
        pred = true.copy()
        rows, columns = np.nonzero(rng.random(true.shape) < mistakes)
        pred[rows, columns] = rng.integers(0, 3, len(rows))
        pairs.append((pred, true))
    return pairs


def write_labels(folder: Path, pairs: list, bounds: tuple[float, ...] = (3.0, 0.02)) -> Path:
    """The files of a segmentation test of these maps; returns the folder."""
    protocol = SegProtocol(CLASSES, bounds)
    counts = {f"image{i}": count_label_map(*pair, protocol) for i, pair in enumerate(pairs)}
    scores = score_images([*counts.values()], protocol)
    write_seg_results(folder, scores, counts, {"split": "test", "images": len(pairs)})
    return folder


def compare(*flags: object) -> None:
    """python -m utils.compare with these flags; its errors are raised."""
    command.main(command.parse_args([str(flag) for flag in flags]))
