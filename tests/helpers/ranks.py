"""A script on several ranks, as torchrun starts it, without importing PyTorch once for each.

Importing takes longer than what most tests have the ranks do. A server that has imported the
scripts forks itself into the ranks of a test; it does nothing else, so it has no threads that a
fork would lose. torchrun itself is run by scripts/test_docs.py, scripts/test_processes.py and
utils/test_resume.py.
"""

import atexit
import functools
import gc
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What the scripts import, and what they import later on.
MODULES = ("train", "predict", "matplotlib.backends.backend_agg", "torch._dynamo")
LONGEST = 300  # seconds, after which a rank is ended


def run_ranks(script: str, argv: list[str], ranks: int) -> subprocess.CompletedProcess[str]:
    """Run `script` (train.py, say) on so many ranks to its end.

    The return code is that of the rank that failed first, or 0; what the ranks print is together,
    one rank after the other. By torchrun itself where forks are not safe.
    """
    if sys.platform != "linux":
        command = torchrun(script, argv, ranks)
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory() as folder:
        server = _server()
        assert server.stdin and server.stdout
        job = {"script": script, "argv": argv, "ranks": ranks, "folder": folder}
        server.stdin.write(json.dumps({**job, "port": free_port()}) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, "the server of ranks has ended"
        files = [_streams(folder, rank) for rank in range(ranks)]
        out, err = (
            "".join(path.read_text() for path in paths) for paths in zip(*files, strict=True)
        )
    return subprocess.CompletedProcess([script, *argv], json.loads(answer), out, err)


def torchrun(script: str, argv: list[str], ranks: int) -> list[str]:
    """The command of a script on so many ranks."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    return [*launcher, "--master-addr=127.0.0.1", f"--master-port={free_port()}", script, *argv]


def free_port() -> str:
    """The number of a port of this machine that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@functools.cache
def _server() -> subprocess.Popen[str]:
    """One for all tests of a process; it ends with its input."""
    server = subprocess.Popen(
        [sys.executable, __file__],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """Fork each job's ranks, wait for them, and answer with the status."""
    forking = multiprocessing.get_context("fork")
    gc.freeze()  # a collection in a rank would copy all that was imported
    for line in sys.stdin:
        job = json.loads(line)
        ranks = [forking.Process(target=_become, args=(job, rank)) for rank in range(job["ranks"])]
        for rank in ranks:
            rank.start()
        print(json.dumps(_wait(ranks)), flush=True)


def _wait(ranks: Sequence[BaseProcess]) -> int:
    """The first status that is not 0, after which the others are asked to end, as by torchrun."""
    deadline = time.monotonic() + LONGEST
    failed, running = 0, list(ranks)
    while running:
        ended = wait([rank.sentinel for rank in running], deadline - time.monotonic())
        codes = {rank: rank.exitcode for rank in running}  # once: they may end in between
        failed = failed or next(filter(None, codes.values()), 0)
        running = [rank for rank, code in codes.items() if code is None]
        if failed or not ended:
            for rank in running:
                rank.terminate()
        if not ended:
            return failed or -signal.SIGTERM
    return failed


def _become(job: dict[str, Any], rank: int) -> None:
    """Run the script as one of the ranks."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(job["ranks"]),
        LOCAL_WORLD_SIZE=str(job["ranks"]),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(job["port"]),
    )
    for number, path in enumerate((os.devnull, *_streams(job["folder"], rank))):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.argv = [job["script"], *job["argv"]]
    runpy.run_path(str(ROOT / job["script"]), run_name="__main__")


def _streams(folder: str, rank: int) -> tuple[Path, Path]:
    """Where a rank's standard output and its errors go."""
    return Path(folder, f"{rank}.out"), Path(folder, f"{rank}.err")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    for name in MODULES:
        __import__(name)
    runpy.run_path(str(ROOT / "test.py"))
    serve()
