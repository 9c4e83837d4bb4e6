"""CASENet and DFF against the numbers of the published networks."""

import copy
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.reference import assert_close, official_state, recipe_input
from torch import nn

from models import build_model
from models.casenet import FusedClassification
from models.dff import DynamicFusion
from models.fast import optimize_for_training
from models.layers import bilinear_upsample
from models.losses import edge_losses
from models.weights import DFF_NAMES, rename
from utils.checkpoint import CheckpointError, load_weights
from utils.training.optimizer import edge_optimizer

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
NETS = ("casenet", "dff")


def official_net(
    name: str, folder: Path, num_classes: int = 19, backbone: str = "resnet50"
) -> torch.nn.Module:
    """A net with the recipe's weights, loaded from a file as the authors published theirs."""
    state = official_state(GOLDEN / "keys" / f"{name}_resnet50_c19.json")
    path = folder / "official.pth.tar"
    torch.save(
        {"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path
    )
    model = build_model(name, num_classes=num_classes, backbone=backbone).eval()
    assert load_weights(model, path) == []
    return model


@pytest.mark.parametrize("name", NETS)
def test_outputs_are_the_published_ones(name: str, tmp_path: Path) -> None:
    """Those of the definition, and of its fast form."""
    reference = np.load(GOLDEN / f"{name}_resnet50_c19_56x72_every13th.npz")
    image = recipe_input(int(reference["seed"]), reference["input_shape"])
    model = official_net(name, tmp_path)
    for net in (model, optimize_for_training(copy.deepcopy(model))):
        with torch.inference_mode():
            outputs = net(image)
        for output in ("side5", "fuse"):
            assert_close(outputs[output].flatten()[::13], reference[f"{output}_every13th"])


@pytest.mark.parametrize("name", NETS)
def test_every_stage_is_the_published_one(name: str, tmp_path: Path, shared: Path) -> None:
    """Mean, spread and first values of each official sub-module's output.

    So a wrong stride or dilation shows where it is.
    """
    golden = shared / "golden" / "models"
    stages = json.loads((golden / f"{name}_resnet50_c19_56x72.stages.json").read_text())
    reference = np.load(golden / f"{name}_resnet50_c19_56x72.npz")
    model = official_net(name, tmp_path)
    ours = {"side5_w": "weight_learner.project", "ada_learner": "weight_learner.refine"}
    seen: dict[str, torch.Tensor] = {}
    for stage in stages:
        module = dict(model.named_modules())[
            ours.get(stage, stage.replace("pretrained", "backbone"))
        ]
        # A copy at hook time: what comes next may work in place.
        module.register_forward_hook(
            lambda _m, _i, out, stage=stage: seen.__setitem__(stage, out.clone())
        )
    with torch.inference_mode():
        outputs = model(recipe_input(int(reference["seed"]), reference["input_shape"]))
    for output in ("side5", "fuse"):
        assert_close(outputs[output], reference[output])
    for stage, expected in stages.items():
        found = seen[stage].double().flatten()
        scale = 1e-4 * max(1.0, expected["std"])
        assert list(found[:4]) == pytest.approx(expected["first"], abs=4 * scale), stage
        assert found.mean().item() == pytest.approx(expected["mean"], abs=scale), stage
        assert found.std(correction=0).item() == pytest.approx(expected["std"], rel=1e-4), stage
        assert found.abs().sum().item() == pytest.approx(expected["abssum"], rel=1e-4), stage


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
@pytest.mark.parametrize("classes", [19, 20])
@pytest.mark.parametrize("name", NETS)
def test_every_official_key_is_accounted_for(
    name: str, classes: int, backbone: str, shared: Path
) -> None:
    keys = json.loads(
        (shared / "golden" / "models" / "keys" / f"{name}_{backbone}_c{classes}.json").read_text()
    )
    with torch.device("meta"):
        model = build_model(name, num_classes=classes, backbone=backbone)
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    theirs = {rename(key, DFF_NAMES): shape for key, shape in keys["keys"]}
    unused = {key for key, _ in keys["keys"] if rename(key, DFF_NAMES) is None}
    theirs.pop(None)
    assert theirs == ours
    assert unused == {"pretrained.fc.weight", "pretrained.fc.bias"}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters + 1000 * 2048 + 1000 == keys["num_parameters"]


def test_fusion_is_the_papers_sum() -> None:
    """Equation 2 written as loops over image, class and pixel."""
    weights, side5, shared = (
        torch.randn(2, 3, 4, 5, 6),
        torch.randn(2, 3, 5, 6),
        torch.randn(2, 3, 5, 6),
    )
    fused = DynamicFusion()(weights, side5, shared)
    for n, k, y, x in np.ndindex(2, 3, 5, 6):
        activations = [side5[n, k, y, x], *shared[n, :, y, x]]
        expected = sum(w * a for w, a in zip(weights[n, k, :, y, x], activations, strict=True))
        assert fused[n, k, y, x].item() == pytest.approx(expected.item(), abs=1e-5)


def test_casenet_fusion_is_the_papers_sum() -> None:
    """Four weights and a bias of each class, written as loops over image, class and pixel."""
    fuse = FusedClassification(3)
    side5, shared = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    fused, weight = fuse(side5, shared), fuse.weight[:, :, 0, 0]
    for n, k, y, x in np.ndindex(2, 3, 5, 6):
        activations = [side5[n, k, y, x], *shared[n, :, y, x]]
        expected = fuse.bias[k] + sum(w * a for w, a in zip(weight[k], activations, strict=True))
        assert fused[n, k, y, x].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("fast", [False, True])
def test_one_training_step_is_the_published_one(fast: bool, tmp_path: Path) -> None:
    """Loss, every gradient and the state after one SGD step, in float64."""
    step = json.loads((GOLDEN / "train" / "dff_resnet50_c19.json").read_text())
    model = official_net("dff", tmp_path).double().train()
    if fast:
        optimize_for_training(model)
    shape = step["input_shape"]
    image = recipe_input(step["input_seed"], shape).double()
    rng = np.random.default_rng(step["input_seed"] + 1)
    target = torch.from_numpy((rng.random((shape[0], 19, *shape[2:])) < 0.01).astype(np.float64))
    valid = torch.ones(shape[0], 1, *shape[2:], dtype=torch.float64)
    valid[-1, :, shape[2] - 9 :], target[-1, :, shape[2] - 9 :] = 0, 1
    optimizer = edge_optimizer(
        model, lr=step["lr"], momentum=step["momentum"], weight_decay=step["weight_decay"]
    )
    loss = sum(edge_losses(model(image), target, valid).values())
    loss.backward()
    assert loss.item() == pytest.approx(step["loss_fp64"], rel=1e-6)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    compared = 0
    for key, expected in step["grad_norm_and_sum_fp64"].items():
        ours = rename(key, DFF_NAMES)
        if ours is None:
            assert expected is None, key
            continue
        gradient = gradients.pop(ours)
        assert (gradient is None) == (expected is None), key
        assert gradient.norm().item() == pytest.approx(expected[0], rel=1e-5, abs=1e-6), key
        compared += 1
    assert compared > 150
    assert not gradients
    optimizer.step()
    state = model.state_dict()
    for key, (total, magnitude) in step["state_after_one_sgd_step_sum_abssum_fp64"].items():
        ours = rename(key, DFF_NAMES)
        if ours is not None:
            value = state[ours].double()
            assert value.sum().item() == pytest.approx(
                total, rel=1e-5, abs=1e-5 * max(1.0, magnitude)
            ), key
            assert value.abs().sum().item() == pytest.approx(magnitude, rel=1e-5, abs=1e-6), key


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet101", "resnet152"])
def test_strides_of_every_depth(backbone: str) -> None:
    with torch.device("meta"):
        model = build_model("casenet", num_classes=2, backbone=backbone)
        stages = model.backbone(torch.empty(1, 3, 64, 48))
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (channels, 64 // stride, 48 // stride)
        for channels, stride in zip(model.backbone.channels, (1, 2, 4, 8, 8), strict=True)
    ]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (65, 64), (40, 81)])
def test_any_size_from_32_pixels(name: str, size: tuple[int, int]) -> None:
    """The same as padding by hand, right and bottom, to a multiple of 8, and cropping again."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, backbone="resnet18").eval()
    image = torch.randn(1, 3, *size)
    padded = torch.zeros(1, 3, -(-size[0] // 8) * 8, -(-size[1] // 8) * 8)
    padded[:, :, : size[0], : size[1]] = image
    with torch.inference_mode():
        outputs, whole = model(image), model(padded)
    for output in ("side5", "fuse"):
        assert outputs[output].shape == (1, 3, *size)
        torch.testing.assert_close(outputs[output], whole[output][:, :, : size[0], : size[1]])


@pytest.mark.parametrize("name", NETS)
def test_a_checkpoint_of_other_classes_needs_reset_classifier(name: str, tmp_path: Path) -> None:
    model = official_net(name, tmp_path)
    other = build_model(name, num_classes=5, backbone="resnet50")
    with pytest.raises(CheckpointError, match="of another shape"):
        load_weights(other, tmp_path / "official.pth.tar")
    before = {key: value.clone() for key, value in other.state_dict().items()}
    kept = load_weights(other, tmp_path / "official.pth.tar", reset_classifier=True)
    assert kept
    assert all(key.startswith(other.classifier) for key in kept)
    state, source = other.state_dict(), model.state_dict()
    for key, value in state.items():
        expected = before[key] if key in kept else source[key]
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("side2.0.bias"), "1 missing: side2.0.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (
            lambda s: s.update({"side1.0.bias": torch.zeros(2)}),
            r"1 of another shape: side1.0.bias \(2,\) for \(1,\)",
        ),
    ],
)
def test_no_tensor_is_left_out_in_silence(edit, message: str, tmp_path: Path) -> None:
    state = official_state(GOLDEN / "keys" / "dff_resnet50_c19.json")
    edit(state)
    torch.save(state, tmp_path / "edited.pth")
    model = build_model("dff", num_classes=19, backbone="resnet50")
    before = model.state_dict()["side3.0.weight"].clone()
    with pytest.raises(CheckpointError, match=message):
        load_weights(model, tmp_path / "edited.pth")
    assert torch.equal(model.state_dict()["side3.0.weight"], before)


def test_torchvision_weights_fill_the_backbone_and_nothing_else(tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    source = torchvision.models.resnet18()
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    model = build_model(
        "dff", num_classes=2, backbone="resnet18", pretrained=tmp_path / "resnet18.pth"
    )
    state = model.state_dict()
    for key, value in source.state_dict().items():
        if not key.startswith("fc."):
            assert torch.equal(state[f"backbone.{key}"], value)
    kept = load_weights(
        build_model("dff", num_classes=2, backbone="resnet18"), tmp_path / "resnet18.pth"
    )
    assert not [key for key in kept if key.startswith("backbone.")]
    with pytest.raises(CheckpointError, match="does not fit"):
        load_weights(
            build_model("dff", num_classes=2, backbone="resnet34"), tmp_path / "resnet18.pth"
        )


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_upsampling_starts_as_bilinear_interpolation(factor: int) -> None:
    """Away from the border, that of PyTorch itself; each channel by itself."""
    image = torch.randn(1, 3, 9, 7)
    found = bilinear_upsample(3, factor)(image)
    expected = torch.nn.functional.interpolate(
        image, scale_factor=factor, mode="bilinear", align_corners=False
    )
    assert found.shape == expected.shape
    torch.testing.assert_close(
        found[..., factor:-factor, factor:-factor], expected[..., factor:-factor, factor:-factor]
    )


@pytest.mark.parametrize("name", ["casenet", "dff"])
def test_a_side_at_full_size_draws_no_up_sampling(name: str) -> None:
    """Nothing is drawn that is not part of the net: a seed has given these weights ever since."""
    side = import_module(f"models.{name}").side
    torch.manual_seed(0)
    made = side(4, 1, 1)
    after = torch.rand(1)
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 1, 1)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(next(made.parameters()), convolution.weight)
