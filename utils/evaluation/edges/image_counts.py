"""Counting the matched edge pixels of one image: the long part of the evaluation, as it runs in worker processes.

This module imports no torch, so that a worker costs 0.2 GB less and starts a second sooner.
"""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.files import write_aside
from data.imresize import resize_bicubic
from utils.edge_metrics import default_thresholds, evaluate_both, evaluate_image
from utils.evaluation.edges.ground_truth import ImageTruth, Truth
from utils.evaluation.edges.predictions import PredictionFolder
from utils.evaluation.edges.protocols import Protocol

COUNTS_VERSION = (
    1  # goes up when the counting changes, so that partial results of older code are not taken up
)


def count_image(scores: Iterable[np.ndarray], truth: ImageTruth, protocol: Protocol) -> np.ndarray:
    """Counts of every mode and class of one image: int64 (M, K, T, 4), columns as in `edge_metrics.evaluate_image`.

    scores: (h, w) per class, of any size with the truth's aspect ratio; another size is resized bicubically. A class
    that `protocol.skip_absent` leaves out has only zeros, which count nowhere.
    """
    return np.stack(
        [_count_class(k, score, truth, protocol) for k, score in enumerate(scores)], axis=1
    )


def _count_class(k: int, score: np.ndarray, truth: ImageTruth, protocol: Protocol) -> np.ndarray:
    """int64 (M, T, 4)."""
    edges = [truth.edges[mode] >> np.uint32(k) & np.uint32(1) != 0 for mode in protocol.modes]
    inside = None if truth.label is None else truth.label == k
    knobs = {
        "thresholds": default_thresholds(protocol.thresholds),
        "max_dist": protocol.max_dist,
        "margin": protocol.margin,
    }
    if protocol.skip_absent and not (edges[0] if inside is None else inside).any():
        return np.zeros((len(edges), protocol.thresholds, 4), np.int64)
    if len(edges) == 2 and edges[0].ndim == 2 and edges[0].shape == edges[1].shape:
        return np.stack(evaluate_both(_fit(score, edges[0]), *edges, **knobs))
    interior = inside if protocol.kill_internal else None
    counts = [
        evaluate_image(_fit(score, true), true, thin=mode == "thin", interior=interior, **knobs)
        for mode, true in zip(protocol.modes, edges, strict=True)
    ]
    return np.stack(counts)


def _fit(score: np.ndarray, true: np.ndarray) -> np.ndarray:
    size = true.shape[-2:]
    return score if score.shape == size else resize_bicubic(as_probability(score), size)


def as_probability(score: np.ndarray) -> np.ndarray:
    """Stored scores as numbers 0..1: uint16 / 65536 and uint8 / 255 as published, float as it is."""
    scale = {np.dtype(np.uint16): 65536, np.dtype(np.uint8): 255}.get(score.dtype)
    return score if scale is None else score / scale


@dataclass(frozen=True)
class PredictionFiles:
    """The files of each image that is scored. keys: index of the image -> name in the folder."""

    folder: PredictionFolder
    keys: dict[int, str]

    def paths(self, index: int) -> list[Path]:
        return self.folder.paths(self.keys[index])

    def read(self, index: int) -> Iterator[np.ndarray]:
        """Scores (h, w) of each class in turn."""
        return self.folder.read(self.keys[index])


@dataclass(frozen=True)
class ImageCounter:
    """Counts one image by its index, or takes up what an earlier, interrupted run counted.

    origin: a fingerprint of what the counts depend on, beside the protocol and the files of an image. partial: folder
    of the counts of single images, emptied by `forget`. files: None when `count` is handed the scores.
    """

    truth: Truth
    protocol: Protocol
    origin: str
    partial: Path
    files: PredictionFiles | None = None

    def count(self, index: int, scores: np.ndarray | None = None) -> np.ndarray:
        """int64 (M, K, T, 4); scores: (K, h, w), or None to read them from the files."""
        if scores is None:
            scores = self.files.read(index)
        counts = count_image(scores, self.truth.load(index), self.protocol)
        with write_aside(self._path(index)) as aside, aside.open("wb") as file:
            np.savez_compressed(file, counts=counts)
        return counts

    def taken_up(self, index: int) -> np.ndarray | None:
        """The counts that an earlier run left, if the image's files have not changed since."""
        try:
            with np.load(self._path(index), allow_pickle=False) as saved:
                return saved["counts"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def forget(self) -> None:
        """Remove the partial results: the whole is written."""
        for path in [*self.partial.glob("*.npz"), *self.partial.glob(".*.part")]:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there is none, or somebody keeps other files in it
            self.partial.rmdir()

    def _path(self, index: int) -> Path:
        files = self.truth.paths(index) + (self.files.paths(index) if self.files else [])
        state = [
            (str(path), status.st_size, status.st_mtime_ns)
            for path in files
            if (status := path.stat())
        ]
        key = fingerprint(
            COUNTS_VERSION, self.origin, self.protocol.knobs(), self.truth.names[index], state
        )
        return self.partial / f"{key}.npz"


def fingerprint(*parts: object) -> str:
    """A short name for a combination of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


_counter: list[
    ImageCounter
] = []  # what a worker process is started with, so that it is not sent again with each image


def start_worker(counter: ImageCounter) -> None:
    _counter[:] = [counter]


def count_in_worker(index: int, scores: np.ndarray | None) -> tuple[int, np.ndarray]:
    """(index, counts) of an image."""
    return index, _counter[0].count(index, scores)
