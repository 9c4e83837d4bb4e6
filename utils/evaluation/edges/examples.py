"""What the report on semantic edges shows of single images: image, ground truth and scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data.base import Dataset
from utils.evaluation.edges.ground_truth import EdgeGroundTruth
from utils.evaluation.edges.sources import FileSource, NetworkSource


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
    source: NetworkSource | FileSource,
    ground_truth: EdgeGroundTruth,
    dataset: Dataset | None,
    places: Mapping[int, int],
) -> Callable[[int], EdgeExample]:
    """A function from a row of the counts to the example of that image.

    Args:
        source: Where the scores come from; a network is run again on each example that is loaded.
        ground_truth: What `source` was scored against.
        dataset: Has the images; None: examples are without.
        places: Index in the ground truth -> index in the data set, see `match_images`.
    """

    def load(row: int) -> EdgeExample:
        index = source.indices[row]
        image = None
        if dataset is not None and index in places:
            record = dataset.records[places[index]]
            image = None if record.image is None else dataset.read_image(record)
        scores = list(source.scores(index))
        return EdgeExample(ground_truth.names[index], image, ground_truth.load(index).edges, scores)

    return load
