"""From probabilities to the edges that are drawn: thresholds, thinning, short pieces.

choice = EdgeChoice.of(info)             # the checkpoint's thresholds, thinned
lines = choice.edges(predictor(image))   # bool (K, H, W)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import cv2
import numpy as np

from data.args import MAX_COUNT
from data.errors import InputError
from data.thinning import thin
from utils.inference.line_style import DEFAULT, LineStyle
from utils.inference.suppression import suppress
from utils.model_info import ModelInfo

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class EdgeChoice:
    """Which pixels are edges, for each class alone.

    Args:
        thresholds: of each of the K classes: the least probability of an edge.
        thin: thin what reaches the threshold to lines of one pixel, as the evaluation does.
        min_length: leave out the lines (8-connected pixels, after thinning) of fewer pixels.
        nms: before all that, keep only the ridges of the probabilities, see `suppress`.
        style: how lines are drawn.
    """

    thresholds: tuple[float, ...]
    thin: bool = False
    min_length: int = 0
    nms: bool = False
    style: LineStyle = DEFAULT

    @classmethod
    def of(
        cls,
        info: ModelInfo,
        *,
        threshold: float | Sequence[float] | None = None,
        thin: bool | None = None,
        min_length: int = 0,
        nms: bool = False,
        style: LineStyle | None = None,
    ) -> "EdgeChoice":
        """The choice for a net; InputError for values that make no sense.

        Args:
            info: of the net.
            threshold: for all classes, or of each; None: those of the checkpoint, else 0.5.
            thin: see above; None: if the thresholds are the checkpoint's, which validation found on
                thinned edges.
            min_length, nms, style: see above.
        """
        own = info.all_thresholds if threshold is None else None
        if own is not None:
            thresholds = own
        else:
            given = DEFAULT_THRESHOLD if threshold is None else threshold
            thresholds = _thresholds(given, info.num_classes)
        if not isinstance(nms, bool):
            raise InputError(f"nms {nms!r}: expected True or False")
        thinned = own is not None if thin is None else thin
        length = checked_min_length(min_length, thinned)
        style = style or DEFAULT
        style.require_lines(thinned or nms)
        return cls(thresholds, thinned, length, nms, style)

    @property
    def lines(self) -> bool:
        """Whether the edges are lines, not bands."""
        return self.thin or self.nms

    def edges(self, prob: np.ndarray) -> np.ndarray:
        """bool (K, H, W) from probabilities float32 (K, H, W)."""
        if len(prob) != len(self.thresholds):
            raise ValueError(f"{len(self.thresholds)} thresholds for {len(prob)} classes")
        found = np.empty(prob.shape, bool)
        for plane, threshold, out in zip(prob, self.thresholds, found, strict=True):
            out[:] = self._class_edges(plane, threshold)
        return found

    def _class_edges(self, prob: np.ndarray, threshold: float) -> np.ndarray:
        edges = (suppress(prob) if self.nms else prob) >= np.float32(threshold)
        if self.thin:
            edges = thin(edges)
        return without_short(edges, self.min_length) if self.min_length else edges

    def describe(self) -> str:
        """In a few words, for the terminal."""
        low, high = min(self.thresholds), max(self.thresholds)
        span = f"{low:.2f}" if low == high else f"each class's own, {low:.2f} to {high:.2f}"
        words = [f"threshold {span}" if low == high else f"thresholds {span}"]
        words += ["non-maximum suppression"] if self.nms else []
        words.append("thinned" if self.thin else "not thinned")
        if self.min_length:
            words.append(f"lines of {self.min_length} pixels or more")
        return ", ".join(words)


def checked_min_length(min_length: int, thin: bool) -> int:
    """`min_length` as an int; InputError unless it and `thin` make sense together."""
    if not isinstance(thin, bool):
        raise InputError(f"thin {thin!r}: expected True or False")
    whole = isinstance(min_length, Integral) and not isinstance(min_length, bool)
    if not whole or not 0 <= min_length <= MAX_COUNT:
        raise InputError(f"min length {min_length!r}: expected a number of pixels, 0 or more")
    if min_length and not thin:
        raise InputError("--min-length counts the pixels of thinned edges: add --thin")
    return int(min_length)


def without_short(lines: np.ndarray, min_length: int) -> np.ndarray:
    """bool (H, W) without the 8-connected parts of fewer than `min_length` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        lines.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    keep = stats[:, cv2.CC_STAT_AREA] >= min_length
    keep[0] = False  # the background
    return keep.take(np.asarray(labels, np.intp))


def _thresholds(given: Any, count: int) -> tuple[float, ...]:
    """One threshold for each of `count` classes, from one for all or a sequence of them."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    each: list[Any] = list(given) if isinstance(given, list | tuple) else [given] * count
    if not all(isinstance(value, Real) and 0 <= float(value) <= 1 for value in each):
        raise InputError(f"threshold {given!r}: expected a probability, 0 to 1, or one per class")
    if len(each) != count:
        raise InputError(f"threshold: found {len(each)} of them, expected one for all or {count}")
    return tuple(map(float, each))
