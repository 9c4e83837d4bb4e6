"""The fast forms of training against the definitions on a GPU, in float32, TF32, bf16 and fp16.

The reference is the definition in float64. At each precision a form may be as far from it as the
definition at that precision is, times a small factor, plus a floor for rounding.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from models import MODELS, build_model
from models.fast import optimize_for_training
from utils.training.backends import Backends, backend_switches

# precision -> (autocast's dtype, relative error that is rounding).
PRECISIONS: dict[str, tuple[torch.dtype | None, float]] = {
    "fp32": (None, 1e-4),
    "tf32": (None, 5e-3),
    "bf16": (torch.bfloat16, 5e-2),
    "fp16": (torch.float16, 1e-2),
}
FACTOR = 3
NETS = [(name, "resnet50") for name in MODELS] + [("deeplabv3plus", "wider_resnet38")]


@contextmanager
def at_precision(name: str, device: str) -> Iterator[None]:
    dtype, _ = PRECISIONS[name]
    with (
        backend_switches(Backends(tf32=name == "tf32")),
        torch.autocast(device, dtype, enabled=dtype is not None),
    ):
        yield


def outputs_and_gradient(net: nn.Module, image: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """float64 vectors: all logits, and the gradient of their sum under fixed random weights."""
    with at_precision(precision, image.device.type):
        logits = net(image)
    flat = torch.cat([logits[name].double().flatten() for name in sorted(logits)])
    generator = torch.Generator(image.device).manual_seed(1)
    weights = torch.randn(len(flat), dtype=torch.double, device=flat.device, generator=generator)
    (flat * weights).sum().backward()
    gradients = [
        torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for parameter in net.parameters()
    ]
    return flat.detach(), torch.cat([gradient.double().flatten() for gradient in gradients])


def relative_error(found: Tensor, reference: Tensor) -> float:
    return float((found - reference).norm() / reference.norm())


def assert_form_is_as_good(
    name: str, backbone: str, precision: str, layout: torch.memory_format, device: str
) -> None:
    torch.manual_seed(0)
    plain = build_model(name, num_classes=5, backbone=backbone).train()
    for module in plain.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0  # what is drawn depends on the dtype
    plain = plain.to(device, memory_format=layout)
    exact = copy.deepcopy(plain).double()
    fast = optimize_for_training(copy.deepcopy(plain))
    assert fast.state_dict().keys() == plain.state_dict().keys()
    image = torch.randn(4, 3, 64, 64, device=device).to(memory_format=layout)
    reference = outputs_and_gradient(exact, image.double(), "fp32")
    definition = outputs_and_gradient(plain, image, precision)
    form = outputs_and_gradient(fast, image, precision)
    for what, ours, theirs, true in zip(
        ("outputs", "gradient"), form, definition, reference, strict=True
    ):
        error, allowed = relative_error(ours, true), relative_error(theirs, true)
        bound = FACTOR * allowed + PRECISIONS[precision][1]
        assert error <= bound, f"{what}: {error:.2e}, the definition's is {allowed:.2e}"
    for key, value in plain.named_buffers():
        floor = PRECISIONS[precision][1]
        torch.testing.assert_close(
            dict(fast.named_buffers())[key], value, rtol=floor, atol=floor, msg=key
        )


@pytest.mark.gpu
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "backbone"), NETS)
def test_on_a_gpu(name: str, backbone: str, precision: str, layout: torch.memory_format) -> None:
    assert_form_is_as_good(name, backbone, precision, layout, "cuda")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_check_on_a_cpu(precision: str) -> None:
    """So that the code of the test above is run where there is no GPU."""
    assert_form_is_as_good("dff", "resnet18", precision, torch.channels_last, "cpu")
