"""timm's backbones through the doors: training, test.py's loading, export, flags, batch norms."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

import hubconf
import train
from data.errors import InputError, run
from data.samples.transforms import normalize
from models import build_model
from models.backbones import ALL_BACKBONES
from utils.benchmark.args import parse_args as parse_benchmark_args
from utils.benchmark.net_file import write_net
from utils.checkpoint import load_model
from utils.distributed.sync_batchnorm import synchronise_batch_norm
from utils.export.args import parse_export_args
from utils.export.check import BOUND
from utils.export.forms import with_open_sizes
from utils.export.graph import to_onnx
from utils.export.windows import OpenWindows
from utils.inference.memory import pass_bytes
from utils.model_info import ModelInfo
from utils.training.args import default_run_dir
from utils.training.recipes.facts import find_pretrained
from utils.training.recipes.fitted import Facts, cpu_minutes

timm = pytest.importorskip("timm", reason="needs the optional package timm")

SWIN = "timm:swin_tiny_patch4_window7_224"


def train_flags(root: Path, folder: Path, *more: str) -> list[str]:
    small = "--crop-size 32 --batch-size 4 --workers 0 --device cpu --pretrained none --epochs 1"
    return [*f"--dataset camvid --data-root {root} {small} --run-dir {folder}".split(), *more]


@pytest.mark.parametrize(
    ("model", "backbone", "more"),
    [
        ("dff", "timm:test_convnext", ["--val-thresholds", "3", "--val-samples", "2"]),
        ("fcn", "timm:test_efficientnet", ["--freeze-bn", "--epochs", "2"]),
    ],
)
def test_a_run_trains_saves_and_loads(
    model: str,
    backbone: str,
    more: list[str],
    tiny_camvid: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    argv = train_flags(tiny_camvid, tmp_path, "--model", model, "--backbone", backbone, *more)
    assert train.main(train.parse_args(argv)) == 0
    said = capsys.readouterr().out
    assert f"note: {backbone} has its stages at the strides" in said
    assert ("a stem of two convolutions at full size" in said) == (model == "dff")
    net, info = load_model(tmp_path / "last.pth")
    assert info.backbone == backbone
    torch.manual_seed(0)
    fresh = build_model(model, num_classes=11, backbone=backbone, **info.options)
    moved = [
        key
        for key, value in net.named_parameters()
        if not torch.equal(value, fresh.state_dict()[key])
    ]
    assert {key.split(".")[1] for key in moved if key.startswith("backbone.")} >= {"net"}


def test_an_unknown_name_is_one_line_and_status_2(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = train_flags(tiny_camvid, tmp_path, "--model", "dff", "--backbone", "timm:resnet_18")
    assert run(lambda: train.main(train.parse_args(argv))) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "has no model 'resnet_18'; the closest names are" in errors[0]
    assert "resnet18" in errors[0]


def test_a_backbone_of_one_size_is_refused_before_the_scenes_are_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = train_flags(tmp_path / "none", tmp_path / "run", "--dataset", "scenes")
    argv += ["--model", "dff", "--backbone", "timm:hiera_tiny_224"]
    assert run(lambda: train.main(train.parse_args(argv))) == 2
    assert "it runs on images of 224x224, not on" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_flag_takes_ours_and_timms_everywhere(capsys: pytest.CaptureFixture) -> None:
    for name in ("timm:convnext_atto", "timm:resnet18.a1_in1k", *ALL_BACKBONES):
        assert parse_benchmark_args(["--backbone", name]).backbone == name
        assert parse_export_args("", ["a", "--out", "b", "--backbone", name]).backbone == name
    for name in ("resnet19", "timm:", "timm:hf-hub:a/b", "timm:a/b"):
        with pytest.raises(SystemExit) as caught:
            train.parse_args(["--dataset", "camvid", "--data-root", "x", "--backbone", name])
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert f"{', '.join(ALL_BACKBONES)} or timm:NAME" in error


def test_the_folder_of_a_run_has_no_colon() -> None:
    flags = {"dataset": "camvid", "data_root": "x", "model": "dff", "checkname": "default"}
    assert (
        default_run_dir(flags | {"backbone": "timm:convnext_atto"})
        == "runs/camvid/dff-timm_convnext_atto/default"
    )
    assert default_run_dir(flags | {"backbone": "resnet50"}) == "runs/camvid/dff-resnet50/default"


def test_fitted_flags_know_backbones_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = Facts("edge", 40, ((100, 100),))
    values = {"model": "dff", "epochs": 1, "batch_size": 4, "crop_size": 100}
    minutes = [
        cpu_minutes(facts, values | {"backbone": name}) for name in ("timm:test_vit", "resnet50")
    ]
    assert minutes[0] == minutes[1] > 0
    monkeypatch.setattr("utils.training.recipes.facts.answers", lambda *_: False)
    found, why = find_pretrained("timm:test_vit", "seg")
    assert found == "none"
    assert "no network" in why
    assert find_pretrained("timm:ghostnet_050", "edge")[1] == "timm has no weights of ghostnet_050"
    assert "no model" in find_pretrained("timm:nothing_of_this_name", "edge")[1]


@pytest.fixture
def one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", lambda _: None)


def test_joint_batch_norms_keep_their_activations(one_rank: None) -> None:
    """With one rank the joint batch is the batch: the numbers of timm's own layers."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 45, 70)
    nets = []
    for joint in (False, True):
        torch.manual_seed(0)
        net = build_model("fcn", num_classes=3, backbone="timm:test_efficientnet").train()
        net = synchronise_batch_norm(net, "cpu") if joint else net
        logits = net(x)["seg"]
        logits.square().mean().backward()
        nets.append((net, logits.detach(), net.eval()(x)["seg"].detach()))
    (plain, *expected), (net, *found) = nets
    assert not any(type(m) in (nn.BatchNorm2d, timm.layers.BatchNormAct2d) for m in net.modules())
    for wanted, logits in zip(expected, found, strict=True):
        torch.testing.assert_close(logits, wanted, rtol=1e-3, atol=1e-4)
    gradient, wanted = (n.get_parameter("backbone.net.conv_stem.weight").grad for n in (net, plain))
    torch.testing.assert_close(gradient, wanted, rtol=1e-2, atol=1e-3 * float(wanted.abs().max()))


def test_on_gpus_batch_norms_become_timms_joint_ones() -> None:
    net = build_model("fcn", num_classes=3, backbone="timm:test_efficientnet")
    activations = [type(m.act) for m in net.modules() if isinstance(m, timm.layers.BatchNormAct2d)]
    names = [*net.state_dict()]
    net = synchronise_batch_norm(net, "cuda")
    joint = [m for m in net.modules() if isinstance(m, nn.SyncBatchNorm) and hasattr(m, "act")]
    assert [type(m.act) for m in joint] == activations
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert [*net.state_dict()] == names


def small_swin() -> nn.Module:
    """CASENet over Swin with its first two blocks, of which the second shifts its windows."""
    torch.manual_seed(0)
    net = build_model("casenet", num_classes=3, backbone=SWIN).eval()
    for name, stage in net.get_submodule("backbone.net").named_children():
        if name.startswith("layers_"):
            stage.blocks = stage.blocks[: 2 if name == "layers_0" else 0]
    return net


def test_windows_of_open_sizes_are_those_of_timm() -> None:
    plain = small_swin().get_submodule("backbone.net.layers_0.blocks")
    opened = with_open_sizes(plain)
    assert [any(block.shift_size) for block in opened] == [False, True]
    assert all(isinstance(block._attn, OpenWindows) for block in opened)
    for height, width in ((7, 7), (1, 9), (14, 20), (16, 13)):
        x = torch.randn(2, height, width, 96)
        for one, other in zip(plain, opened, strict=True):
            torch.testing.assert_close(other(x), one(x), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_graph_has_the_net_s_numbers_at_any_size() -> None:
    """Of a transformer: the convolutions of others are exported as ours are."""
    pytest.importorskip("onnx", reason="needs onnx")
    pytest.importorskip("onnxscript", reason="needs onnxscript")
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    net = small_swin()
    palette = np.zeros((3, 3), np.uint8)
    info = ModelInfo("casenet", SWIN, 3, "edge", ("a", "b", "c"), palette, 0, "")
    session = ort.InferenceSession(to_onnx(net, info, ["fuse"]), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for size in ((1, 32, 32), (2, 45, 83), (1, 121, 64)):
        image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = net(normalize(torch.from_numpy(image)))["fuse"]
        logits = session.run(None, {"image": image})[0]
        assert np.abs(logits - expected.numpy()).max() <= BOUND * expected.abs().max()


def test_the_hub_and_the_benchmark_build_them(tmp_path: Path) -> None:
    net = hubconf.build("fcn", 3, "timm:test_resnet")
    assert net(torch.zeros(2, 3, 40, 40))["seg"].shape == (2, 3, 40, 40)
    info = write_net(tmp_path / "net.pth", "dff", "timm:test_resnet", 3)
    assert load_model(tmp_path / "net.pth")[1].backbone == info.backbone == "timm:test_resnet"
    with pytest.raises(InputError, match="no model"):
        write_net(tmp_path / "net.pth", "dff", "timm:nothing_of_this_name", 3)
    with pytest.raises(InputError, match="timm:NAME"):
        write_net(tmp_path / "net.pth", "dff", "wider_resnet38", 3)


def test_memory_is_estimated_as_measured() -> None:
    palette = np.zeros((19, 3), np.uint8)
    classes = tuple(map(str, range(19)))
    measured = {("dff", "edge"): 1655, ("deeplabv3plus", "seg"): 1125, ("gffnet", "seg"): 1425}
    for (name, task), expected in measured.items():
        info = ModelInfo(name, "timm:convnext_tiny", 19, task, classes, palette, 0, "")
        assert expected <= pass_bytes(info) <= 1.2 * expected
