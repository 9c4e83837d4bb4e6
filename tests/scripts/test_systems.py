"""Windows and macOS, as far as Linux can stand in for them: what they lack is taken away.

And worker processes that are started afresh (spawn), as both systems do it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.training import ROOT, flags
from torch.utils.data import DataLoader

import train
from utils.distributed.environment import Ranks
from utils.training.loading import make_loader
from utils.training.setup import build_setup, split_of

# What Windows does not have, which includes what macOS does not have. (os.statvfs, too, but there
# shutil.disk_usage asks otherwise.)
ATTRIBUTES = (
    "signal.SIGUSR1 signal.SIGUSR2 signal.SIGKILL signal.SIGHUP signal.SIGALRM signal.SIGXFSZ "
    "signal.setitimer signal.pthread_sigmask os.setpgid os.getpgid os.setsid os.killpg "
    "os.getuid os.geteuid os.getgid os.fork os.forkpty os.memfd_create os.mkfifo "
    "os.sched_getaffinity os.register_at_fork os.posix_fallocate"
)
ABSENT = "fcntl resource pwd grp termios"  # modules
# After the imports of other packages, which look for what Linux has. /proc is not there either.
REMOVE = """
import importlib, os, pathlib, runpy, signal, sys
import cv2, joblib, matplotlib, multiprocessing, numba, scipy, skimage, torch, tqdm
import concurrent.futures, subprocess, tempfile, torch.utils.data, torch.distributed, torchvision
import joblib.externals.loky, torch.nn.parallel, torch.optim.swa_utils, torch.profiler
names, modules = sys.argv[1].split(), sys.argv[2].split()
for name in names:
    module, _, attribute = name.partition(".")
    if hasattr(sys.modules[module], attribute):
        delattr(sys.modules[module], attribute)
for name in modules:
    sys.modules[name] = None
read = pathlib.Path.read_text

def read_text(path, *args, **options):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(path)
    return read(path, *args, **options)

pathlib.Path.read_text = read_text
"""
STARTS = """
import contextlib, io
for script in ("train.py", "test.py", "predict.py"):
    sys.argv = [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as ended:
            assert not ended.code, (script, ended.code)
    assert "usage:" in text.getvalue(), script
for name in ("data.gtlabel.__main__", "data.scenes.__main__", "data.download.__main__",
             "data.cityscapes_gtlabel", "data.kitti_gtlabel", "data.sbd_gtlabel",
             "utils.curves.__main__"):
    importlib.import_module(name)
import predict, train
from data.errors import run
predict.parse_args(["a.png", "--checkpoint", "x.pth", "--out", "there"])
"""
TRAINS = f"""
argv = sys.argv[3:]
{STARTS}
sys.exit(run(lambda: train.main(train.parse_args(argv))))
"""


def test_scripts_start_and_a_training_runs_without_what_a_system_lacks(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    """Every script's --help and imports, then one epoch with its validation and checkpoints."""
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "1")
    done = subprocess.run(
        [sys.executable, "-c", REMOVE + TRAINS, ATTRIBUTES, ABSENT, *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert {"last.pth", "best.pth", "log.jsonl"} <= {p.name for p in (tmp_path / "run").iterdir()}


def loader_of(root: Path, *more: str) -> DataLoader:
    """That of a run with one worker."""
    args = train.parse_args([*flags(root, root / "run"), *more])
    setup = build_setup(args, split_of(args, "train"), Ranks())
    return make_loader(setup.items, setup.files, setup.sampler, workers=1, device="cpu")


@pytest.mark.parametrize(
    "more",
    [[], ["--model", "fcn_decouple", "--backbone", "resnet50", "--class-uniform-tile", "24"]],
    ids=["edges", "segmentation"],
)
def test_workers_that_are_started_afresh_read_the_same_batches(
    more: list[str], tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forked, spawned = loader_of(tiny_camvid, *more), loader_of(tiny_camvid, *more)
    spawned.multiprocessing_context = "spawn"
    for one, other in zip(forked, spawned, strict=True):
        assert one["name"] == other["name"]
        assert all((one[key] == other[key]).all() for key in one if key != "name")


@pytest.mark.parametrize("name", ["train", "test", "predict"])
def test_threads_are_set_up_before_pytorch_is_imported(name: str) -> None:
    """OpenMP reads its settings once, when PyTorch loads it; a value of the user's stays."""
    code = (
        "import builtins, os, runpy, sys\n"
        "own = builtins.__import__\n"
        "def note(name, *rest, **more):\n"
        "    if name == 'torch':\n"
        "        print(os.environ.get('OMP_WAIT_POLICY')), os._exit(0)\n"
        "    return own(name, *rest, **more)\n"
        "builtins.__import__ = note\n"
        "sys.stdout.reconfigure(line_buffering=True)\n"
        f"runpy.run_path('{name}.py', run_name='__main__')"
    )
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        env |= {"OMP_WAIT_POLICY": given} if given else {}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [expected], done.stderr
