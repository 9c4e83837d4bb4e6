"""Training items of the segmentation task: a crop, its labels, and for decoupled nets the relaxed classes and edges.

Workers send the classes within the border as bits (see `data.samples.relaxed`); `unpack_relaxed` opens them on the device.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.base import Dataset, Sample
from data.errors import InputError
from data.image_io import IGNORE
from data.samples.class_uniform import Draw
from data.samples.relaxed import relaxed_target
from data.samples.transforms import Augmentation, Crop, change_look, cut, draw_window


@dataclass(frozen=True)
class Relaxation:
    """How labels are relaxed: the class of any pixel within `border` counts, but a class in `strict_classes` keeps its own pixels.

    off_epoch: after this epoch (counted from 0) labels are no longer relaxed; -1: never. (The published code then also weighs
    boundary pixels double and changes its edges; no published setting gets there, and ours does neither.)
    """

    border: int = 1
    strict_classes: tuple[int, ...] = ()
    off_epoch: int = -1

    def border_in(self, epoch: int) -> int:
        """The border of this epoch."""
        return 0 if 0 <= self.off_epoch < epoch else self.border


@dataclass(frozen=True)
class SegTraining:
    """Training items; `items[epoch, index]`, or `items[Draw(...)]`, depends on (seed, epoch, index, place) and on nothing else.

    An item is a dictionary: image uint8 (C, C, 3); label uint8 (C, C), 255 = void and padding; name; and with a `relaxation` bits
    int32 (words, C, C) and edge uint8 (1, C, C), see `data.samples.relaxed.relaxed_target`. `further` holds the samples whose numbers go on
    after those of `dataset` (coarsely labelled ones, say); they come up only if the sampler asks for them.
    """

    dataset: Dataset
    augmentation: Augmentation
    seed: int
    relaxation: Relaxation | None = None
    further: Dataset | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple) -> dict[str, Tensor | str]:
        draw = Draw(*key)
        sample = self._sample(draw.index)
        rng = np.random.default_rng((self.seed, draw.epoch, draw.index, draw.place))
        window = draw_window(*sample.image.shape[:2], self.augmentation, rng, draw.around)
        crop = cut(sample.image, (sample.label,), window, self.augmentation.crop_size)
        change_look(crop, self.augmentation, rng)
        label = crop_label(crop)
        item = {
            "image": torch.from_numpy(crop.image),
            "label": torch.from_numpy(label),
            "name": sample.name,
        }
        if self.relaxation is not None:
            border, strict = self.relaxation.border_in(draw.epoch), self.relaxation.strict_classes
            bits, edge = relaxed_target(
                label, self.dataset.num_classes, border=border, strict_classes=strict
            )
            item |= {"bits": torch.from_numpy(bits.view(np.int32)), "edge": torch.from_numpy(edge)}
        return item

    def _sample(self, index: int) -> Sample:
        dataset, number = (
            (self.dataset, index)
            if index < len(self.dataset)
            else (self.further, index - len(self))
        )
        sample = dataset[number]
        if sample.label is None:
            raise InputError(
                f"{dataset.name} {dataset.split}: {sample.name} has no label map to train on"
            )
        return sample


def crop_label(crop: Crop) -> np.ndarray:
    """uint8 (C, C): the label below a crop, 255 on padding, mirrored as its image is."""
    label = np.full(crop.image.shape[:2], IGNORE, np.uint8)
    label[crop.inside] = crop.maps[0][crop.inner]
    return np.ascontiguousarray(label[:, ::-1]) if crop.mirror else label
