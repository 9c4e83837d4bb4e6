"""Batch normalisation over the joint batch of all ranks."""

import torch
import torch.distributed as dist
from torch import Tensor, nn


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
        """As BatchNorm2d's: sums of half-precision input (autocast) are in single precision, the output is like the input."""
        if not self.training:
            return super().forward(x)
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        count = torch.tensor([wide.numel() / wide.shape[1]], dtype=wide.dtype)
        dist.all_reduce(count)
        mean = _SumOverRanks.apply(wide.sum(dim=(0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = _SumOverRanks.apply(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _SumOverRanks(torch.autograd.Function):
    """What a rank adds to the sum, each of the others' losses sees too: so the gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
