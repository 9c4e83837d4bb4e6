"""What computes a network's logits: PyTorch, or one of the engines that run an exported net.

An engine takes crops as they are in a file and returns logits; everything else about inference
(windows, scales, probabilities) is the Predictor's and the same for all of them.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data.errors import InputError, one_line, out_of_memory, users_to_mend


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

    def __call__(self, crops: np.ndarray, outputs: Sequence[str]) -> dict[str, Tensor]:
        """uint8 (N, h, w, 3), RGB, sides from 32 -> logits by output, float32 (N, K, h, w) each.

        One run gives all of `outputs`, and computes no others where that can be left out.
        ValueError for an output that the network does not have.
        """
        ...


def require_outputs(wanted: Sequence[str], outputs: tuple[str, ...]) -> None:
    """ValueError unless the network has the outputs that are wanted."""
    for output in wanted:
        if output not in outputs:
            raise ValueError(f"no output {output!r}; the network has {', '.join(outputs)}")


@contextlib.contextmanager
def engine_errors(name: str, what: str) -> Iterator[None]:
    """Turn whatever an engine's library raises into one line; a lack of memory stays what it is.

    To be put around calls of the library only. what: it does, as "cannot read net.onnx".
    """
    try:
        yield
    except Exception as error:
        if users_to_mend(error) or out_of_memory(error):
            raise
        raise InputError(f"engine {name} {what}: {one_line(error)}") from error
