"""PyTorch's switches: which are chosen, where they are set, and what the log says."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from helpers.training import flags, start

import train
from utils.training import setup
from utils.training.backends import Backends, backend_switches, choose_backends, without_benchmark
from utils.training.optimizer import needs_permutation


def switches() -> dict[str, bool]:
    """As they are now."""
    return {
        "benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
    }


@pytest.mark.parametrize(
    ("device", "tf32", "deterministic", "chosen"),
    [
        ("cpu", True, False, Backends(cudnn_benchmark=False, tf32=False, deterministic=False)),
        ("cpu", True, True, Backends(cudnn_benchmark=False, tf32=False, deterministic=True)),
        ("cuda", True, False, Backends(cudnn_benchmark=True, tf32=True, deterministic=False)),
        ("cuda", False, False, Backends(cudnn_benchmark=True, tf32=False, deterministic=False)),
        ("cuda", True, True, Backends(cudnn_benchmark=False, tf32=False, deterministic=True)),
    ],
)
def test_the_choice(device: str, tf32: bool, deterministic: bool, chosen: Backends) -> None:
    assert choose_backends(device, tf32=tf32, deterministic=deterministic) == chosen


def test_switches_are_set_within_a_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags exist without a GPU, though nothing there reads them."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = switches()
    with backend_switches(Backends(cudnn_benchmark=True, tf32=True)):
        assert switches() == dict(zip(before, (True, True, True, False, True), strict=True))
        with without_benchmark():
            assert switches()["benchmark"] is False
        assert switches()["benchmark"] is True
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert switches() == before
    with (
        pytest.raises(KeyError),
        backend_switches(choose_backends("cuda", tf32=True, deterministic=True)),
    ):
        assert switches() == dict(zip(before, (False, False, False, True, True), strict=True))
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise KeyError
    assert switches() == before


def test_a_run_is_deterministic_and_says_so(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--deterministic reaches PyTorch, changes nothing on a CPU, and stands in the log."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # the user's own is kept
    within, build = [], setup.build_setup

    def spy(*given: object) -> setup.TrainSetup:
        within.append(torch.are_deterministic_algorithms_enabled())
        return build(*given)

    monkeypatch.setattr(train, "build_setup", spy)
    weights = []
    for more in ((), ("--deterministic",)):
        folder = tmp_path / "-".join(("run", *more))
        start(*flags(tiny_camvid, folder, "--epochs", "1", "--val-every", "0", *more))
        entry = json.loads((folder / "log.jsonl").read_text().splitlines()[0])
        assert {name: entry[name] for name in asdict(Backends())} == {
            "cudnn_benchmark": False,
            "tf32": False,
            "deterministic": bool(more),
        }
        weights.append(torch.load(folder / "last.pth", weights_only=True)["weights"])
    assert within == [False, True]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


@pytest.mark.parametrize(
    ("argv", "device", "fast"),
    [
        ([], "cpu", True),
        ([], "cuda", False),  # until somebody has run the forms there
        (["--compile"], "cpu", False),
        (["--fast"], "cuda", True),
        (["--fast", "--compile"], "cpu", True),
        (["--no-fast"], "cpu", False),
    ],
)
def test_where_the_fast_forms_are_used(argv: list[str], device: str, fast: bool) -> None:
    assert setup.use_fast_forms(train.parse_args(argv), device) is fast


@pytest.mark.parametrize(
    "more",
    [(), ("--no-fast",), ("--fast", "--epochs", "2", "--resume", "--resume-with", "epochs")],
)
def test_the_fast_forms_are_set_once_and_named_in_the_log(
    more: tuple[str, ...], tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "1", "--val-every", "0")
    if "--resume" in more:
        start(*argv, "--no-fast")  # a run may change its mind
    given, optimize = [], setup.optimize_for_training
    monkeypatch.setattr(
        setup, "optimize_for_training", lambda model: given.append(model) or optimize(model)
    )
    start(*argv, *more)
    fast = "--no-fast" not in more
    assert len(given) == fast
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert [line for line in lines if line["kind"] == "start"][-1]["fast"] is fast


@pytest.mark.parametrize(
    ("kernel", "layout", "device", "expected"),
    [
        (3, torch.channels_last, "cpu", True),
        (3, torch.contiguous_format, "cpu", False),
        (1, torch.channels_last, "cpu", False),  # both layouts at once
        (3, torch.channels_last, "meta", False),  # stands for any device that is no CPU
    ],
)
def test_weights_are_permuted_on_cpus_alone(
    kernel: int, layout: torch.memory_format, device: str, expected: bool
) -> None:
    weight = torch.nn.Conv2d(4, 3, kernel, device=device).to(memory_format=layout).weight
    assert not needs_permutation(weight)  # no gradient
    weight.grad = torch.zeros_like(weight)
    assert needs_permutation(weight) is expected
