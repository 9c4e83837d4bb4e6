"""What the report on semantic edges shows of single images: image, ground truth and scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from data.base import Dataset
from data.edges import PNG_CLASSES, class_edges, pack
from utils.evaluation.edges.counter import ONE_VARIANT
from utils.evaluation.edges.ground_truth import EdgeGroundTruth
from utils.evaluation.edges.image_counts import ImageScores, Stack
from utils.evaluation.edges.sources import EdgeSource


@dataclass(frozen=True, slots=True)
class EdgeExample:
    """One image as the report shows it.

    image: uint8 (H, W, 3) RGB, or None where there is none. ground_truth: mode -> groups uint32
    (h, w), or (A, h, w) of A annotators. scores: K arrays (h, w), one per class, as stored or
    float.
    """

    name: str
    image: np.ndarray | None
    ground_truth: dict[str, list[np.ndarray]]
    scores: list[np.ndarray]


def edge_example_loader(
    source: EdgeSource,
    ground_truth: EdgeGroundTruth,
    dataset: Dataset | None,
    places: Mapping[int, int],
    variant: str = ONE_VARIANT[0],
) -> Callable[[int], EdgeExample]:
    """A function from a row of the counts to the example of that image.

    Args:
        source: Where the scores come from; a network is run again on each example that is loaded.
        ground_truth: What `source` was scored against.
        dataset: Has the images; None: examples are without.
        places: Index in the ground truth -> index in the data set, see `match_images`.
        variant: Whose scores are shown.
    """

    def load(row: int) -> EdgeExample:
        index = source.indices[row]
        image = None
        if dataset is not None and index in places:
            record = dataset.records[places[index]]
            image = None if record.image is None else dataset.read_image(record)
        scores = list(shown_stack(source.scores(index), variant))
        edges = ground_truth.load(index).edges
        if source.classes is not None:
            edges = {mode: only_classes(groups, source.classes) for mode, groups in edges.items()}
        return EdgeExample(ground_truth.names[index], image, edges, scores)

    return load


def shown_stack(scores: Stack | ImageScores, variant: str) -> Stack:
    """Of all scores of an image the variant's; where thin and raw edges have their own, the first.

    The report ranks the images by the first mode.
    """
    stacks = cast("ImageScores", scores)[variant] if isinstance(scores, Mapping) else scores
    if isinstance(stacks, Mapping):
        return next(iter(cast("Mapping[str, Stack]", stacks).values()))
    return stacks


def only_classes(groups: Sequence[np.ndarray], classes: Sequence[int]) -> list[np.ndarray]:
    """Groups of these classes alone, numbered from 0 on; uint32 (h, w) or (A, h, w) each."""
    return [
        pack(np.stack([class_edges(groups, k) for k in classes[i : i + PNG_CLASSES]]))
        for i in range(0, len(classes), PNG_CLASSES)
    ]
