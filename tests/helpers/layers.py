"""Random maps, gradients that must agree, and the bytes that a backward pass holds."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def assert_same_gradients(
    fast: Callable[[Tensor], Tensor],
    slow: Callable[[Tensor], Tensor],
    x: Tensor,
    parameters: Sequence[Tensor],
) -> None:
    """Both functions of x have the same output and gradients, in double precision."""
    one, other = fast(x), slow(x)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    weights, inputs = torch.randn_like(one), (x, *parameters)
    found, expected = (torch.autograd.grad((y * weights).sum(), inputs) for y in (one, other))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def draw(
    *shape: int, layout: torch.memory_format = torch.contiguous_format, device: str = "cpu"
) -> Tensor:
    """A random leaf in double precision."""
    return (
        torch.randn(*shape, dtype=torch.double, device=device)
        .to(memory_format=layout)
        .requires_grad_()
    )


def randomise(model: nn.Module) -> nn.Module:
    """Biases and shifts that are not 0, scales and running statistics that are not 1 or 0."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=1, std=0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer, std=0.5)
        elif name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 1.5)
    return model


def kept_bytes(run: Callable[[], Iterable[Tensor]], model: nn.Module) -> int:
    """What the backward pass of the results of `run` holds, the model's own tensors apart."""
    own = {value.untyped_storage().data_ptr() for value in [*model.parameters(), *model.buffers()]}
    kept = {}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no other gets its address
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        results = [*run()]
    assert all(result.requires_grad for result in results)
    return sum(storage.nbytes() for storage in kept.values())
