"""What is measured: a net's file, an engine, a precision, a size; and what came of it."""

from dataclasses import dataclass, field
from pathlib import Path

from models import OPTIONS

DEFINITION = "definition"  # the net as its paper's file has it, without faster forms
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Args:
        checkpoint: a weight file, or an exported net.
        engine: `DEFINITION`, or of `utils.inference.engines.choose.ENGINES`.
        precision: of PRECISIONS; bf16 is for CPUs, fp16 for GPUs.
        size: (H, W) of the crops.
        batch_size: of each run.
        threads: of PyTorch and of the engines.
        device: as `load` takes it.
        model, backbone, dataset: for files that do not say what they hold.
        options: of the net, see `models.OPTIONS`.
    """

    checkpoint: Path
    engine: str
    precision: str
    size: tuple[int, int]
    batch_size: int
    threads: int
    device: str
    model: str | None = None
    backbone: str | None = None
    dataset: str | None = None
    options: dict[str, bool | str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Engine, precision and size, for messages."""
        return f"{self.engine} {self.precision} {self.size[0]}x{self.size[1]}"


@dataclass
class Result:
    """What was measured of a variant.

    Args:
        variant: what was measured.
        seconds: of each run after the warm-up.
        memory: the most bytes above the loaded net; None: the system does not say.
        flop: floating-point operations of a run's batch; None: not counted.
        missing: why there are no numbers; "" if there are.
    """

    variant: Variant
    seconds: list[float] = field(default_factory=list)
    memory: int | None = None
    flop: int | None = None
    missing: str = ""


NET_OPTIONS = tuple(dict.fromkeys(option for names in OPTIONS.values() for option in names))
