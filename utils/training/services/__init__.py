"""Where a run's numbers go besides `log.jsonl`, on request.

A service that cannot be started is an InputError before the first epoch. One that fails later gets
no more numbers, and the training goes on: all numbers are in the log.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from data.errors import one_line
from utils.training.services.tensorboard_files import TensorBoardService
from utils.training.services.weights_and_biases import WandbService


class Service(Protocol):
    """Takes the numbers of a run."""

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of one event."""

    def close(self) -> None:
        """Send what is left."""


class Guarded:
    """A service whose failures are one warning line, after which nothing more is sent to it."""

    def __init__(self, name: str, service: Service) -> None:
        self.name = name
        self.service: Service | None = service

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of one event, unless the service has failed before."""
        if self.service is not None:
            try:
                self.service.write(kind, step, numbers)
            except Exception as error:  # whatever a service raises: it must not end the training
                self._give_up(error)

    def close(self) -> None:
        """Send what is left."""
        if self.service is not None:
            try:
                self.service.close()
            except Exception as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.service = None
        print(
            f"warning: {self.name} failed and gets no more numbers of this run "
            f"({one_line(error)}); all of them are in log.jsonl",
            file=sys.stderr,
            flush=True,
        )


def open_services(
    folder: Path, config: dict, *, wandb: bool = False, tensorboard: bool = False
) -> list[Guarded]:
    """The services that are asked for; InputError for one that is not there or does not answer.

    Args:
        folder: of the run.
        config: the flags, for Weights & Biases.
        wandb: Weights & Biases.
        tensorboard: TensorBoard's event files.
    """
    services = []
    if wandb:
        services.append(Guarded("--wandb", WandbService(folder, config)))
    if tensorboard:
        services.append(Guarded("--tensorboard", TensorBoardService(folder)))
    return services
