"""The record of a run: one JSON line per event in `log.jsonl`.

On request also Weights & Biases and TensorBoard, see `utils.training.services`.
"""

import json
import os
from pathlib import Path

from data.errors import InputError
from data.files import write_aside
from utils.training.services import Guarded, open_services


class Logger:
    """Appends lines {"kind": ..., "epoch": ..., ...} to a run's `log.jsonl`; a context manager.

    Kinds: "start" (one for each time the command ran: what `utils.training.records` says), "train"
    and "val".

    Args:
        folder: of the run.
        is_main: on other ranks nothing is written.
        wandb: also write to Weights & Biases.
        tensorboard: also write TensorBoard's event files.
        config: the flags, for Weights & Biases.
    """

    def __init__(
        self,
        folder: Path,
        *,
        is_main: bool,
        wandb: bool = False,
        tensorboard: bool = False,
        config: dict | None = None,
    ) -> None:
        self.path = folder / "log.jsonl" if is_main else None
        self.services: list[Guarded] = []
        if is_main:
            self.services = open_services(
                folder, config or {}, wandb=wandb, tensorboard=tensorboard
            )

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, kind: str, **values: object) -> None:
        """Append one line; services get its numbers.

        On a full disk (an OSError) no part of the line is written.
        """
        if self.path is None:
            return
        _append(self.path, json.dumps({"kind": kind, **values}) + "\n")
        step = values.get("step", values.get("epoch", 0))
        assert isinstance(step, int)
        numbers = {
            key: value
            for key, value in values.items()
            if isinstance(value, int | float) and key != "step"
        }
        for service in self.services:
            service.write(kind, step, numbers)

    def keep_until(self, epoch: int) -> None:
        """Drop the lines of this epoch and later ones, which a resumed run writes again.

        Those of starts stay.
        """
        if self.path is None or not self.path.exists():
            return
        kept = [
            entry
            for entry in read_log(self.path)
            if entry.get("kind") == "start" or entry.get("epoch", -1) < epoch
        ]
        with write_aside(self.path) as aside:
            aside.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")

    def close(self) -> None:
        """End the services' runs."""
        while self.services:
            self.services.pop().close()


def read_log(path: Path) -> list[dict]:
    """The lines of a `log.jsonl`; InputError for one that is not JSON.

    A torn last line, as a killed job leaves it, is left out.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise InputError(f"{path}:{number}: not JSON ({error}); remove that line") from error
        if not isinstance(entry, dict):
            raise InputError(
                f"{path}:{number}: found {line[:40]}, "
                'expected an object such as {"kind": "train"}'
            )
        entries.append(entry)
    return entries


def _append(path: Path, line: str) -> None:
    """Unbuffered, so that a part of the line that did fit on the disk can be removed again."""
    with path.open("ab", buffering=0) as file:
        length = file.seek(0, os.SEEK_END)
        try:
            _write_all(file.fileno(), line.encode())
        except OSError:
            file.truncate(length)
            raise


def _write_all(file: int, text: bytes) -> None:
    while text:  # a disk that is nearly full takes a part, and refuses the rest in the next call
        text = text[os.write(file, text) :]
