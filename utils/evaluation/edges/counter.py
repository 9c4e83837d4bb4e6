"""Counting an image by its index: reads its ground truth, and its predictions if they are files.

Runs in worker processes, so it imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.evaluation.edges.ground_truth import EdgeGroundTruth
from utils.evaluation.edges.image_counts import count_edge_image
from utils.evaluation.edges.predictions import PredictionFiles
from utils.evaluation.edges.protocols import EdgeProtocol


@dataclass(frozen=True)
class ImageCounter:
    """Counts one image by its index in the ground truth.

    files: None where `count` is given the scores. images: the files that these scores are made
    from, by index.
    """

    ground_truth: EdgeGroundTruth
    protocol: EdgeProtocol
    files: PredictionFiles | None = None
    images: Mapping[int, Path] = field(default_factory=dict)

    def count(self, index: int, scores: np.ndarray | None = None) -> np.ndarray:
        """int64 (M, K, T, 4). scores: (K, h, w), or None to read them from the files."""
        if scores is not None:
            return count_edge_image(scores, self.ground_truth.load(index), self.protocol)
        if self.files is None:
            raise ValueError("a counter without prediction files needs the scores of the image")
        predicted = self.files.read(index)
        return count_edge_image(predicted, self.ground_truth.load(index), self.protocol)

    def name(self, index: int) -> str:
        """The name of an image."""
        return self.ground_truth.names[index]

    def paths(self, index: int) -> list[Path]:
        """All files that the counts of an image are made from."""
        predicted = self.files.paths(index) if self.files else []
        image = [self.images[index]] if index in self.images else []
        return [*self.ground_truth.paths(index), *predicted, *image]
