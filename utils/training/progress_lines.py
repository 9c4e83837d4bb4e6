"""How far an epoch is, for a log file: a line a minute where there is no progress bar."""

import sys
import time
from datetime import timedelta

INTERVAL = 60.0  # seconds between two lines


class ProgressLines:
    """Prints a line of the epoch every INTERVAL seconds, unless stderr is a terminal.

    Args:
        epoch: that is trained, from 0.
        epochs: of the run.
        steps: of an epoch.
        done: steps of this epoch that were done before.
        batch_size: images over all ranks.
        enabled: False on all ranks but the main one.
    """

    def __init__(
        self, epoch: int, epochs: int, *, steps: int, done: int, batch_size: int, enabled: bool
    ) -> None:
        self.enabled = enabled and not sys.stderr.isatty()
        self.title = f"epoch {epoch + 1}/{epochs}"
        self.epochs_left = epochs - epoch - 1
        self.steps = steps
        self.done = done
        self.batch_size = batch_size
        self.begun = self.printed = time.monotonic()

    def step(self, step: int, loss: float) -> None:
        """After a step. loss: the mean of the epoch so far."""
        now = time.monotonic()
        if not self.enabled or now - self.printed < INTERVAL or step == self.steps:
            return
        self.printed = now
        each = max(now - self.begun, 1e-9) / max(step - self.done, 1)
        left = self.steps - step
        print(
            f"{self.title}, step {step} of {self.steps}: loss {loss:.4f}, "
            f"{self.batch_size / each:.3g} images/s, {_clock(left * each)} left of the epoch, "
            f"{_clock((left + self.epochs_left * self.steps) * each)} of the run",
            flush=True,
        )


def plural(count: int, what: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
