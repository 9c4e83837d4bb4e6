"""One process or many: who am I, and batch normalisation over all of them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from data.base import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among all: `rank` of `world`, `local_rank` on its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def init_distributed(device: str = "cpu") -> Ranks:
    """Join the process group that torchrun describes in the environment (NCCL on GPUs, gloo on CPUs); alone without one."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Ranks()
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))
    if ranks.world > 1 and not dist.is_initialized():
        # The others wait while the main rank prepares data (`from_main`), which may take longer than PyTorch's ten minutes.
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(hours=1))
    return ranks


def close_distributed() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def mean_over_ranks(value: float, ranks: Ranks) -> float:
    """The mean of a number over all ranks, in double precision."""
    if ranks.world == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=_group_device())
    dist.all_reduce(total)
    return float(total) / ranks.world


def gather_objects(part: object, ranks: Ranks) -> list[object]:
    """Every rank's `part`, in the order of the ranks, on every rank."""
    if ranks.world == 1:
        return [part]
    parts: list[object] = [None] * ranks.world
    dist.all_gather_object(parts, part)
    return parts


def from_main(make: Callable[[], T], ranks: Ranks) -> T:
    """What `make` returns on the main rank, on every rank; the others wait for it. An error there is an error everywhere."""
    if ranks.world == 1:
        return make()
    box: list[object] = [None]
    if ranks.is_main:
        try:
            box = [make()]
        except (InputError, OSError) as error:
            box = [error]
    dist.broadcast_object_list(box, src=0)
    if isinstance(box[0], Exception):
        raise box[0]
    return box[0]


def synchronise_batch_norm(model: nn.Module, device: str) -> nn.Module:
    """Make every batch normalisation use the joint batch of all ranks; parameter names stay as they are."""
    if device == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = JointBatchNorm
    return model


class JointBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the joint batch of all ranks, for CPUs, where PyTorch's own SyncBatchNorm refuses to run."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        count = torch.tensor([x.numel() / x.shape[1]], dtype=x.dtype)
        mean_sum, count = all_reduce(x.sum(dim=(0, 2, 3))), all_reduce(count)
        mean = mean_sum / count
        centred = x - mean[:, None, None]
        variance = all_reduce(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale[:, None, None] + self.bias[:, None, None]


def _group_device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
