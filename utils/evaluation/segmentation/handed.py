"""Counting label maps that another pass of the net over the images makes, while it goes on."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

from utils.evaluation.segmentation.run import count_checked
from utils.evaluation.segmentation.scores import ImageCounts
from utils.evaluation.segmentation.scoring import SegScoring

MOST_THREADS = 2  # the processes that count edges take longer


class HandedLabels:
    """Counts label maps as they are handed over; a context, which ends the threads.

    scoring: what they are compared with, and how. workers: 0 counts in the caller's thread.
    """

    def __init__(self, scoring: SegScoring, workers: int) -> None:
        self.scoring = scoring
        self.threads = min(MOST_THREADS, workers)
        self._pool = ThreadPoolExecutor(self.threads) if self.threads else None
        self._waiting: deque[tuple[str, Future[ImageCounts]]] = deque()
        self._counted: dict[str, ImageCounts] = {}

    def __enter__(self) -> "HandedLabels":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def take(self, name: str, labels: np.ndarray) -> None:
        """Count the label map uint8 (H, W) of an image. At most two per thread wait."""
        if self._pool is None:
            self._counted[name] = self._count(name, labels)
            return
        while len(self._waiting) >= 2 * self.threads:
            self._collect()
        self._waiting.append((name, self._pool.submit(self._count, name, labels)))

    def counts(self) -> Mapping[str, ImageCounts]:
        """Of all images that were handed over, by name."""
        while self._waiting:
            self._collect()
        return self._counted

    def _collect(self) -> None:
        name, future = self._waiting.popleft()
        self._counted[name] = future.result()

    def _count(self, name: str, labels: np.ndarray) -> ImageCounts:
        scoring = self.scoring
        files = scoring.predictions.where(scoring.matches[name]), scoring.truth.where(name)
        return count_checked(labels, scoring.truth.load(name), scoring.protocol, files)
