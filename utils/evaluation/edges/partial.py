"""The records of single images kept on disk, so that an interrupted test resumes where it was.

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
from utils.evaluation.edges.image_counts import COUNTS, ImageScores, Record, Stack, entries

# Goes up when the counting changes, so that partial results of older code are not used.
COUNTS_VERSION = 2
# Of a file that `count` writes, and of a half that a killed run leaves: others are not ours.
OUR_FILE = re.compile(r"[0-9a-f]{24}\.npz|\.[0-9a-f]{24}\.npz\.[0-9]+\.part")


@dataclass(frozen=True)
class ResumableCounter:
    """Counts with `counter` and keeps the record of each image in `folder` until `forget`.

    origin: fingerprint of what the records depend on besides the counter's own settings and the
    files of an image, such as the checkpoint.
    """

    counter: ImageCounter
    origin: str
    folder: Path

    def count(self, index: int, scores: Stack | ImageScores | None = None) -> Record:
        """As `ImageCounter.count`; the result is on disk when this returns."""
        record = self.counter.count(index, scores)
        with write_aside(self._path(index)) as aside, aside.open("wb") as file:
            # No entry has the name of an argument.
            np.savez_compressed(file, **record)  # pyright: ignore[reportArgumentType]
        return record

    def saved(self, index: int) -> Record | None:
        """The record that an earlier run left, if the image's files have not changed since."""
        path = self._path(index)
        try:
            with np.load(require_file(path), allow_pickle=False) as saved:
                record = {name: saved[name] for name in self._shapes()}
        except Exception:  # a damaged file raises anything, and is as good as none
            return None
        return record if self._is_record(record) else None

    def forget(self) -> None:
        """Remove the partial results: the whole is written."""
        if not self.folder.is_dir():
            return
        for path in list(self.folder.iterdir()):
            if OUR_FILE.fullmatch(path.name):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there is none, or somebody keeps other files in it
            self.folder.rmdir()

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the entries of a record."""
        counter = self.counter
        shapes = entries(counter.protocols[0], counter.num_classes)
        variants, tolerances = len(counter.variants), len(counter.protocols)
        return {
            name: (variants, tolerances, *shape) if name == COUNTS else (variants, *shape)
            for name, shape in shapes.items()
        }

    def _is_record(self, record: Record) -> bool:
        shapes = self._shapes()
        if any(entry.shape != shapes[name] for name, entry in record.items()):
            return False
        if any(entry.dtype != np.int64 or entry.min() < 0 for entry in record.values()):
            return False
        counts = record[COUNTS]
        matched = counts[..., [MATCHED_TRUE, MATCHED_PREDICTED]]
        return bool((matched <= counts[..., [TRUE, PREDICTED]]).all())

    def _path(self, index: int) -> Path:
        """The file of an image's record.

        Its name is a hash of all that it depends on, so that a stale one is never found.
        """
        state = []
        for path in self.counter.paths(index):
            status = path.stat()
            state.append((str(path), status.st_size, status.st_mtime_ns))
        counter = self.counter
        knobs = [protocol.knobs() for protocol in counter.protocols]
        settings = (knobs, counter.variants, counter.classes)
        parts = (COUNTS_VERSION, self.origin, *settings, counter.name(index), state)
        return self.folder / f"{fingerprint(*parts)}.npz"


def fingerprint(*parts: object) -> str:
    """A short name for a combination of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]
