"""Does the border of a label lie where the image has an edge?"""

from typing import NamedTuple

import cv2
import numpy as np

LONG_SIDE = 1024  # larger images are reduced to it for this
NEAR = 3  # pixels
MAX_CHANCE = 0.98  # where nearly every pixel is near an edge, nothing can be said
MIN_BORDER = 50  # pixels of a border that say something


class EdgeFit(NamedTuple):
    """How a label's border fits the image.

    hits: share of the border's pixels with an edge of the image within NEAR pixels.
    chance: share of all pixels with one.
    """

    hits: float
    chance: float

    @property
    def score(self) -> float:
        """1: the whole border lies on edges. 0: no more of it than of the image as a whole."""
        return (self.hits - self.chance) / (1 - self.chance)


def edge_fit(image: np.ndarray, label: np.ndarray) -> EdgeFit | None:
    """Compare uint8 (H, W, 3) with uint8 (H, W); None where nothing can be said.

    An edge of the image is a pixel whose gradient (Sobel after a Gaussian of 1 pixel, of the
    grey image) is above the image's own median. Shifted and swapped labels of CamVid score 0.3
    to 0.7 by it, its own 0.99 in the median; higher quantiles separate them less well.
    """
    scale = LONG_SIDE / max(label.shape)
    if scale < 1:
        size = max(1, round(label.shape[1] * scale)), max(1, round(label.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    border = np.zeros(label.shape, bool)
    border[:-1] |= label[1:] != label[:-1]
    border[:, :-1] |= label[:, 1:] != label[:, :-1]
    if np.count_nonzero(border) < MIN_BORDER:
        return None
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = cv2.GaussianBlur(grey, (0, 0), 1)
    gradient = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    edges = (gradient > np.median(gradient)).astype(np.uint8)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR + 1, 2 * NEAR + 1))
    near = cv2.dilate(edges, disk).view(bool)
    chance = float(near.mean())
    return EdgeFit(float(near[border].mean()), chance) if chance <= MAX_CHANCE else None
