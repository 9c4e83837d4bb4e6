"""Numbers of a run as event files for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

from data.errors import InputError, one_line


class TensorBoardService:
    """Event files in the run's folder; InputError without the package tensorboard."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        # An old tensorboard fails on a new NumPy or protobuf with errors of other kinds.
        except Exception as error:
            advice = "pip install tensorboard, or leave --tensorboard out"
            raise InputError(
                f"--tensorboard needs the package tensorboard: {advice} ({one_line(error)})"
            ) from error
        self.writer = SummaryWriter(str(folder))

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """Log each number as kind/name."""
        for name, value in numbers.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()
