"""The numbers' format in a step: autocast, loss scaling, and clipping of the gradients."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

KINDS = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """amp: one of KINDS. clip: the largest norm of all gradients together, 0 = any.

    Losses are taken in single precision whatever the network's output is (`models.losses`); fp16 scales them, so that small gradients
    do not vanish, and leaves out a step whose gradients overflow.
    """

    def __init__(self, amp: str, device: str, *, clip: float = 0.0) -> None:
        self.dtype, self.device, self.clip = KINDS[amp], device, clip
        self.scaler = torch.amp.GradScaler(device, enabled=amp == "fp16")

    def autocast(self) -> AbstractContextManager:
        """For the forward pass."""
        return torch.autocast(self.device, self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the (scaled) gradients of a loss."""
        self.scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Clip, and move the weights."""
        if self.clip:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        self.scaler.step(optimizer)
        self.scaler.update()
