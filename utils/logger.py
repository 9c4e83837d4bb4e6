"""The record of a run: one JSON line per event in `log.jsonl`, and Weights & Biases on request."""

import json
from pathlib import Path

from data.base import InputError


class Logger:
    """Appends lines {"kind": ..., "epoch": ..., ...} to a run's `log.jsonl`; does nothing on ranks other than the main one."""

    def __init__(self, folder: Path, *, is_main: bool, wandb: bool = False, config: dict | None = None) -> None:
        self.path = folder / "log.jsonl" if is_main else None
        self.run = _start_wandb(folder, config or {}) if wandb and is_main else None

    def write(self, kind: str, **values: object) -> None:
        """Append one line."""
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **values}) + "\n")
        if self.run is not None:
            self.run.log({f"{kind}/{key}": value for key, value in values.items()})

    def keep_until(self, epoch: int) -> None:
        """Drop the lines of this epoch and later ones: a resumed run writes them again."""
        if self.path is None or not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if json.loads(line).get("epoch", -1) < epoch]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def close(self) -> None:
        """End the Weights & Biases run, if there is one."""
        if self.run is not None:
            self.run.finish()


def _start_wandb(folder: Path, config: dict) -> object:
    try:
        import wandb
    except ImportError as error:
        raise InputError("--wandb needs the package wandb: pip install wandb, or leave --wandb out") from error
    return wandb.init(dir=folder, config=config, name=folder.name)
