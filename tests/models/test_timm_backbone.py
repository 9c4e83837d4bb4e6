"""timm's backbones: strides, channels and gradients by family, normalisation, weights, messages.

What the families return is written out by hand, as their papers and timm's documentation have it.
"""

import builtins
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.errors import InputError
from models import build_model
from models.backbones import is_timm
from models.contract import BackboneError
from models.fast import optimize_for_inference, optimize_for_training
from models.weight_files import WeightsError
from utils.checkpoint import (
    CheckpointError,
    create_model,
    info_entries,
    load_model,
    load_weights,
    save_checkpoint,
)
from utils.model_info import ModelInfo
from utils.training.trainer import freeze_batch_norm

timm = pytest.importorskip("timm", reason="needs the optional package timm")

from models.timm_backbone import MEAN, STD, TimmBackbone  # noqa: E402 (after the skip)
from models.timm_weights import load_timm_file  # noqa: E402

ODD = (45, 70)  # no multiple of any stride

# name -> (channels, strides) of x2..x5, and of what the images' sides are multiples.
FAMILIES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    # Convolutional nets that can keep stride 8.
    "resnet10t": ((64, 128, 256, 512), (4, 8, 8, 8), 8),
    "regnetx_002": ((24, 56, 152, 368), (4, 8, 8, 8), 8),
    "convnext_atto": ((40, 80, 160, 320), (4, 8, 8, 8), 8),
    "convnextv2_atto": ((40, 80, 160, 320), (4, 8, 8, 8), 8),
    "tinynet_e": ((16, 24, 56, 160), (4, 8, 8, 8), 8),  # an EfficientNet
    "mobilenetv3_small_050": ((8, 16, 24, 288), (4, 8, 8, 8), 8),
    "mobilenetv4_conv_small_035": ((16, 24, 32, 336), (4, 8, 8, 8), 8),
    # Those that cannot.
    "hrnet_w18_small": ((128, 256, 512, 1024), (4, 8, 16, 32), 32),
    "mambaout_femto": ((48, 96, 192, 288), (4, 8, 16, 32), 32),
    "efficientvit_b0": ((16, 32, 64, 128), (4, 8, 16, 32), 32),
    # Hierarchical transformers.
    "pvt_v2_b0": ((32, 64, 160, 256), (4, 8, 16, 32), 32),
    "swin_tiny_patch4_window7_224": ((96, 192, 384, 768), (4, 8, 16, 32), 32),
    # Plain transformers: the patch's halves, and half of that.
    "test_vit": ((16, 32, 32, 32), (4, 8, 8, 8), 16),
    "xcit_nano_12_p8_224": ((64, 128, 128, 128), (4, 8, 8, 8), 8),
    "eva02_tiny_patch14_224": ((96, 96, 96, 96), (7, 7, 7, 7), 14),  # RoPE, class token
}
LARGE = {
    # Three maps at the strides 16, 32, 64.
    "efficientvit_m0": ((64, 64, 128, 192), (16, 16, 32, 64), 64),
    "vit_small_patch14_reg4_dinov2": ((192, 192, 192, 192), (7, 7, 7, 7), 14),
    "vit_small_patch16_dinov3": ((96, 192, 192, 192), (4, 8, 8, 8), 16),
    "vit_small_patch32_224": ((48, 96, 96, 96), (4, 8, 8, 8), 32),
}


def net_of(name: str, backbone: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, num_classes=3, backbone=f"timm:{backbone}", **options)


def images(*size: int) -> Tensor:
    return torch.randn(2, 3, *(size or ODD), generator=torch.Generator().manual_seed(1))


def backbone_of(net: nn.Module) -> TimmBackbone:
    backbone = net.get_submodule("backbone")
    assert isinstance(backbone, TimmBackbone)
    return backbone


def backward(net: nn.Module, outputs: dict[str, Tensor]) -> list[str]:
    """The parameters that get no gradient from the sum of all outputs' losses."""
    sum((output.square().mean() for output in outputs.values()), torch.zeros(())).backward()
    return [key for key, parameter in net.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(
    "name", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_a_family_keeps_the_contract_of_an_edge_net(name: str) -> None:
    channels, strides, multiple = (FAMILIES | LARGE)[name]
    net = net_of("casenet", name)
    backbone = backbone_of(net)
    assert backbone.channels == (32, *channels)
    assert backbone.strides == (1, *strides)
    assert backbone.multiple == multiple
    size = (2 * multiple, 3 * multiple)
    with torch.no_grad():
        maps = backbone.eval()(images(*size))
    stated = [
        (c, size[0] // s, size[1] // s) for c, s in zip((32, *channels), (1, *strides), strict=True)
    ]
    assert [tuple(x.shape[1:]) for x in maps] == stated
    outputs = net.train()(images())
    assert {output.shape for output in outputs.values()} == {(2, 3, *ODD)}
    without = backward(net, outputs)
    if name.startswith("hrnet"):  # maps of the branches that the head does not read
        assert backbone.branches
        assert without
        assert all(".net." in key for key in without)
    else:
        assert not backbone.branches
        assert not without


@pytest.mark.parametrize("task_net", ["fcn", "deeplabv3plus_decouple", "gffnet"])
@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_convnext", "test_vit"])
def test_segmentation_nets_and_their_edge_heads(task_net: str, name: str) -> None:
    net = net_of(task_net, name, edge_head="dff")
    backbone = backbone_of(net)
    five = name.startswith("mobilenet")
    assert backbone.stem is None
    assert (backbone.channels[0], backbone.strides[0]) == ((16, 2) if five else (3, 1))
    image = images()
    outputs = net.train()(image)
    assert all(output.shape[-2:] == ODD for output in outputs.values())
    assert not backward(net, outputs)
    if not five:
        assert torch.equal(backbone(images(64, 64))[0], images(64, 64))


def test_a_full_size_stage_of_the_backbone_needs_no_stem() -> None:
    net = net_of("dff", "vgg11")
    backbone = backbone_of(net)
    assert backbone.stem is None
    assert backbone.channels[0] == 64
    assert backbone.strides == (1, 4, 8, 16, 32)
    assert "stem" not in backbone.note
    assert not backward(net, net(images(32, 32)))


def test_the_note_says_what_was_added() -> None:
    assert backbone_of(net_of("dff", "test_vit")).note == (
        "timm:test_vit has its stages at the strides 1, 4, 8, 8, 8; a stem of two convolutions at "
        "full size is beside it, and a simple pyramid makes its finer maps"
    )


@pytest.mark.parametrize("name", ["mobilenetv4_conv_small_035", "resnet10t"])
def test_images_reach_the_net_in_its_own_normalisation(name: str) -> None:
    """Against normalising the image itself with the configuration's mean and deviation."""
    backbone = backbone_of(net_of("fcn", name)).eval()
    config = timm.models.get_pretrained_cfg(name)
    assert (config.mean == MEAN) == (name == "resnet10t")
    image = np.random.default_rng(0).random((3, 64, 64))
    ours = (image - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    theirs = (image - np.reshape(config.mean, (3, 1, 1))) / np.reshape(config.std, (3, 1, 1))
    received: list[Tensor] = []
    backbone.net.register_forward_pre_hook(lambda _net, inputs: received.append(inputs[0]))
    with torch.no_grad():
        maps = backbone(torch.tensor(ours[None], dtype=torch.float32))
    assert len(maps) == 5
    expected = torch.tensor(theirs[None], dtype=torch.float32)
    torch.testing.assert_close(received[0], expected, rtol=0, atol=2e-6)
    if name == "resnet10t":
        assert torch.equal(backbone.scale, torch.ones(1, 3, 1, 1))
        assert not backbone.shift.any()


def checkpoint_of(net: nn.Module, backbone: str, path: Path, name: str = "dff") -> Path:
    info = ModelInfo(
        name=name,
        backbone=backbone,
        num_classes=3,
        task="edge",
        classes=("a", "b", "c"),
        palette=np.zeros((3, 3), np.uint8),
        base_size=0,
        dataset="",
    )
    save_checkpoint(path, {"weights": net.state_dict(), **info_entries(info)})
    return path


@pytest.mark.parametrize("name", ["resnet10t", "test_vit"])
def test_a_checkpoint_brings_all_back_and_fetches_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = net_of("dff", name).eval()
    backbone_of(net).shift += 0.5  # as of another version's configuration
    path = checkpoint_of(net, f"timm:{name}", tmp_path / "best.pth")
    create, fetched = timm.create_model, []

    def watched(*args: object, pretrained: bool = False, **options: object) -> nn.Module:
        fetched.append(pretrained)
        return create(*args, pretrained=pretrained, **options)

    monkeypatch.setattr(timm, "create_model", watched)
    loaded, info = load_model(path)
    assert fetched
    assert not any(fetched)
    assert info.backbone == f"timm:{name}"
    with torch.no_grad():
        assert torch.equal(loaded(images())["fuse"], net(images())["fuse"])
    other = net_of("dff", name)
    assert load_weights(other, path) == []
    for key, value in other.state_dict().items():
        assert torch.equal(value, net.state_dict()[key]), key


def changed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v + 1 if v.is_floating_point() else v for k, v in tensors.items()}


def flattened(key: str) -> str:
    return key.removeprefix("model.").replace(".", "_")


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext", "test_vit", "tinynet_e"])
@pytest.mark.parametrize("form", ["plain", "features"])
def test_a_file_of_timms_own_names_fills_the_backbone(name: str, form: str, tmp_path: Path) -> None:
    options = {"features_only": True} if form == "features" else {}
    theirs = changed(timm.create_model(name, **options).state_dict())
    torch.save(theirs, tmp_path / "weights.pth")
    net = net_of("fcn", name, pretrained=str(tmp_path / "weights.pth"))
    own = backbone_of(net).net.state_dict()
    flat = {flattened(key): value for key, value in theirs.items()}
    for key, value in own.items():
        assert torch.equal(value, flat[flattened(key)]), key


def test_a_file_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    theirs = timm.create_model("test_convnext").state_dict()
    backbone = backbone_of(net_of("fcn", "test_convnext"))
    with pytest.raises(WeightsError, match=r"1 unexpected: extra\.weight"):
        load_timm_file(backbone, {**theirs, "extra.weight": torch.zeros(3)})
    missing = {key: value for key, value in theirs.items() if not key.startswith("stem.0.")}
    with pytest.raises(WeightsError, match=r"2 missing: stem_0\.bias, stem_0\.weight"):
        load_timm_file(backbone, missing)
    torch.save({"stem.0.weight": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="of another shape") as caught:
        create_model(
            "fcn", num_classes=3, backbone="timm:test_convnext", pretrained=tmp_path / "w.pth"
        )
    assert str(caught.value).count(str(tmp_path / "w.pth")) == 1


def test_imagenet_weights_are_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def downloading(name: str, *, pretrained: bool = False, **options: object) -> nn.Module:
        net = create(name, pretrained=False, **options)
        if pretrained:
            net.load_state_dict(changed(net.state_dict()))
        return net

    random = backbone_of(net_of("fcn", "test_convnext")).net.state_dict()
    monkeypatch.setattr(timm, "create_model", downloading)
    net = net_of("fcn", "test_convnext", pretrained="imagenet")
    found = backbone_of(net).net.state_dict()
    # Layer scales and biases start the same each time; all have been raised by one.
    assert torch.equal(found["stem_0.bias"], random["stem_0.bias"] + 1)

    def offline(name: str, *, pretrained: bool = False, **options: object) -> nn.Module:
        if pretrained:
            raise OSError("no route\nto host")
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(FileNotFoundError, match=r"timm:test_convnext.*no route to host") as caught:
        net_of("fcn", "test_convnext", pretrained="imagenet")
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="timm has no weights of ghostnet_050"):
        net_of("fcn", "ghostnet_050", pretrained="imagenet")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("convnext_attto", "closest names are .*convnext_atto"),
        ("resnet18.nobody", "no weights called 'nobody'; it has .*a1_in1k"),
        ("convit_tiny", r"many sizes: it runs on images of 224x224, not on 448x672$"),
        ("hiera_tiny_224", r"many sizes: it runs on images of 224x224, not on 448x672$"),
        ("inception_v3", "its maps have not the image's size divided by whole numbers$"),
        ("iformer_s", "whose name no weight file here can hold"),
    ],
)
def test_names_that_cannot_be_had_are_one_line(name: str, line: str) -> None:
    with pytest.raises(BackboneError, match=line) as caught:
        net_of("dff", name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["hf-hub:a/b", "a/b", "../x", "", "é", "x" * 200, "a b", "a.b.c"])
def test_addresses_and_paths_are_no_names(name: str) -> None:
    assert not is_timm(f"timm:{name}")
    with pytest.raises(ValueError, match="timm:NAME"):
        net_of("dff", name)


@pytest.mark.parametrize("backbone", ["timm:hf-hub:a/b", "timm:no_such_net", "timm:\x1b[31m"])
def test_a_checkpoint_that_says_odd_text_is_one_line(backbone: str, tmp_path: Path) -> None:
    path = checkpoint_of(nn.Linear(1, 1), backbone, tmp_path / "odd.pth")
    with pytest.raises(InputError, match=r"timm|backbone") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_without_timm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def missing(name: str, *args: object, **options: object) -> object:
        if name == "timm":
            raise ModuleNotFoundError("No module named 'timm'", name="timm")
        return imported(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "timm")
    with pytest.raises(BackboneError, match=r'needs timm: pip install "timm>=1\.0"'):
        net_of("dff", "no_plan_is_kept_of_this")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("task_net", ["dff", "casenet", "deeplabv3plus"])
def test_faster_forms_return_the_same(name: str, task_net: str) -> None:
    net = net_of(task_net, name)
    net.train()(images(64, 64))  # running statistics that are not the first ones
    net.eval()
    with torch.no_grad():
        expected = net(images())
        folded = optimize_for_inference(net)(images())
        in_training = optimize_for_training(net)(images())
    for key, logits in expected.items():
        scale = logits.abs().max()
        assert (folded[key] - logits).abs().max() < 1e-4 * scale
        assert (in_training[key] - logits).abs().max() < 1e-4 * scale


def test_batch_norms_with_activations_are_frozen_and_layer_norms_left() -> None:
    net = net_of("fcn", "test_efficientnet").train()
    freeze_batch_norm(net)
    norms = [m for m in net.modules() if isinstance(m, timm.layers.BatchNormAct2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    before = [norm.running_mean.clone() for norm in norms]
    net(images())
    assert all(torch.equal(a, norm.running_mean) for a, norm in zip(before, norms, strict=True))
    vit = net_of("fcn", "test_vit").train()
    freeze_batch_norm(vit)
    assert all(m.training for m in vit.modules() if isinstance(m, nn.LayerNorm))
