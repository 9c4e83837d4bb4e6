"""Files of edge labels, as the tests of all label scripts read them."""

from pathlib import Path

import numpy as np

from data.edges import decode_png
from data.image_io import read_image


def read_bits(path: Path) -> np.ndarray:
    """The edges of a PNG of up to 24 classes, uint32 (H, W)."""
    return decode_png(read_image(path))
