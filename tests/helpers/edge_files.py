"""Predictions and ground truth of semantic edges as files."""

from pathlib import Path

import numpy as np

from data.edges import encode_png, pack
from data.image_io import write_png

SIZE = (30, 40)


def write_edge_files(
    root: Path, rng: np.random.Generator
) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Write four images of three classes: class folders in `root`/pred, thin and raw in `root`/gt.

    Class 2 has no ground truth, and thin and raw are the same. Returns (names, scores uint16
    (3, H, W), true bits uint32 (H, W)).
    """
    names, scores, truths = [f"p{i}" for i in range(4)], [], []
    for name in names:
        first, second = rng.random(SIZE) < 0.05, rng.random(SIZE) < 0.03
        bits = pack(np.stack([first, second, np.zeros(SIZE, bool)]))
        prob = (rng.random((3, *SIZE)) * 65535).astype(np.uint16)
        for k in range(3):
            write_png(root / "pred" / f"class_{k + 1:03d}" / f"{name}.png", prob[k])
        for mode in ("thin", "raw"):
            write_png(root / "gt" / f"gt_{mode}" / "inst" / f"{name}.png", encode_png(bits))
        scores.append(prob)
        truths.append(bits)
    return names, scores, truths
