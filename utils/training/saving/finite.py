"""Whether all tensors of a checkpoint are finite: what is not, no run could resume from."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor


def first_not_finite(state: Mapping[str, object]) -> str | None:
    """The name of the first tensor with NaN or infinity in it, such as "weights.fuse.bias".

    A sum of each tensor tells, as no finite number makes a sum finite again; all sums of a device
    are fetched at once, so that a GPU is waited for once.
    """
    tensors = [(name, value) for name, value in _tensors(state) if value.is_floating_point()]
    for device in {value.device: None for _, value in tensors}:
        here = [(name, value.detach()) for name, value in tensors if value.device == device]
        sums = torch.stack([value.sum(dtype=torch.float32) for _, value in here])
        for (name, value), finite in zip(here, sums.isfinite().tolist(), strict=True):
            # The sum of large finite numbers may overflow.
            if not finite and not bool(value.isfinite().all()):
                return name
    return None


def _tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor within dictionaries and lists, with its path."""
    if isinstance(value, Tensor):
        yield name, value
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, inner in items:
        yield from _tensors(inner, f"{name}.{key}" if name else str(key))
