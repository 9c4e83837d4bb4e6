"""Validation of a segmentation net during training: cross-entropy and mean IoU on whole images, each rank on its share.

The IoU is `test.py`'s: one confusion matrix over all images, at their own size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from data.base import Dataset as Images
from data.errors import InputError
from data.samples.transforms import normalize, resize_long_side
from models.losses import cross_entropy
from utils.distributed.environment import Ranks
from utils.distributed.group import gather_objects
from utils.inference.scores import resize_scores
from utils.seg_metrics import confusion, mean_iou
from utils.training.loading import quiet_worker
from utils.training.scores import Scores, spread


class SegValidation:
    """Scores a network on a split. samples: so many images, spread evenly over the split; 0 takes all. workers: processes that
    read images."""

    def __init__(
        self, dataset: Images, *, base_size: int, samples: int = 0, workers: int = 0
    ) -> None:
        self.dataset, self.workers = dataset, workers
        self.images = WholeImages(dataset, base_size)
        self.indices = spread(len(dataset), samples)

    @torch.inference_mode()
    def __call__(
        self, model: nn.Module, *, device: str, ranks: Ranks, stop: object = False
    ) -> Scores | None:
        """The scores of `model`, the same on every rank; it is left in the mode in which it was.

        loss: the mean over images of the cross-entropy over an image's labelled pixels. None if `stop` becomes true on any
        rank before all images are through.
        """
        training = model.training
        model.eval()
        count = self.dataset.num_classes
        total, losses = np.zeros((count, count), np.int64), []
        for image, label in self._loader(self.indices[ranks.rank :: ranks.world], device):
            logits = model(normalize(image.to(device, non_blocking=True)))["seg"].float()
            logits = resize_scores(logits, label.shape)
            target = label.to(device, non_blocking=True)
            losses.append(float(cross_entropy(logits, target[None])))
            if stop:
                break
            total += confusion(
                logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy(), label.numpy(), count
            )
        model.train(training)
        parts = gather_objects(None if stop else (total, losses), ranks)
        if None in parts:
            return None
        losses = [loss for _, part in parts for loss in part]
        return Scores(
            float(np.mean(losses)), "miou", float(mean_iou(sum(matrix for matrix, _ in parts)))
        )

    def _loader(self, indices: Sequence[int], device: str) -> DataLoader:
        return DataLoader(
            Subset(self.images, indices),
            batch_size=None,
            num_workers=min(self.workers, len(indices)),
            pin_memory=device == "cuda",
            worker_init_fn=quiet_worker,
        )


class WholeImages(Dataset):
    """(image uint8 (h, w, 3) at the network's size, label uint8 (H, W) at the image's own) of each sample."""

    def __init__(self, dataset: Images, base_size: int) -> None:
        self.dataset, self.base_size = dataset, base_size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        sample = self.dataset[index]
        if sample.label is None:
            raise InputError(
                f"{self.dataset.name} {self.dataset.split}: {sample.name} has no label map to validate on"
            )
        image = np.ascontiguousarray(resize_long_side(sample.image, self.base_size))
        return torch.from_numpy(image), torch.from_numpy(np.ascontiguousarray(sample.label))
