"""Cityscapes drawn small."""

from pathlib import Path

import numpy as np

from data.image_io import write_png


def write_frame(
    root: Path,
    split: str,
    city: str,
    name: str,
    label: np.ndarray,
    instance: np.ndarray,
    *,
    kind: str = "gtFine",
    color: tuple[int, int, int] | None = (0, 0, 0),
    unzipped: tuple[str, str] = ("", ""),
) -> None:
    """Write one frame: label ids, instance ids and an even image.

    color: of the image; None leaves it out.
    unzipped: the folders below the root in which the zips of images and of labels were unpacked.
    """
    folder = root / unzipped[1] / kind / split / city
    write_png(folder / f"{name}_{kind}_labelIds.png", label)
    write_png(folder / f"{name}_{kind}_instanceIds.png", instance)
    if color is not None:
        path = root / unzipped[0] / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
        write_png(path, np.full((*label.shape, 3), color, np.uint8))


def cityscapes_at(
    root: Path,
    split: str = "val",
    names: tuple[str, ...] = ("ulm_000000_000019", "ulm_000001_000019"),
    *,
    kind: str = "gtFine",
    unzipped: tuple[str, str] = ("", ""),
) -> Path:
    """A Cityscapes of 8x4 images: a car (instance 26000) on road, left column out of roi."""
    label = np.full((4, 8), 7, np.uint8)
    label[:, 0] = 3
    label[1:3, 3:6] = 26
    instance = label.astype(np.uint16)
    instance[1:3, 3:6] = 26000
    for name in names:
        city = name.split("_")[0]
        write_frame(
            root, split, city, name, label, instance, kind=kind, color=(1, 2, 3), unzipped=unzipped
        )
    return root
