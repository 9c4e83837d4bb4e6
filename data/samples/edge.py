"""Training samples of the edge task: a crop and its edges.

Workers send edges as bits, 32 times smaller than maps of floats; `unpack_edges` opens them on the
device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.base import Dataset, Sample
from data.edge_files import read_edges, require_edge_labels
from data.edges import MAX_CLASSES, label_to_edges
from data.errors import InputError
from data.gtlabel.stamp import require_same_labels
from data.samples.transforms import Augmentation, Crop, draw_window, extract_crop, jitter_and_blur

EDGE_RADIUS = 2


@dataclass(frozen=True)
class EdgeLabels:
    """The true edges that a net is trained on.

    They are made from a sample's labels, or read from the files of a label script.

    files: a label file for each sample of the data set, or None.
    """

    dataset: Dataset
    instance_sensitive: bool = True
    files: Sequence[Path] | None = None

    def __post_init__(self) -> None:
        if self.dataset.num_classes > MAX_CLASSES:
            raise InputError(
                f"the edge task takes at most {MAX_CLASSES} classes; {self.dataset.name} has "
                f"{self.dataset.num_classes}"
            )

    @classmethod
    def of(
        cls, dataset: Dataset, *, instance_sensitive: bool = True, folder: str | Path | None = None
    ) -> "EdgeLabels":
        """Find the edges of a data set.

        Args:
            dataset: the samples.
            instance_sensitive: also edges between two instances of one class.
            folder: where a label script wrote its files, all of which must be there, and of
                these classes; None makes edges from labels.
        """
        if not folder:
            return cls(dataset, instance_sensitive)
        has_instances = any(record.instance for record in dataset.records)
        require_same_labels(
            folder,
            dataset.name,
            dataset.num_classes,
            instance_sensitive=instance_sensitive if has_instances else None,
        )
        files = require_edge_labels(folder, dataset, instance_sensitive=instance_sensitive)
        return cls(dataset, instance_sensitive, files)

    def sample(self, index: int) -> Sample:
        """The image, and the label maps if edges are made from them.

        Label maps are not decoded beside label files: nobody would read them.
        """
        if self.files is None:
            return self.dataset[index]
        record = self.dataset.records[index]
        return Sample(self.dataset.read_image(record), None, None, record.name)

    def maps(self, index: int, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        """What `edges` needs of a whole image, to be resized and cropped with it.

        (label, instance) or, from files, (bits, None).
        """
        if self.files is None:
            if sample.label is None:
                raise InputError(
                    f"{self.dataset.name}: {sample.name} has no label map; train with "
                    "--edge-labels DIR"
                )
            return sample.label, sample.instance
        bits = read_edges(self.files[index], self.dataset.num_classes)
        if bits.shape != sample.image.shape[:2]:
            (height, width), (h, w) = sample.image.shape[:2], bits.shape
            raise InputError(
                f"{self.files[index]}: is {w}x{h}, but the image {sample.name} is {width}x{height}"
            )
        return bits, None

    def edges(self, label: np.ndarray, instance: np.ndarray | None) -> np.ndarray:
        """uint32 (H, W): at radius 2 from resized labels; bits from files as they are."""
        if self.files is not None:
            return label
        return label_to_edges(
            label,
            instance,
            num_classes=self.dataset.num_classes,
            radius=EDGE_RADIUS,
            instance_sensitive=self.instance_sensitive,
        )


@dataclass(frozen=True)
class EdgeTraining:
    """Training samples of the edge task, indexed by (epoch, index).

    A sample depends on (seed, epoch, index) and on nothing else. It is a dictionary: image uint8
    (C, C, 3); edges int32 (C, C), bit k set = edge of class k; valid uint8 (1, C, C), 0 on
    padding; name.
    """

    labels: EdgeLabels
    augmentation: Augmentation
    seed: int

    def __len__(self) -> int:
        return len(self.labels.dataset)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor | str]:
        epoch, index = key
        sample = self.labels.sample(index)
        rng = np.random.default_rng((self.seed, epoch, index))
        height, width = sample.image.shape[:2]
        window = draw_window(height, width, self.augmentation, rng)
        maps = self.labels.maps(index, sample)
        crop_size = self.augmentation.crop_size
        # The margin lets edges at the crop's border see their neighbours outside it.
        crop = extract_crop(sample.image, maps, window, crop_size, margin=EDGE_RADIUS)
        jitter_and_blur(crop, self.augmentation, rng)
        edges, valid = edge_target(crop, self.labels)
        return {
            "image": torch.from_numpy(crop.image),
            "edges": torch.from_numpy(edges.view(np.int32)),  # torch shifts no uint32
            "valid": torch.from_numpy(valid),
            "name": sample.name,
        }


def edge_target(crop: Crop, labels: EdgeLabels) -> tuple[np.ndarray, np.ndarray]:
    """(edges uint32 (C, C), valid uint8 (1, C, C)) of a crop; there are no edges on padding."""
    label, instance = crop.maps
    assert label is not None
    edges = np.zeros(crop.image.shape[:2], np.uint32)
    valid = np.zeros((1, *edges.shape), np.uint8)
    edges[crop.inside] = labels.edges(label, instance)[crop.inner]
    valid[0][crop.inside] = 1
    if crop.mirror:
        edges = edges[:, ::-1]
        valid = valid[:, :, ::-1]
    return np.ascontiguousarray(edges), np.ascontiguousarray(valid)


def unpack_edges(bits: Tensor, num_classes: int) -> Tensor:
    """int32 (N, H, W) of bits -> bool (N, K, H, W), on the device of `bits`."""
    shifts = torch.arange(num_classes, device=bits.device, dtype=torch.int32)
    return (bits.unsqueeze(1) >> shifts.view(1, -1, 1, 1)) & 1 != 0
