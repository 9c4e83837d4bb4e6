"""The outlines of a label map as semantic edges, for nets that segment.

choice = OutlineChoice.of(predictor.info)
lines = choice.edges(predictor(image))   # bool (K, H, W)
"""

from dataclasses import dataclass

import numpy as np

from data.edges import class_edges, hard_edges
from utils.inference.edge_lines import checked_min_length, without_short
from utils.inference.line_style import DEFAULT, LineStyle
from utils.model_info import ModelInfo


@dataclass(frozen=True)
class OutlineChoice:
    """The edges that test.py would take for ground truth if the label map were one.

    Args:
        num_classes: of the net.
        thin: lines of one pixel, as ground truth is made for thinned scores: the rule of
            `data.edges.label_to_edges` at radius 1, then thinning. Otherwise bands of four pixels,
            radius 2, as nets are trained with.
        min_length: leave out the lines (8-connected pixels, after thinning) of fewer pixels.
        style: how lines are drawn.
    """

    num_classes: int
    thin: bool = True
    min_length: int = 0
    style: LineStyle = DEFAULT

    @classmethod
    def of(
        cls,
        info: ModelInfo,
        *,
        thin: bool | None = None,
        min_length: int = 0,
        style: LineStyle | None = None,
    ) -> "OutlineChoice":
        """The choice for a net; thin: None for True. InputError for values that make no sense."""
        thinned = True if thin is None else thin
        length = checked_min_length(min_length, thinned)
        style = style or DEFAULT
        style.require_lines(thinned)
        return cls(info.num_classes, thinned, length, style)

    @property
    def lines(self) -> bool:
        """Whether the edges are lines, not bands."""
        return self.thin

    def edges(self, labels: np.ndarray) -> np.ndarray:
        """bool (K, H, W) from a label map uint8 (H, W)."""
        groups = hard_edges(labels, num_classes=self.num_classes, thin=self.thin)
        found = np.empty((self.num_classes, *labels.shape), bool)
        for k in range(self.num_classes):
            found[k] = class_edges(groups, k)
        if self.min_length:
            for k in np.flatnonzero(found.any(axis=(1, 2))):
                found[k] = without_short(found[k], self.min_length)
        return found

    def describe(self) -> str:
        """In a few words, for the terminal."""
        words = ["outlines of the label map", "thinned" if self.thin else "not thinned"]
        if self.min_length:
            words.append(f"lines of {self.min_length} pixels or more")
        return ", ".join(words)
