"""The numbers' format in a step: autocast, loss scaling, and clipping of the gradients."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

KINDS = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast, loss scaling and gradient clipping of a training step.

    Losses are computed in single precision whatever the network's output is (`models.losses`).
    float16 scales them, so that small gradients do not become 0, and leaves out a step whose
    gradients overflow.

    Args:
        amp: one of KINDS.
        device: "cpu" or "cuda".
        clip: the largest norm of all gradients together; 0: no bound.
    """

    def __init__(self, amp: str, device: str, *, clip: float = 0.0) -> None:
        self.dtype = KINDS[amp]
        self.device = device
        self.clip = clip
        self.scaler = torch.amp.GradScaler(device, enabled=amp == "fp16")

    def autocast(self) -> AbstractContextManager:
        """For the forward pass."""
        return torch.autocast(self.device, self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the (scaled) gradients of a loss."""
        self.scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Clip the gradients and move the weights."""
        if self.clip:
            # The norm is of the true gradients; `step` then does not divide by the scale again.
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        self.scaler.step(optimizer)
        self.scaler.update()
