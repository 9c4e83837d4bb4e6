"""BDD100K drawn small."""

from pathlib import Path

import cv2
import numpy as np

from data.bdd import LAYOUTS, Layout
from data.files import write_aside
from data.image_io import write_png

LABEL = np.array([[0, 0, 13, 13, 18, 255]] * 4, np.uint8)


def write_jpg(path: Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3), RGB, at the best quality."""
    with write_aside(path) as aside:
        _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
        aside.write_bytes(encoded.data)


def bdd_at(root: Path, layout: Layout = LAYOUTS[0]) -> Path:
    """Two images of 6x4 in train and val, one in test, which has no label."""
    images, labels, suffix = layout
    for part, names in (
        ("train", ("00a-1", "00b-2")),
        ("val", ("7d0-1", "7d1-2")),
        ("test", ("ac6-1",)),
    ):
        for place, name in enumerate(names):
            write_jpg(
                root / images / part / f"{name}.jpg",
                np.full((4, 6, 3), (50 * place, 100, 200), np.uint8),
            )
            if part != "test":
                write_png(
                    root / labels / part / f"{name}{suffix}.png", np.roll(LABEL, place, axis=1)
                )
    return root
