"""Batch normalization over the joint batch of all ranks."""

import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronise_batch_norm(model: nn.Module, device: str) -> nn.Module:
    """Make every batch normalization use the joint batch of all ranks; parameters keep their names.

    Changes `model` on CPUs; on "cuda" PyTorch may return another module.
    """
    if device == "cuda":
        if any(_has_activation(module) for module in model.modules()):
            from timm.layers import norm_act  # PyTorch's own drops the activation

            return norm_act.convert_sync_batchnorm(model)
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = JointBatchNorm
        elif _has_activation(module):
            module.__class__ = JointBatchNormAct
    return model


def _has_activation(module: nn.Module) -> bool:
    """Whether it is timm's batch normalisation with an activation behind it."""
    timm_layers = sys.modules.get("timm.layers")
    return timm_layers is not None and type(module) is timm_layers.BatchNormAct2d


class JointBatchNorm(nn.BatchNorm2d):
    """Batch normalization over the joint batch, for CPUs, where SyncBatchNorm refuses to run."""

    plain_in_evaluation = True  # for models.fast.folding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same, in the same dtype; sums of half precision are in float32."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        count = torch.tensor([wide.numel() / wide.shape[1]], dtype=wide.dtype)
        dist.all_reduce(count)
        mean = sum_over_ranks(wide.sum(dim=(0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = sum_over_ranks(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class JointBatchNormAct(JointBatchNorm):
    """timm's BatchNormAct2d over the joint batch, for CPUs."""

    plain_in_evaluation = False  # an activation follows
    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same, normalised and activated."""
        return self.act(self.drop(super().forward(x)))


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of every rank's `values`, differentiable.

    d(sum of all ranks' losses)/d(values) is the sum over ranks of their gradients: what a rank adds
    here, each of the others' losses depends on, too.
    """
    total = values.clone()
    # The same memory, reduced behind autograd's back: of a clone it saves nothing for backward.
    dist.all_reduce(total.detach())
    if total.requires_grad:
        total.register_hook(_reduced)
    return total


def _reduced(gradient: Tensor) -> Tensor:
    joint = gradient.clone()
    dist.all_reduce(joint)
    return joint
