"""Weights of the segmentation nets: saved and loaded, from a base net, from ImageNet files.

And the options that a net is built with.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import MODELS, OPTIONS, build_model
from models.imagenet import BROUGHT_FILES
from models.resnet import seg_resnet
from models.weights import translate
from models.wider_resnet import WiderResNet
from utils.checkpoint import CheckpointError, load_base, load_model, load_weights

SEG_NETS = tuple(name for name, (_, task, _) in MODELS.items() if task == "seg")
DECOUPLED = tuple(name for name in SEG_NETS if name.endswith("_decouple"))


@pytest.mark.parametrize("name", SEG_NETS)
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    model = build_model(name, num_classes=3, backbone="resnet18").eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "net.pth")
    loaded, info = load_model(tmp_path / "net.pth", name=name, backbone="resnet18")
    assert (info.num_classes, info.task) == (3, "seg")
    image = torch.randn(1, 3, 49, 49)
    with torch.inference_mode():
        for key, logits in model(image).items():
            assert torch.equal(logits, loaded(image)[key])
    other = build_model(name, num_classes=5, backbone="resnet18")
    kept = load_weights(other, tmp_path / "net.pth", reset_classifier=True)
    assert kept == sorted(key for key in other.state_dict() if key.startswith(other.classifier))


@pytest.mark.parametrize("name", DECOUPLED)
def test_the_second_stage_starts_from_a_base_net(name: str, tmp_path: Path) -> None:
    base = build_model(name.removesuffix("_decouple"), num_classes=3, backbone="resnet18")
    torch.save(base.state_dict(), tmp_path / "base.pth")
    model = build_model(name, num_classes=3, backbone="resnet18")
    new = load_base(model, tmp_path / "base.pth")
    counted = {key for key in model.state_dict() if not key.endswith("num_batches_tracked")}
    assert set(new) == counted - set(base.state_dict())
    assert all(key.startswith("decouple.") for key in new)
    for key, value in base.state_dict().items():
        assert key.startswith("final.") or torch.equal(model.state_dict()[key], value)
    with pytest.raises(CheckpointError, match="only a decoupled network"):
        load_base(base, tmp_path / "base.pth")
    other = next(net for net in DECOUPLED if net != name)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_base(build_model(other, num_classes=3, backbone="resnet18"), tmp_path / "base.pth")


def imagenet_file(backbone: nn.Module, kind: str) -> dict[str, Tensor]:
    """A backbone's weights as an ImageNet file of that kind names them, and its classifier."""
    state = dict(backbone.state_dict())
    if kind == "wide":
        return {f"module.{key}": value for key, value in state.items()} | {
            "module.bn_out.0.weight": torch.ones(4096),
            "module.classifier.fc.weight": torch.ones(1000, 4096),
        }
    if kind == "flat":
        names = {
            "conv1.0.": "conv1.",
            "conv1.1.": "bn1.",
            "conv1.3.": "conv2.",
            "conv1.4.": "bn2.",
            "conv1.6.": "conv3.",
        }
        names["bn1."] = "bn3."
        renamed = {}
        for key, value in state.items():
            old = next((old for old in names if key.startswith(old)), "")
            renamed[names.get(old, "") + key.removeprefix(old)] = value
        state = renamed
    return state | {"fc.weight": torch.ones(1000, 512), "fc.bias": torch.ones(1000)}


@pytest.mark.parametrize("kind", ["numbered", "flat"])
def test_deep_stem_imagenet_files_fill_the_backbone_and_nothing_else(
    kind: str, tmp_path: Path
) -> None:
    source = seg_resnet("resnet18")
    torch.save(imagenet_file(source, kind), tmp_path / "resnet18.pth")
    model = build_model(
        "fcn", num_classes=2, backbone="resnet18", pretrained=tmp_path / "resnet18.pth"
    )
    for key, value in source.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value), key
    kept = load_weights(
        build_model("fcn", num_classes=2, backbone="resnet18"), tmp_path / "resnet18.pth"
    )
    assert kept
    assert not [key for key in kept if key.startswith("backbone.")]


def test_a_shallow_stem_does_not_fit(tmp_path: Path) -> None:
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(CheckpointError, match=r"missing: backbone\.conv1\.0\.weight"):
        load_weights(
            build_model("fcn", num_classes=2, backbone="resnet18"), tmp_path / "resnet18.pth"
        )


def test_wider_resnet_imagenet_names() -> None:
    """Names only: the file itself would have 500 MB."""
    with torch.device("meta"):
        backbone = WiderResNet()
        tensors = {
            key.removeprefix("module."): value
            for key, value in imagenet_file(backbone, "wide").items()
        }
    assert set(translate(tensors)) == {f"backbone.{key}" for key in backbone.state_dict()}


@pytest.mark.parametrize("backbone", [*BROUGHT_FILES, "resnet34"])
def test_missing_imagenet_weights_are_one_line_that_says_what_to_do(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with torch.device("meta"), pytest.raises(FileNotFoundError) as caught:
        build_model("deeplabv3plus", num_classes=2, backbone=backbone, pretrained="imagenet")
    message = str(caught.value)
    assert "\n" not in message
    assert "--pretrained FILE" in message
    if backbone in BROUGHT_FILES:
        name, source = BROUGHT_FILES[backbone]
        assert source in message
        assert str(tmp_path / "checkpoints" / name) in message


def test_brought_imagenet_weights_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    source = seg_resnet("resnet18")
    (tmp_path / "checkpoints").mkdir()
    torch.save(imagenet_file(source, "flat"), tmp_path / "checkpoints" / "resnet18-imagenet.pth")
    model = build_model("fcn", num_classes=2, backbone="resnet18", pretrained="imagenet")
    assert torch.equal(model.backbone.conv1[6].weight, source.conv1[6].weight)


def test_published_files_carry_a_numpy_number(tmp_path: Path) -> None:
    """They hold their mean IoU as one; it is plain data, and not a reason to refuse them."""
    model = build_model("fcn", num_classes=2, backbone="resnet18")
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "mean_iu": np.float64(0.8)}, tmp_path / "net.pth")
    assert (
        load_weights(build_model("fcn", num_classes=2, backbone="resnet18"), tmp_path / "net.pth")
        == []
    )


def test_options_are_kept_and_unknown_ones_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fcn has no option 'align_corners'; it has edge_head"):
        build_model("fcn", num_classes=2, backbone="resnet18", align_corners=True)
    with pytest.raises(ValueError, match="no fusion 'both'; there are sequential, simultaneous"):
        build_model("gffnet", num_classes=2, backbone="resnet18", fusion="both")
    with pytest.raises(ValueError, match="pspnet has no backbone 'wider_resnet38'"):
        build_model("pspnet", num_classes=2, backbone="wider_resnet38")
    assert set(OPTIONS) <= set(MODELS)
    model = build_model("fcn_decouple", num_classes=2, backbone="resnet18", align_corners=False)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    loaded, info = load_model(
        tmp_path / "net.pth",
        name="fcn_decouple",
        backbone="resnet18",
        options={"align_corners": False},
    )
    assert loaded.decouple.split.align_corners is False
    plain = {"format": 1, "model": info.to_plain(), "weights": model.state_dict()}
    torch.save(plain, tmp_path / "own.pth")
    again, info = load_model(tmp_path / "own.pth")
    assert again.decouple.split.align_corners is False
    assert info.options == {"align_corners": False}
