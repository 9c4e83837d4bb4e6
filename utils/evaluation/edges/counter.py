"""Counting an image by its index: reads its ground truth, and its predictions if they are files.

Runs in worker processes, so it imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from utils.evaluation.edges.ground_truth import EdgeGroundTruth
from utils.evaluation.edges.image_counts import ImageScores, Record, Stack, measure_image
from utils.evaluation.edges.protocols import EdgeProtocol

ONE_VARIANT = ("",)  # of a source that has nothing to tell apart


class ScoreFiles(Protocol):
    """The files of predictions, by index of the image; sent to the worker processes."""

    def paths(self, index: int) -> list[Path]:
        """All files of one image."""
        ...

    def read(self, index: int) -> Stack | ImageScores:
        """Its scores: of the one variant, or of each by name."""
        ...


@dataclass(frozen=True)
class ImageCounter:
    """Counts one image by its index in the ground truth.

    Args:
        ground_truth: What the scores are compared with; read once for all results.
        protocols: Equal but for their tolerance.
        files: None where `count` is given the scores.
        images: The files that these scores are made from, by index.
        variants: Names of the scores that each image has, in their order.
        classes: The classes that are scored, and whose scores the source gives; None: all.
    """

    ground_truth: EdgeGroundTruth
    protocols: tuple[EdgeProtocol, ...]
    files: ScoreFiles | None = None
    images: Mapping[int, Path] = field(default_factory=dict)
    variants: tuple[str, ...] = ONE_VARIANT
    classes: tuple[int, ...] | None = None

    @property
    def num_classes(self) -> int:
        """K, the number of classes that are scored."""
        return self.ground_truth.num_classes if self.classes is None else len(self.classes)

    def count(self, index: int, scores: Stack | ImageScores | None = None) -> Record:
        """The record of an image. scores: None to read them from the files."""
        if scores is None:
            if self.files is None:
                raise ValueError("a counter without prediction files needs the scores of the image")
            scores = self.files.read(index)
        by_variant: ImageScores
        if isinstance(scores, Mapping):
            by_variant = cast("ImageScores", scores)
        else:
            by_variant = {self.variants[0]: scores}
        if tuple(by_variant) != self.variants:
            raise ValueError(f"expected scores of {self.variants}, got {tuple(by_variant)}")
        truth = self.ground_truth.load(index)
        return measure_image(by_variant, truth, self.protocols, self.classes)

    def name(self, index: int) -> str:
        """The name of an image."""
        return self.ground_truth.names[index]

    def paths(self, index: int) -> list[Path]:
        """All files that the counts of an image are made from."""
        predicted = self.files.paths(index) if self.files else []
        image = [self.images[index]] if index in self.images else []
        return [*self.ground_truth.paths(index), *predicted, *image]
