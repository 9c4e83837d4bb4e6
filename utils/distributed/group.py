"""One process or many: joining the others, agreeing with them, noticing that one is gone."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from data.errors import InputError
from data.system.process import end_with_parent
from utils.distributed.environment import Ranks, ranks_of, slurm_environment

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)  # PyTorch's default for NCCL
PATIENCE = timedelta(hours=2)
# In the errors that PyTorch raises when another rank dies or hangs; most are plain RuntimeErrors.
LOST = re.compile(
    r"gloo|NCCL|Connection (closed|reset)|Broken pipe|Timed out waiting|Socket Timeout",
    re.IGNORECASE,
)
_control: list[dist.ProcessGroup] = []  # the second group (see `process_group`), while there is one


class RankLost(ConnectionError):
    """Another rank has ended, or no longer answers."""


@contextlib.contextmanager
def process_group(device: str, *, timeout: timedelta = TIMEOUT) -> Iterator[Ranks]:
    """Join the processes that torchrun or srun started together, and leave them at the end.

    NCCL on GPUs, gloo on CPUs; a process that was started alone joins nothing. Agreements between
    the processes (`any_rank`, `from_main`, `gather_objects`) use a second group with a timeout of
    hours, as the others wait there while the main rank prepares data; a rank that ends is noticed
    there at once.

    timeout: after which a rank that does not answer in training counts as lost. Raises InputError
    if the environment contradicts itself or the ranks do not find each other, RankLost when one of
    the others is gone.
    """
    for name, value in slurm_environment(os.environ).items():
        os.environ.setdefault(name, value)
    ranks = ranks_of(os.environ)
    if ranks.world == 1:
        yield ranks
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun's agent ends its ranks, unless it is killed itself: then nobody would. (Slurm's
        # daemon looks after the processes of srun.)
        end_with_parent()
    _join(ranks, device, timeout)
    try:
        yield ranks
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or LOST.search(str(error))):
            raise
        raise RankLost(
            f"rank {ranks.rank} of {ranks.world}: another rank has ended or no longer answers "
            f"({_first_line(error)}); its own output says why; "
            "the same command resumes from the last checkpoint"
        ) from error
    finally:
        _control.clear()
        dist.destroy_process_group()


def _join(ranks: Ranks, device: str, timeout: timedelta) -> None:
    try:
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timeout)
        control = dist.new_group(backend="gloo", timeout=PATIENCE)
        assert isinstance(control, dist.ProcessGroup)  # this rank is in it, as all are
        _control.append(control)
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise InputError(
            f"rank {ranks.rank} of {ranks.world} did not find the others at {address} "
            f"within {timeout} ({_first_line(error)}); see MASTER_ADDR and MASTER_PORT"
        ) from error


def device_index(ranks: Ranks) -> int:
    """The GPU of this process. With srun --gpus-per-task=1 each process sees only its own."""
    return ranks.local_rank % max(1, torch.cuda.device_count())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def own_device(device: torch.device, ranks: Ranks) -> torch.device:
    """The device of this process: among several, its own GPU, which becomes PyTorch's current."""
    if device.type == "cuda" and ranks.world > 1:
        device = torch.device("cuda", device_index(ranks))
        torch.cuda.set_device(device)
    return device


def any_rank(flags: Sequence[bool], ranks: Ranks) -> list[bool]:
    """For each flag, whether it is true on any rank; without a wait for the device."""
    if ranks.world == 1:
        return list(flags)
    joint = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(joint, dist.ReduceOp.MAX, group=_control[0])
    return [bool(flag) for flag in joint.tolist()]


def mean_over_ranks(value: float, ranks: Ranks) -> float:
    """The mean of a number over all ranks, in double precision."""
    if ranks.world == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total, group=_control[0])
    return float(total) / ranks.world


def gather_objects(part: T, ranks: Ranks) -> list[T]:
    """Every rank's `part`, in the order of the ranks, on every rank."""
    if ranks.world == 1:
        return [part]
    parts: list[Any] = [None] * ranks.world
    dist.all_gather_object(parts, part, group=_control[0])
    return parts


def from_main(make: Callable[[], T], ranks: Ranks) -> T:
    """Call `make` on the main rank and return its result on every rank; the others wait for it.

    An InputError or OSError there is raised on every rank.
    """
    if ranks.world == 1:
        return make()
    box: list[Any] = [None]
    if ranks.is_main:
        try:
            box = [make()]
        except (InputError, OSError) as error:
            box = [error]
    dist.broadcast_object_list(box, src=0, group=_control[0])
    if isinstance(box[0], Exception):
        raise box[0]
    return box[0]
