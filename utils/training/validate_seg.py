"""Validation of a segmentation net during training: cross-entropy and mean IoU on whole images.

Each rank takes its share of the images. The IoU is `test.py`'s: one confusion matrix over all
images, at their own size.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torch.utils.data import Dataset as TorchDataset

from data.base import Dataset
from data.errors import InputError
from data.samples.transforms import normalize, resize_long_side
from utils.distributed.environment import Ranks
from utils.distributed.group import gather_objects
from utils.distributed.preemption import StopRequest
from utils.inference.scores import resize_scores
from utils.seg_metrics import confusion, mean_iou
from utils.training.loading import init_worker
from utils.training.objective import LOSSES
from utils.training.validation import Prepare, ValidationScores, evaluated, evenly_spaced


class SegValidation:
    """Scores a network on a split: "miou" is the mean IoU over classes.

    The loss is the plain cross-entropy ("ce" of LOSSES) whatever the net is trained with, so that
    runs can be compared; the mean over images of that over an image's labelled pixels.

    Args:
        dataset: the split.
        base_size: the long side in pixels to which images are resized; 0: as they are.
        samples: the number of images, at equal distances in the split; 0: all.
        workers: processes that read images; 0: this one does.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        base_size: int,
        samples: int = 0,
        workers: int = 0,
        prepare: Prepare | None = None,
    ) -> None:
        self.dataset = dataset
        self.workers = workers
        self.prepare = prepare
        self.loss = LOSSES["seg"]["ce"]
        self.images = WholeImages(dataset, base_size)
        self.indices = evenly_spaced(len(dataset), samples)

    @torch.inference_mode()
    def __call__(
        self, model: nn.Module, *, device: str, ranks: Ranks, stop: StopRequest | None = None
    ) -> ValidationScores | None:
        """See `utils.training.validation.Validation`."""
        count = self.dataset.num_classes
        total = np.zeros((count, count), np.int64)
        losses: list[float] = []
        with evaluated(model, self.prepare) as net:
            for image, label in self._loader(self.indices[ranks.rank :: ranks.world], device):
                logits = net(normalize(image.to(device, non_blocking=True)))["seg"].float()
                logits = resize_scores(logits, label.shape)
                targets = {"label": label.to(device, non_blocking=True)[None]}
                terms = self.loss.function({"seg": logits}, targets, quirks=False)
                losses.append(float(terms["seg"]))
                if stop:
                    break
                predicted = logits[0].argmax(dim=0).to(torch.uint8)
                total += confusion(predicted.cpu().numpy(), label.numpy(), count)
        parts = gather_objects(None if stop else (total, losses), ranks)
        done = [part for part in parts if part is not None]
        if len(done) < len(parts):
            return None
        loss = np.mean([loss for _, part in done for loss in part])
        score = mean_iou(np.sum([matrix for matrix, _ in done], axis=0))
        return ValidationScores(float(loss), "miou", float(score))

    def _loader(self, indices: list[int], device: str) -> DataLoader:
        return DataLoader(
            Subset(self.images, indices),
            batch_size=None,
            num_workers=min(self.workers, len(indices)),
            pin_memory=device == "cuda",
            worker_init_fn=init_worker,
        )


class WholeImages(TorchDataset):
    """(image uint8 (h, w, 3) at the network's size, label uint8 (H, W) at the image's own)."""

    def __init__(self, dataset: Dataset, base_size: int) -> None:
        self.dataset = dataset
        self.base_size = base_size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        sample = self.dataset[index]
        if sample.label is None:
            raise InputError(
                f"{self.dataset.name} {self.dataset.split}: "
                f"{sample.name} has no label map to validate on"
            )
        image = np.ascontiguousarray(resize_long_side(sample.image, self.base_size))
        return torch.from_numpy(image), torch.from_numpy(np.ascontiguousarray(sample.label))
