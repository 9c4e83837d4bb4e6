"""The learning rate of every iteration and group, as published."""

import json
from pathlib import Path

import pytest

from models import build_model
from utils.schedule import edge_optimizer, poly, set_lr

GOLDEN = Path(__file__).parent / "golden" / "models" / "lr" / "dff_poly.json"


def test_poly_per_iteration_and_group() -> None:
    reference = json.loads(GOLDEN.read_text())
    model = build_model("dff", num_classes=2, backbone="resnet18")
    optimizer = edge_optimizer(model, lr=reference["base_lr"], momentum=0.9, weight_decay=1e-4)
    per_epoch = reference["iters_per_epoch"]
    for epoch, iteration, trunk, *heads in reference["table"]:
        step = epoch * per_epoch + iteration
        set_lr(optimizer, poly(reference["base_lr"], step, reference["epochs"] * per_epoch))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(trunk, rel=1e-12)
        assert [optimizer.param_groups[1]["lr"]] * len(heads) == pytest.approx(heads, rel=1e-12)


def test_groups_hold_every_parameter_once() -> None:
    model = build_model("casenet", num_classes=2, backbone="resnet18")
    optimizer = edge_optimizer(model, lr=0.1, momentum=0.9, weight_decay=1e-4)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    trunk = {id(parameter) for parameter in model.backbone.parameters()}
    assert {id(parameter) for parameter in optimizer.param_groups[0]["params"]} == trunk
    assert all(group["weight_decay"] == 1e-4 and group["momentum"] == 0.9 for group in optimizer.param_groups)
