"""The training loop: accumulation, EMA, clipping, 16 bits, compiling, tracing, logging, ranks."""

import json
from pathlib import Path

import pytest
import torch
from helpers.training import (
    assert_equal_runs,
    flags,
    lasting,
    records,
    run_command,
    start,
    watch,
)
from torch import nn

from data.errors import InputError
from utils.checkpoint import load_model, read_checkpoint
from utils.training.async_scalars import AsyncScalars
from utils.training.precision import Precision
from utils.training.records import peak_memory


def weights(folder: Path, name: str = "last.pth") -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / name)["weights"]


def assert_close(one: dict, other: dict, rtol: float, atol: float) -> None:
    for key, value in one.items():
        torch.testing.assert_close(
            value, other[key], rtol=rtol, atol=atol, msg=lambda text, key=key: f"{key}: {text}"
        )


SHORT = ("--epochs", "2", "--val-every", "0", "--lr", "0.001")


def test_accumulation_equals_a_bigger_batch(tiny_camvid: Path, tmp_path: Path) -> None:
    """With the statistics of batch normalisation frozen; else it sees the smaller batches."""
    for parts in ("1", "2", "4"):
        start(*flags(tiny_camvid, tmp_path / parts, *SHORT, "--freeze-bn", "--accumulate", parts))
    for parts in ("2", "4"):
        assert_close(weights(tmp_path / "1"), weights(tmp_path / parts), rtol=1e-4, atol=1e-6)
        for one, other in zip(records(tmp_path / "1"), records(tmp_path / parts), strict=True):
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    with pytest.raises(InputError, match="--accumulate 3 must divide the 4 images of a rank"):
        start(*flags(tiny_camvid, tmp_path / "3", *SHORT, "--accumulate", "3"))


def test_the_running_mean_of_the_weights_is_the_plain_formula(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the checkpoints after each step, which are written with next to no time between them."""
    states: dict[tuple[int, int], dict] = {}

    def keep(_asked: int) -> None:
        if (tmp_path / "run" / "last.pth").exists():
            state = read_checkpoint(tmp_path / "run" / "last.pth")
            states[state["epoch"], state["step"]] = state["weights"]

    watch(monkeypatch, keep)
    more = ("--epochs", "2", "--val-every", "2", "--save-every-minutes", "1e-9")
    start(*flags(tiny_camvid, tmp_path / "run", "--ema", "0.75", *more))
    best, last = weights(tmp_path / "run", "best.pth"), weights(tmp_path / "run")
    assert sorted(states) == [(0, 1), (1, 0), (1, 1), (1, 2)]  # (1, 0): after both steps of epoch 0
    after = [states[place] for place in sorted(states)]
    for key in best:
        if "running" in key or "tracked" in key:
            expected = after[-1][key]
        else:
            expected = after[0][key]
            for state in after[1:]:
                expected = 0.75 * expected + 0.25 * state[key]
        torch.testing.assert_close(best[key], expected)
    assert all(torch.equal(value, after[-1][key]) for key, value in last.items())
    assert not torch.equal(best["side5.0.weight"], last["side5.0.weight"])


@pytest.mark.parametrize("norm", [0.0, 0.5, 1e6])
def test_clipping_holds_the_norm_of_all_gradients(norm: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer, precision = (
        torch.optim.SGD(model.parameters(), lr=1.0),
        Precision("none", "cpu", clip=norm),
    )
    precision.backward(model(torch.ones(5, 3)).square().sum())
    whole = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    precision.step(optimizer, model)
    moved = torch.cat(
        [(b - p.detach()).flatten() for b, p in zip(before, model.parameters(), strict=True)]
    )
    factor = min(1.0, norm / float(whole.norm())) if norm else 1.0
    torch.testing.assert_close(moved, whole * factor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_16_bits_in_the_net_train_32_bit_weights(
    amp: str, tiny_camvid: Path, tmp_path: Path
) -> None:
    more = (*SHORT, "--amp", amp)
    start(*flags(tiny_camvid, tmp_path / "16", *more))
    start(*flags(tiny_camvid, tmp_path / "32", *SHORT))
    assert all(
        value.dtype in (torch.float32, torch.int64) for value in weights(tmp_path / "16").values()
    )
    for one, other in zip(records(tmp_path / "16"), records(tmp_path / "32"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)
        assert one["loss"] != other["loss"]
    scale = read_checkpoint(tmp_path / "16" / "last.pth")["scaler"]
    assert bool(scale) == (amp == "fp16")


def test_an_overflow_in_16_bits_leaves_the_step_out() -> None:
    layer = nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    optimizer, precision = (
        torch.optim.SGD(layer.parameters(), lr=1.0),
        Precision("fp16", "cpu", clip=1.0),
    )
    scale = precision.scaler.get_scale()
    precision.backward(layer(torch.ones(1, 2)).sum() * torch.inf)
    precision.step(optimizer, layer)
    assert torch.equal(layer.weight, before)
    assert precision.scaler.get_scale() < scale


def test_memory_layouts_agree(tiny_camvid: Path, tmp_path: Path) -> None:
    start(*flags(tiny_camvid, tmp_path / "last", *SHORT))
    start(*flags(tiny_camvid, tmp_path / "first", *SHORT, "--no-channels-last"))
    assert_close(weights(tmp_path / "last"), weights(tmp_path / "first"), rtol=1e-3, atol=1e-4)
    assert weights(tmp_path / "last")["backbone.layer1.0.conv1.weight"].is_contiguous(
        memory_format=torch.channels_last
    )
    load_model(tmp_path / "last" / "last.pth")


def test_a_compiled_net_trains_as_the_plain_one(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graphs are captured and run as they are: PyTorch's code generator, which follows, takes
    more than a minute here."""
    compiled, compile_net = [], torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda net: compiled.append(net) or compile_net(net, backend="aot_eager", fullgraph=True),
    )
    start(*flags(tiny_camvid, tmp_path / "compiled", *SHORT, "--compile"))
    assert len(compiled) == 1
    start(*flags(tiny_camvid, tmp_path / "plain", *SHORT))
    assert records(tmp_path / "compiled")[0]["loss"] == pytest.approx(
        records(tmp_path / "plain")[0]["loss"], rel=1e-4
    )
    assert_close(weights(tmp_path / "compiled"), weights(tmp_path / "plain"), rtol=1e-3, atol=1e-4)


def test_a_trace_of_a_few_steps(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    more = ("--profile", "--batch-size", "1", "--epochs", "1", "--val-every", "0")
    start(*flags(tiny_camvid, tmp_path / "run", *more))
    trace = json.loads((tmp_path / "run" / "trace.json").read_text())
    assert sum("convolution" in event.get("name", "") for event in trace["traceEvents"]) > 10
    assert "Self CPU" in capsys.readouterr().out


def test_the_log_says_how_fast_and_with_what(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    start(*flags(tiny_camvid, tmp_path / "run", *SHORT, "--accumulate", "2"))
    batch = "4 = 1 ranks x 2 parts x 2 images"
    assert (
        f"batch {batch}, learning rate 0.001, 2 epochs of 2 steps, from epoch 1, step 0"
        in capsys.readouterr().out
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["start", "train", "train"]
    assert lines[0]["batch"] == batch
    assert (lines[0]["epoch"], lines[0]["step"], lines[0]["lr"], lines[0]["steps"]) == (
        0,
        0,
        0.001,
        2,
    )
    for line in lines[1:]:
        assert 0 <= line["data_wait"] <= 1
        assert line["images_per_second"] == pytest.approx(8 / line["seconds"], rel=0.05)
        assert line["memory_gib"] == pytest.approx(peak_memory("cpu"), rel=0.1)


def test_scalarss_come_one_step_later() -> None:
    scalars = AsyncScalars()
    assert scalars.put(torch.tensor([1.0, 2.0]), "first") is None
    reading = scalars.put(torch.tensor([3.0, 4.0]), "second")
    assert (reading.values, reading.note) == ([1.0, 2.0], "first")
    assert scalars.flush().note == "second"
    assert scalars.flush() is None


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_train_as_one(ranks: int, tiny_camvid: Path, tmp_path: Path) -> None:
    """The same global batches, joint batch normalization, averaged gradients: the same run, but for
    rounding."""
    more = ("--epochs", "4", "--lr", "1e-4", "--val-every", "4")
    start(*flags(tiny_camvid, tmp_path / "one", *more))
    done = run_command(flags(tiny_camvid, tmp_path / "many", *more), ranks=ranks)
    assert done.returncode == 0, done.stderr
    for one, other in zip(lasting(tmp_path / "one"), lasting(tmp_path / "many"), strict=True):
        assert one.pop("kind") == other.pop("kind")
        assert one.pop("thresholds", None) == other.pop("thresholds", None)
        assert one == pytest.approx(other, rel=1e-3)
    assert_close(weights(tmp_path / "one"), weights(tmp_path / "many"), rtol=1e-3, atol=1e-4)


def test_the_order_of_samples_does_not_depend_on_how_they_are_read(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    start(*flags(tiny_camvid, tmp_path / "none", *SHORT, "--workers", "0"))
    start(*flags(tiny_camvid, tmp_path / "two", *SHORT, "--workers", "2"))
    assert_equal_runs(tmp_path / "none", tmp_path / "two")
