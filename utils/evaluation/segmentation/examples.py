"""What the report on segmentation shows of single images: image, ground truth, prediction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data.base import Dataset
from data.names import match_names
from utils.evaluation.segmentation.label_maps import LabelMaps


@dataclass(frozen=True, slots=True)
class SegExample:
    """One image as the report shows it.

    image: uint8 (H, W, 3) RGB, or None where there is none. ground_truth, prediction: train ids
    uint8 (H, W).
    """

    name: str
    image: np.ndarray | None
    ground_truth: np.ndarray
    prediction: np.ndarray


def seg_example_loader(
    ground_truth: LabelMaps,
    predictions: LabelMaps,
    matches: Mapping[str, str],
    dataset: Dataset | None,
) -> Callable[[int], SegExample]:
    """A function from the index of an image to the example of it.

    Args:
        ground_truth: Label maps by the names of the images.
        predictions: Label maps; a network is run again on each example that is loaded.
        matches: Name in the ground truth -> name of its prediction; their order numbers the images.
        dataset: Has the images; None: examples are without.
    """
    names = list(matches)
    records = {record.name: record for record in dataset.records} if dataset else {}
    found = match_names(names, records)

    def load(index: int) -> SegExample:
        name = names[index]
        image = None
        if dataset is not None and name in found:
            image = dataset.read_image(records[found[name]])
        prediction = predictions.load(matches[name])
        return SegExample(name, image, ground_truth.load(name), prediction)

    return load
