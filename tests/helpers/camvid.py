"""CamVid drawn small."""

from pathlib import Path

import numpy as np

from data.image_io import write_png


def camvid_at(
    root: Path, splits: tuple[str, ...] = ("train", "val", "test"), prefix: str = ""
) -> Path:
    """A CamVid of three 6x4 images per split; label pixel (0, i) is class i, the rest void."""
    for number, split in enumerate(splits):
        lines = []
        for i in range(3):
            name = f"{split}{i}.png"
            label = np.full((4, 6), 11, np.uint8)
            label[0, i] = i
            write_png(root / split / name, np.full((4, 6, 3), (10 * i, number, 200), np.uint8))
            write_png(root / f"{split}annot" / name, label)
            lines.append(f"{prefix}{split}/{name} {prefix}{split}annot/{name}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root
