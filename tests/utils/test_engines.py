"""Engines through predict.py, test.py and `load`: the same files within rounding, and refusals."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.tiny_nets import EDGE, SEG, registered, save_tiny

import predict
import test as score_script
from data.errors import InputError, run
from utils.export import __main__ as export
from utils.inference import load
from utils.inference.engines import compile_engine
from utils.inference.engines.choose import choose_engine
from utils.inference.engines.onnx_engine import OnnxEngine

PACKAGES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}


def needs(engine: str) -> None:
    pytest.importorskip(PACKAGES[engine], reason=f"needs pip install {PACKAGES[engine]}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """edge.pth, edge.onnx, seg.pth, seg.onnx and images of three sizes."""
    pytest.importorskip("onnxscript", reason="needs pip install onnx onnxscript")
    place = tmp_path_factory.mktemp("engines")
    random = np.random.default_rng(0)
    with registered():
        for name, kind in (("edge", EDGE), ("seg", SEG)):
            save_tiny(place / f"{name}.pth", kind)
            flags = [str(place / f"{name}.pth"), "--out", str(place / f"{name}.onnx")]
            export.main(export.parse_args(flags))
        (place / "images").mkdir()
        for number, size in enumerate(((33, 41), (48, 64), (20, 90))):
            image = random.integers(0, 256, (*size, 3), np.uint8)
            cv2.imwrite(str(place / "images" / f"{number}.png"), image)
        yield place


def run_predict(*flags: object) -> int:
    return run(lambda: predict.main(predict.parse_args([str(flag) for flag in flags])))


@pytest.mark.parametrize("source", ["edge.pth", "edge.onnx"])
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_engines_give_the_same_probabilities(
    engine: str, source: str, folder: Path, tmp_path: Path, capfd
) -> None:
    """Windows, scales and the mirror image are the Predictor's, for all engines."""
    needs(engine)
    flags = ("--save-prob", "npz", "--window", "32", "--scales", "1", "1.5", "--mirror")
    flags += ("--batch-size", "3", "--no-overlay")
    images = folder / "images"
    for name, more in (("torch", ("edge.pth",)), (engine, (source, "--engine", engine))):
        checkpoint, *rest = more
        status = run_predict(
            images, "--checkpoint", folder / checkpoint, "--out", tmp_path / name, *flags, *rest
        )
        assert status == 0, capfd.readouterr().err
        printed = capfd.readouterr()
        assert printed.err == ""
        lines = [line for line in printed.out.splitlines() if line.startswith("engine: ")]
        assert len(lines) == (name != "torch")
        assert all(line.startswith(f"engine: {engine} (") for line in lines)
        assert all(("utils.export" in line) == (source == "edge.pth") for line in lines)
    for number in range(3):
        one, other = (
            np.load(tmp_path / name / "prob" / f"{number}.npz")["prob"]
            for name in ("torch", engine)
        )
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=2 / 65536)  # stored in 16 bits


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_engines_give_the_same_labels(engine: str, folder: Path) -> None:
    needs(engine)
    expected = load(folder / "seg.pth", "cpu")
    predictor = load(folder / "seg.onnx", engine=engine)
    assert (predictor.task, predictor.classes) == (expected.task, expected.classes)
    for path in sorted((folder / "images").iterdir()):
        scores, found = expected.scores(path), predictor.scores(path)
        np.testing.assert_allclose(found, scores, atol=1e-4 * np.abs(scores).max())
        assert (expected(path) == predictor(path)).mean() > 0.999


def test_results_of_openvino_are_not_written_over(folder: Path) -> None:
    needs("openvino")
    predictor = load(folder / "seg.onnx", engine="openvino")
    images = [np.full((1, 40, 40, 3), value, np.uint8) for value in (0, 255)]
    first = predictor.engine(images[0], ("seg",))["seg"]
    kept = first.clone()
    predictor.engine(images[1], ("seg",))
    assert torch.equal(first, kept)


def test_an_engine_is_part_of_what_scores_depend_on(folder: Path) -> None:
    """PyTorch is not named: counts that earlier versions began are gone on with."""
    needs("onnx")
    plain = load(folder / "edge.pth", "cpu")
    assert plain.options_of_scores() == plain.options.of_the_scores()
    exported = load(folder / "edge.onnx", engine="onnx")
    assert exported.options_of_scores() == plain.options_of_scores() | {"engine": "onnx"}


def test_test_py_scores_an_exported_net(folder: Path, tiny_camvid: Path, tmp_path: Path) -> None:
    import json

    needs("onnx")
    scores = []
    for name, engine in (("seg.pth", "torch"), ("seg.onnx", "onnx")):
        flags = f"--checkpoint {folder / name} --engine {engine} --dataset camvid --split test "
        flags += f"--data-root {tiny_camvid} --out {tmp_path / name} --workers 0 --no-report"
        score_script.main(score_script.parse_args(flags.split()))
        scores.append(json.loads((tmp_path / name / "metrics.json").read_text()))
    assert scores[1]["source"]["engine"] == "onnx"
    assert "engine" not in scores[0]["source"]


def test_a_graph_without_what_predictions_need_is_refused(folder: Path, tmp_path: Path) -> None:
    needs("onnx")
    flags = [folder / "edge.pth", "--out", tmp_path / "side.onnx", "--outputs", "side5"]
    export.main(export.parse_args([str(flag) for flag in flags]))
    with pytest.raises(InputError, match="found the outputs side5, and predictions need fuse"):
        load(tmp_path / "side.onnx", engine="onnx")


def test_outputs_that_are_not_exported_are_named(folder: Path) -> None:
    needs("onnx")
    predictor = load(folder / "edge.onnx", engine="onnx")
    with pytest.raises(ValueError, match="no output 'side5'; the network has fuse"):
        predictor.scores(folder / "images" / "0.png", output="side5")


# --- the choice ---


def test_auto_is_torch_for_a_checkpoint_and_what_is_installed_for_a_graph(monkeypatch) -> None:
    installed = {"openvino", "onnxruntime"}

    def find(name: str) -> object:
        return name in installed or None

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert choose_engine("auto", Path("a.pth"), exported=False)[0] == "torch"
    assert choose_engine("auto", Path("a.onnx"), exported=True)[0] == "openvino"
    installed.remove("openvino")
    assert choose_engine("auto", Path("a.onnx"), exported=True)[0] == "onnx"
    installed.remove("onnxruntime")
    with pytest.raises(InputError, match="needs openvino or onnxruntime: pip install"):
        choose_engine("auto", Path("a.onnx"), exported=True)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("edge.onnx --engine torch", "{}/edge.onnx: is an exported net, which --engine torch"),
        ("edge.onnx --engine compile", "{}/edge.onnx: is an exported net, which --engine compile"),
        ("edge.onnx --engine onnx --half", "--half: ONNX Runtime runs nets in float32 here"),
        ("edge.onnx --engine onnx --fast", "--fast: is for PyTorch's engines"),
        ("edge.pth --engine onnx --no-fast", "--no-fast: is for PyTorch's engines"),
        ("edge.onnx --model dff", "{}/edge.onnx holds tiny_edge, but --model says dff"),
        ("edge.onnx --backbone resnet50", "{}/edge.onnx holds resnet18, but --backbone says"),
        ("edge.onnx --align-corners", "{}/edge.onnx: was not exported with --align-corners True"),
        ("edge.onnx --dataset sbd", "{}/edge.onnx has 11 classes, but sbd has 20"),
        ("nothing.onnx", "{}/nothing.onnx: no such ONNX file"),
        ("images", "{}/images: is a folder; expected a weight file"),
    ],
)
def test_what_does_not_fit_is_one_line(
    flags: str, line: str, folder: Path, tmp_path: Path, capfd
) -> None:
    name, *more = flags.split()
    images, out = folder / "images", tmp_path / "out"
    assert run_predict(images, "--checkpoint", folder / name, "--out", out, *more) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {line.format(folder)}")
    assert not out.exists()


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_missing_package_is_one_line(engine: str, folder: Path, monkeypatch) -> None:
    package = PACKAGES[engine]
    monkeypatch.setitem(sys.modules, package, None)
    for name in ("edge.onnx", "edge.pth"):
        with pytest.raises(InputError, match=f"engine {engine} needs {package}: pip install"):
            load(folder / name, "cpu", engine=engine)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_damaged_graph_is_one_line(engine: str, folder: Path, tmp_path: Path, capfd) -> None:
    """The metadata are whole, the graph in front of them is not."""
    needs(engine)
    content = bytearray((folder / "edge.onnx").read_bytes())
    place = content.find(b"\x22\x04Conv")  # a node's field 4, the operator
    content[place + 2 : place + 6] = b"Kohl"
    (tmp_path / "a.onnx").write_bytes(content)
    flags = ("--checkpoint", tmp_path / "a.onnx", "--out", tmp_path / "out", "--engine", engine)
    assert run_predict(folder / "images", *flags) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: engine {engine} cannot load {tmp_path}/a.onnx: ")


def test_a_failing_run_is_one_line(folder: Path) -> None:
    needs("onnx")
    engine = load(folder / "edge.onnx", engine="onnx").engine
    with pytest.raises(InputError, match="engine onnx fails on 1 x 40x40"):
        engine(np.zeros((1, 40, 40, 4), np.uint8), ("fuse",))


def test_cuda_is_asked_of_onnx_runtime_only_where_it_has_it(folder: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs pip install onnxruntime")
    if "CUDAExecutionProvider" in runtime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(InputError, match="this ONNX Runtime has no CUDAExecutionProvider"):
        OnnxEngine(folder / "edge.onnx", torch.device("cuda"))


# --- PyTorch's compiler ---


def test_a_compiled_net_gives_the_same_numbers(folder: Path, monkeypatch) -> None:
    """The graph is captured whole and run as it is: generating C++ takes half a minute here."""
    captured = []
    compile_net = torch.compile

    def compile_without_code(net: torch.nn.Module, **options: object) -> object:
        captured.append(options)
        return compile_net(net, backend="eager", fullgraph=True, **options)

    monkeypatch.setattr(torch, "compile", compile_without_code)
    predictor = load(folder / "edge.pth", "cpu", engine="compile")
    assert captured == [{"dynamic": True}]
    assert predictor.note == "engine: compile (the first image takes long)"
    expected = load(folder / "edge.pth", "cpu")
    for path in sorted((folder / "images").iterdir()):
        np.testing.assert_allclose(predictor(path), expected(path), atol=1e-5)


def test_a_missing_compiler_is_one_line(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(compile_engine.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        InputError, match=r"^engine compile needs a C\+\+ compiler, and there is no"
    ):
        load(folder / "edge.pth", "cpu", engine="compile")
