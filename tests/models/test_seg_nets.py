"""FCN, PSPNet, DeepLabV3+, their decoupled forms and GFFNet against the published networks."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.reference import assert_close, official_state, recipe_input
from torch import Tensor, nn

from models import MODELS, build_model
from models.decouple import warp
from models.fast import optimize_for_training
from models.gffnet import gated_fusion
from models.losses import body_edge_loss
from models.resnet import seg_resnet
from models.weights import SEG_NAMES, load_into, rename, translate
from models.wider_resnet import WiderResNet
from utils.checkpoint import count_classes

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
SEG_NETS = tuple(name for name, (_, task, _) in MODELS.items() if task == "seg")
DECOUPLED = tuple(name for name in SEG_NETS if name.endswith("_decouple"))
# official net -> ours
OFFICIAL = {
    "base_r50_fcn": ("fcn", "resnet50"),
    "base_r50_v3plus": ("deeplabv3plus", "resnet50"),
    "base_r101_v3plus": ("deeplabv3plus", "resnet101"),
    "base_wrn38_v3plus": ("deeplabv3plus", "wider_resnet38"),
    "decouple_r50_fcn": ("fcn_decouple", "resnet50"),
    "decouple_r50_psp": ("pspnet_decouple", "resnet50"),
    "decouple_r50_v3plus": ("deeplabv3plus_decouple", "resnet50"),
    "decouple_r101_v3plus": ("deeplabv3plus_decouple", "resnet101"),
    "decouple_wrn38_v3plus": ("deeplabv3plus_decouple", "wider_resnet38"),
    "gff_wrn38_v3plus": ("gffnet", "wider_resnet38"),
}
RUNS = (
    *("base_r50_fcn_c19_64x72", "base_r50_v3plus_c19_64x96"),
    *("decouple_r50_fcn_c19_64x72_ac_true", "decouple_r50_psp_c19_64x72_ac_true"),
    *("decouple_r50_v3plus_c19_64x88_ac_true", "decouple_r50_v3plus_c19_64x88_ac_false"),
)
ALL_RUNS = (
    *RUNS,
    *(
        pytest.param(run, marks=pytest.mark.slow)
        for run in (
            *("decouple_r50_fcn_c19_64x72_ac_false", "decouple_r50_psp_c19_64x72_ac_false"),
            *("base_wrn38_v3plus_c19_64x72", "gff_wrn38_v3plus_c19_64x72"),
            *(
                "decouple_wrn38_v3plus_c19_64x72_ac_true",
                "decouple_wrn38_v3plus_c19_64x72_ac_false",
            ),
        )
    ),
)


def official_net(run: str, keys: Path) -> nn.Module:
    """The net of a golden file, with the recipe's weights under their official names."""
    net = run.split("_c19")[0]
    name, backbone = OFFICIAL[net]
    options = {"align_corners": run.endswith("_ac_true")} if "_ac_" in run else {}
    with torch.device("meta"):  # no time lost on initialisation
        model = build_model(name, num_classes=19, backbone=backbone, **options)
    model = model.to_empty(device="cpu").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked.zero_()
    assert load_into(model, translate(official_state(keys / f"{net}_c19.json"))) == []
    return model


def run_net(model: nn.Module, reference: np.lib.npyio.NpzFile) -> dict[str, Tensor]:
    """The outputs as published: the edge after its sigmoid."""
    with torch.inference_mode():
        outputs = model(recipe_input(int(reference["seed"]), reference["input_shape"]))
    return {
        name: logits.sigmoid() if name == "edge" else logits for name, logits in outputs.items()
    }


@pytest.mark.parametrize("run", RUNS)
def test_outputs_are_the_published_ones(run: str) -> None:
    """Those of the definition, and of its fast form."""
    reference = np.load(GOLDEN / f"{run}_every31st.npz")
    expected = set(reference) - {"seed", "input_shape", "num_classes"}
    model = official_net(run, GOLDEN / "keys")
    for net in (model, optimize_for_training(copy.deepcopy(model))):
        outputs = run_net(net, reference)
        assert {f"{name}_every31st" for name in outputs} == expected
        for name, output in outputs.items():
            assert_close(output.flatten()[::31], reference[f"{name}_every31st"])


@pytest.mark.parametrize("run", ALL_RUNS)
def test_every_stage_is_the_published_one(run: str, shared: Path) -> None:
    """Mean, spread and first values of each official sub-module's output.

    So a wrong stride or dilation shows where it is.
    """
    golden = shared / "golden" / "models"
    stages = json.loads((golden / f"{run}.stages.json").read_text())
    reference = np.load(golden / f"{run}.npz")
    model = official_net(run, golden / "keys")
    seen: dict[str, Tensor] = {}
    for stage in stages:
        watch(model, stage, seen)
    for name, output in run_net(model, reference).items():
        assert_close(output, reference[name])
    for stage, expected in stages.items():
        found = seen[stage].double().flatten()
        assert list(seen[stage].shape) == expected["shape"], stage
        scale = 1e-4 * max(1.0, expected["std"])
        assert list(found[:4]) == pytest.approx(expected["first"], abs=4 * scale), stage
        assert found.mean().item() == pytest.approx(expected["mean"], abs=scale), stage
        assert found.std(correction=0).item() == pytest.approx(expected["std"], rel=1e-4), stage
        assert found.abs().sum().item() == pytest.approx(expected["abssum"], rel=1e-4), stage


def watch(model: nn.Module, stage: str, seen: dict[str, Tensor]) -> None:
    """Keep a copy of what our module of that official name returns.

    A copy, since what comes next may work in place.
    """
    modules, part = dict(model.named_modules()), re.fullmatch(r"squeeze_body_edge\[(\d)\]", stage)

    def keep(value: Tensor | tuple[Tensor, ...]) -> None:
        seen[stage] = (value[int(part[1])] if part else value).clone()

    if stage == "aspp":  # ours ends with the projection; the concatenation is what goes into it
        modules["context.project"].register_forward_pre_hook(lambda _m, inputs: keep(inputs[0]))
        return
    special = {"layer0": "backbone.maxpool", "gff_head": "final"}
    ours = special.get(stage) or rename(stage.split("[")[0] + ".", SEG_NAMES).removesuffix(".")
    modules[ours].register_forward_hook(lambda _m, _i, output: keep(output))


@pytest.mark.parametrize("classes", [11, 19])
@pytest.mark.parametrize("net", OFFICIAL)
def test_every_official_key_is_accounted_for(net: str, classes: int, shared: Path) -> None:
    path = shared / "golden" / "models" / "keys" / f"{net}_c{classes}.json"
    if not path.is_file():
        pytest.skip(f"no published {net} of {classes} classes in {path.parent}")
    keys = json.loads(path.read_text())
    name, backbone = OFFICIAL[net]
    with torch.device("meta"):
        model = build_model(name, num_classes=classes, backbone=backbone)
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    theirs = {rename(key, SEG_NAMES): shape for key, shape in keys["keys"]}
    unused = {key for key, _ in keys["keys"] if rename(key, SEG_NAMES) is None}
    theirs.pop(None, None)
    assert theirs == ours
    spare = sum(
        int(np.prod(shape)) for key, shape in keys["keys"] if key in unused and "running" not in key
    )
    assert {key.split(".")[0] for key in unused} == (
        {"edge_conv"} if net == "decouple_wrn38_v3plus" else set()
    )
    spare -= sum(key.endswith("num_batches_tracked") for key in unused)
    assert (
        sum(parameter.numel() for parameter in model.parameters()) + spare == keys["num_parameters"]
    )
    assert (
        count_classes({key: torch.empty(shape, device="meta") for key, shape in keys["keys"]})
        == classes
    )


@pytest.mark.parametrize("fast", [False, True])
def test_one_training_step_is_the_published_one(fast: bool) -> None:
    """Loss, every gradient and the state after one SGD step, in float64."""
    stem = "decouple_r50_v3plus_c19_ac_false"
    step = json.loads((GOLDEN / "train" / f"{stem}.json").read_text())
    model = official_net(stem, GOLDEN / "keys").double().train()
    if fast:
        optimize_for_training(model)
    file = np.load(GOLDEN / "train" / f"{stem}.npz")
    targets = {
        "multihot": torch.from_numpy(file["seg_bord_mask"]),
        "edge": torch.from_numpy(file["edgemask"]),
    }
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=step["lr"],
        momentum=step["momentum"],
        weight_decay=step["weight_decay"],
    )
    terms = body_edge_loss(
        model(recipe_input(step["input_seed"], step["input_shape"]).double()), targets
    )
    published = {"seg": "seg_loss", "body": "seg_body", "edge": "edge_loss"}
    for term, name in published.items():
        assert terms[term].item() == pytest.approx(step["terms_fp64"][name], rel=1e-6)
    assert terms["edge_attention"].item() == 0  # published: NaN, and left out of the step
    loss = sum(terms.values())
    loss.backward()
    assert loss.item() == pytest.approx(step["loss_fp64"], rel=1e-6)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for key, (norm, _) in step["grad_norm_and_sum_fp64"].items():
        assert gradients.pop(rename(key, SEG_NAMES)).norm().item() == pytest.approx(
            norm, rel=1e-5, abs=1e-6
        ), key
    assert not gradients
    optimizer.step()
    state = model.state_dict()
    for key, (total, magnitude) in step["state_after_one_sgd_step_sum_abssum_fp64"].items():
        value = state[rename(key, SEG_NAMES)].double()
        assert value.sum().item() == pytest.approx(
            total, rel=1e-5, abs=1e-5 * max(1.0, magnitude)
        ), key
        assert value.abs().sum().item() == pytest.approx(magnitude, rel=1e-5, abs=1e-6), key


@pytest.mark.parametrize("name", SEG_NETS)
def test_shapes_gradients_and_odd_sizes(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, backbone="resnet18")
    outputs = model(torch.randn(2, 3, 57, 66))
    channels = {"seg": 3, "body": 3, "edge": 1} if name in DECOUPLED else {"seg": 3}
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {
        key: (2, count, 57, 66) for key, count in channels.items()
    }
    sum(value.square().mean() for value in outputs.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", SEG_NETS)
@pytest.mark.parametrize("size", [(32, 32), (33, 90), (49, 49)])
def test_any_size_from_32_pixels(name: str, size: tuple[int, int]) -> None:
    """Below 49 pixels the decoupled nets pad, right and bottom; nothing else is padded."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, backbone="resnet18").eval()
    image = torch.randn(1, 3, *size)
    least = 49 if name in DECOUPLED else 1  # a map of 7 pixels at stride 8
    padded = torch.zeros(1, 3, max(size[0], least), max(size[1], least))
    padded[:, :, : size[0], : size[1]] = image
    with torch.inference_mode():
        outputs, whole = model(image), model(padded)
    for key, logits in outputs.items():
        assert logits.shape[-2:] == size
        torch.testing.assert_close(logits, whole[key][:, :, : size[0], : size[1]])


def test_fcn_of_101_layers_has_101_layers() -> None:
    """The published DeepR101FCN is a ResNet-50."""
    with torch.device("meta"):
        assert len(build_model("fcn", num_classes=2, backbone="resnet101").backbone.layer3) == 23


@pytest.mark.parametrize("align_corners", [True, False])
def test_warp_is_a_loop_over_pixels(align_corners: bool) -> None:
    torch.manual_seed(0)
    x, flow = torch.randn(1, 2, 5, 7), 3 * torch.randn(1, 2, 5, 7)
    warped = warp(x, flow, align_corners=align_corners)
    for row, column in np.ndindex(5, 7):
        at = [
            -1 + 2 * column / 6 + flow[0, 0, row, column].item() / 7,
            -1 + 2 * row / 4 + flow[0, 1, row, column].item() / 5,
        ]
        extent = [7, 5]
        if align_corners:
            where = [(a + 1) / 2 * (n - 1) for a, n in zip(at, extent, strict=True)]
        else:
            where = [((a + 1) * n - 1) / 2 for a, n in zip(at, extent, strict=True)]
        expected = torch.zeros(2)
        for y, x_ in np.ndindex(5, 7):
            expected += (
                x[0, :, y, x_] * max(0, 1 - abs(where[0] - x_)) * max(0, 1 - abs(where[1] - y))
            )
        torch.testing.assert_close(warped[0, :, row, column], expected, atol=1e-5, rtol=1e-5)


def test_zero_flow_is_the_identity_only_with_aligned_corners() -> None:
    x = torch.randn(1, 2, 8, 9)
    torch.testing.assert_close(
        warp(x, torch.zeros(1, 2, 8, 9), align_corners=True), x, atol=1e-5, rtol=1e-5
    )
    assert (warp(x, torch.zeros(1, 2, 8, 9), align_corners=False) - x).abs().max() > 0.1


def test_warp_in_half_precision_places_its_samples_in_single() -> None:
    x, flow = torch.randn(1, 2, 64, 256), torch.zeros(1, 2, 64, 256)
    warped = warp(x.bfloat16(), flow.bfloat16(), align_corners=True)
    assert warped.dtype == torch.bfloat16
    torch.testing.assert_close(warped.float(), x.bfloat16().float(), atol=2e-2, rtol=1e-2)


@pytest.mark.parametrize("sequential", [True, False])
def test_gated_fusion_is_the_papers_equation(sequential: bool) -> None:
    torch.manual_seed(0)
    levels, gates = [[torch.rand(1, 2, 3, 4) for _ in range(3)] for _ in range(2)]
    before = [level.clone() for level in levels]
    found = gated_fusion(levels, gates, sequential=sequential)
    expected: list[Tensor] = []
    for l in range(3):  # noqa: E741 - the paper's letter
        others = [
            gates[i] * (expected[i] if sequential and i < len(expected) else before[i])
            for i in range(3)
            if i != l
        ]
        expected.append((1 + gates[l]) * before[l] + (1 - gates[l]) * (others[0] + others[1]))
    for ours, theirs, level, untouched in zip(found, expected, levels, before, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert torch.equal(level, untouched)


def test_simultaneous_fusion_is_another_net_with_the_same_weights() -> None:
    torch.manual_seed(0)
    released = build_model("gffnet", num_classes=3, backbone="resnet18").eval()
    papers = build_model("gffnet", num_classes=3, backbone="resnet18", fusion="simultaneous").eval()
    papers.load_state_dict(released.state_dict())
    image = torch.randn(1, 3, 40, 48)
    with torch.inference_mode():
        assert (released(image)["seg"] - papers(image)["seg"]).abs().max() > 1e-3


@pytest.mark.parametrize("name", SEG_NETS)
def test_runs_in_bfloat16_autocast(name: str) -> None:
    """Close to single precision; bfloat16 has eight bits, and each of the layers rounds."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, backbone="resnet18").eval()
    image = torch.randn(1, 3, 49, 49)
    with torch.inference_mode():
        expected = model(image)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(image)
    for key, logits in outputs.items():
        assert logits.dtype == torch.bfloat16
        assert (logits.float() - expected[key]).norm() < 0.05 * expected[key].norm()


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "wider_resnet38"])
def test_backbones_describe_their_stages(backbone: str) -> None:
    with torch.device("meta"):
        network = WiderResNet() if backbone == "wider_resnet38" else seg_resnet(backbone)
        stages = network(torch.empty(1, 3, 64, 48))
    shapes = zip(network.channels, network.strides, strict=True)
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (c, 64 // stride, 48 // stride) for c, stride in shapes
    ]
    assert network.strides[-1] == 8


def test_dropout_is_that_of_the_published_nets() -> None:
    with torch.device("meta"):
        wide = build_model("deeplabv3plus", num_classes=2, backbone="wider_resnet38")
        pyramid = build_model("pspnet", num_classes=2, backbone="resnet18")
    found = {
        name: module.p
        for net in (wide, pyramid)
        for name, module in net.named_modules()
        if isinstance(module, nn.Dropout2d)
    }
    assert found == {
        "backbone.mod6.block1.convs.dropout": 0.3,
        "backbone.mod7.block1.convs.dropout": 0.5,
        "context.bottleneck.3": 0.1,
    }
