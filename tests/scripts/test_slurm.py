"""slurm/train.sbatch with srun and scontrol of our own."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "slurm" / "train.sbatch"


@pytest.fixture
def cluster(tmp_path: Path) -> dict:
    """The environment of a job; srun and scontrol write down how they are called.

    srun ends with $STATUS after $TENTHS of a second.
    """
    programs = {
        "srun": 'echo "srun $*" >> calls; trap "echo asked >> calls; exit 75" TERM; touch on\n'
        'for i in $(seq "${TENTHS:-0}"); do sleep 0.1; done; exit "${STATUS:-0}"',
        "scontrol": 'echo "scontrol $*" >> calls',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "17",
        "SLURM_CPUS_PER_TASK": "6",
    }


@pytest.mark.parametrize(("status", "requeued"), [(0, False), (2, False), (75, True), (137, False)])
def test_status_75_alone_is_put_back_in_the_queue(
    status: int, requeued: bool, cluster: dict, tmp_path: Path
) -> None:
    job = ["bash", SCRIPT, "--recipe", "dff-scenes", "--checkname", "two words"]
    done = subprocess.run(
        job, cwd=tmp_path, env=cluster | {"STATUS": str(status)}, check=False, timeout=20
    )
    assert done.returncode == status
    calls = (tmp_path / "calls").read_text().splitlines()
    command = "python train.py --workers 6 --recipe dff-scenes --checkname two words"
    assert calls[0] == f"srun --kill-on-bad-exit=0 {command}"
    assert calls[1:] == ["scontrol requeue 17"] * requeued


def test_a_signal_to_the_script_waits_for_the_checkpoint(cluster: dict, tmp_path: Path) -> None:
    job = subprocess.Popen(["bash", SCRIPT], cwd=tmp_path, env=cluster | {"TENTHS": "100"})
    while not (tmp_path / "on").exists():
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=20) == 75
    assert (tmp_path / "calls").read_text().splitlines()[1:] == ["asked", "scontrol requeue 17"]
