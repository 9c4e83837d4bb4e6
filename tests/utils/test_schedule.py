"""The learning rate of every iteration and group, as published."""

import json
from pathlib import Path

import pytest
import torch

from models import build_model
from utils.training.optimizer import edge_optimizer, load_state, seg_optimizer, set_lr
from utils.training.schedule import PerEpoch, per_iteration, poly

GOLDEN = Path(__file__).parents[1] / "golden" / "models" / "lr"


def test_poly_per_iteration_and_group() -> None:
    reference = json.loads((GOLDEN / "dff_poly.json").read_text())
    model = build_model("dff", num_classes=2, backbone="resnet18")
    optimizer = edge_optimizer(model, lr=reference["base_lr"], momentum=0.9, weight_decay=1e-4)
    per_epoch = reference["iters_per_epoch"]
    for epoch, iteration, backbone, *heads in reference["table"]:
        step = epoch * per_epoch + iteration
        lr = poly(reference["base_lr"], step, reference["epochs"] * per_epoch)
        assert (
            per_iteration(reference["base_lr"], reference["epochs"])(epoch, iteration, per_epoch)
            == lr
        )
        set_lr(optimizer, lr)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(backbone, rel=1e-12)
        assert [optimizer.param_groups[1]["lr"]] * len(heads) == pytest.approx(heads, rel=1e-12)


def test_groups_hold_every_parameter_once() -> None:
    model = build_model("casenet", num_classes=2, backbone="resnet18")
    optimizer = edge_optimizer(model, lr=0.1, momentum=0.9, weight_decay=1e-4)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    backbone = {id(parameter) for parameter in model.backbone.parameters()}
    assert {id(parameter) for parameter in optimizer.param_groups[0]["params"]} == backbone
    assert all(
        group["weight_decay"] == 1e-4 and group["momentum"] == 0.9
        for group in optimizer.param_groups
    )


@pytest.mark.parametrize("name", ["dec_poly", "dec_sclpoly"])
def test_per_epoch_schedules_of_the_segmentation_nets(name: str) -> None:
    """The formula, and what the published loop really trains with: one epoch ahead of it."""
    reference = json.loads((GOLDEN / f"{name}.json").read_text())
    settings = {
        "base": reference["lr"],
        "epochs": reference["max_epoch"],
        "power": reference["poly_exp"],
        "restart": reference["reduce_border_epoch"]
        if reference["schedule"] == "scl-poly"
        else None,
        "rescale": reference["rescale"],
        "repoly": reference["repoly"],
    }
    formula, published = PerEpoch(**settings, quirks=False), PerEpoch(**settings, quirks=True)
    for epoch, lr in reference["formula_lr_by_epoch"]:
        assert formula.at(epoch) == pytest.approx(lr, rel=1e-12)
    for epoch, lr in reference["official_loop_lr_used_in_epoch"]:
        assert published(epoch, 3, 7) == published(epoch) == pytest.approx(lr, rel=1e-12)
        assert formula(epoch) == pytest.approx(
            dict(reference["formula_lr_by_epoch"])[epoch], rel=1e-12
        )


def test_segmentation_nets_have_one_learning_rate() -> None:
    model = build_model("fcn", num_classes=2, backbone="resnet18")
    optimizer = seg_optimizer(model, lr=0.1, momentum=0.9, weight_decay=1e-4)
    (group,) = optimizer.param_groups
    set_lr(optimizer, 0.25)
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.25, 0.9, 1e-4)
    assert [id(parameter) for parameter in group["params"]] == [
        id(parameter) for parameter in model.parameters()
    ]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_momenta_of_another_memory_layout(layout: torch.memory_format) -> None:
    # A multiple of 16 numbers: PyTorch's kernel rounds what is left over after whole vectors
    # differently in the last bit.
    start, gradients = torch.randn(4, 4, 3, 3), torch.randn(2, 4, 4, 3, 3)

    def optimizer(
        values: torch.Tensor, layout: torch.memory_format
    ) -> tuple[torch.Tensor, torch.optim.SGD]:
        net = torch.nn.Conv2d(4, 4, 3, bias=False).to(memory_format=layout)
        net.weight.data.copy_(values)
        return net.weight, seg_optimizer(net, lr=0.1, momentum=0.9, weight_decay=1e-2)

    def step(weight: torch.Tensor, sgd: torch.optim.SGD, gradient: torch.Tensor) -> None:
        weight.grad = torch.empty_like(weight).copy_(gradient)
        sgd.step()

    whole, sgd = optimizer(start, torch.contiguous_format)
    step(whole, sgd, gradients[0])
    weight, resumed = optimizer(whole.detach(), layout)
    load_state(resumed, sgd.state_dict())
    step(whole, sgd, gradients[1])
    step(weight, resumed, gradients[1])
    assert torch.equal(whole, weight)


def test_a_step_on_channels_last_weights_is_that_on_contiguous_ones() -> None:
    """Weights, momenta and their layouts after three steps; one parameter has no gradient."""
    torch.manual_seed(0)
    nets = [
        torch.nn.Sequential(
            torch.nn.Conv2d(4, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 2, 3)
        )
        for _ in "ab"
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    nets[1].to(memory_format=torch.channels_last)
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}
    plain = torch.optim.SGD(nets[0].parameters(), foreach=False, **options)
    ours = seg_optimizer(nets[1], **options)
    for _ in range(3):
        for one, other in list(zip(nets[0].parameters(), nets[1].parameters(), strict=True))[:-1]:
            one.grad = torch.randn_like(one)
            other.grad = torch.empty_like(other).copy_(one.grad)
        gradient = nets[1][0].weight.grad
        plain.step(), ours.step()
        assert nets[1][0].weight.grad is gradient
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)
        momentum = ours.state[other].get("momentum_buffer")
        if momentum is None:
            assert other.grad is None
            continue
        torch.testing.assert_close(plain.state[one]["momentum_buffer"], momentum)
        assert momentum.stride() == other.stride()
    assert nets[1][0].weight.is_contiguous(memory_format=torch.channels_last)


def test_adamw_is_the_papers_rule_on_any_layout_with_the_heads_factor() -> None:
    """Loshchilov and Hutter's algorithm 2, written out in float64."""
    torch.manual_seed(0)
    net = torch.nn.Module()
    net.backbone, net.head = torch.nn.Conv2d(8, 4, 3, bias=False), torch.nn.Linear(3, 2, bias=False)
    net.to(memory_format=torch.channels_last)
    lr, beta1, beta2, decay = 0.01, 0.9, 0.99, 0.1
    ours = edge_optimizer(net, lr=lr, momentum=beta1, weight_decay=decay, kind="adamw")
    rates = {net.backbone.weight: lr, net.head.weight: 10 * lr}
    expected = {
        weight: (weight.detach().double(), *torch.zeros(2, *weight.shape, dtype=torch.float64))
        for weight in rates
    }
    for step in range(1, 4):
        for weight, rate in rates.items():
            weight.grad = torch.empty_like(weight).normal_()
            g, (value, mean, squares) = weight.grad.double(), expected[weight]
            mean = beta1 * mean + (1 - beta1) * g
            squares = beta2 * squares + (1 - beta2) * g * g
            size = (squares / (1 - beta2**step)).sqrt() + 1e-8
            value = value * (1 - rate * decay) - rate * (mean / (1 - beta1**step)) / size
            expected[weight] = value, mean, squares
        ours.step()
    for weight, (value, _, _) in expected.items():
        torch.testing.assert_close(weight.detach().double(), value, rtol=1e-5, atol=1e-6)
