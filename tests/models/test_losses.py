"""The losses against published values and gradients, and against a plain loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.reference import assert_close

from models.losses import edge_loss, edge_losses

GOLDEN = Path(__file__).parents[1] / "golden" / "models" / "losses"


def check_edge_losses(path: Path) -> None:
    reference = np.load(path)
    outputs = {
        name: torch.from_numpy(reference[name]).requires_grad_() for name in ("side5", "fuse")
    }
    target = torch.from_numpy(reference["target"])
    terms = edge_losses(outputs, target[:, 1:], target[:, :1])
    loss = sum(float(reference[f"{name}_weight"]) * term for name, term in terms.items())
    loss.backward()
    assert loss.item() == pytest.approx(float(reference["loss"]), rel=1e-6)
    for name, logits in outputs.items():
        assert terms[name].item() == pytest.approx(float(reference[f"loss_{name}"]), rel=1e-6)
        assert_close(logits.grad, reference[f"grad_{name}"], 1e-8)


def test_edge_loss_with_padding() -> None:
    check_edge_losses(GOLDEN / "dff_pad.npz")


@pytest.mark.parametrize("case", ["manypos", "nopositive", "pad"])
def test_edge_loss_is_the_published_one(case: str, shared: Path) -> None:
    check_edge_losses(shared / "golden" / "models" / "losses" / f"dff_{case}.npz")


def test_edge_loss_is_a_loop_over_pixels() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5) < 0.1
    valid = torch.ones(2, 1, 4, 5)
    valid[1, :, 3:] = 0
    total = 0.0
    for n in range(2):
        inside = [(y, x) for y in range(4) for x in range(5) if valid[n, 0, y, x]]
        edges = sum(int(target[n, k, y, x]) for k in range(3) for y, x in inside)
        weight = min(max((len(inside) - edges) / edges, 1), len(inside))
        for k in range(3):
            for y, x in inside:
                p = torch.sigmoid(logits[n, k, y, x]).item()
                total -= weight * np.log(p) if target[n, k, y, x] else np.log(1 - p)
    assert edge_loss(logits, target, valid).item() == pytest.approx(
        total / (2 * 3 * 4 * 5), rel=1e-5
    )


def test_edge_loss_of_padding_alone_is_zero_not_nan() -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = edge_loss(logits, torch.ones(1, 2, 4, 4), torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_edge_loss_in_half_precision_sums_in_single() -> None:
    """A crop of 640 x 640 has more pixels than float16 can count."""
    torch.manual_seed(0)
    logits, target = torch.randn(1, 1, 640, 640), torch.rand(1, 1, 640, 640) < 0.02
    valid = torch.ones(1, 1, 640, 640)
    expected = edge_loss(logits.half().float(), target, valid)
    assert edge_loss(logits.half(), target, valid).item() == pytest.approx(
        expected.item(), rel=1e-6
    )
