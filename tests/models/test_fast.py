"""Every net in its fast form against its definition."""

import copy
import functools
import pickle

import pytest
import torch
from helpers.layers import LAYOUTS, draw, kept_bytes, randomise
from torch import Tensor, nn

from models import MODELS, build_model
from models.fast import TRAINING_FORMS, optimize_for_training
from models.fast.sequential import FastSequential

NETS = tuple(MODELS)
MODES = ("training", "evaluation", "frozen", "joint")
# Of the smallest image that a net takes without padding: what the form keeps of what the
# definition keeps for the backward pass, over ResNet-50; measured, with a margin of 0.02.
KEPT = dict.fromkeys(NETS, 1.0)


class OtherNorm(nn.BatchNorm2d):
    """Stands for a batch normalisation that is not PyTorch's plain one, such as a joint one."""

    calls = 0

    def forward(self, input: Tensor) -> Tensor:
        OtherNorm.calls += 1
        return super().forward(input)


@functools.cache
def both(name: str, backbone: str) -> tuple[nn.Module, nn.Module]:
    """A net and its fast form, in double precision."""
    torch.manual_seed(0)
    plain = randomise(build_model(name, num_classes=3, backbone=backbone).double())
    return plain, optimize_for_training(copy.deepcopy(plain))


def small_image(name: str, layout: torch.memory_format, images: int = 2) -> Tensor:
    """As small as the net takes; of sizes that differ and are odd for the segmentation nets."""
    sizes = (40, 32) if MODELS[name].task == "edge" else (49, 51)
    return draw(images, 3, *sizes, layout=layout).detach()


def set_mode(model: nn.Module, mode: str) -> nn.Module:
    """A copy with batch normalisation as the mode says."""
    model = copy.deepcopy(model).train(mode != "evaluation")
    for module in model.modules():
        if mode == "joint" and type(module) is nn.BatchNorm2d:
            module.__class__ = OtherNorm
    if mode == "frozen":
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    return model


def step(model: nn.Module, image: Tensor) -> tuple[dict, dict, dict]:
    """Outputs, gradients and buffers of a forward and a backward pass."""
    torch.manual_seed(1)  # of dropout
    outputs = model(image)
    sum(value.square().mean() for value in outputs.values()).backward()
    gradients = {name: value.grad for name, value in model.named_parameters()}
    return outputs, gradients, dict(model.named_buffers())


def assert_same_step(fast: nn.Module, plain: nn.Module, image: Tensor) -> None:
    outputs, gradients, buffers = step(fast, image)
    expected_outputs, expected_gradients, expected_buffers = step(plain, image)
    torch.testing.assert_close(outputs, expected_outputs, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(buffers, expected_buffers, rtol=1e-9, atol=1e-9)
    largest = max(value.abs().max().item() for value in expected_gradients.values())
    # A bias in front of a batch normalisation has rounding noise for a gradient: hence `atol`.
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-6, atol=1e-11 * largest)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@pytest.mark.parametrize("name", NETS)
def test_a_fast_net_is_its_definition(
    name: str, backbone: str, layout: torch.memory_format, mode: str
) -> None:
    plain, fast = (
        set_mode(net, mode).to(memory_format=layout) for net in both(name, backbone)
    )
    OtherNorm.calls = 0
    assert_same_step(fast, plain, small_image(name, layout))
    norms = sum(type(module) is OtherNorm for module in plain.modules())
    assert OtherNorm.calls == 2 * norms  # every one is called in the fast net too
