"""What becomes of memory that is freed."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST = 32 << 20  # bytes: the most that glibc takes for the second


def keep_freed_memory() -> None:
    """Make the C library keep what is freed for the next request, for good; nothing on systems other than Linux with glibc.

    A training step on a CPU frees its hundreds of megabytes at its end and asks for them anew in the next. In between glibc hands them
    back to the kernel, which clears them page by page: about a twentieth of a step. Blocks above 32 MiB are still handed back.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, -1)  # the largest number there is
