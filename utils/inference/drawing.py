"""What an image's result looks like: edges or classes in colour, with a legend."""

from functools import cached_property

import cv2
import numpy as np

from data.visualize import WHITE, add_legend, color_labels, draw_edges, draw_overlay, faded
from utils.inference.edge_lines import EdgeChoice
from utils.inference.line_style import draw_lines, widen
from utils.inference.outlines import OutlineChoice
from utils.model_info import ModelInfo

Choice = EdgeChoice | OutlineChoice


class DrawnEdges:
    """The edges of an image, and how they look.

    Args:
        result: what the choice chooses in: probabilities float32 (K, H, W), or labels uint8 (H, W).
        info: colours.
        choice: which edges.

    Attributes: edges, bool (K, H, W). prob, `result` if it is probabilities, else None. classes,
    those that occur. line_width, pixels: lines are drawn fully, and wide enough to be seen where a
    large image is shown small. Bands (0) are as strong as their probability.
    """

    def __init__(self, result: np.ndarray, info: ModelInfo, choice: Choice) -> None:
        self.edges = choice.edges(result)
        self.prob = result if isinstance(choice, EdgeChoice) else None
        occurs = self.edges.any(axis=(1, 2))
        if self.prob is not None and not choice.lines:
            occurs &= self.prob.any(axis=(1, 2))  # with a threshold of 0: where nothing responds
        self.classes = np.flatnonzero(occurs).tolist()
        self.line_width = choice.style.width_in(self.edges.shape[2]) if choice.lines else 0
        self._shown = self.classes or [0]
        self._palette = info.palette[self._shown]

    @property
    def drawing(self) -> np.ndarray:
        """uint8 (H, W, 3): the edges on white."""
        if not self.line_width:
            return draw_edges(self._strength, self._palette, threshold=0)
        canvas = np.full((*self.edges.shape[1:], 3), WHITE, np.uint8)
        draw_lines(canvas, self._wide, self._palette, self.line_width)
        return canvas

    def over(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3): the edges over their image, uint8 (H, W, 3)."""
        if not self.line_width:
            return draw_overlay(image, self._strength, self._palette, threshold=0)
        canvas = faded(image)
        draw_lines(canvas, self._wide, self._palette, self.line_width, cased=True)
        return canvas

    @cached_property
    def _wide(self) -> np.ndarray:
        """bool (k, H, W): the lines that are shown, in their width."""
        return widen(self.edges[self._shown], self.line_width)

    @property
    def _strength(self) -> np.ndarray:
        """float32 (k, H, W) of the classes that are shown."""
        edges = self.edges[self._shown]
        if self.prob is None:
            return edges.astype(np.float32)
        return np.where(edges, self.prob[self._shown], np.float32(0))


def draw_result(
    result: np.ndarray,
    info: ModelInfo,
    choice: Choice | None = None,
    *,
    image: np.ndarray | None = None,
) -> np.ndarray:
    """Edges or classes in colour, with a legend of those that occur: uint8 (H', W', 3), RGB.

    Args:
        result: probabilities float32 (K, H, W) or labels uint8 (H, W), as the choice takes them.
        info: classes and colours.
        choice: which edges; None for the classes of a segmentation.
        image: uint8 (H, W, 3); it is put to the left of the drawing.
    """
    if choice is not None:
        drawn = DrawnEdges(result, info, choice)
        drawing, classes = drawn.drawing, drawn.classes
    else:
        drawing, classes = color_labels(result, info.palette), present_classes(result, info)
    if image is not None:
        drawing = beside(image, drawing)
    return add_legend(drawing, classes, info.classes, info.palette)


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two images uint8 (H, W, 3) in one, with a narrow white gap: uint8 (H, W', 3)."""
    gap = max(2, left.shape[1] // 100)
    wide = cv2.copyMakeBorder(left, 0, 0, 0, gap, cv2.BORDER_CONSTANT, value=WHITE)
    return np.hstack([wide, right])


def present_classes(labels: np.ndarray, info: ModelInfo) -> list[int]:
    return np.flatnonzero(np.bincount(labels.ravel(), minlength=info.num_classes)).tolist()
