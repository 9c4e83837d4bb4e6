"""Numbers from the device without waiting for it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """The values of one step, and the note that was put with them."""

    values: list[float]
    note: str


class AsyncScalars:
    """Returns each step's values one step later, when a GPU has computed them.

    To read them at once would wait for the step to finish and leave the GPU without queued work.
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, torch.cuda.Event | None, str] | None = None

    def put(self, values: Tensor, note: str) -> Reading | None:
        """Take the values (a vector on any device) of this step; returns those of the last one."""
        previous, self._pending = self._pending, (*_copied(values), note)
        return _read(previous)

    def flush(self) -> Reading | None:
        """The last values that were put and not yet read."""
        previous, self._pending = self._pending, None
        return _read(previous)


def _copied(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    if values.device.type != "cuda":
        return values, None
    # Only a copy into pinned memory is asynchronous; the event says when it is complete.
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return host, event


def _read(pending: tuple[Tensor, torch.cuda.Event | None, str] | None) -> Reading | None:
    if pending is None:
        return None
    values, event, note = pending
    if event is not None:
        event.synchronize()
    return Reading(values.tolist(), note)
