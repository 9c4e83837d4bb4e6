"""Which process this is among all, as torchrun's or srun's environment variables say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from data.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """This process among all: `rank` of `world`, `local_rank` on its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def slurm_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """torchrun's variables for a process that srun has started with others; else nothing.

    A batch script's own commands are no job step, though they see the job's variables. torchrun's
    own variables take precedence.
    """
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if "RANK" in environment or "SLURM_STEP_ID" not in environment or tasks == "1":
        return {}
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get(
        "SLURM_JOB_NODELIST", "localhost"
    )
    numbers = (environment.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    job, step = (int(number) if _is_number(number) else 0 for number in numbers)
    return {
        "RANK": environment.get("SLURM_PROCID", ""),
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": first_host(hosts),
        "MASTER_PORT": str(20000 + (job * 7 + step) % 40000),
    }


def first_host(hosts: str) -> str:
    """The first of Slurm's host list: "gpu[007-9,12],other3" begins with gpu007."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", hosts)
    if first is None:
        raise InputError(
            f"SLURM_STEP_NODELIST is {hosts!r}; expected a list of hosts, such as gpu[01-04]; "
            "or set MASTER_ADDR"
        )
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first.group())


def ranks_of(environment: Mapping[str, str]) -> Ranks:
    """What torchrun's variables say, one process without them; InputError if they contradict."""
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return Ranks()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    found = [environment.get(name, "0") for name in names]
    if not all(map(_is_number, found)) or not int(found[0]) < int(found[1]):
        given = ", ".join(f"{name}={value}" for name, value in zip(names, found, strict=True))
        raise InputError(
            f"found {given} in the environment; expected numbers with RANK below WORLD_SIZE; "
            "unset them to run alone"
        )
    return Ranks(*map(int, found))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12
