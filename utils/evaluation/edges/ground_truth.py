"""The true edges that predictions are scored against: from a data set's labels, or from files."""

from collections.abc import Iterable
from math import ceil
from pathlib import Path

import numpy as np

from data.base import Dataset, Record
from data.edges import resize_nearest
from data.errors import InputError
from utils.evaluation.edges.ground_truth_files import FolderGroundTruth
from utils.evaluation.edges.image_counts import ImageGroundTruth
from utils.evaluation.edges.protocols import EdgeProtocol


class DatasetGroundTruth:
    """Ground truth that a data set makes from its label maps, at the protocol's scale."""

    def __init__(self, dataset: Dataset, protocol: EdgeProtocol) -> None:
        self.dataset = dataset
        self.protocol = protocol
        self.num_classes = dataset.num_classes
        self.names = [record.name for record in dataset.records]
        self._sizes: dict[int, tuple[int, int]] = {}
        if any(record.label is None for record in dataset.records):
            raise InputError(
                f"{dataset.name} {dataset.split}: this split has no ground truth; "
                "choose another --split"
            )

    @property
    def origin(self) -> dict[str, str]:
        """What it is, for `metrics.json`."""
        return {
            "dataset": self.dataset.name,
            "data_root": str(self.dataset.root),
            "split": self.dataset.split,
        }

    def paths(self, index: int) -> list[Path]:
        """The files that the ground truth of one image is made from."""
        record = self.dataset.records[index]
        return [path for path in (record.label, record.instance) if path is not None]

    def size(self, index: int) -> tuple[int, int]:
        """(h, w) of the ground truth, from headers.

        InputError if the image and its label maps differ in size.
        """
        if index not in self._sizes:
            self._sizes[index] = self._scaled(self.dataset.size(self.dataset.records[index]))
        return self._sizes[index]

    def load(self, index: int) -> ImageGroundTruth:
        """Make the edges of one image for each mode, and its label map if the protocol needs it."""
        protocol = self.protocol
        edges = {
            mode: self.dataset.edge_groups(
                index,
                thin=mode == "thin",
                scale=self.scale,
                instance_sensitive=bool(protocol.instance),
            )
            for mode in protocol.truths
        }
        record = self.dataset.records[index]
        # A data set that comes with edges has read no label map, whose size would be compared.
        size = self.size(index) if record.image else next(iter(edges.values()))[0].shape
        for groups in edges.values():
            if groups[0].shape != size:
                (h, w), (height, width) = groups[0].shape, size
                raise InputError(
                    f"{record.label}: its edges are {w}x{h}, but by the size of its image "
                    f"{record.image} they should be {width}x{height}"
                )
        needs_label = protocol.kill_internal or protocol.skip_absent
        return ImageGroundTruth(edges, self._label(record) if needs_label else None)

    @property
    def scale(self) -> float:
        """Its size relative to the label maps."""
        return 1.0 if self.protocol.scale is None else self.protocol.scale

    def _scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        # Rounded up, as the data sets' `edge_ground_truth` does.
        return ceil(size[0] * self.scale), ceil(size[1] * self.scale)

    def _label(self, record: Record) -> np.ndarray | None:
        label = self.dataset.ground_truth(record)[0]
        if label is None and self.protocol.kill_internal:
            raise InputError(
                f"{self.dataset.name}: {record.name} has no label map; "
                "--kill-internal needs the class of each pixel"
            )
        return None if label is None else resize_nearest(label, self.scale)


def sizes_in_words(sizes: Iterable[tuple[int, int]]) -> str:
    """Sizes (h, w) as "480x360", or "480x360 and 2 other sizes"."""
    found = list(dict.fromkeys(sizes))
    height, width = found[0]
    others = f" and {len(found) - 1} other sizes" if len(found) > 1 else ""
    return f"{width}x{height}{others}"


EdgeGroundTruth = DatasetGroundTruth | FolderGroundTruth
