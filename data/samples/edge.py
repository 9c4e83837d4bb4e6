"""Training samples of the edge task: a crop and its edges.

Workers send edges as bits, 32 times smaller than maps of floats; `unpack_edges` opens them on the
device. Up to 32 classes are one map (C, C); more are groups of 24, as in files: (G, C, C), bit k of
group g = class 24 g + k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.base import Dataset, Sample
from data.edge_files import read_edge_groups, read_edges, require_edge_labels
from data.edges import MAX_CLASSES, PNG_CLASSES, class_groups, label_to_edges
from data.errors import InputError
from data.gtlabel.stamp import require_same_labels
from data.samples.transforms import Augmentation, Crop, draw_window, extract_crop, jitter_and_blur

EDGE_RADIUS = 2
Maps = tuple[np.ndarray | None, ...]


@dataclass(frozen=True)
class EdgeLabels:
    """The true edges that a net is trained on.

    They are made from a sample's labels, or read from the files of a label script.

    files: a label file for each sample of the data set, or None.
    """

    dataset: Dataset
    instance_sensitive: bool = True
    files: Sequence[Path] | None = None

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
            meaning=dataset.meaning(),
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

    def maps(self, index: int, sample: Sample) -> Maps:
        """What `edges` needs of a whole image, to be resized and cropped with it.

        (label, instance) or, from files, the bits: one map, or one for each group.
        """
        if self.files is None:
            if sample.label is None:
                raise InputError(
                    f"{self.dataset.name}: {sample.name} has no label map; train with "
                    "--edge-labels DIR"
                )
            return sample.label, sample.instance
        groups = self._read(self.files[index])
        if groups[0].shape != sample.image.shape[:2]:
            (height, width), (h, w) = sample.image.shape[:2], groups[0].shape
            raise InputError(
                f"{self.files[index]}: is {w}x{h}, but the image {sample.name} is {width}x{height}"
            )
        return tuple(groups)

    def edges(self, maps: Maps) -> np.ndarray:
        """The edges of (parts of) what `maps` returned: uint32 (H, W), or (G, H, W).

        At radius 2 from resized labels; bits from files as they are.
        """
        count = self.dataset.num_classes
        if self.files is not None:
            groups = [bits for bits in maps if bits is not None]
            return np.stack(groups) if count > MAX_CLASSES else groups[0]
        label, instance = maps
        assert label is not None
        sensitive = self.instance_sensitive
        if count <= MAX_CLASSES:
            return label_to_edges(
                label,
                instance,
                num_classes=count,
                radius=EDGE_RADIUS,
                instance_sensitive=sensitive,
            )
        rules = class_groups(label, instance, num_classes=count, instance_sensitive=sensitive)
        return np.stack(
            [label_to_edges(part, ids, radius=EDGE_RADIUS, **rule) for part, ids, rule in rules]
        )

    def _read(self, path: Path) -> list[np.ndarray]:
        count = self.dataset.num_classes
        return [read_edges(path, count)] if count <= MAX_CLASSES else read_edge_groups(path, count)


@dataclass(frozen=True)
class EdgeTraining:
    """Training samples of the edge task, indexed by (epoch, index).

    A sample depends on (seed, epoch, index) and on nothing else. It is a dictionary: image uint8
    (C, C, 3); edges int32 (C, C), bit k set = edge of class k, or (G, C, C); valid uint8 (1, C, C),
    0 on padding; name.
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
    """(edges uint32, valid uint8 (1, C, C)) of a crop; there are no edges on padding.

    The edges are (C, C), or (G, C, C) with more than 32 classes.
    """
    found = labels.edges(crop.maps)
    size = crop.image.shape[:2]
    edges = np.zeros((*found.shape[:-2], *size), np.uint32)
    valid = np.zeros((1, *size), np.uint8)
    edges[..., *crop.inside] = found[..., *crop.inner]
    valid[:, *crop.inside] = 1
    if crop.mirror:
        edges = edges[..., ::-1]
        valid = valid[..., ::-1]
    return np.ascontiguousarray(edges), np.ascontiguousarray(valid)


def unpack_edges(bits: Tensor, num_classes: int) -> Tensor:
    """int32 (N, H, W) or (N, G, H, W) of bits -> bool (N, K, H, W), on the device of `bits`."""
    if bits.ndim == 3:
        return _unpack_map(bits.unsqueeze(1), num_classes)
    counts = [min(PNG_CLASSES, num_classes - PNG_CLASSES * g) for g in range(bits.shape[1])]
    parts = [_unpack_map(bits[:, g : g + 1], count) for g, count in enumerate(counts)]
    return torch.cat(parts, dim=1)


def _unpack_map(bits: Tensor, count: int) -> Tensor:
    """int32 (N, 1, H, W) -> bool (N, count, H, W)."""
    shifts = torch.arange(count, device=bits.device, dtype=torch.int32)
    return (bits >> shifts.view(1, -1, 1, 1)) & 1 != 0
