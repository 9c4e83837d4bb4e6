"""The edges of an image as polylines."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data.thinning import thin
from utils.inference.line_style import TOLERANCE
from utils.prediction.vector.simplify import simplify
from utils.prediction.vector.trace import trace


@dataclass(frozen=True)
class Polyline:
    """An edge of one class, from one end or junction to the next.

    Args:
        class_id: from 0.
        points: float64 (n, 2), (x, y) in pixels, y downwards; (0, 0) is the corner of the image, so
            pixel (0, 0) is at (0.5, 0.5). A single one is an isolated pixel; the last of a loop is
            the first.
        score: the mean probability of its pixels; None if the net tells of none.
    """

    class_id: int
    points: np.ndarray
    score: float | None = None

    @property
    def closed(self) -> bool:
        """Whether it is a loop."""
        return len(self.points) > 2 and bool((self.points[0] == self.points[-1]).all())


def polylines(
    edges: np.ndarray, prob: np.ndarray | None = None, *, tolerance: float = TOLERANCE
) -> Iterator[Polyline]:
    """The polylines of all classes, class by class.

    Args:
        edges: bool (K, H, W). They are thinned if they are not lines of one pixel.
        prob: float32 (K, H, W), for the scores.
        tolerance: pixels; how far a pixel may be from its polyline. 0: each pixel is a point.
    """
    for k in np.flatnonzero(edges.any(axis=(1, 2))):
        for line in trace(thin(edges[k])):
            score = None if prob is None else float(prob[k][tuple(line.T)].mean())
            yield Polyline(int(k), simplify(line, tolerance)[:, ::-1] + 0.5, score)
