"""What a Predictor takes as an image, and the least size that a net does."""

from pathlib import Path

import cv2
import numpy as np

from data.errors import InputError
from data.image_io import MAX_PIXELS
from utils.inference.options import MIN_SIDE

ImageLike = str | Path | np.ndarray  # a file, or uint8 (H, W, 3), RGB


def require_image(image: object) -> None:
    """ValueError unless `image` is a NumPy array uint8 (H, W, 3) with pixels, and not too many."""
    expected = "uint8 (H, W, 3), RGB"
    if not isinstance(image, np.ndarray):
        found = type(image).__name__
        raise ValueError(f"image: found {found}, expected a path or a NumPy array {expected}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: found {image.dtype} {image.shape}, expected {expected}")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise InputError(f"image: found {image.shape}, expected at most {MAX_PIXELS:,} pixels")


def pad_to_min_side(image: np.ndarray) -> np.ndarray:
    """Repeat the last row and column until both sides have MIN_SIDE pixels; contiguous.

    Repeated pixels draw no edge of their own, as a border of one colour would.
    """
    below, right = (max(0, MIN_SIDE - side) for side in image.shape[:2])
    if below or right:
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(image)
