"""The record of a run: one JSON line per event in `log.jsonl`.

On request also Weights & Biases and TensorBoard, see `utils.training.services`.
"""

import codecs
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from data.files import parse_json, require_file, set_aside, write_aside
from utils.training.services import Guarded, open_services


class Logger:
    """Appends lines {"kind": ..., "epoch": ..., ...} to a run's `log.jsonl`; a context manager.

    Kinds: "start" (one for each time the command ran: what `utils.training.records` says), "train"
    and "val". Epochs are counted from 0. A number that is not finite is null: JSON has no NaN.

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
        if self.path is not None and self.path.exists():
            require_file(self.path, "log")
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
        _append(self.path, to_json({"kind": kind, **values}) + "\n")
        step = values.get("step", values.get("epoch", 0))
        assert isinstance(step, int)
        numbers = {
            key: value
            for key, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value) and key != "step"
        }
        for service in self.services:
            service.write(kind, step, numbers)

    def keep_until(self, epoch: int) -> None:
        """Drop the lines of this epoch and later ones, which a resumed run writes again.

        Those of starts stay. Lines that are none of a log are reported and moved to
        `log.jsonl.bad`.
        """
        if self.path is None or not self.path.exists():
            return
        log = parse_log(self.path)
        if log.bad:
            aside = self.path.with_name(f"{self.path.name}.bad")
            _append(aside, b"".join(line + b"\n" for _, line in log.bad))
            first, _ = log.bad[0]
            print(f"{first}; {_lines(len(log.bad))} like that moved to {aside.name}", flush=True)
        kept = [
            entry
            for entry in log.entries
            if entry["kind"] == "start" or entry.get("epoch", -1) < epoch
        ]
        with write_aside(self.path) as aside:
            aside.write_text("".join(to_json(entry) + "\n" for entry in kept), encoding="utf-8")

    def start_over(self) -> None:
        """For a run from scratch: rename the log of an earlier one that left no checkpoint."""
        if self.path is None or not self.path.exists():
            return
        log = parse_log(self.path)
        if log.bad or any(entry["kind"] != "start" for entry in log.entries):
            older = set_aside(self.path)
            print(f"{self.path}: of an earlier run that left no checkpoint; it is now {older.name}")
        else:
            self.keep_until(0)  # a torn last line would be the beginning of the next one

    def close(self) -> None:
        """End the services' runs."""
        while self.services:
            self.services.pop().close()


@dataclass(frozen=True)
class Log:
    """What a `log.jsonl` holds. bad: (what is wrong, the line) of each line that is none."""

    entries: list[dict]
    bad: list[tuple[str, bytes]]


def parse_log(path: Path) -> Log:
    """The lines of a `log.jsonl`, good and bad.

    A torn last line, as a killed job leaves it, is neither.
    """
    content = require_file(path, "log").read_bytes().removeprefix(codecs.BOM_UTF8)
    *lines, rest = content.split(b"\n")
    log = Log([], [])
    for number, line in enumerate([*lines, rest], 1):
        if not line.strip():
            continue
        try:
            log.entries.append(_parse_entry(line, f"{path}:{number}"))
        except InputError as error:
            torn = number > len(lines) and line.startswith(b"{")
            if not torn:
                log.bad.append((str(error), line))
    return log


def read_log(path: Path) -> list[dict]:
    """The lines of a `log.jsonl`; InputError for one that is none."""
    log = parse_log(path)
    if log.bad:
        raise InputError(f"{log.bad[0][0]}; remove that line")
    return log.entries


def validation_of(path: Path, epoch: int) -> dict | None:
    """The last line with the validation of this epoch; None without one."""
    if not path.exists():
        return None
    found = [e for e in parse_log(path).entries if (e["kind"], e.get("epoch")) == ("val", epoch)]
    return found[-1] if found else None


def _parse_entry(line: bytes, where: str) -> dict:
    try:
        entry = parse_json(line.decode("utf-8"), where)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is not UTF-8") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        shown = line[:40].decode("utf-8", "replace")
        raise InputError(
            f'{where}: found {shown}, expected an object such as {{"kind": "train", "epoch": 0}}'
        )
    for name in ("epoch", "step"):
        value = entry.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
            raise InputError(
                f"{where}: {name} is {json.dumps(value)[:40]}, expected a whole number from 0"
            )
    return entry


def to_json(values: object, *, indent: int | None = None) -> str:
    """JSON of plain values; a number that is not finite becomes null."""
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _append(path: Path, text: str | bytes) -> None:
    """Unbuffered, so that a part of the text that did fit on the disk can be removed again."""
    with path.open("ab", buffering=0) as file:
        length = file.seek(0, os.SEEK_END)
        try:
            _write_all(file.fileno(), text.encode() if isinstance(text, str) else text)
        except OSError:
            file.truncate(length)
            raise


def _write_all(file: int, text: bytes) -> None:
    while text:  # a disk that is nearly full takes a part, and refuses the rest in the next call
        text = text[os.write(file, text) :]
