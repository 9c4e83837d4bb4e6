"""Training samples of the segmentation task: a crop and its label, with an edge head its edges.

Decoupled nets also get the relaxed classes and edges of `data.samples.relaxed`. Workers send the
relaxed classes as bits; `unpack_relaxed` opens them on the device.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from data.base import Dataset, Sample
from data.errors import InputError
from data.image_io import IGNORE
from data.samples.class_uniform import CropKey
from data.samples.edge import EDGE_RADIUS, EdgeLabels, Maps, edge_target
from data.samples.relaxed import relaxed_target
from data.samples.transforms import Augmentation, Crop, draw_window, extract_crop, jitter_and_blur


@dataclass(frozen=True)
class Relaxation:
    """How labels are relaxed: the class of any pixel within a border counts as a pixel's own.

    border: pixels.
    strict_classes: these count at their own pixels only.
    off_epoch: after this epoch (counted from 0) labels are no longer relaxed; -1 = never. (The
        published code then also weighs boundary pixels double and changes its edges. No published
        setting gets there, and ours does neither.)
    """

    border: int = 1
    strict_classes: tuple[int, ...] = ()
    off_epoch: int = -1

    def border_in(self, epoch: int) -> int:
        """The border of this epoch."""
        return 0 if 0 <= self.off_epoch < epoch else self.border


@dataclass(frozen=True)
class SegTraining:
    """Training samples of the segmentation task, indexed by (epoch, index) or a `CropKey`.

    A sample depends on the seed and its key and on nothing else. It is a dictionary: image uint8
    (C, C, 3); label uint8 (C, C), 255 = void and padding; name; and with a `relaxation` bits int32
    (words, C, C) and edge uint8 (1, C, C), see `data.samples.relaxed.relaxed_target`; with
    `edges` those of `data.samples.edge.EdgeTraining`: edges and valid.

    coarse: more samples, with coarse labels; their indices follow those of `dataset`. They occur
        only if the sampler asks for them.
    edges: the true edges of `dataset`, for a net with an edge head; None: it has none.
    coarse_edges: those of `coarse`.
    """

    dataset: Dataset
    augmentation: Augmentation
    seed: int
    relaxation: Relaxation | None = None
    coarse: Dataset | None = None
    edges: EdgeLabels | None = None
    coarse_edges: EdgeLabels | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: CropKey | tuple[int, int]) -> dict[str, Tensor | str]:
        if not isinstance(key, CropKey):
            key = CropKey(*key)
        sample, full_label, edges, edge_maps = self._read(key.sample)
        rng = np.random.default_rng((self.seed, key.epoch, key.sample, key.position))
        height, width = sample.image.shape[:2]
        window = draw_window(height, width, self.augmentation, rng, key.around)
        maps = (full_label, *edge_maps)
        # As of `EdgeTraining`: edges at the crop's border see their neighbours outside it.
        margin = 0 if edges is None else EDGE_RADIUS
        crop = extract_crop(sample.image, maps, window, self.augmentation.crop_size, margin=margin)
        jitter_and_blur(crop, self.augmentation, rng)
        label = crop_label(crop)
        item: dict[str, Tensor | str] = {
            "image": torch.from_numpy(crop.image),
            "label": torch.from_numpy(label),
            "name": sample.name,
        }
        if self.relaxation is not None:
            bits, edge = relaxed_target(
                label,
                self.dataset.num_classes,
                border=self.relaxation.border_in(key.epoch),
                strict_classes=self.relaxation.strict_classes,
            )
            item["bits"] = torch.from_numpy(bits.view(np.int32))  # torch shifts no uint32
            item["edge"] = torch.from_numpy(edge)
        if edges is not None:
            bits, valid = edge_target(replace(crop, maps=crop.maps[1:]), edges)
            item["edges"] = torch.from_numpy(bits.view(np.int32))
            item["valid"] = torch.from_numpy(valid)
        return item

    def _read(self, index: int) -> tuple[Sample, np.ndarray, EdgeLabels | None, Maps]:
        """The sample; its label, which must be there; its edges, and the maps that they need."""
        dataset, edges = self.dataset, self.edges
        if self.coarse is not None and index >= len(dataset):
            index -= len(dataset)
            dataset, edges = self.coarse, self.coarse_edges
        sample = dataset[index]
        if sample.label is None:
            raise InputError(
                f"{dataset.name} {dataset.split}: {sample.name} has no label map to train on"
            )
        return sample, sample.label, edges, () if edges is None else edges.maps(index, sample)


def crop_label(crop: Crop) -> np.ndarray:
    """uint8 (C, C): the first map of a crop, 255 on padding, mirrored as its image is."""
    part = crop.maps[0]
    assert part is not None
    label = np.full(crop.image.shape[:2], IGNORE, np.uint8)
    label[crop.inside] = part[crop.inner]
    return np.ascontiguousarray(label[:, ::-1]) if crop.mirror else label
