"""Validation of an edge net during training: the loss and MF at a few thresholds on whole images.

Each rank takes its share of the images. Scores come from the same code as `test.py`'s. Worker
processes count the matches of an image while the network computes the next ones, so a GPU does not
wait for them.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property

import numpy as np
import torch
from joblib.externals.loky import ProcessPoolExecutor
from torch import nn

from data.samples.edge import EdgeLabels, Maps, unpack_edges
from data.samples.transforms import normalize, resize_long_side
from utils.distributed.environment import Ranks
from utils.distributed.group import gather_objects
from utils.distributed.preemption import StopRequest, start_worker
from utils.edge_metrics import Summary, default_thresholds, summarize
from utils.evaluation.edges.ground_truth import DatasetGroundTruth, ImageGroundTruth
from utils.evaluation.edges.image_counts import count_edge_image
from utils.evaluation.edges.protocols import EdgeProtocol, find_protocol
from utils.inference.scores import quantize, resize_scores
from utils.training.objective import Objective
from utils.training.validation import Prepare, ValidationScores, evaluated, evenly_spaced

# What is running or waiting for each worker process; an image's scores take 80 MB at 2048x1024.
QUEUED_PER_WORKER = 2


class EdgeValidation:
    """Scores a network on a split: "mf" is MF (ODS) of the thin protocol.

    MF is the mean over classes with ground truth. The loss is the objective's, of one image at a
    time: so each image has its own class weights, as published.

    Args:
        labels: the ground truth of the split.
        objective: what the net is trained towards.
        base_size: the long side in pixels to which images are resized; 0: as they are.
        thresholds: the number of thresholds at which matches are counted.
        samples: the number of images, at equal distances in the split; 0: all.
        workers: processes that count; 0: this one counts.
        prepare: makes the net that is evaluated; None: the model itself is.
    """

    def __init__(
        self,
        labels: EdgeLabels,
        objective: Objective,
        *,
        base_size: int,
        thresholds: int,
        samples: int = 0,
        workers: int = 0,
        prepare: Prepare | None = None,
    ) -> None:
        dataset, sensitive = labels.dataset, labels.instance_sensitive
        protocol = find_protocol(
            "dff", dataset.name, raw=False, thresholds=thresholds, instance=sensitive
        )
        self.labels = labels
        self.dataset = dataset
        self.objective = objective
        self.base_size = base_size
        self.truth = DatasetGroundTruth(dataset, protocol)
        self.indices = evenly_spaced(len(dataset), samples)
        self.workers = workers
        self.prepare = prepare

    @property
    def protocol(self) -> EdgeProtocol:
        """The knobs of the scores."""
        return self.truth.protocol

    def __call__(
        self, model: nn.Module, *, device: str, ranks: Ranks, stop: StopRequest | None = None
    ) -> ValidationScores | None:
        """See `utils.training.validation.Validation`."""
        mine: list[tuple[float, np.ndarray]] = []
        waiting: deque[tuple[float, Future]] = deque()
        with evaluated(model, self.prepare) as net:
            for item in self._run(net, device, self.indices[ranks.rank :: ranks.world]):
                if stop:
                    break
                waiting.append(item)
                if len(waiting) > QUEUED_PER_WORKER * self.workers:
                    mine.append(_finished(waiting.popleft()))
        mine.extend(map(_finished, waiting))
        parts = gather_objects(None if stop else mine, ranks)
        if any(part is None for part in parts):
            return None
        everyone = [item for part in parts for item in part or ()]
        counts = np.stack([counts[0] for _, counts in everyone], axis=1)  # (K, images, T, 4)
        summaries = [
            summarize(part, default_thresholds(self.protocol.thresholds)) for part in counts
        ]
        scores = [summary.ods.f for summary in summaries if summary.has_truth]
        loss = float(np.mean([loss for loss, _ in everyone]))
        value = float(np.mean(scores)) if scores else float("nan")
        return ValidationScores(loss, "mf", value, best_thresholds(summaries))

    @torch.inference_mode()
    def _run(
        self, model: nn.Module, device: str, indices: list[int]
    ) -> Iterator[tuple[float, Future]]:
        """(loss, future of the counts int64 (1, K, T, 4)) of each image."""
        for index in indices:
            sample = self.dataset[index]
            image = resize_long_side(sample.image, self.base_size)
            outputs = model(normalize(image).to(device))
            target = self._target(self.labels.maps(index, sample), image.shape[:2]).to(device)
            targets = {"edges": target, "valid": torch.ones_like(target[:, :1])}
            terms = self.objective.terms(outputs, targets)
            loss = self.objective.total({name: float(term) for name, term in terms.items()})
            # NaN, of a run that has diverged, which the loss tells, would warn when it is cast.
            scores = outputs["fuse"].float().sigmoid().nan_to_num()
            scores = resize_scores(scores, sample.image.shape[:2])
            counts = self._count(quantize(scores[0].cpu().numpy()), self.truth.load(index))
            yield loss, counts

    def _target(self, maps: Maps, size: tuple[int, int]) -> torch.Tensor:
        """The training target bool (1, K, h, w) of a whole image at the network's size."""
        resized = tuple(None if ids is None else nearest(ids, size) for ids in maps)
        bits = torch.from_numpy(self.labels.edges(resized).view(np.int32))
        return unpack_edges(bits[None], self.dataset.num_classes)

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        # Not loky's reusable executor: joblib.Parallel takes that one for its own, and fails on one
        # set up by others. The processes stay between validations, but end when idle.
        return ProcessPoolExecutor(
            self.workers, timeout=600, initializer=start_worker, initargs=(os.getpid(),)
        )

    def _count(self, scores: np.ndarray, truth: ImageGroundTruth) -> Future:
        if self.workers:
            return self._pool.submit(count_edge_image, scores, truth, self.protocol)
        future: Future = Future()
        future.set_result(count_edge_image(scores, truth, self.protocol))
        return future


def _finished(item: tuple[float, Future]) -> tuple[float, np.ndarray]:
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
