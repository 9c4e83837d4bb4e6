"""Segmentation in a validation during training: cross-entropy and mean IoU.

The IoU is `test.py`'s: one confusion matrix over all images, at their own size.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.base import Dataset, Sample
from data.errors import InputError
from utils.inference.scores import resize_scores
from utils.seg_metrics import confusion, mean_iou
from utils.training.objective import LOSSES
from utils.training.validation import ReadTarget, ValidationScores

Part = tuple[np.ndarray, list[float]]  # confusion matrix, the loss of each image


class SegScoring:
    """The score "miou" is the mean IoU over classes.

    The loss is the plain cross-entropy ("ce" of LOSSES) whatever the net is trained with, so that
    runs can be compared; the mean over images of that over an image's labelled pixels.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @property
    def read(self) -> ReadTarget:
        """See `utils.training.validation.Scoring`."""
        return partial(read_label, f"{self.dataset.name} {self.dataset.split}")

    def tally(self) -> "SegTally":
        """See `utils.training.validation.Scoring`."""
        return SegTally(self.dataset.num_classes)

    def scores(self, parts: list[Part]) -> ValidationScores:
        """See `utils.training.validation.Scoring`."""
        loss = np.mean([loss for _, losses in parts for loss in losses])
        score = mean_iou(np.sum([matrix for matrix, _ in parts], axis=0))
        return ValidationScores(float(loss), "miou", float(score))


class SegTally:
    """The confusion matrix, and the loss of each image."""

    def __init__(self, num_classes: int) -> None:
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        self.losses: list[float] = []

    def add(self, outputs: dict[str, Tensor], item: dict[str, Any]) -> None:
        """See `utils.training.validation.Tally`."""
        label: Tensor = item["label"]
        logits = resize_scores(outputs["seg"].float(), tuple(item["size"]))
        targets = {"label": label.to(logits.device, non_blocking=True)[None]}
        terms = LOSSES["seg"]["ce"].function({"seg": logits}, targets, quirks=False)
        self.losses.append(float(terms["seg"]))
        predicted = logits[0].argmax(dim=0).to(torch.uint8)
        self.matrix += confusion(predicted.cpu().numpy(), label.numpy(), len(self.matrix))

    def result(self) -> Part:
        """See `utils.training.validation.Tally`."""
        return self.matrix, self.losses


def read_label(
    split: str, _index: int, sample: Sample, _size: tuple[int, int]
) -> dict[str, Tensor]:
    """label: uint8 (H, W) at the image's own size; InputError if the sample has none.

    split: the name of data set and split, for the error.
    """
    if sample.label is None:
        raise InputError(f"{split}: {sample.name} has no label map to validate on")
    return {"label": torch.from_numpy(np.ascontiguousarray(sample.label))}
