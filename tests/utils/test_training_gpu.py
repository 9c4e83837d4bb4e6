"""train.py on GPUs: a resumed run, 16 bits, and NCCL on all devices.

None of it has been run by us: there was no GPU. `make test-gpu` runs it.
"""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.training import at, flags, lasting, records, run_command, start, watch

from utils.checkpoint import read_checkpoint
from utils.distributed.preemption import REQUEUE

pytestmark = pytest.mark.gpu
GPU = ("--device", "cuda")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "last.pth")["weights"]


def assert_close_runs(one: Path, other: Path) -> None:
    """The same lines in the log and the same weights, but for rounding."""
    for first, second in zip(lasting(one), lasting(other), strict=True):
        assert first.pop("kind") == second.pop("kind")
        assert first == pytest.approx(second, rel=1e-3)
    for key, value in weights(one).items():
        torch.testing.assert_close(value, weights(other)[key], rtol=1e-3, atol=1e-3, msg=key)


@pytest.mark.parametrize("fast", ["--no-fast", "--fast"])
@pytest.mark.parametrize("amp", ["none", "bf16", "fp16"])
def test_a_resumed_run(
    amp: str,
    fast: str,
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """With deterministic kernels; whether it is equal bit for bit is reported, not asserted."""
    more = (*GPU, "--amp", amp, fast, "--deterministic", "--lr", "1e-3", "--val-every", "0")
    start(*flags(tiny_camvid, tmp_path / "whole", *more))
    watch(monkeypatch, at(3, lambda: signal.raise_signal(signal.SIGTERM)))
    assert start(*flags(tiny_camvid, tmp_path / "broken", *more)) == REQUEUE
    monkeypatch.undo()
    assert start(*flags(tiny_camvid, tmp_path / "broken", *more)) == 0
    assert_close_runs(tmp_path / "whole", tmp_path / "broken")
    others = weights(tmp_path / "broken")
    equal = all(torch.equal(v, others[k]) for k, v in weights(tmp_path / "whole").items())
    record_property("bit for bit", equal)


@pytest.mark.parametrize("more", [("--tf32",), ("--no-tf32",), ("--amp", "bf16")])
def test_a_gpu_trains_as_a_cpu(more: tuple[str, ...], tiny_camvid: Path, tmp_path: Path) -> None:
    short = ("--epochs", "2", "--val-every", "0", "--lr", "1e-3")
    start(*flags(tiny_camvid, tmp_path / "cpu", *short))
    start(*flags(tiny_camvid, tmp_path / "gpu", *short, *GPU, *more))
    for one, other in zip(records(tmp_path / "cpu"), records(tmp_path / "gpu"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)
    entry = json.loads((tmp_path / "gpu" / "log.jsonl").read_text().splitlines()[0])
    assert entry["cudnn_benchmark"] is True
    assert entry["tf32"] is ("--no-tf32" not in more)
    assert entry["fast"] is False
    assert torch.backends.cudnn.benchmark is False


def test_nccl_on_all_devices(tiny_camvid: Path, tmp_path: Path) -> None:
    """Two steps on every GPU of this machine are those of one GPU, but for rounding."""
    ranks = min(torch.cuda.device_count(), 8)  # the data set has eight images
    if ranks < 2:
        pytest.skip("needs two GPUs or more")
    batch = ranks * (8 // ranks)
    more = ("--batch-size", str(batch), "--epochs", "2", "--lr", "1e-4", "--val-every", "0")
    more = (*more, *GPU, "--no-tf32")
    start(*flags(tiny_camvid, tmp_path / "one", *more))
    done = run_command(flags(tiny_camvid, tmp_path / "all", *more), ranks=ranks)
    assert done.returncode == 0, done.stderr
    assert_close_runs(tmp_path / "one", tmp_path / "all")
