"""The counts of single images kept on disk, so that an interrupted test resumes where it was.

Wraps a counter and works as it does; what is counted, and how, is none of its business.
"""

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.files import require_file, write_aside
from utils.edge_metrics import MATCHED_PREDICTED, MATCHED_TRUE, PREDICTED, TRUE
from utils.evaluation.edges.counter import ImageCounter

# Goes up when the counting changes, so that partial results of older code are not used.
COUNTS_VERSION = 1
# Of a file that `count` writes, and of a half that a killed run leaves: others are not ours.
OUR_FILE = re.compile(r"[0-9a-f]{24}\.npz|\.[0-9a-f]{24}\.npz\.[0-9]+\.part")


@dataclass(frozen=True)
class ResumableCounter:
    """Counts with `counter` and keeps the counts of each image in `folder` until `forget`.

    origin: fingerprint of what the counts depend on besides the protocol and the files of an image,
    such as the checkpoint.
    """

    counter: ImageCounter
    origin: str
    folder: Path

    def count(self, index: int, scores: np.ndarray | None = None) -> np.ndarray:
        """As `ImageCounter.count`; the result is on disk when this returns."""
        counts = self.counter.count(index, scores)
        with write_aside(self._path(index)) as aside, aside.open("wb") as file:
            np.savez_compressed(file, counts=counts)
        return counts

    def saved(self, index: int) -> np.ndarray | None:
        """The counts that an earlier run left, if the image's files have not changed since."""
        path = self._path(index)
        try:
            with np.load(require_file(path), allow_pickle=False) as saved:
                counts = saved["counts"]
        except Exception:  # a damaged file raises anything, and is as good as none
            return None
        return counts if self._are_counts(counts) else None

    def forget(self) -> None:
        """Remove the partial results: the whole is written."""
        if not self.folder.is_dir():
            return
        for path in list(self.folder.iterdir()):
            if OUR_FILE.fullmatch(path.name):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there is none, or somebody keeps other files in it
            self.folder.rmdir()

    def _are_counts(self, counts: np.ndarray) -> bool:
        protocol = self.counter.protocol
        classes = self.counter.ground_truth.num_classes
        shape = (len(protocol.modes), classes, protocol.thresholds, 4)
        if counts.shape != shape or counts.dtype != np.int64 or counts.min() < 0:
            return False
        matched = counts[..., [MATCHED_TRUE, MATCHED_PREDICTED]]
        return bool((matched <= counts[..., [TRUE, PREDICTED]]).all())

    def _path(self, index: int) -> Path:
        """The file of an image's counts.

        Its name is a hash of all that they depend on, so that stale counts are never found.
        """
        state = []
        for path in self.counter.paths(index):
            status = path.stat()
            state.append((str(path), status.st_size, status.st_mtime_ns))
        knobs, name = self.counter.protocol.knobs(), self.counter.name(index)
        return self.folder / f"{fingerprint(COUNTS_VERSION, self.origin, knobs, name, state)}.npz"


def fingerprint(*parts: object) -> str:
    """A short name for a combination of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]
