"""COCO's run lengths: how masks are stored in its JSON files.

Pixels are counted column by column, from the top left: a run without the object, a run with it,
and so on. Uncompressed, "counts" is that list. Compressed, it is a text: from the fourth number on
each is stored as its difference from the one two before; a number is cut into groups of 5 bits, the
lowest first, the last group's highest bit its sign; a character is 48 + group, + 32 if more follow.

Read here in NumPy, so that a damaged text is an error that says how, and no package is needed;
tests compare with pycocotools.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from data.errors import InputError
from data.importer.shapes import Mask, Size

FIRST = 48  # "0", the character of an empty group
MORE = 32
MAX_GROUPS = 7  # 35 bits: more than any number of pixels has


@dataclass(frozen=True)
class RunLengths:
    """A `Shape`. size: (H, W). counts: int64 (n,) of runs, without and with the object in turn."""

    size: Size
    counts: np.ndarray

    def mask(self, size: Size) -> Mask:
        """The pixels of the object, of its columns and rows only."""
        height, _ = self.size
        ends = np.cumsum(self.counts)
        starts = ends - self.counts
        starts, ends = starts[1::2], ends[1::2]
        starts, ends = starts[ends > starts], ends[ends > starts]
        if not len(starts):
            return Mask(0, 0, np.zeros((0, 0), bool))
        left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
        toggles = np.zeros((right - left) * height + 1, np.int8)
        # Runs without a gap between them end and begin at one pixel.
        np.add.at(toggles, starts - left * height, 1)
        np.add.at(toggles, ends - left * height, -1)
        bits = np.cumsum(toggles[:-1], dtype=np.int8).reshape(right - left, height).T > 0
        rows = np.flatnonzero(bits.any(axis=1))
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        return Mask(top, left, bits[top:bottom])

    def is_outside(self, size: Size) -> bool:
        """Never: its size is that of the image."""
        return False


def run_lengths(segmentation: dict[str, Any]) -> RunLengths:
    """A shape from {"size": [h, w], "counts": [...] or "..."}; InputError if it is damaged."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(type(side) is int and side > 0 for side in size)
    ):
        raise InputError(f"its RLE has the size {str(size)[:40]}; expected [height, width]")
    if isinstance(counts, str):
        runs = uncompress(counts)
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = np.clip(np.array(counts, object), -1, 1 << 40).astype(np.int64)
    else:
        raise InputError("its RLE has no counts; expected a list of whole numbers, or a text")
    height, width = size
    if (runs < 0).any() or int(runs.sum()) != height * width:
        what = "are negative" if (runs < 0).any() else f"sum to {int(runs.sum())}"
        raise InputError(
            f"the counts of its RLE {what}; expected {height} x {width} = {height * width} pixels"
        )
    return RunLengths((height, width), runs.astype(np.int32))


def uncompress(text: str) -> np.ndarray:
    """int64 (n,), the runs of a compressed text; InputError for a text that is none."""
    codes = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64) - FIRST
    if ((codes < 0) | (codes >= 2 * MORE)).any():
        raise InputError("its RLE has characters that a compressed one cannot have")
    if not len(codes):
        return codes
    last = codes < MORE
    if not last[-1]:
        raise InputError("its compressed RLE is cut off")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_GROUPS:
        raise InputError("its compressed RLE has a number that is too large")
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & (MORE - 1)) << (5 * place), starts)
    negative = (codes[ends] & 16) > 0
    numbers[negative] -= np.int64(1) << (5 * lengths[negative])
    # The first three are stored as they are, the others as differences from two before.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
