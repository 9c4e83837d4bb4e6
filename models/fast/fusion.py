"""The fusions of the edge nets without maps stacked once for every class."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.casenet import FusedClassification
from models.dff import DynamicFusion
from models.fast.norm_relu_conv import compute_dtype


class FastDynamicFusion(DynamicFusion):
    """Equation 2 with its gradients written where they belong; autograd's would stack and copy.

    Applies unless a compiler traces, or the maps are of different types.
    """

    def forward(self, weights: Tensor, side5: Tensor, shared: Tensor) -> Tensor:
        """weights (N, K, 4, H, W), side5 (N, K, H, W), shared (N, 3, H, W) -> (N, K, H, W)."""
        if torch.compiler.is_compiling() or not weights.dtype == side5.dtype == shared.dtype:
            return super().forward(weights, side5, shared)
        return _DynamicFusion.apply(weights, side5, shared)


class _DynamicFusion(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weights: Tensor, side5: Tensor, shared: Tensor) -> Tensor:
        ctx.save_for_backward(weights, side5, shared)
        fuse = weights[:, :, 0] * side5
        for j in range(3):
            fuse.addcmul_(weights[:, :, j + 1], shared[:, j : j + 1])
        return fuse

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, side5, shared = ctx.saved_tensors
        to_weights = torch.empty_like(weights)
        to_shared = torch.empty_like(shared)
        torch.mul(gradient, side5, out=to_weights[:, :, 0])
        for j in range(3):
            torch.mul(gradient, shared[:, j : j + 1], out=to_weights[:, :, j + 1])
            torch.sum(gradient * weights[:, :, j + 1], 1, out=to_shared[:, j])
        return to_weights, gradient * weights[:, :, 0], to_shared


class FastFusedClassification(FusedClassification):
    """The same sum without the concatenation: no map is copied once for every class.

    Applies unless a compiler traces.
    """

    def forward(self, side5: Tensor, shared: Tensor) -> Tensor:
        """side5 (N, K, H, W), shared = sides 1 to 3 (N, 3, H, W) -> (N, K, H, W)."""
        if torch.compiler.is_compiling() or self.bias is None:
            return super().forward(side5, shared)
        dtype = compute_dtype(side5)  # products and sums are not what autocast knows
        weight = self.weight[:, :, 0, 0].to(dtype)  # (K, 4)
        bias = self.bias.to(dtype)
        of_side5 = weight[:, 0, None, None] * side5.to(dtype) + bias[:, None, None]
        return of_side5 + torch.einsum("kj,njhw->nkhw", weight[:, 1:], shared)
