"""The windows in which an image goes through a net, and what each counts where they overlap."""

import math
from dataclasses import dataclass

import numpy as np

from data.errors import InputError

Spans = tuple[tuple[int, int], ...]  # (start, stop) of each window along an axis


@dataclass(frozen=True)
class Windows:
    """Windows of one size over an image; made by `cover_image`.

    Args:
        size: (H, W) of the image.
        row_spans, column_spans: where the windows lie along each axis; every row span goes with
            every column span.
    """

    size: tuple[int, int]
    row_spans: Spans
    column_spans: Spans

    @property
    def height(self) -> int:
        return self.row_spans[0][1]

    @property
    def width(self) -> int:
        return self.column_spans[0][1]

    def places(self, views: int) -> list[tuple[int, int, int]]:
        """(view, top, left) of each window, for `views` images of this size."""
        return [
            (view, top, left)
            for view in range(views)
            for top, _ in self.row_spans
            for left, _ in self.column_spans
        ]

    def share(self, top: int, left: int) -> np.ndarray:
        """The weight of the window at (top, left): float32 (height, width).

        In each pixel, 1 / the number of windows that cover it.
        """
        rows, columns = self._coverage()
        cover = rows[top : top + self.height, None] * columns[left : left + self.width]
        return (1 / cover).astype(np.float32)

    def published_share(self, num_classes: int, top: int) -> np.ndarray:
        """float32 (num_classes, height, 1): the share as the published code has it.

        It adds windows up with `counts[rows, columns] += 1` in an array (class, row, column): rows
        of the window index classes and its columns index rows. All classes get the same share,
        unless the second window of a column starts above row `num_classes`. So at one scale each
        row's logits are multiplied by one number and the best class stays the best; over several
        scales, rows are weighed unevenly. InputError where the published code would divide by 0.
        """
        height, width = self.size
        if height > width or num_classes > height:
            raise InputError(
                f"a {width}x{height} image: the published count of windows leaves rows of "
                "portraits out; use --no-quirks"
            )
        rows, columns = self._coverage()
        cover = rows[:num_classes, None] * columns[top : top + self.height]
        return (1 / cover[..., None]).astype(np.float32)

    def _coverage(self) -> tuple[np.ndarray, np.ndarray]:
        """The number of windows over each row, int64 (H,), and over each column, int64 (W,)."""
        height, width = self.size
        return _coverage(height, self.row_spans), _coverage(width, self.column_spans)


def cover_image(size: tuple[int, int], side: int | None, overlap: float) -> Windows:
    """Square windows that cover an image, the last one of each axis moved back to the border.

    Args:
        size: (H, W) of the image.
        side: of a window in pixels; None: one window, the whole image. An axis shorter than that
            has one window, as long as the axis.
        overlap: share of a window that the next one covers again; the step is
            ceil(side * (1 - overlap)).
    """
    rows, columns = (_spans(length, length if side is None else side, overlap) for length in size)
    return Windows(size, rows, columns)


def _spans(length: int, side: int, overlap: float) -> Spans:
    stride = math.ceil(side * (1 - overlap))
    count = max(1, math.ceil((length - side) / stride) + 1)
    stops = [min(i * stride + side, length) for i in range(count)]
    return tuple((max(0, stop - side), stop) for stop in stops)


def _coverage(length: int, spans: Spans) -> np.ndarray:
    covered = np.zeros(length, np.int64)
    for start, stop in spans:
        covered[start:stop] += 1
    return covered
