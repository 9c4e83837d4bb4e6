"""How much memory there is, asked before something large is read.

Linux kills a process that takes more than there is, without a word; so what can be foreseen is
refused.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from data.errors import InputError

GIGABYTE = 10**9
UNLIMITED = 1 << 60  # cgroups of version 1 state "no limit" as a number near 2^63


def available_memory() -> int | None:
    """Bytes that this process may still take; None where the system does not say.

    On Linux what is free or can be freed, and no more than the limits of its control groups (as of
    containers and Slurm) leave. Elsewhere all of the machine's memory.
    """
    found = [*_free_on_linux(), *_left_in_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))]
    if found:
        return max(0, min(found))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def require_memory(needed: float, what: str, advice: str) -> None:
    """InputError if `needed` bytes are more than there are. what: is read or computed."""
    available = available_memory()
    if available is not None and needed > available:
        raise InputError(
            f"{what} takes about {in_gigabytes(needed)} of memory, and {in_gigabytes(available)} "
            f"are free; {advice}"
        )


def in_gigabytes(count: float) -> str:
    """A number of bytes, as "1.5 GB"."""
    return f"{count / GIGABYTE:.1f} GB"


def _free_on_linux() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _left_in_groups(membership: Path, root: Path) -> Iterator[int]:
    """What each control group that the process is in, and those above it, have left.

    Args:
        membership: /proc/self/cgroup, lines such as "0::/user.slice".
        root: where the groups are.
    """
    with contextlib.suppress(OSError):
        for line in membership.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if not kinds:
                yield from _left_above(root, path, "memory.max", "memory.current", "inactive_file")
            elif "memory" in kinds.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield from _left_above(root / "memory", path, *names)


def _left_above(root: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    # In a container the path may be the host's, and the group itself is at the root.
    below = Path(path.strip("/"))
    for group in {root, root / below, *(root / part for part in below.parents)}:
        with contextlib.suppress(OSError, ValueError):  # ValueError: "max"
            allowed = int((group / limit).read_text())
            if allowed < UNLIMITED:
                taken = int((group / usage).read_text())
                yield allowed - taken + _counted(group / "memory.stat", cache)


def _counted(stat: Path, name: str) -> int:
    """A number of memory.stat: of pages that the system drops when memory is short."""
    for line in stat.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
