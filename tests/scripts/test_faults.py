"""Faults: damaged checkpoints, a full disk, kill -9 at any moment, a rank or worker that dies."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.ranks import free_port
from helpers.training import (
    assert_equal_runs,
    command,
    flags,
    launch,
    records,
    run_command,
    settings,
    start,
    wait_for,
)
from torch.utils.data import Dataset

from data.errors import InputError, run
from data.samples.sampler import BatchSampler
from utils.checkpoint import read_checkpoint
from utils.training.loading import TimedBatches, make_loader, named_deaths
from utils.training.resume import newest_intact, read_run_checkpoint


def flip_a_byte(path: Path) -> None:
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    path.write_bytes(contents)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip_a_byte, cut_off, empty])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    damage: Callable[[Path], None], tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "2", "--val-every", "0")
    start(*argv)
    whole = read_checkpoint(tmp_path / "run" / "last.pth")["weights"]
    last = tmp_path / "run" / "last.pth"
    assert read_run_checkpoint(last).path == last
    damage(last)
    damaged = last.read_bytes()
    assert start(*argv) == 0
    told = capsys.readouterr().out
    assert "last.pth" in told
    assert "kept as last.pth.corrupt, going back to the checkpoint before it" in told
    assert "from epoch 2, step 0" in told
    assert (tmp_path / "run" / "last.pth.corrupt").read_bytes() == damaged
    again = read_checkpoint(last)["weights"]
    assert all(torch.equal(value, again[key]) for key, value in whole.items())


def test_without_a_whole_checkpoint_nothing_is_started_over_in_silence(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "2", "--val-every", "0")
    start(*argv)
    for name in ("last.pth", "previous.pth"):
        cut_off(tmp_path / "run" / name)
    assert run(lambda: start(*argv)) == 2
    message = "none of its checkpoints is intact; start again with --no-resume"
    assert message in capsys.readouterr().err
    assert newest_intact(tmp_path) is None


DIES_IN_A_SAVE = """
import os, signal, sys, torch, train
save, seen = torch.save, []

def half(state, file):
    seen.append(0)
    if len(seen) == {at}:
        file.write(b"PK half a checkpoint" * 1000)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, file)

torch.save = half
train.main(train.parse_args(sys.argv[1:]))
"""


def test_kill_9_during_a_save_leaves_the_checkpoint_before(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    more = ("--epochs", "3", "--val-every", "0")
    start(*flags(tiny_camvid, tmp_path / "whole", *more))
    argv = flags(tiny_camvid, tmp_path / "run", *more)
    done = subprocess.run(
        [sys.executable, "-c", DIES_IN_A_SAVE.format(at=2), *argv], **settings(), check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert read_checkpoint(tmp_path / "run" / "last.pth")["epoch"] == 1
    assert list((tmp_path / "run").glob(".last.pth.*.part"))
    assert start(*argv) == 0
    assert not list((tmp_path / "run").glob(".*.part"))
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


def small_disk() -> None:
    """Files of more than a megabyte cannot be written."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "3", "--val-every", "0", "--resume")
    done = subprocess.run(
        [sys.executable, "-c", DIES_IN_A_SAVE.format(at=2), *argv[:-1]], **settings(), check=False
    )
    assert done.returncode == -signal.SIGKILL
    before = (tmp_path / "run" / "last.pth").read_bytes()
    done = run_command(argv, preexec_fn=small_disk)
    assert done.returncode == 2
    assert re.fullmatch(r"error: \S*/run/last\.pth: not written, File too large\n", done.stderr)
    assert (tmp_path / "run" / "last.pth").read_bytes() == before
    assert not list((tmp_path / "run").glob(".*.part"))


class Dying(Dataset):
    """The third sample kills the process that reads it."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, key: tuple[int, int]) -> dict:
        if key[1] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"image": torch.zeros(1)}


def test_a_worker_that_dies_names_its_image() -> None:
    files = [Path(f"image_{number}.png") for number in range(6)]
    loader = make_loader(Dying(), files, BatchSampler(6, 1, seed=0), workers=2, device="cpu")
    told = r"a loader process died \(.*\) at the image image_2\.png; look at"
    with pytest.raises(InputError, match=told), named_deaths(loader):
        list(TimedBatches(loader))


class Whole(Dataset):
    """Six samples."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, key: tuple[int, int]) -> dict:
        return {"index": key[1]}


def test_a_worker_that_dies_while_the_net_computes_names_its_image() -> None:
    """The out-of-memory killer chooses its moment: nobody waits for a batch then."""
    files = [Path(f"{index}.png") for index in range(6)]
    loader = make_loader(Whole(), files, BatchSampler(6, 1, seed=0), workers=1, device="cpu")
    with (
        pytest.raises(InputError, match=r"died \(killed by signal: Killed\) at the image \d\.png"),
        named_deaths(loader),
    ):
        for _ in TimedBatches(loader):
            os.kill(int(loader.dataset.notes[0, 0]), signal.SIGKILL)
            end = time.monotonic() + 30
            while time.monotonic() < end:
                sum(range(1000))


def test_other_errors_of_a_step_stay_what_they_are() -> None:
    loader = make_loader(Whole(), [None] * 6, BatchSampler(6, 1, seed=0), workers=0, device="cpu")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), named_deaths(loader):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_workers_leave_a_schedulers_signals_to_the_main_process(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    """SIGTERM to the whole process group, as a scheduler sends it: the checkpoint is written."""
    argv = flags(
        tiny_camvid, tmp_path / "run", "--epochs", "500", "--workers", "2", "--val-samples", "2"
    )
    process = launch(argv, start_new_session=True)
    wait_for(
        lambda: (tmp_path / "run" / "log.jsonl").exists() and len(records(tmp_path / "run")) > 2,
        process,
    )
    os.killpg(process.pid, signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 75, (output, errors)
    assert "SIGTERM: checkpoint written" in output
    assert "Traceback" not in errors
    read_run_checkpoint(tmp_path / "run" / "last.pth")


@pytest.mark.slow
def test_kill_9_of_one_rank_ends_all_with_a_reason(tiny_camvid: Path, tmp_path: Path) -> None:
    """As srun starts them, without an agent that would kill the others."""
    ranks = 4
    argv = flags(
        tiny_camvid,
        tmp_path / "run",
        "--epochs",
        "500",
        "--val-every",
        "0",
        "--timeout-minutes",
        "0.5",
    )
    port = free_port()
    processes = []
    for rank in range(ranks):
        slurm = {
            "SLURM_STEP_ID": "0",
            "SLURM_JOB_ID": "17",
            "SLURM_STEP_NUM_TASKS": str(ranks),
            "SLURM_NTASKS": str(ranks),
        }
        slurm |= {
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "SLURM_STEP_NODELIST": "localhost",
        }
        slurm |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        options = settings()
        options["env"] |= slurm
        processes.append(subprocess.Popen(command(argv), **options))
    wait_for((tmp_path / "run" / "last.pth").exists, processes[0])
    processes[-1].kill()
    for rank, process in enumerate(processes[:-1]):
        _, errors = process.communicate(timeout=60)
        assert process.returncode not in (0, None)
        assert f"rank {rank} of {ranks}: another rank has ended or no longer answers" in errors
        assert "Traceback" not in errors
    processes[-1].communicate()
    read_run_checkpoint(tmp_path / "run" / "last.pth")


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tiny_camvid: Path, tmp_path: Path) -> None:
    """Started again each time by the same command, the run ends as an unbroken one, bit for bit.

    A process of its own has everything imported and forks, so that a start takes a second. A
    checkpoint is written after every step; each kill comes up to half a second after none, one or
    two of them.
    """
    more = ("--epochs", "16", "--val-every", "8", "--save-every-minutes", "1e-9")
    start(*flags(tiny_camvid, tmp_path / "whole", *more))
    argv = flags(tiny_camvid, tmp_path / "run", *more)
    done = subprocess.run(
        [sys.executable, "-c", KILLS, *argv], **settings(), timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found = re.search(r"(\d+) kills, (\d+) of them in a save", done.stdout)
    assert found is not None, done.stdout
    assert int(found[1]) == 20
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


KILLS = """
import os, random, signal, sys, time, torch, torch._dynamo, train
import matplotlib.backends.backend_agg
from pathlib import Path
torch.set_num_threads(1)
args = train.parse_args(sys.argv[1:])
folder, draw = Path(args.run_dir), random.Random(0)
kills = in_saves = ended = 0

def stamp():
    try:
        return (folder / "last.pth").stat().st_ino
    except FileNotFoundError:
        return None

while kills < 20 or not ended:
    child = os.fork()
    if child == 0:
        os._exit(train.main(train.parse_args(sys.argv[1:])) or 0)
    if kills < 20:
        written, before = draw.choice([0, 1, 1, 2]), stamp()
        while written and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.002)
            if stamp() != before:
                written, before = written - 1, stamp()
        time.sleep(draw.uniform(0.0, 0.5))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        kills += 1
        in_saves += bool(list(folder.glob(".*.part")))
    else:
        assert status == 0, status
        ended = 1
        if kills < 20:
            raise SystemExit(f"the run ended after {kills} kills: make it longer")
print(f"{kills} kills, {in_saves} of them in a save")
"""
