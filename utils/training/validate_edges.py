"""Edges in a validation during training: the loss and MF at a few thresholds.

Scores come from the same code as `test.py`'s. Worker processes count the matches of an image while
the network computes the next ones, so a GPU does not wait for them.
"""

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from joblib.externals.loky import ProcessPoolExecutor
from torch import Tensor

from data.base import Sample
from data.samples.edge import EdgeLabels, unpack_edges
from utils.distributed.preemption import start_worker
from utils.edge_metrics import Summary, default_thresholds, summarize
from utils.evaluation.edges.ground_truth import DatasetGroundTruth
from utils.evaluation.edges.image_counts import count_edge_image
from utils.evaluation.edges.protocols import EdgeProtocol, find_protocol
from utils.inference.scores import quantize, resize_scores
from utils.training.objective import Objective
from utils.training.validation import ReadTarget, ValidationScores

# What is running or waiting for each worker process; an image's scores take 80 MB at 2048x1024.
QUEUED_PER_WORKER = 2
Measured = tuple[float, np.ndarray]  # the loss and the counts of an image


class EdgeScoring:
    """The score "mf" is MF (ODS) of the thin protocol, the mean over classes with ground truth.

    The loss is the objective's, of one image at a time: so each image has its own class weights, as
    published.

    Args:
        labels: the ground truth of the split.
        objective: of edges, and of nothing else.
        thresholds: the number of thresholds at which matches are counted.
        workers: processes that count; 0: this one counts.
    """

    def __init__(
        self, labels: EdgeLabels, objective: Objective, *, thresholds: int, workers: int = 0
    ) -> None:
        dataset, sensitive = labels.dataset, labels.instance_sensitive
        protocol = find_protocol(
            "dff", dataset.name, raw=False, thresholds=thresholds, instance=sensitive
        )
        self.labels = labels
        self.objective = objective
        self.truth = DatasetGroundTruth(dataset, protocol)
        self.workers = workers

    @property
    def protocol(self) -> EdgeProtocol:
        """The knobs of the scores."""
        return self.truth.protocol

    @property
    def read(self) -> ReadTarget:
        """See `utils.training.validation.Scoring`."""
        return partial(read_edges, self.labels)

    def tally(self) -> "EdgeTally":
        """See `utils.training.validation.Scoring`."""
        return EdgeTally(self)

    def scores(self, parts: list[list[Measured]]) -> ValidationScores:
        """See `utils.training.validation.Scoring`."""
        everyone = [item for part in parts for item in part]
        counts = np.stack([counts[0] for _, counts in everyone], axis=1)  # (K, images, T, 4)
        summaries = [
            summarize(part, default_thresholds(self.protocol.thresholds)) for part in counts
        ]
        scores = [summary.ods.f for summary in summaries if summary.has_truth]
        loss = float(np.mean([loss for loss, _ in everyone]))
        value = float(np.mean(scores)) if scores else float("nan")
        return ValidationScores(loss, "mf", value, best_thresholds(summaries))

    def count(self, scores: np.ndarray, index: int) -> Future:
        """Of the counts int64 (1, K, T, 4) of an image whose scores are (K, H, W)."""
        truth = self.truth.load(index)
        if self.workers:
            return self._pool.submit(count_edge_image, scores, truth, self.protocol)
        future: Future = Future()
        future.set_result(count_edge_image(scores, truth, self.protocol))
        return future

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        # Not loky's reusable executor: joblib.Parallel takes that one for its own, and fails on one
        # set up by others. The processes stay between validations, but end when idle.
        return ProcessPoolExecutor(
            self.workers, timeout=600, initializer=start_worker, initargs=(os.getpid(),)
        )


class EdgeTally:
    """The loss and the counts of each image, some of which are still being counted."""

    def __init__(self, scoring: EdgeScoring) -> None:
        self.scoring = scoring
        self.done: list[Measured] = []
        self.waiting: deque[tuple[float, Future]] = deque()

    def add(self, outputs: dict[str, Tensor], item: dict[str, Any]) -> None:
        """See `utils.training.validation.Tally`."""
        objective = self.scoring.objective
        bits = item["edges"].to(outputs["fuse"].device, non_blocking=True)
        target = unpack_edges(bits[None], objective.num_classes)
        targets = {"edges": target, "valid": torch.ones_like(target[:, :1])}
        terms = objective.terms(outputs, targets)
        loss = objective.total({name: float(term) for name, term in terms.items()})
        # NaN, of a run that has diverged, which the loss tells, would warn when it is cast.
        scores = outputs["fuse"].float().sigmoid().nan_to_num()
        scores = quantize(resize_scores(scores, tuple(item["size"]))[0].cpu().numpy())
        self.waiting.append((loss, self.scoring.count(scores, item["index"])))
        if len(self.waiting) > QUEUED_PER_WORKER * self.scoring.workers:
            self.done.append(_finished(self.waiting.popleft()))

    def result(self) -> list[Measured]:
        """See `utils.training.validation.Tally`."""
        self.done.extend(map(_finished, self.waiting))
        self.waiting.clear()
        return self.done


def read_edges(
    labels: EdgeLabels, index: int, sample: Sample, size: tuple[int, int]
) -> dict[str, Tensor]:
    """edges: the training target of a whole image at the network's size, int32 (h, w) or (G, h, w).

    See `data.samples.edge` for its bits.
    """
    maps = labels.maps(index, sample)
    resized = tuple(None if ids is None else nearest(ids, size) for ids in maps)
    return {"edges": torch.from_numpy(labels.edges(resized).view(np.int32))}


def _finished(item: tuple[float, Future]) -> Measured:
    loss, counts = item
    return loss, counts.result()


def best_thresholds(summaries: Sequence[Summary]) -> tuple[float | None, ...] | None:
    """The threshold of each class's best F (ODS); None for a class that is never right.

    A class without ground truth, or without a match at any threshold, has no best threshold. None
    if that holds for all classes.
    """
    found = tuple(
        summary.ods.threshold if summary.has_truth and summary.ods.f > 0 else None
        for summary in summaries
    )
    return found if any(value is not None for value in found) else None


def nearest(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest-neighbour resize of a map of ids (H, W) to `size` = (h, w)."""
    if ids.shape == size:
        return ids
    rows, columns = (
        ((np.arange(n) + 0.5) * m / n).astype(np.intp) for n, m in zip(size, ids.shape, strict=True)
    )
    return ids.take(rows, axis=0).take(columns, axis=1)
