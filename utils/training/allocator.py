"""Keeping freed memory in the process on CPUs."""

import ctypes
import sys

# Of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
MAX_MMAP_THRESHOLD = 32 << 20  # bytes; glibc refuses more


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next request, until the process ends.

    A training step on a CPU frees hundreds of megabytes at its end and requests them again in the
    next. In between glibc returns them to the kernel, which clears them page by page: about a
    twentieth of a step. Blocks above 32 MiB are still returned. Does nothing without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAX_MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, -1)  # as an unsigned number, the largest there is
