"""Learning-rate schedules."""

from collections.abc import Callable
from dataclasses import dataclass

# (epoch, iteration within it, iterations per epoch) -> learning rate.
Schedule = Callable[[int, int, int], float]


def poly(base: float, step: int, steps: int, power: float = 0.9) -> float:
    """base * (1 - step / steps) ** power, DFF's schedule; `step` counts iterations of the run from
    0."""
    return base * (1 - step / steps) ** power


def per_iteration(base: float, epochs: int) -> Schedule:
    """DFF's `poly` over all iterations of a run."""
    return lambda epoch, step, steps: poly(base, epoch * steps + step, epochs * steps)


@dataclass(frozen=True)
class PerEpoch:
    """DecoupleSegNets' schedules, one value for each whole epoch e.

    poly: base * (1 - e / epochs) ** power. With a `restart` epoch, their "scl-poly": from there on
    base * rescale * (1 - (e - restart) / (epochs - restart)) ** repoly.

    quirks: their loop steps its scheduler before each epoch, so that epoch e has the value of
    e + 1. The last epoch has the value at the end, 0: only the batch statistics still move in it.
    """

    base: float
    epochs: int
    power: float = 1.0
    restart: int | None = None
    rescale: float = 1.0
    repoly: float = 1.5
    quirks: bool = True

    def __call__(self, epoch: int, step: int = 0, steps: int = 1) -> float:
        """The learning rate of an epoch, the same in all its iterations."""
        return self.at(epoch + 1 if self.quirks else epoch)

    def at(self, epoch: int) -> float:
        """The formula; `epoch` runs from 0 to `epochs`."""
        if self.restart is None or epoch < self.restart:
            return poly(self.base, epoch, self.epochs, self.power)
        since, length = epoch - self.restart, self.epochs - self.restart
        return self.rescale * poly(self.base, since, length, self.repoly)
