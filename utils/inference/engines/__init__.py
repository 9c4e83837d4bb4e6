"""What computes a network's logits: PyTorch, or one of the engines that run an exported net.

An engine takes crops as they are in a file and returns logits; everything else about inference
(windows, scales, probabilities) is the Predictor's and the same for all of them.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Engine(Protocol):
    """A network that is ready to be run.

    name: as `--engine` calls it. device: where its logits are. outputs: the names of the logits
    that it has; () if they are known only after a run.
    """

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    def __call__(self, crops: np.ndarray, output: str) -> Tensor:
        """uint8 (N, h, w, 3), RGB, sides from 32 -> logits of one output, float32 (N, K, h, w).

        ValueError for an output that the network does not have.
        """
        ...


def require_output(output: str, outputs: tuple[str, ...]) -> None:
    """ValueError unless the network has the output."""
    if output not in outputs:
        raise ValueError(f"no output {output!r}; the network has {', '.join(outputs)}")
