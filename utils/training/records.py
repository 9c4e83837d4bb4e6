"""What a run was made with: code, packages, machine; and how much memory it takes."""

import importlib.metadata
import os
import platform
import sys
from datetime import datetime
from pathlib import Path

import torch

from utils.commit import git_commit
from utils.distributed.environment import Ranks
from utils.distributed.group import device_index

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-image",
    "opencv-python-headless",
    "opencv-python",
)


def describe_run(ranks: Ranks, device: str) -> dict[str, object]:
    """Plain values for the log's "start" line; what cannot be found out is None or left out."""
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": git_commit(),
        "python": platform.python_version(),
        "packages": dict(filter(None, map(_installed, PACKAGES))),
        "host": platform.node(),
        "system": platform.platform(),
        "device": device_name(ranks, device),
        "world": ranks.world,
    }


def device_name(ranks: Ranks, device: str) -> str:
    """A GPU's name, or the processor's with its cores and PyTorch's threads."""
    if device == "cuda":
        return torch.cuda.get_device_name(device_index(ranks))
    return f"{processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def peak_memory(device: str) -> float:
    """GiB: on a GPU what tensors took since `reset_peak_memory`, else the process's largest size.

    The latter cannot be reset, and is 0 on Windows, where Python cannot ask for it.
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    try:
        # Not getrusage: its maximum starts with the size of the process that forked this one.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:
            return 0.0
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def reset_peak_memory(device: str) -> None:
    """Make `peak_memory` count from now on; on GPUs only."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _installed(package: str) -> tuple[str, str] | None:
    try:
        return package, importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor_name() -> str:
    """The processor's name as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
