"""A folder of anybody's own data, written by hand: images, ids, objects, dataset.json."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.image_io import write_png

SPLITS = {"train": ["train"], "val": ["val"], "test": ["test"]}


def describe(root: Path, classes: int | Sequence[object], **entries: object) -> Path:
    """Write ROOT/dataset.json: classes as given, or "c0", "c1", … with the ids 0, 1, …"""
    rows = [{"name": f"c{k}"} for k in range(classes)] if isinstance(classes, int) else classes
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"classes": rows, **entries}, ensure_ascii=False)
    (root / "dataset.json").write_text(text, encoding="utf-8")
    return root


def folder_at(
    root: Path,
    classes: int,
    rng: np.random.Generator,
    *,
    size: tuple[int, int] = (48, 64),
    counts: Sequence[int] = (4, 2, 2),
    block: int = 8,
    objects: bool = False,
) -> Path:
    """Images of (H, W) in blocks of random classes, ids 0 to K - 1, and 255 for none.

    Splits train, val and test are folders of that name, with `counts` images.
    objects: with maps of three objects, 0 to 2, in blocks shifted by half.
    """
    describe(root, classes, none_ids=[255], splits=SPLITS)
    for split, count in zip(SPLITS, counts, strict=True):
        for number in range(count):
            name = f"{split}/{split} {number}.png"
            shape = (size[0] // block + 1, size[1] // block + 1)
            ids = rng.choice([*range(classes), 255], shape)
            label = np.kron(ids, np.ones((block, block), int))[: size[0], : size[1]]
            write_png(root / "labels" / name, label.astype(np.uint8))
            image = np.stack([label, 255 - label, label * 7 % 256], axis=2)
            write_png(root / "images" / name, image.astype(np.uint8))
            if objects:
                drawn = np.kron(rng.integers(0, 3, shape), np.ones((block, block), int))
                drawn = drawn[block // 2 :, block // 2 :][: size[0], : size[1]]
                padded = np.zeros(size, np.uint16)
                padded[: drawn.shape[0], : drawn.shape[1]] = drawn
                write_png(root / "instances" / name, padded)
    return root


def loop_edges(
    label: np.ndarray, region: np.ndarray | None, classes: int, radius: int
) -> np.ndarray:
    """bool (K, H, W), pixel by pixel: the published rule, for maps without ignored pixels.

    A pixel is an edge of class k if a pixel within the radius differs from it on the class's own
    map: the number of its region where the class is, 0 elsewhere.
    """
    height, width = label.shape
    ids = label.tolist()
    numbers = [[1] * width] * height if region is None else (region.astype(int) + 1).tolist()
    edges = np.zeros((classes, height, width), bool)
    reach = range(-radius, radius + 1)
    disk = [(dy, dx) for dy in reach for dx in reach if 0 < dy * dy + dx * dx <= radius * radius]
    for y in range(height):
        for x in range(width):
            for dy, dx in disk:
                v, u = y + dy, x + dx
                if not (0 <= v < height and 0 <= u < width):
                    continue
                here, there = (ids[y][x], numbers[y][x]), (ids[v][u], numbers[v][u])
                if here == there:
                    continue
                for k in {here[0], there[0]}:
                    if k < classes:
                        edges[k, y, x] = True
    return edges
