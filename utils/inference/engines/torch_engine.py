"""PyTorch as an engine: the net's definition, or its folded copy."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from data.samples.transforms import normalize
from models.fast import forward_for, optimize_for_inference
from utils.inference.engines import require_outputs


class TorchEngine:
    """A net in evaluation mode on its device. The model itself stays as it is where `fast` is set.

    Args:
        model: ValueError unless it is in evaluation mode.
        device: the model, or its copy, is moved there once.
        fast: run a folded copy, see `models.fast.optimize_for_inference`.
        half: compute in 16-bit floats: float16 on GPUs, bfloat16 on CPUs.
    """

    name = "torch"

    def __init__(self, model: nn.Module, device: torch.device, *, fast: bool, half: bool) -> None:
        _require_evaluation_mode(model)
        self.device = device
        self.fast = fast
        self.half = half
        self.model = (optimize_for_inference(model) if fast else model).to(device)
        # A folded net takes 16-bit weights as they are; autocast would convert them every time.
        self.converted = fast and half and device.type == "cpu"
        if self.converted:
            self.model = self.model.to(torch.bfloat16)
        self.outputs: tuple[str, ...] = tuple(getattr(model, "outputs", ()))

    def __call__(self, crops: np.ndarray, outputs: Sequence[str]) -> dict[str, Tensor]:
        """See `Engine`."""
        net_input = normalize(torch.from_numpy(crops).to(self.device))
        if self.fast:
            net_input = net_input.contiguous(memory_format=torch.channels_last)
        if self.converted:
            net_input = net_input.to(torch.bfloat16)
        dtype = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        autocast = self.half and not self.converted
        if self.outputs:
            require_outputs(outputs, self.outputs)
        _require_evaluation_mode(self.model)
        with torch.autocast(self.device.type, dtype=dtype, enabled=autocast):
            found = self._forward(net_input, tuple(outputs))
        if not isinstance(found, Mapping):
            kind = type(found).__name__
            raise ValueError(f"the network returns a {kind}, expected a dictionary of logits")
        require_outputs(outputs, tuple(found))
        return {name: found[name].float() for name in outputs}

    def _forward(self, image: Tensor, outputs: tuple[str, ...]) -> dict[str, Tensor]:
        """Logits of normalised images, those of `outputs` among them."""
        return forward_for(self.model, image, outputs)


def _require_evaluation_mode(model: nn.Module) -> None:
    if model.training:
        raise ValueError("inference needs model.eval(): batch norm must use its running statistics")
