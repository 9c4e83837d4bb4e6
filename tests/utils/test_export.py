"""Exported nets against PyTorch, what they say of themselves, and files that are none."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.segmented import save_tiny_seg
from helpers.tiny_nets import EDGE, registered, save_tiny
from torch import nn
from torch.nn import functional as F

from data.errors import InputError, run
from data.samples.transforms import MEAN, STD, normalize
from models import MODELS, build_model
from models.resnet import DEPTHS, Depth
from utils.checkpoint import ModelInfo, load_model
from utils.export import __main__ as export
from utils.export import check as check_module
from utils.export import write as write_module
from utils.export.check import BOUND, check_graph
from utils.export.forms import linspace, pooling_weights
from utils.export.graph import to_onnx
from utils.export.onnx_file import read_metadata, read_onnx_info
from utils.metadata import read_info, to_metadata
from utils.model_info import CheckpointError

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install onnx")
pytest.importorskip("onnxscript", reason="needs onnxscript: pip install onnxscript")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")

PALETTE = np.array([(128, 64, 128), (244, 35, 232), (70, 70, 70)], np.uint8)
# Nets that have all the layers between them; each takes some ten seconds.
FEW = ("casenet", "dff", "deeplabv3plus", "pspnet_decouple", "gffnet")
# Below what decoupled nets are padded to; odd sides; several images; not square.
SIZES = ((1, 32, 32), (2, 45, 83), (1, 121, 64))


def info_of(name: str, **more: object) -> ModelInfo:
    classes = ("road", "pavement", "Haus ä")
    return ModelInfo(name, "resnet18", 3, MODELS[name].task, classes, PALETTE, 0, "", **more)


def random_net(name: str) -> nn.Module:
    """A net with one block in each layer, whose batch normalisations are not the identity."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, backbone="resnet18").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


@pytest.fixture
def short_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        DEPTHS, "resnet18", Depth("basic", (1, 1, 1, 1), DEPTHS["resnet18"].imagenet)
    )


@pytest.mark.parametrize("name", FEW)
def test_a_graph_has_its_net_s_numbers_at_any_size(name: str, short_resnet: None) -> None:
    """Compared here, not by `check_graph`: a graph of fixed sizes fails at the second size."""
    model = random_net(name)
    outputs = model.outputs
    content = to_onnx(model, info_of(name), outputs)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("image", "tensor(uint8)", ["N", "H", "W", 3])
    ]
    assert tuple(out.name for out in session.get_outputs()) == outputs
    random = np.random.default_rng(0)
    for count, height, width in SIZES:
        images = random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        with torch.inference_mode():
            planes = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
            expected = model((planes - mean) / std)
        for output, logits in zip(outputs, session.run(None, {"image": images}), strict=True):
            largest = expected[output].abs().max()
            difference = np.abs(logits - expected[output].numpy()).max()
            assert difference <= BOUND * largest, (output, count, height, width)
    if name in ("dff", "pspnet_decouple"):
        compare_with_openvino(content, model, outputs)


def compare_with_openvino(content: bytes, model: nn.Module, outputs: tuple[str, ...]) -> None:
    openvino = pytest.importorskip("openvino", reason="needs openvino: pip install openvino")
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    for count, height, width in SIZES:
        images = np.full((count, height, width, 3), 7, np.uint8)
        images[:, : height // 2] = np.arange(width, dtype=np.uint8)[:, None]
        with torch.inference_mode():
            expected = model(normalize(images))
        for output, logits in zip(outputs, compiled({"image": images}).values(), strict=True):
            largest = expected[output].abs().max()
            assert np.abs(logits - expected[output].numpy()).max() <= BOUND * largest, output


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_pooling_by_weights_is_adaptive_pooling(bins: int) -> None:
    for size in range(1, 40):
        pixels = torch.eye(size)[None]
        expected = F.adaptive_avg_pool1d(pixels, bins)[0].T
        torch.testing.assert_close(pooling_weights(size, bins, pixels), expected)


def test_steps_are_those_of_linspace() -> None:
    for steps in (2, 7, 8, 101, 1024):
        found = linspace(-1, 1, steps, dtype=torch.float32, device=torch.device("cpu"))
        torch.testing.assert_close(found, torch.linspace(-1, 1, steps), rtol=0, atol=2e-7)


# --- the command ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """tiny.pth, and net.onnx and net.safetensors of it."""
    place = tmp_path_factory.mktemp("export")
    with registered():
        save_tiny(place / "tiny.pth", EDGE)
        for name in ("net.onnx", "net.safetensors"):
            run_export(place / "tiny.pth", "--out", place / name)
        yield place


def run_export(*flags: object) -> None:
    export.main(export.parse_args([str(flag) for flag in flags]))


def test_the_command_says_what_it_checked(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "net.onnx"
    run_export(folder / "tiny.pth", "--out", out, "--outputs", "fuse", "side5")
    printed, errors = capfd.readouterr()
    assert errors == ""
    *checked, last = printed.splitlines()
    assert [line.partition(",")[0] for line in checked] == [
        f"checked: {n} x {h}x{w}" for n, h, w in check_module.SIZES
    ]
    assert last.startswith(f"tiny_edge over resnet18, outputs fuse side5: {out} (")
    assert [path.name for path in out.parent.iterdir()] == ["net.onnx"]
    assert list(json.loads(read_metadata(out)["outputs"])) == ["fuse", "side5"]


def test_a_graph_without_the_edge_head_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(write_module, "to_onnx", lambda *_: b"")
    monkeypatch.setattr(write_module, "check_graph", lambda *_: [])
    net = save_tiny_seg(tmp_path / "joint.pth", ("a", "b"), edge_head="dff")
    cases = {
        "": "note: the edge head dff is left out of the graph; --outputs seg fuse keeps it",
        "seg side5": "note: the edge head dff is left out of the graph; --outputs seg fuse side5",
        "fuse": "note: the segmentation is left out of the graph; --outputs seg fuse keeps it",
        "seg fuse": "",
    }
    with registered():
        for number, (outputs, note) in enumerate(cases.items()):
            out = tmp_path / f"{number}.onnx"
            run_export(net, "--out", out, *(["--outputs", *outputs.split()] if outputs else []))
            *notes, last = capfd.readouterr().out.splitlines()
            assert last.startswith("tiny_joint with edge head dff over resnet18, outputs ")
            assert len(notes) == bool(note)
            assert not note or notes[0].startswith(note)
        run_export(net, "--out", tmp_path / "none.onnx", "--edge-head", "none")
        (line,) = capfd.readouterr().out.splitlines()
        assert line.startswith("tiny_joint over resnet18, outputs seg: ")


def test_what_a_graph_says_is_read_as_the_package_onnx_reads_it(folder: Path) -> None:
    proto = onnx.load(folder / "net.onnx")
    onnx.checker.check_model(proto)
    expected = {entry.key: entry.value for entry in proto.metadata_props}
    assert read_metadata(folder / "net.onnx") == expected
    assert expected["format_version"] == "1"
    assert expected["task"] == "edge"
    said = json.loads(expected["preprocessing"])
    assert (said["mean"], said["std"], said["color"]) == (list(MEAN), list(STD), "RGB")
    _, info = load_model(folder / "tiny.pth")
    assert read_onnx_info(folder / "net.onnx").to_plain() == info.to_plain()
    # No path of the machine that wrote it.
    assert str(Path(__file__).resolve().parents[2]).encode() not in proto.SerializeToString()
    assert not [node.name for node in proto.graph.node if node.metadata_props]
    assert not any(tensor.external_data for tensor in proto.graph.initializer)


def test_metadata_hold_all_that_a_checkpoint_says() -> None:
    info = replace(info_of("dff"), thresholds=(0.25, None, 0.5), upright=True, base_size=640)
    text = to_metadata(info, ["fuse"], in_graph=True)
    assert all(isinstance(value, str) for value in text.values())
    assert read_info(text, "x").to_plain() == info.to_plain()
    warped = info_of("fcn_decouple", options={"align_corners": False})
    assert read_info(to_metadata(warped, ["seg"], in_graph=True), "x").options == warped.options


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"format_version": "2"}, "x: format_version '2' of its metadata, this version reads 1"),
        ({"model": "{"}, "x, metadata 'model': is no JSON"),
        ({"model": "[]"}, "x: what it says about its net is wrong: model is of type list"),
        ({"model": None}, "x: model of its metadata is None, expected text"),
    ],
)
def test_wrong_metadata_are_one_line(changes: dict, line: str) -> None:
    with pytest.raises(InputError) as error:
        read_info(to_metadata(info_of("dff"), ["fuse"], in_graph=True) | changes, "x")
    assert str(error.value).startswith(line)


def test_safetensors_are_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    model, info = load_model(folder / "tiny.pth")
    again, said = load_model(folder / "net.safetensors", name=EDGE, backbone="resnet18")
    assert said.to_plain() == info.to_plain()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    with safe_open(folder / "net.safetensors", framework="pt") as file:
        assert file.metadata()["format"] == "pt"
        assert set(file.keys()) == set(model.state_dict())


def test_anybody_s_safetensors_need_the_flags(tmp_path: Path, short_resnet: None) -> None:
    from safetensors.torch import save_file

    model, path = random_net("dff"), tmp_path / "bare.safetensors"
    save_file(model.state_dict(), path)
    with pytest.raises(CheckpointError, match="does not say what network it holds"):
        load_model(path)
    bare, info = load_model(path, name="dff", backbone="resnet18")
    assert info.num_classes == 3
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, bare.state_dict()[name])


def test_damaged_safetensors_are_one_line(folder: Path, tmp_path: Path) -> None:
    content = (folder / "net.safetensors").read_bytes()
    for number, damaged in enumerate((content[:-1], content + b"\0", content[:40])):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
            load_model(path)


def test_a_missing_package_is_named(folder: Path, tmp_path: Path, monkeypatch) -> None:
    for package, flags, line in (
        ("safetensors", ("--out", tmp_path / "a.safetensors"), "pip install safetensors"),
        ("safetensors.torch", ("--out", tmp_path / "a.safetensors"), "pip install safetensors"),
        ("onnxscript", ("--out", tmp_path / "a.onnx"), "writing ONNX needs onnxscript"),
    ):
        with monkeypatch.context() as patch, pytest.raises(InputError, match=line):
            patch.setitem(__import__("sys").modules, package, None)
            source = "net.safetensors" if package == "safetensors" else "tiny.pth"
            run_export(folder / source, *flags)
    assert not list(tmp_path.iterdir())


def test_without_onnx_runtime_the_check_is_said_to_be_missing(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    run_export(folder / "tiny.pth", "--out", tmp_path / "net.onnx")
    assert "not checked against PyTorch: needs onnxruntime" in capsys.readouterr().out
    assert (tmp_path / "net.onnx").exists()


def test_a_graph_that_differs_is_not_written(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """The weights change between export and check, by more than rounding."""
    model, info = load_model(folder / "tiny.pth")
    content = to_onnx(model, info, ["fuse"])
    with torch.no_grad():
        model.get_parameter("fuse.bias").add_(0.1)
    with pytest.raises(InputError, match=r"differs from PyTorch by .* nothing is written"):
        check_graph(content, model, ["fuse"])
    monkeypatch.setattr(check_module, "BOUND", -1.0)
    with pytest.raises(InputError, match="nothing is written"):
        run_export(folder / "tiny.pth", "--out", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            "--out net.pt",
            "--out net.pt: its ending says no format; end it in .onnx or",
        ),
        ("--out a.onnx --format safetensors", "--out a.onnx: ends as onnx, but --format says safe"),
        ("--out a.safetensors --outputs fuse", "--outputs: safetensors hold weights"),
        ("--out a.onnx --outputs seg", "--outputs seg: tiny_edge has no such output; it has side5"),
        ("--out a.onnx --fusion sequential", "{folder}/tiny.pth holds tiny_edge, which knows no"),
        ("--out a.onnx --model dff", "{folder}/tiny.pth holds tiny_edge, but --model says dff"),
        ("--out {folder}/net.onnx", "--out {folder}/net.onnx: exists; choose another file, or add"),
        ("--out {folder}", "--out {folder}: its ending says no format"),
    ],
)
def test_wrong_flags_are_one_line(
    flags: str, line: str, folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    words = flags.replace("{folder}", str(folder)).split()
    assert run(lambda: run_export(folder / "tiny.pth", *words)) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: " + line.replace("{folder}", str(folder)))
    assert not list(tmp_path.iterdir())


def test_the_checkpoint_is_never_written_over(folder: Path) -> None:
    source = folder / "net.safetensors"
    with pytest.raises(InputError, match="is the checkpoint itself"):
        run_export(source, "--out", source, "--overwrite")
    with pytest.raises(InputError, match=r"is an exported net; .* needs the checkpoint"):
        run_export(folder / "net.onnx", "--out", folder / "again.onnx")


# --- files that are no exported net ---


def foreign() -> bytes:
    """A graph of another program's: one ReLU."""
    helper = onnx.helper
    value = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (foreign(), "does not say what net it holds"),
        (b"", "is no whole ONNX file (it holds no graph)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is no whole ONNX file"),
        (b"no graph at all, but text", "is no whole ONNX file"),
        (b"\x08\x0a\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "has more than 64 bits"),
        (b"\x08\x0a\x3a\x04\x00\x00\x00", "it ends 1 bytes too early"),
    ],
    ids=["foreign", "empty", "png", "text", "long number", "cut"],
)
def test_other_files_are_one_line(content: bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_onnx_info(path)
    assert str(error.value).startswith(f"{path}: ")
    assert line in str(error.value)


def test_every_cut_is_noticed(folder: Path, tmp_path: Path) -> None:
    content = (folder / "net.onnx").read_bytes()
    path = tmp_path / "a.onnx"
    for end in {*range(1, 60), *range(1, len(content), 997), len(content) - 1}:
        path.write_bytes(content[:end])
        with pytest.raises(CheckpointError):
            read_onnx_info(path)
