"""What tests of the importer's readers share: maps drawn as text, and a look at what is drawn."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from data.image_io import image_size
from data.importer.annotations import Annotations, Drawing, ReaderOptions


def art(text: str) -> np.ndarray:
    """uint8 (H, W) of rows of digits; "." is 0 and "x" 255."""
    values = {".": 0, "x": 255} | {str(digit): digit for digit in range(10)}
    return np.array([[values[letter] for letter in row] for row in text.split()], np.uint8)


def photo(path: Path, width: int, height: int) -> Path:
    """An image file of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (90, 90, 90)).save(path)
    return path


def save_map(path: Path, array: np.ndarray, palette: list[int] | None = None) -> Path:
    """A map as PNG: ids, colours (H, W, 3), or the indices of a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette is not None:
        image = Image.frombytes("P", array.shape[::-1], array.astype(np.uint8).tobytes())
        image.putpalette(palette)
    image.save(path)
    return path


def options(images: Path, **others: object) -> ReaderOptions:
    return ReaderOptions(images=images, **others)  # pyright: ignore[reportArgumentType]


def drawings(found: Annotations) -> dict[str, Drawing]:
    """What is drawn of each image, by its name, after a journey to a worker process."""
    drawn = {}
    for entry in found.entries:
        draw = pickle.loads(pickle.dumps(entry.draw))
        drawn[entry.name] = draw(entry.size or image_size(entry.image))
    return drawn


def names(found: Annotations) -> list[str]:
    return [entry.name for entry in found.classes]
