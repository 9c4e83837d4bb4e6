"""`python -m utils.benchmark` on tiny sizes: what is counted, what is written, what is missing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from data.errors import InputError
from models import build_model
from utils.benchmark.__main__ import main
from utils.benchmark.args import parse_args
from utils.benchmark.flops import count, flop_of
from utils.benchmark.net_file import write_net
from utils.benchmark.process import open_variant, random_crops, timed
from utils.benchmark.table import plain_row, table_lines
from utils.benchmark.variant import DEFINITION, Result, Variant
from utils.inference.memory import pass_bytes
from utils.model_info import ModelInfo

VARIANT = Variant(Path("net.pth"), "torch", "fp32", (64, 96), 2, 1, "cpu")


def test_flop_of_one_convolution() -> None:
    """2 x images x rows x columns x channels out x channels in x taps."""
    net = nn.Conv2d(3, 4, 3, padding=1, device="meta")
    assert flop_of(net, (8, 10), 2) == 2 * 2 * 8 * 10 * 4 * 3 * 9


def test_parameters_and_flop_of_a_net(tmp_path: Path) -> None:
    info = write_net(tmp_path / "net.pth", "fcn", "resnet18", 3)
    flop, parameters = count(info, (64, 64), 1)
    net = build_model("fcn", num_classes=3, backbone="resnet18").eval()
    assert parameters == sum(value.numel() for value in net.parameters())
    counted = 0

    def add(conv: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal counted
        counted += 2 * out.numel() * math.prod(conv.weight.shape[1:])

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add)
    with torch.no_grad():
        net(torch.zeros(1, 3, 64, 64))
    assert flop == counted


def test_engines_are_opened_as_a_users_are(tmp_path: Path) -> None:
    """The definition and the folded net get the same crops and return the same logits."""
    path = tmp_path / "net.pth"
    write_net(path, "casenet", "resnet18", 3)
    logits = []
    for engine in (DEFINITION, "torch"):
        variant = replace(VARIANT, checkpoint=path, engine=engine)
        net, output = open_variant(variant)
        crops = random_crops(variant)
        assert output == ("fuse",) and crops.shape == (2, 64, 96, 3)
        assert timed(net, crops, output) > 0
        with torch.inference_mode():
            logits.append(net(crops, output))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_a_row_is_a_median_and_what_follows_from_it() -> None:
    result = Result(VARIANT, seconds=[3.0, 1.0, 2.0], memory=5 << 20, flop=10**10)
    row = plain_row(result, {"fp32": [2e10, 2e10]})
    assert (row["seconds"], row["lowest"], row["highest"]) == (2.0, 1.0, 3.0)
    assert row["images_per_second"] == 1.0  # a batch of two
    assert (row["memory_mib"], row["gflop"], row["gflop_per_second"]) == (5.0, 10.0, 5.0)
    assert row["share_of_matrix_rate"] == 0.25
    lines = table_lines([row, plain_row(Result(VARIANT, missing="no such engine"), {})])
    assert "2.000" in lines[1] and "(1.000..3.000)" in lines[1] and "25%" in lines[1]
    assert lines[2].endswith("missing: no such engine")


@pytest.mark.slow
def test_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A precision that there is not on CPUs is a row that says so; the other is measured."""
    path = tmp_path / "numbers.json"
    words = "--model fcn --backbone resnet18 --classes 3 --size 64x64 --precision fp32 fp16"
    args = parse_args([*words.split(), *f"--runs 2 --threads 1 --device cpu --json {path}".split()])
    assert main(args) == 0
    printed = capsys.readouterr().out
    assert "2 runs of each variant in turn after 1 of warm-up; 1 threads; batch of 1" in printed
    assert "missing: on cpu the 16-bit precision is bf16" in printed
    report = json.loads(path.read_text())
    measured, missing = report["rows"]
    assert len(measured["all_seconds"]) == 2 and measured["seconds"] > 0
    assert measured["memory_mib"] > 0 and measured["share_of_matrix_rate"] > 0
    assert missing["seconds"] is None and "bf16" in missing["missing"]
    assert report["net"]["model"] == "fcn" and report["matrix_gflop_per_second"]["fp32"] > 0


@pytest.mark.parametrize(
    "words",
    [
        "--size 512",
        "--size 16x512",
        "--size 512x99999999",
        "--engine tensorrt",
        "--precision int8",
        "--runs 0",
        "--batch-size 0",
        "--model lenet",
        "--threads -1",
    ],
)
def test_flags_that_make_no_sense(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_args(words.split())
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_flags_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--classes"):
        parse_args(["--checkpoint", "best.pth", "--classes", "3"])
    with pytest.raises(InputError, match="--dataset"):
        parse_args(["--dataset", "camvid"])
    with pytest.raises(InputError, match="--backbone wider_resnet38"):
        main(parse_args(["--model", "dff", "--backbone", "wider_resnet38"]))
    with pytest.raises(FileNotFoundError):
        main(parse_args(["--checkpoint", str(tmp_path / "none.pth")]))
    with pytest.raises(InputError, match="is a folder"):
        main(parse_args(["--json", str(tmp_path)]))


# Measured bytes a pixel at 512x512: folded, folded in bfloat16, definition.
MEASURED = {
    ("dff", "resnet18", 3): (447, 260, 896),
    ("dff", "resnet18", 19): (605, 342, 1777),
    ("dff", "resnet50", 3): (689, 499, 1804),
    ("dff", "resnet50", 19): (768, 515, 2218),
    ("casenet", "resnet50", 19): (845, 545, 1636),
    ("deeplabv3plus", "resnet50", 19): (568, 485, 1351),
    ("deeplabv3plus_decouple", "resnet18", 19): (573, 427, 999),
    ("deeplabv3plus_decouple", "resnet50", 19): (753, 516, 1222),
}


@pytest.mark.parametrize("net", MEASURED)
def test_estimates_are_above_what_was_measured(net: tuple[str, str, int]) -> None:
    name, backbone, classes = net
    task = "edge" if name in ("dff", "casenet") else "seg"
    info = ModelInfo(name, backbone, classes, task, (), torch.zeros(0, 3).numpy(), 0, "")
    estimates = (
        pass_bytes(info),
        pass_bytes(info, half=True),
        pass_bytes(info, fast=False),
    )
    for estimate, measured in zip(estimates, MEASURED[net], strict=True):
        assert 1.04 * measured <= estimate <= 1.6 * measured, (estimate, measured)
    # Engines that run graphs need more than the folded net.
    assert min(pass_bytes(info, engine=name) for name in ("onnx", "openvino")) > estimates[0]
