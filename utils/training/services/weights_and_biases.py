"""Numbers of a run to Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import InputError, one_line
from data.files import read_text, write_aside

START_SECONDS = 30  # wandb waits for 90, and then for its own end
FINISH_SECONDS = 300  # by default wandb waits for ever for a network that has gone
ADVICE = "run `wandb login`, set WANDB_MODE=offline, or leave --wandb out"


class WandbService:
    """Weights & Biases. A resumed run continues the same one, whose id is kept in its folder.

    InputError if the package is missing, nobody is logged in, or the server does not answer.
    """

    def __init__(self, folder: Path, config: dict) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InputError(
                "--wandb needs the package wandb: pip install wandb, or leave --wandb out "
                f"({one_line(error)})"
            ) from error
        note = folder / "wandb-id"
        earlier = read_text(note).strip() if note.exists() else None
        try:
            self.run = wandb.init(
                dir=folder,
                config=config,
                name=folder.name,
                id=earlier or None,
                resume="allow",
                settings=_settings(wandb),
            )
            # wandb's own step may only grow; that of a run that was killed and resumed goes back.
            self.run.define_metric("step")
            self.run.define_metric("*", step_metric="step")
        except Exception as error:  # wandb has some ten kinds
            raise InputError(f"--wandb: {one_line(error)}; {ADVICE}") from error
        if not earlier:
            with write_aside(note) as aside:
                aside.write_text(f"{self.run.id}\n", encoding="utf-8")

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """Log each number as kind/name."""
        self.run.log({"step": step} | {f"{kind}/{name}": value for name, value in numbers.items()})

    def close(self) -> None:
        """Send what is left."""
        self.run.finish()


def _settings(wandb: Any) -> Any:
    settings = wandb.Settings(init_timeout=START_SECONDS)
    if hasattr(settings, "finish_timeout"):  # since 0.31
        settings.finish_timeout = FINISH_SECONDS
    return settings
