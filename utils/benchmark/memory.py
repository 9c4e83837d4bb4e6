"""The most memory that a process has taken since its net was loaded.

On CPUs it is the resident set's high-water mark, of which Linux lets a process reset its own: the
peak of loading does not count. On CUDA devices it is what PyTorch's allocator had given out; not
run on a GPU.
"""

import contextlib
import ctypes
import gc
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # what proc(5) has for the high-water mark


class PeakMemory:
    """Started with the net loaded; `bytes_above()` is then the most that was taken above it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            self.start: int | None = torch.cuda.memory_allocated(device)
            return
        _return_freed_memory()
        with contextlib.suppress(OSError):
            CLEAR.write_text(RESET_PEAK)
        self.start = resident("VmRSS")

    def bytes_above(self) -> int | None:
        """None where the system does not say."""
        if self.device.type == "cuda":
            peak: int | None = torch.cuda.max_memory_allocated(self.device)
        else:
            peak = resident("VmHWM")
        return None if peak is None or self.start is None else max(0, peak - self.start)


def resident(field: str) -> int | None:
    """Bytes of VmRSS (what is resident now) or VmHWM (the most so far); None but on Linux."""
    with contextlib.suppress(OSError, ValueError):
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def _return_freed_memory() -> None:
    """Have glibc give back what it keeps of loading, which a run would take again unseen."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
