"""Nets with an edge head at inference: both tasks of one run are those of each alone."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data.errors import InputError
from data.samples.transforms import normalize
from models import build_model
from models.joint import JointNet
from utils.export.graph import outputs_for, to_onnx
from utils.inference.engines import compile_engine
from utils.inference.engines.compile_engine import CompileEngine
from utils.inference.engines.opening import _open_exported
from utils.inference.memory import pass_bytes
from utils.inference.options import InferenceOptions
from utils.inference.predictor import Predictor
from utils.model_info import ModelInfo
from utils.prediction.args import edge_choice, parse_predict_args, require_edge_output

K = 3
CPU = torch.device("cpu")


def joint_net(name: str = "deeplabv3plus", edge_head: str = "dff") -> JointNet:
    """A net with an edge head, whose batch norms are no identities."""
    torch.manual_seed(0)
    net = build_model(name, num_classes=K, backbone="resnet18", edge_head=edge_head).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    assert isinstance(net, JointNet)
    return net


def info_of(net: str, edge_head: str = "dff", **more: Any) -> ModelInfo:
    palette = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    task = "edge" if net in ("casenet", "dff") else "seg"
    options: dict[str, bool | str] = {} if edge_head == "none" else {"edge_head": edge_head}
    return ModelInfo(net, "resnet18", K, task, ("a", "b", "c"), palette, 0, "", options, **more)


@pytest.fixture(scope="module")
def net() -> JointNet:
    return joint_net()


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (45, 71, 3), np.uint8)


def predictor_of(net: nn.Module, fast: bool = False, **options: Any) -> Predictor:
    run = InferenceOptions(**options)
    return Predictor(net, info_of("deeplabv3plus"), device="cpu", options=run, fast=fast)


RUNS: list[dict[str, Any]] = [
    {},
    {"scales": (0.75, 1.25), "mirror": True},
    {"window": 40, "batch_size": 3, "scales": (1.0, 1.5), "mirror": True},
    {"base_size": 50},
]


@pytest.mark.parametrize("options", RUNS)
@pytest.mark.parametrize("fast", [False, True])
def test_both_are_those_of_each_alone(net, image, fast: bool, options: dict) -> None:
    predictor = predictor_of(net, fast, **options)
    labels, prob = predictor.both(image)
    assert (labels.dtype, labels.shape) == (np.uint8, (45, 71))
    assert (prob.dtype, prob.shape) == (np.float32, (K, 45, 71))
    np.testing.assert_array_equal(labels, predictor(image))
    np.testing.assert_allclose(prob, predictor.scores(image, output="fuse"), atol=1e-6)
    assert 0 <= prob.min() < prob.max() <= 1
    # Against the net itself, where nothing is averaged.
    if not options:
        with torch.inference_mode():
            logits = net(normalize(image))
        assert (labels == logits["seg"][0].argmax(0).numpy()).mean() > 0.995
        np.testing.assert_allclose(prob, logits["fuse"][0].sigmoid().numpy(), atol=1e-4)


def test_the_other_outputs(net, image) -> None:
    predictor = predictor_of(net)
    with torch.inference_mode():
        side5 = predictor.engine(image[None], ("side5",))["side5"][0].sigmoid().numpy()
    np.testing.assert_allclose(predictor.scores(image, output="side5"), side5, atol=1e-6)
    seg = predictor.scores(image)
    np.testing.assert_array_equal(seg.argmax(0), predictor(image))
    assert seg.min() < 0 or seg.max() > 1  # logits
    with pytest.raises(ValueError, match="no output 'body'; the network has seg, side5, fuse"):
        predictor.scores(image, output="body")


def test_edges_are_the_head_s_unless_outlines_are_asked_for(net, image) -> None:
    predictor = predictor_of(net)
    labels, prob = predictor.both(image)
    assert predictor.has_edge_head
    np.testing.assert_array_equal(predictor.edges(image, threshold=0.4), prob >= np.float32(0.4))
    outlines = predictor.edges(image, source="outlines")
    changes = (labels[:, 1:] != labels[:, :-1]).sum()
    assert bool(outlines.any()) == bool(changes)
    with pytest.raises(ValueError, match=r"threshold: .* is for segmentation; outlines have none"):
        predictor.edges(image, source="outlines", threshold=0.5)
    with pytest.raises(
        ValueError, match="source 'hed': the edges of deeplabv3plus are of head and"
    ):
        predictor.edges(image, source="hed")


def test_drawings(net, image) -> None:
    predictor = predictor_of(net)
    classes, edges = predictor.draw(image), predictor.draw(image, edges=True, threshold=0.4)
    assert not np.array_equal(classes[:45, :71], edges[:45, :71])
    with pytest.raises(ValueError, match="add edges=True or outlines=True"):
        predictor.draw(image, threshold=0.4)
    with pytest.raises(ValueError, match="give one of them"):
        predictor.draw(image, edges=True, outlines=True)


def test_nets_without_the_head_say_so(image) -> None:
    for name, line in (("fcn", "has no edge head"), ("casenet", "is for edges alone")):
        model = build_model(name, num_classes=K, backbone="resnet18").eval()
        predictor = Predictor(model, info_of(name, "none"), device="cpu", fast=False)
        assert not predictor.has_edge_head
        with pytest.raises(ValueError, match=f"both: the network {name} {line}"):
            predictor.both(image)
        if name == "fcn":
            with pytest.raises(ValueError, match="source 'head': the edges of fcn are of outlines"):
                predictor.edges(image, source="head")


@pytest.fixture
def runs_of_head(net) -> Iterator[list[int]]:
    """One entry for each run of the head's first layer."""
    ran: list[int] = []
    assert net.edge_head is not None
    hook = net.edge_head.side1.register_forward_hook(lambda *_: ran.append(1))
    yield ran
    hook.remove()


def test_the_head_runs_only_for_its_edges(net, image, runs_of_head: list[int]) -> None:
    predictor = predictor_of(net)
    predictor(image)
    predictor.draw(image)
    predictor.edges(image, source="outlines")
    assert not runs_of_head
    predictor.both(image)
    predictor.edges(image)
    assert len(runs_of_head) == 2


@pytest.mark.slow
def test_exported_nets_give_both_tasks_and_seg_alone(image) -> None:
    pytest.importorskip("onnxscript", reason="needs pip install onnx onnxscript")
    net, info = joint_net("fcn", "casenet"), info_of("fcn", "casenet")
    labels, prob = Predictor(net, info, device="cpu", fast=False).both(image)
    assert outputs_for(info) == ["seg", "fuse"]
    graph = to_onnx(net, info, outputs_for(info))
    for package, name in (("onnxruntime", "onnx"), ("openvino", "openvino")):
        pytest.importorskip(package, reason=f"needs pip install {package}")
        predictor = Predictor(_open_exported(name, graph, CPU, half=False), info)
        for found in (
            predictor.both(image),
            (predictor(image), predictor.scores(image, output="fuse")),
        ):
            assert (labels == found[0]).mean() > 0.999
            np.testing.assert_allclose(prob, found[1], atol=1e-4)


class SegGraph:
    """What is left of an exported net without its edges."""

    name, device, outputs = "onnx", torch.device("cpu"), ("seg",)

    def __call__(self, crops: np.ndarray, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        return {"seg": torch.zeros(len(crops), K, *crops.shape[1:3])}


def test_a_graph_of_seg_alone_says_what_is_missing(image) -> None:
    predictor = Predictor(SegGraph(), info_of("fcn", "casenet"))
    assert predictor.info.has_edge_head and not predictor.has_edge_head
    assert not predictor(image).any()
    with pytest.raises(ValueError, match="both: the network fcn has no output 'fuse' here, but"):
        predictor.both(image)
    asked = (predictor.edges, partial(predictor.edges, source="head"))
    for edges in (*asked, partial(predictor.draw, edges=True)):
        with pytest.raises(
            ValueError, match=r"edges: the network fcn has no output 'fuse' .* source="
        ):
            edges(image)
    assert not predictor.edges(image, source="outlines").any()
    assert predictor.describe() == (
        "fcn with edge head casenet over resnet18 (exported without the head)"
    )
    args = argparse.Namespace(edges=True, checkpoint="seg.onnx")
    with pytest.raises(InputError, match=r"seg.onnx has the outputs seg; export it again"):
        require_edge_output(args, predictor.engine.outputs)
    args = parse_predict_args(
        "", ["a.png", "--checkpoint", "seg.onnx", "--out", "out", "--threshold", "0.3"]
    )
    with pytest.raises(InputError, match=r"export it again with --outputs seg fuse, and add --edg"):
        edge_choice(args, predictor.info, has_edge_output=predictor.has_edge_head)


def test_a_compiled_net_has_a_graph_without_the_head(net, image, runs_of_head, monkeypatch) -> None:
    compiled: list[tuple[str, ...]] = []

    def compile_nothing(model: JointNet, **_: object) -> JointNet:
        compiled.append(model.outputs)
        return model

    monkeypatch.setattr(torch, "compile", compile_nothing)
    monkeypatch.setattr(compile_engine, "_require_compiler", lambda: None)
    engine = CompileEngine(net, torch.device("cpu"), fast=False, half=False)
    assert compiled == [("seg", "side5", "fuse"), ("seg",)]
    engine(image[None], ("seg",))
    assert not runs_of_head
    found = engine(image[None], ("seg", "fuse"))
    assert len(runs_of_head) == 1
    with torch.inference_mode():
        logits = net(normalize(image))
    for name, each in found.items():
        np.testing.assert_allclose(each.detach().numpy(), logits[name].numpy(), atol=1e-4)


def test_memory_is_what_both_tasks_take() -> None:
    """Measured with 19 classes at 512x512; 10 % margin, and no more than a half too much."""
    both = replace(info_of("deeplabv3plus"), num_classes=19)
    for fast, measured in ((True, 724), (False, 1772)):
        assert measured <= pass_bytes(both, fast=fast) <= 1.5 * measured
