"""What an image's result looks like: edges or classes in colour, with a legend."""

import cv2
import numpy as np

from data.visualize import WHITE, add_legend, color_labels, draw_edges
from utils.inference.edge_lines import EdgeChoice
from utils.model_info import ModelInfo


class DrawnEdges:
    """The edges of an image, and how they look.

    Args:
        prob: float32 (K, H, W).
        info: colours.
        choice: which edges.

    Attributes: edges, bool (K, H, W). classes, those that occur. strength, float32 (k, H, W), of
    those, or of one if there are none, and palette, uint8 (k, 3): for `data.visualize`.
    """

    def __init__(self, prob: np.ndarray, info: ModelInfo, choice: EdgeChoice) -> None:
        self.edges = choice.edges(prob)
        occurs = self.edges.any(axis=(1, 2))
        if not choice.lines:  # with a threshold of 0, where there is no response at all
            occurs &= prob.any(axis=(1, 2))
        self.classes = np.flatnonzero(occurs).tolist()
        shown = self.classes or [0]
        self.palette = info.palette[shown]
        self.strength = choice.visible(prob[shown], self.edges[shown])

    @property
    def drawing(self) -> np.ndarray:
        """uint8 (H, W, 3): the edges on white."""
        return draw_edges(self.strength, self.palette, threshold=0)


def draw_result(
    result: np.ndarray,
    info: ModelInfo,
    choice: EdgeChoice | None = None,
    *,
    image: np.ndarray | None = None,
) -> np.ndarray:
    """Edges or classes in colour, with a legend of those that occur: uint8 (H', W', 3), RGB.

    Args:
        result: probabilities float32 (K, H, W) or labels uint8 (H, W), by the network's task.
        info: classes and colours.
        choice: which edges; None for segmentation.
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
