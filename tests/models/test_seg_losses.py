"""The segmentation losses against published values and gradients, and against loops over pixels."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.reference import assert_close
from torch import Tensor

from models.losses import (
    BODY_EDGE_WEIGHTS,
    balanced_edge_loss,
    body_edge_loss,
    cross_entropy,
    hard_label,
    image_weighted_cross_entropy,
    ohem_cross_entropy,
    relaxed_nll,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "models" / "losses"
# our term -> (its published name, the output that it is a function of)
TERMS = {
    "seg": ("seg_loss", "seg"),
    "body": ("seg_body", "body"),
    "edge": ("edge_loss", "edge"),
    "edge_attention": ("edge_ohem_loss", "seg"),
}


def tensor(array: np.ndarray, *, leaf: bool = False) -> Tensor:
    return torch.from_numpy(array).requires_grad_(leaf)


@pytest.fixture
def losses(shared: Path) -> Path:
    return shared / "golden" / "models" / "losses"


def check(loss: Tensor, expected: float, logits: Tensor, gradient: np.ndarray) -> None:
    """Values to 1e-6 relative, gradients to 1e-5 of their largest."""
    loss.backward()
    assert loss.item() == pytest.approx(float(expected), rel=1e-6)
    assert_close(logits.grad / np.abs(gradient).max(), gradient / np.abs(gradient).max(), 1e-5)


def test_cross_entropy_is_the_published_one(losses: Path) -> None:
    reference = np.load(losses / "dec_ce2d.npz")
    logits = tensor(reference["logits"], leaf=True)
    check(
        cross_entropy(logits, tensor(reference["labels"])),
        reference["loss"],
        logits,
        reference["grad"],
    )


def test_image_weighted_cross_entropy_is_the_published_one(losses: Path) -> None:
    reference = np.load(losses / "dec_imgwt.npz")
    logits = tensor(reference["logits"], leaf=True)
    loss = image_weighted_cross_entropy(
        logits, tensor(reference["labels"]), upper_bound=float(reference["upper_bound"])
    )
    check(loss, reference["loss"], logits, reference["grad"])


@pytest.mark.parametrize("case", ["default_fewvalid", "minkept", "thresh"])
def test_ohem_is_the_published_one(case: str, losses: Path) -> None:
    reference = np.load(losses / f"dec_ohem_{case}.npz")
    logits = tensor(reference["logits"], leaf=True)
    options = {"thresh": float(reference["thresh"]), "min_kept": int(reference["min_kept"])}
    check(
        ohem_cross_entropy(logits, tensor(reference["labels"]), **options),
        reference["loss"],
        logits,
        reference["grad"],
    )
    assert int((logits.grad.abs().sum(dim=1) > 0).sum()) == int(reference["kept"])


def test_ohem_of_two_outputs_is_the_published_one(losses: Path) -> None:
    reference = np.load(losses / "dec_ohem_aux.npz")
    main, auxiliary = (tensor(reference[name], leaf=True) for name in ("logits", "aux_logits"))
    options = {"thresh": float(reference["thresh"]), "min_kept": int(reference["min_kept"])}
    label = tensor(reference["labels"])
    loss = ohem_cross_entropy(main, label, **options)
    loss = loss + float(reference["aux_weight"]) * ohem_cross_entropy(auxiliary, label, **options)
    check(loss, reference["loss"], main, reference["grad"])
    assert_close(auxiliary.grad, reference["grad_aux"], 1e-8)


@pytest.mark.parametrize("case", ["b1", "b2"])
def test_relaxed_loss_is_the_published_one(case: str, losses: Path) -> None:
    reference = np.load(losses / f"dec_relax_{case}.npz")
    logits, multihot = tensor(reference["logits"], leaf=True), tensor(reference["target"])
    check(relaxed_nll(logits, multihot), reference["loss"], logits, reference["grad"])
    mended = relaxed_nll(logits, multihot, quirks=False)
    assert mended.item() == pytest.approx(reference["loss_single_image_calls"].sum(), rel=1e-6)


def published_terms(reference: np.lib.npyio.NpzFile) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Our terms, and the published outputs that they depend on; the published edge is a sigmoid."""
    published = {name: tensor(reference[name], leaf=True) for name in ("seg", "body", "edge")}
    targets = {
        "multihot": tensor(reference["seg_bord_mask"]),
        "edge": tensor(reference["edgemask"]),
    }
    return body_edge_loss(published | {"edge": published["edge"].logit()}, targets), published


def test_body_edge_loss_of_a_batch() -> None:
    reference = np.load(GOLDEN / "dec_joint_b2_every13th.npz")
    terms, published = published_terms(reference)
    assert list(terms) == list(TERMS) == list(BODY_EDGE_WEIGHTS)
    for term, (name, output) in TERMS.items():
        assert terms[term].item() == pytest.approx(float(reference[f"loss_{name}"]), rel=1e-6)
        (gradient,) = torch.autograd.grad(terms[term], published[output], retain_graph=True)
        expected = reference[f"grad_{name}__{output}_every13th"]
        assert_close(gradient.flatten()[::13], expected, 2e-5 * np.abs(expected).max())
    total = sum(BODY_EDGE_WEIGHTS[term] * value for term, value in terms.items())
    assert total.item() == pytest.approx(float(reference["loss_total"]), rel=1e-6)


@pytest.mark.parametrize("case", ["b1", "b2", "noedge"])
def test_body_edge_loss_is_the_published_one(case: str, losses: Path) -> None:
    reference = np.load(losses / f"dec_joint_{case}.npz")
    assert np.array_equal(hard_label(tensor(reference["seg_bord_mask"])), reference["segmask"])
    terms, published = published_terms(reference)
    for term, (name, output) in TERMS.items():
        # No pixel with an edge above 0.8: published NaN, ours 0.
        expected = np.nan_to_num(float(reference[f"loss_{name}"]))
        assert terms[term].item() == pytest.approx(expected, rel=1e-6)
        (gradient,) = torch.autograd.grad(terms[term], published[output], retain_graph=True)
        expected = reference[f"grad_{name}__{output}"]
        assert_close(gradient, expected, 2e-5 * np.abs(expected).max())


def softmax(logits: Tensor) -> np.ndarray:
    return logits.detach().double().softmax(dim=1).numpy()


@pytest.mark.parametrize(
    ("thresh", "min_kept"), [(0.7, 12), (0.2, 5), (0.3, 1000), (0.3, 0), (0.9, 34)]
)
def test_ohem_is_a_loop_over_sorted_pixels(thresh: float, min_kept: int) -> None:
    torch.manual_seed(min_kept)
    logits, label = 2 * torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    label[0, 0], label[1, 2, 3] = 255, 255
    weight = torch.tensor([1.0, 2.0, 0.5])
    p = softmax(logits)
    pixels = [
        (p[n, label[n, y, x], y, x], int(label[n, y, x]))
        for n, y, x in np.ndindex(2, 4, 5)
        if label[n, y, x] < 3
    ]
    pixels.sort()
    if 0 < min_kept <= len(pixels):
        bound = max(thresh, pixels[min_kept - 1][0])
        pixels = [(q, k) for q, k in pixels if q <= bound]
    total = sum(-math.log(q) * weight[k].item() for q, k in pixels)
    expected = total / sum(weight[k].item() for _, k in pixels)
    found = ohem_cross_entropy(logits, label, thresh=thresh, min_kept=min_kept, weight=weight)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_image_weighted_cross_entropy_is_a_loop() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 4, 5, 6), torch.randint(0, 3, (2, 5, 6))
    label[0, 0] = 255
    p, expected = softmax(logits), 0.0
    for n in range(2):
        valid = [(y, x) for y, x in np.ndindex(5, 6) if label[n, y, x] != 255]
        share = [sum(int(label[n, y, x]) == k for y, x in valid) / len(valid) for k in range(4)]
        weight = [1 + 0.5 * (1 - h) if h else 1 for h in share]
        losses = [(weight[label[n, y, x]], -math.log(p[n, label[n, y, x], y, x])) for y, x in valid]
        expected += sum(w * loss for w, loss in losses) / sum(w for w, _ in losses)
    found = image_weighted_cross_entropy(logits, label, upper_bound=0.5)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("quirks", [True, False])
def test_relaxed_loss_is_a_loop(quirks: bool) -> None:
    torch.manual_seed(0)
    logits, multihot = torch.randn(2, 3, 4, 5), torch.rand(2, 4, 4, 5) < 0.4
    assert (~multihot[:, :3].any(dim=1)).any(), "some pixels should have no class"
    p, expected = softmax(logits), 0.0
    for n in range(2):
        share = [multihot[n, k].sum().item() / multihot[n].sum().item() for k in range(4)]
        weight = [1 + (1 - h) if h else 1 for h in share]
        total, counted = 0.0, 0
        for y, x in np.ndindex(4, 5):
            hot = [k for k in range(3) if multihot[n, k, y, x]]
            if not hot:
                continue
            counted += 1
            nll = -sum(weight[k] for k in hot) * math.log(sum(p[n, k, y, x] for k in hot))
            images = (0, 1) if quirks else (n,)
            total += sum(
                nll / max(1, sum(bool(multihot[i, k, y, x]) for k in range(3))) for i in images
            )
        expected += total / (counted + 1)
    assert relaxed_nll(logits, multihot, quirks=quirks).item() == pytest.approx(expected, rel=1e-5)


def test_a_relaxed_batch_is_the_sum_of_its_images_without_quirks() -> None:
    torch.manual_seed(0)
    logits, multihot = torch.randn(3, 4, 5, 6), (torch.rand(3, 5, 5, 6) < 0.4).to(torch.uint8)
    single = [relaxed_nll(logits[n : n + 1], multihot[n : n + 1]).item() for n in range(3)]
    assert relaxed_nll(logits, multihot, quirks=False).item() == pytest.approx(
        sum(single), rel=1e-5
    )
    assert relaxed_nll(logits, multihot).item() > 2 * sum(single)


def test_edge_quirk_is_a_second_sigmoid() -> None:
    torch.manual_seed(0)
    logits, edge = torch.randn(2, 1, 6, 7), torch.rand(2, 1, 6, 7) < 0.2
    share = edge.double().mean().item()
    for quirks in (True, False):
        total = 0.0
        for n, y, x in np.ndindex(2, 6, 7):
            p = torch.sigmoid(logits[n, 0, y, x].double()).item()
            p = 1 / (1 + math.exp(-p)) if quirks else p
            total -= (1 - share) * math.log(p) if edge[n, 0, y, x] else share * math.log(1 - p)
        assert balanced_edge_loss(logits, edge, quirks=quirks).item() == pytest.approx(
            total / 84, rel=1e-5
        )


def joint_example() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(0)
    outputs = {
        "seg": torch.randn(2, 3, 8, 9),
        "body": torch.randn(2, 3, 8, 9),
        "edge": 3 * torch.randn(2, 1, 8, 9),
    }
    label = torch.randint(0, 3, (2, 8, 9))
    multihot = torch.zeros(2, 4, 8, 9, dtype=torch.uint8).scatter_(1, label.unsqueeze(1), 1)
    multihot[:, 2] = 1
    return outputs, {
        "multihot": multihot,
        "edge": torch.rand(2, 1, 8, 9) < 0.3,
        "label": label.to(torch.uint8),
    }


def test_without_quirks_the_label_is_the_label() -> None:
    outputs, targets = joint_example()
    terms = body_edge_loss(outputs, targets, quirks=False)
    assert terms["seg"].item() == pytest.approx(
        cross_entropy(outputs["seg"], targets["label"]).item(), rel=1e-6
    )
    label = targets["label"].clone()
    label[outputs["edge"][:, 0] <= math.log(0.8 / 0.2)] = 255
    assert terms["edge_attention"].item() == pytest.approx(
        cross_entropy(outputs["seg"], label).item(), rel=1e-5
    )
    assert terms["body"].item() == pytest.approx(
        relaxed_nll(outputs["body"], targets["multihot"], quirks=False).item(), rel=1e-6
    )
    terms = body_edge_loss(outputs, targets)
    assert terms["seg"].item() == pytest.approx(
        cross_entropy(outputs["seg"], hard_label(targets["multihot"])).item(), rel=1e-6
    )


def test_the_hard_label_is_the_lowest_class_and_void_where_void_is_near() -> None:
    multihot = torch.zeros(1, 4, 1, 4, dtype=torch.uint8)
    multihot[0, 1:3, 0, 0] = 1  # classes 1 and 2
    multihot[0, [2, 3], 0, 1] = 1  # class 2 beside void
    multihot[0, 0, 0, 2] = 1
    multihot[0, 3, 0, 3] = 1  # void alone
    assert hard_label(multihot)[0, 0].tolist() == [1, 255, 0, 255]


def test_nothing_to_learn_is_zero_not_nan() -> None:
    void = torch.full((1, 4, 4), 255)
    multihot = torch.zeros(1, 4, 4, 4)
    multihot[:, 3] = 1
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    for loss in (
        cross_entropy(logits, void),
        ohem_cross_entropy(logits, void, min_kept=3),
        image_weighted_cross_entropy(logits, void),
        relaxed_nll(logits, multihot),
    ):
        loss.backward()
        assert loss.item() == 0
        assert not logits.grad.any()


def test_half_precision_sums_in_single() -> None:
    """A crop of 400 x 400 has more pixels than float16 can count."""
    torch.manual_seed(0)
    outputs, targets = (
        {
            "seg": torch.randn(1, 2, 400, 400),
            "body": torch.randn(1, 2, 400, 400),
            "edge": torch.randn(1, 1, 400, 400),
        },
        {
            "multihot": (torch.rand(1, 3, 400, 400) < 0.4).to(torch.uint8),
            "edge": torch.rand(1, 1, 400, 400) < 0.1,
        },
    )
    half = {name: logits.half() for name, logits in outputs.items()}
    expected = body_edge_loss({name: logits.float() for name, logits in half.items()}, targets)
    for name, term in body_edge_loss(half, targets).items():
        assert term.dtype == torch.float32
        assert term.item() == pytest.approx(expected[name].item(), rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        for name, term in body_edge_loss(outputs, targets).items():
            assert term.item() == pytest.approx(
                body_edge_loss(outputs, targets)[name].item(), rel=1e-6
            )
            assert term.dtype == torch.float32


def test_losses_have_the_gradient_of_their_value() -> None:
    outputs, targets = joint_example()
    outputs = {
        name: logits[:1, :, :3, :3].double().requires_grad_() for name, logits in outputs.items()
    }
    multihot, edge = targets["multihot"][:1, :, :3, :3], targets["edge"][:1, :, :3, :3]
    assert torch.autograd.gradcheck(lambda x: relaxed_nll(x, multihot), (outputs["body"],))
    assert torch.autograd.gradcheck(lambda x: balanced_edge_loss(x, edge), (outputs["edge"],))
    label = targets["label"][:1, :3, :3]
    assert torch.autograd.gradcheck(
        lambda x: image_weighted_cross_entropy(x, label), (outputs["seg"],)
    )


@pytest.mark.gpu
def test_a_gpu_gives_the_same_terms_without_waiting() -> None:
    outputs, targets = joint_example()
    expected = body_edge_loss(outputs, targets)
    on_gpu = [{name: value.cuda() for name, value in group.items()} for group in (outputs, targets)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = body_edge_loss(*on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, term in found.items():
        assert term.item() == pytest.approx(expected[name].item(), rel=1e-5)
