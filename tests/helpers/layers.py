"""Maps, and gradients that must agree."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def assert_same_gradients(
    fast: Callable[[Tensor], Tensor],
    slow: Callable[[Tensor], Tensor],
    x: Tensor,
    parameters: Sequence[Tensor],
) -> None:
    """The same output and gradients as from the plain layers, in double precision."""
    one, other = fast(x), slow(x)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    weights, inputs = torch.randn_like(one), (x, *parameters)
    found, expected = (torch.autograd.grad((y * weights).sum(), inputs) for y in (one, other))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def draw(
    *shape: int, layout: torch.memory_format = torch.contiguous_format, device: str = "cpu"
) -> Tensor:
    return (
        torch.randn(*shape, dtype=torch.double, device=device)
        .to(memory_format=layout)
        .requires_grad_()
    )
