"""The windows in which an image goes through a net, and how the scores where they overlap are averaged."""

import math
from dataclasses import dataclass

import numpy as np

from data.errors import InputError


@dataclass(frozen=True)
class Windows:
    """Windows over an image of `size` (H, W), all of one size; see `cover`. spans: (start, stop) of the rows and of the columns."""

    size: tuple[int, int]
    row_spans: tuple[tuple[int, int], ...]
    column_spans: tuple[tuple[int, int], ...]

    @property
    def height(self) -> int:
        return self.row_spans[0][1]

    @property
    def width(self) -> int:
        return self.column_spans[0][1]

    def places(self, views: int) -> list[tuple[int, int, int]]:
        """(view, top, left) of each window, for so many views of the image."""
        return [
            (view, top, left)
            for view in range(views)
            for top, _ in self.row_spans
            for left, _ in self.column_spans
        ]

    def share(self, top: int, left: int) -> np.ndarray:
        """float32 (height, width): 1 over the number of windows that cover each pixel of the window there."""
        rows, columns = (
            _coverage(self.size[0], self.row_spans),
            _coverage(self.size[1], self.column_spans),
        )
        cover = rows[top : top + self.height, None] * columns[left : left + self.width]
        return (1 / cover).astype(np.float32)

    def published_share(self, num_classes: int, top: int) -> np.ndarray:
        """float32 (num_classes, height, 1): the share as the published code has it.

        It adds windows up with `counts[rows, columns] += 1` in an array (class, row, column), so that classes are taken
        for rows and rows for columns. All classes get the same share, unless the second window of a column starts
        above row `num_classes`; so at one scale the best class stays the best.
        """
        if self.size[0] > self.size[1] or num_classes > self.size[0]:
            raise InputError(
                f"a {self.size[1]}x{self.size[0]} image: the published count of windows leaves rows of portraits out; use --no-quirks"
            )
        rows, columns = (
            _coverage(self.size[0], self.row_spans),
            _coverage(self.size[1], self.column_spans),
        )
        covered = rows[:num_classes, None] * columns[top : top + self.height]
        return (1 / covered[..., None]).astype(np.float32)


def cover(size: tuple[int, int], side: int | None, overlap: float) -> Windows:
    """Windows of `side` pixels (None: one, the whole image) that step by ceil(side * (1 - overlap)), the last one moved back to the
    border. Along an axis shorter than that there is one window, as long as the axis."""
    rows, columns = (_spans(length, length if side is None else side, overlap) for length in size)
    return Windows(size, rows, columns)


def _spans(length: int, side: int, overlap: float) -> tuple[tuple[int, int], ...]:
    stride = math.ceil(side * (1 - overlap))
    count = max(1, math.ceil((length - side) / stride) + 1)
    stops = [min(i * stride + side, length) for i in range(count)]
    return tuple((max(0, stop - side), stop) for stop in stops)


def _coverage(length: int, spans: tuple[tuple[int, int], ...]) -> np.ndarray:
    """int64 (length,): how many spans cover each pixel of an axis."""
    covered = np.zeros(length, np.int64)
    for start, stop in spans:
        covered[start:stop] += 1
    return covered
