"""Freed memory is kept, and its pages are not taken from the kernel again."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys
import torch
from utils.training.backends import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [torch.ones(16, 2**16) for _ in range(60)]  # 4 MiB each
    del maps
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")
def test_what_is_freed_is_kept() -> None:
    root, counts = Path(__file__).resolve().parents[2], {}
    for which in ("given back", "kept"):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, which],
            cwd=root,
            env=os.environ
            | {
                "MALLOC_MMAP_THRESHOLD_": "65536"
            },  # by default it depends on what lies above in memory
            capture_output=True,
            check=True,
            text=True,
        )
        counts[which] = int(done.stdout)
    pages = 60 * 4 * 2**20 // 4096
    assert counts["given back"] > pages / 2
    assert counts["kept"] < pages / 20
