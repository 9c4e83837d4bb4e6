"""Small images for the page: a JPEG, and over it a PNG for each class with its edges and area.

Edges are computed at full size and reduced so that any edge within a small pixel shows: a line of
one pixel stays at least one pixel wide.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data.base import Dataset, Record
from data.edges import class_edges, class_groups, label_to_edges
from data.errors import InputError

PAGE_BYTES = 6_500_000  # of all thumbnails, as base64
MAX_SIDE = 560
MIN_SIDE = 120
BYTES_A_PIXEL = 0.4  # of a thumbnail with its layers, roughly, for the choice of a side
QUALITIES = (86, 75, 60, 45, 30, 15)
TWIN_SIDE = 280  # pixels of near-duplicates


class Layer(NamedTuple):
    """The edges and the area of a class over an image, as data URLs; edges may be empty."""

    label: int
    edges: str
    area: str


@dataclass(frozen=True)
class Thumbnail:
    """number: of the item. size: (H, W) of the image itself. image: a data URL."""

    number: int
    size: tuple[int, int]
    image: str
    layers: tuple[Layer, ...] = ()


class ThumbnailTask(NamedTuple):
    """One thumbnail to make.

    Args:
        number: of the item.
        reader: the data set without its records.
        record: of the image.
        edge_classes: how many classes have edges.
        side: pixels of the longer side at most.
        limit: bytes of the JPEG, at most, if any quality allows.
        with_label: its layers are made, too.
    """

    number: int
    reader: Dataset
    record: Record
    edge_classes: int
    side: int
    limit: int
    with_label: bool = True


def side_for(count: int) -> int:
    """The longer side of `count` thumbnails of a page, in pixels."""
    pixels = PAGE_BYTES / max(1, count) / BYTES_A_PIXEL
    return int(np.clip(math.sqrt(pixels * 4 / 3), MIN_SIDE, MAX_SIDE))


def make_thumbnail(task: ThumbnailTask) -> Thumbnail | None:
    """Read the files again and draw them; None if the image cannot be read."""
    try:
        image = task.reader.read_image(task.record)
    except (InputError, OSError, MemoryError):
        return None
    size = image.shape[:2]
    small = reduced(image, task.side)
    layers: tuple[Layer, ...] = ()
    if task.with_label and task.record.label is not None:
        layers = _layers(task, size, small.shape[:2])
    return Thumbnail(task.number, size, jpeg_url(small, task.limit), layers)


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    """uint8 (H, W, 3) with at most `side` pixels on its longer side."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def jpeg_url(image: np.ndarray, limit: int) -> str:
    """A data URL of uint8 (H, W, 3), of the best quality that `limit` bytes allow."""
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    encoded = b""
    for quality in QUALITIES:
        encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(encoded) <= limit:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"


def mask_url(mask: np.ndarray, color: Sequence[int]) -> str:
    """A data URL of a PNG: bool (H, W) in one colour, the rest transparent."""
    image = Image.fromarray(mask.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, *color])
    file = io.BytesIO()
    image.save(file, "PNG", bits=1, transparency=0, optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def any_inside(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W) -> bool of `size`: whether any pixel within the small one is set."""
    if mask.shape == size:
        return mask
    covered = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return covered > 1e-6


def _layers(
    task: ThumbnailTask, size: tuple[int, ...], small: tuple[int, ...]
) -> tuple[Layer, ...]:
    try:
        label, instance = task.reader.read_ground_truth(task.record)
    except (InputError, OSError, MemoryError):
        return ()
    # A map of another size cannot be laid over its image; that is among its reasons.
    if label is None or label.shape != size:
        return ()
    if instance is not None and instance.shape != size:
        instance = None
    height, width = small[:2]
    parts = class_groups(label, instance, num_classes=task.edge_classes)
    groups = [label_to_edges(part, ids, radius=1, **rule) for part, ids, rule in parts]
    nearest = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
    layers: list[Layer] = []
    for k in np.flatnonzero(np.bincount(label.ravel(), minlength=256)).tolist():
        if k >= task.reader.num_classes:
            continue
        color = task.reader.palette[k].tolist()
        edges = ""
        if k < task.edge_classes and (mask := class_edges(groups, k)).any():
            edges = mask_url(any_inside(mask, (height, width)), color)
        layers.append(Layer(k, edges, mask_url(nearest == k, color)))
    return tuple(layers)
