"""Processes that find each other, agree, and notice that one of them is gone."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from data.errors import InputError
from utils.distributed.environment import Ranks, first_host, ranks_of, slurm_environment
from utils.distributed.group import (
    any_rank,
    from_main,
    gather_objects,
    mean_over_ranks,
    process_group,
)
from utils.distributed.sync_batchnorm import JointBatchNorm

ROOT = Path(__file__).resolve().parents[2]
STEP = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}
STEP |= {"SLURM_JOB_ID": "4711", "SLURM_STEP_NODELIST": "gpu[07-08]"}


def run_ranks(code: str, world: int, folder: Path) -> list[subprocess.Popen]:
    """Processes that run `code` within their group, `ranks`; their output goes to folder/<rank>."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = """
import os, sys, time, torch
from datetime import timedelta
from pathlib import Path
from utils.distributed.group import *
from utils.distributed.sync_batchnorm import synchronise_batch_norm
from data.errors import run
folder = Path(sys.argv[1])
def main():
    with process_group("cpu", timeout=timedelta(seconds=4)) as ranks:
{}
sys.exit(run(main))
""".format(textwrap.indent(textwrap.dedent(code), " " * 8))
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": str(world),
    }
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, "-c", script, folder],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=(folder / f"{rank}.out").open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank in range(world)
    ]


def finish(processes: list[subprocess.Popen]) -> list[int]:
    try:
        return [process.wait(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()


def outputs(folder: Path, world: int) -> list[str]:
    return [(folder / f"{rank}.out").read_text() for rank in range(world)]


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", *STEP):
        monkeypatch.delenv(name, raising=False)
    with process_group("cpu") as ranks:
        assert ranks == Ranks(0, 1, 0)
        assert any_rank([True, False], ranks) == [True, False]
        assert gather_objects("part", ranks) == ["part"]
        assert mean_over_ranks(0.1, ranks) == 0.1
        assert from_main(lambda: 3, ranks) == 3


def test_srun_is_understood_as_torchrun() -> None:
    found = slurm_environment(STEP)
    assert ranks_of(found) == Ranks(5, 8, 1)
    assert found["MASTER_ADDR"] == "gpu07"
    other = slurm_environment(STEP | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    assert other["MASTER_PORT"] == found["MASTER_PORT"]
    assert 20000 <= int(found["MASTER_PORT"]) < 60000
    assert slurm_environment(STEP | {"SLURM_STEP_ID": "1"})["MASTER_PORT"] != found["MASTER_PORT"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {
            key: value for key, value in STEP.items() if not key.startswith("SLURM_STEP")
        },  # a batch script's own command
        STEP | {"SLURM_STEP_NUM_TASKS": "1"},  # srun --pty bash
        STEP | {"RANK": "0"},  # torchrun within srun
    ],
)
def test_srun_of_one_task_and_torchrun_within_srun_are_left_alone(environment: dict) -> None:
    assert slurm_environment(environment) == {}


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("localhost", "localhost"),
        ("a1,a2", "a1"),
        ("gpu[007-9,12],other3", "gpu007"),
        ("gpu[3,5-7]", "gpu3"),
        ("r[1-2]n[04-08]-ib,x", "r1n04-ib"),
        ("node-1.cluster.org,node-2", "node-1.cluster.org"),
    ],
)
def test_the_first_host_of_slurms_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "", "WORLD_SIZE": "2"},
    ],
)
def test_an_environment_that_contradicts_itself_is_one_line(environment: dict) -> None:
    with pytest.raises(InputError, match="expected numbers with RANK below WORLD_SIZE"):
        ranks_of(environment)


def test_no_list_of_hosts_is_one_line() -> None:
    with pytest.raises(InputError, match="expected a list of hosts"):
        first_host("")


@pytest.mark.parametrize("world", [2, 3])
def test_agreements(world: int, tmp_path: Path) -> None:
    code = """
    assert any_rank([ranks.rank == 1, False, True], ranks) == [True, False, True]
    assert gather_objects(ranks.rank, ranks) == list(range(ranks.world))
    assert mean_over_ranks(float(ranks.rank), ranks) == (ranks.world - 1) / 2
    assert from_main(lambda: {"rank": ranks.rank}, ranks) == {"rank": 0}
    def fail():
        raise FileNotFoundError(2, "No such file or directory", "missing.png")
    from_main(fail, ranks)
    """
    assert finish(run_ranks(code, world, tmp_path)) == [2] * world
    assert outputs(tmp_path, world) == ["error: missing.png: No such file or directory\n"] * world


LOOPS = {
    "training": "torch.distributed.all_reduce(torch.ones(1000))",
    "agreement": "any_rank([False], ranks)",
    "gathering": "gather_objects(list(range(100)), ranks)",
    "normalisation": "norm(torch.randn(2, 4, 8, 8)).sum().backward()",
}


@pytest.mark.parametrize("where", LOOPS)
def test_a_killed_rank_is_reported_by_the_others_at_once(where: str, tmp_path: Path) -> None:
    code = f"""
    norm = synchronise_batch_norm(torch.nn.Sequential(torch.nn.BatchNorm2d(4)), "cpu")
    while True:
        {LOOPS[where]}
        (folder / f"{{ranks.rank}}.on").touch()
    """
    processes = run_ranks(code, 2, tmp_path)
    wait_for(tmp_path / "0.on", tmp_path / "1.on")
    processes[1].send_signal(signal.SIGKILL)
    assert finish(processes) == [2, -signal.SIGKILL]
    told = outputs(tmp_path, 2)[0]
    assert "error: rank 0 of 2: another rank has ended or no longer answers" in told
    assert "Traceback" not in told


def test_a_rank_that_hangs_is_lost_after_the_timeout(tmp_path: Path) -> None:
    code = """
    while True:
        torch.distributed.all_reduce(torch.ones(1000))
        (folder / f"{ranks.rank}.on").touch()
    """
    processes = run_ranks(code, 2, tmp_path)
    wait_for(tmp_path / "0.on", tmp_path / "1.on")
    processes[1].send_signal(signal.SIGSTOP)
    try:
        assert processes[0].wait(timeout=30) == 2
    finally:
        finish([processes[0]])
        processes[1].kill()
    assert "another rank has ended or no longer answers" in outputs(tmp_path, 2)[0]


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    # Both are there before either ends: one that still joins the group would report a lost rank.
    code = """
    (folder / f"{ranks.rank}.on").touch()
    while not (folder / f"{1 - ranks.rank}.on").exists():
        time.sleep(0.01)
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    """
    assert finish(run_ranks(code, 2, tmp_path)) == [1, 1]
    assert "RuntimeError: mat1 and mat2" in outputs(tmp_path, 2)[0]


def test_ranks_that_do_not_find_each_other_are_one_line(tmp_path: Path) -> None:
    processes = run_ranks("pass", 2, tmp_path)
    processes[1].kill()
    assert finish(processes)[0] == 2
    assert "did not find the others at 127.0.0.1" in outputs(tmp_path, 2)[0]


def test_the_joint_batch_is_normalised_as_by_one_rank(tmp_path: Path) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    state = {key: value.clone() for key, value in norm.state_dict().items()}
    x = (3 * torch.randn(6, 3, 5, 4, dtype=torch.float64) + 2).requires_grad_()
    weights = torch.randn_like(x)
    torch.save({"state": state, "x": x.detach(), "weights": weights}, tmp_path / "given.pth")
    y = norm(x)
    (y * weights).sum().backward()
    code = """
    given = torch.load(folder / "given.pth")
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(3).double())
    net[0].load_state_dict(given["state"])
    net = synchronise_batch_norm(net, "cpu")
    x, weights = (given[name][2 * ranks.rank:2 * ranks.rank + 2] for name in ("x", "weights"))
    x = x.clone().requires_grad_()
    y = net(x)
    (y * weights).sum().backward()
    result = {"y": y.detach(), "x": x.grad, "weight": net[0].weight.grad, "bias": net[0].bias.grad}
    torch.save(result | {"state": net[0].state_dict()}, folder / f"{ranks.rank}.pth")
    """
    assert finish(run_ranks(code, 3, tmp_path)) == [0] * 3, outputs(tmp_path, 3)
    found = [torch.load(tmp_path / f"{rank}.pth") for rank in range(3)]
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(torch.cat([part["y"] for part in found]), y, **close)
    torch.testing.assert_close(torch.cat([part["x"] for part in found]), x.grad, **close)
    for name in ("weight", "bias"):
        torch.testing.assert_close(
            sum(part[name] for part in found), getattr(norm, name).grad, **close
        )
    for part in found:
        for key, value in norm.state_dict().items():
            torch.testing.assert_close(part["state"][key], value, **close)


def test_16_bit_input_is_summed_up_in_32(tmp_path: Path) -> None:
    code = """
    net = synchronise_batch_norm(torch.nn.Sequential(torch.nn.BatchNorm2d(2)), "cpu")
    torch.manual_seed(ranks.rank)
    x = (torch.randn(2, 2, 64, 64) + 100).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    torch.save((x, y), folder / f"{ranks.rank}.pth")
    """
    assert finish(run_ranks(code, 2, tmp_path)) == [0, 0], outputs(tmp_path, 2)
    x, y = (
        torch.cat(parts)
        for parts in zip(*(torch.load(tmp_path / f"{r}.pth") for r in range(2)), strict=True)
    )
    assert y.dtype == torch.bfloat16
    expected = nn.BatchNorm2d(2)(x.float())
    torch.testing.assert_close(y.float(), expected, rtol=0.01, atol=0.01)


def test_in_evaluation_it_is_the_plain_one() -> None:
    norm, x = nn.BatchNorm2d(2).eval(), torch.randn(1, 2, 3, 3)
    expected = norm(x)
    norm.__class__ = JointBatchNorm
    assert torch.equal(norm(x), expected)


def wait_for(*paths: Path) -> None:
    """Until they are there."""
    end = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, paths
        time.sleep(0.05)
