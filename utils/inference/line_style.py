"""How lines of one pixel are drawn: wide enough to be seen where a large image is shown small."""

from dataclasses import dataclass
from numbers import Integral, Real

import cv2
import numpy as np

from data.errors import InputError

OF_WIDTH = 400  # lines are drawn a 400th of the image's width wide
CASING = 0.4  # of a line's width, on either side
WHITENESS = 0.7  # of a casing
SHORTEST_DASH = 4  # pixels
MAX_WIDTH = 255  # pixels
MAX_TOLERANCE = 1000  # pixels
TOLERANCE = 1.0  # pixels


@dataclass(frozen=True)
class LineStyle:
    """How lines of one pixel are drawn; InputError for values that make no sense.

    Args:
        width: pixels; 0: by the image's, see `line_width`.
        simplify: pixels that polylines may be away from their pixels; 0: each pixel is a point.
    """

    width: int = 0
    simplify: float = TOLERANCE

    def __post_init__(self) -> None:
        whole = isinstance(self.width, Integral) and not isinstance(self.width, bool)
        if not whole or not 0 <= self.width <= MAX_WIDTH:
            raise InputError(
                f"line width {self.width!r}: expected a number of pixels, 0 to {MAX_WIDTH}"
            )
        if not isinstance(self.simplify, Real) or not 0 <= self.simplify <= MAX_TOLERANCE:
            raise InputError(
                f"simplify {self.simplify!r}: expected a number of pixels, 0 to {MAX_TOLERANCE}"
            )

    def require_lines(self, lines: bool) -> None:
        """InputError if a width is given for edges that are no lines."""
        if self.width and not lines:
            raise InputError("--line-width is of thinned edges: add --thin")

    def width_in(self, image_width: int) -> int:
        """Pixels of a line in an image of this width."""
        return self.width or line_width(image_width)


DEFAULT = LineStyle()


def line_width(image_width: int) -> int:
    """Pixels: a 400th of the image's width, 1 below 600 pixels."""
    return max(1, round(image_width / OF_WIDTH))


def widen(lines: np.ndarray, width: int) -> np.ndarray:
    """Lines of one pixel, bool (K, H, W), as lines `width` pixels wide."""
    if width == 1:
        return lines
    shape = cv2.MORPH_RECT if width == 2 else cv2.MORPH_ELLIPSE
    brush = cv2.getStructuringElement(shape, (width, width))
    wide = np.empty(lines.shape, np.uint8)
    for plane, out in zip(lines, wide, strict=True):
        cv2.dilate(plane.view(np.uint8), brush, dst=out)
    return wide.view(bool)


def draw_lines(
    canvas: np.ndarray, lines: np.ndarray, palette: np.ndarray, width: int, *, cased: bool = False
) -> None:
    """Draw lines over a canvas, uint8 (H, W, 3), in place.

    Where several classes have a line, their colours alternate in dashes: a mixed colour would be in
    no legend, or be that of another class.

    Args:
        canvas: what they are drawn over.
        lines: bool (K, H, W), see `widen`.
        palette: uint8 (K, 3), RGB.
        width: of the lines, in pixels.
        cased: with a narrow white casing, so that dark and grey classes stand out from an image.
    """
    count = np.zeros(lines.shape[1:], np.int16)
    for plane in lines:
        count += plane
    if cased:
        _whiten(canvas, count > 0, max(1, round(CASING * width)))
    y, x = np.nonzero(count)
    dash = max(SHORTEST_DASH, 3 * width)
    turn = (y // dash + x // dash) % count[y, x]
    for plane, color in zip(lines, palette, strict=True):
        here = plane[y, x]
        chosen = here & (turn == 0)
        canvas[y[chosen], x[chosen]] = color
        turn -= here


def _whiten(canvas: np.ndarray, mask: np.ndarray, reach: int) -> None:
    """Fade what is within `reach` pixels of the mask, bool (H, W), almost to white, in place."""
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    near = cv2.dilate(mask.view(np.uint8), brush).view(bool)
    canvas[near] = np.rint(255 * WHITENESS + (1 - WHITENESS) * canvas[near])
