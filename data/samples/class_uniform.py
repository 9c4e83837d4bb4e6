"""Class-uniform sampling (Zhu et al., CVPR 2019): a share of each epoch's crops is centred on classes, the same number on each class.

An image is divided into square tiles. For each tile and class present in it, the index holds the centre of the class's pixels; a crop
is then placed so that it holds such a point. The index depends on the labels alone, so it is made once and kept beside them.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from data.base import Dataset, Record
from data.errors import InputError
from data.files import write_aside
from data.samples.sampler import BatchSampler

VERSION = 1  # of the index; it is part of the key of a kept file
CHUNK = 16  # samples per task


class Draw(NamedTuple):
    """One training item: which sample, how many-th item of the epoch it is, and the pixel (y, x) of it that the crop must hold."""

    epoch: int
    index: int
    place: int = 0
    around: tuple[int, int] | None = None


@dataclass(frozen=True)
class ClassUniform:
    """index: int32 (M, 4) of (class, sample, y, x), see `class_index`. share: of an epoch's items that are centred on classes.

    boost: the same of further samples, whose numbers go on where those of the data set end; they are used up to and including epoch
    `last_boost_epoch` (counted from 0), and only around a class.
    """

    index: np.ndarray
    share: float
    num_classes: int
    boost: np.ndarray | None = None
    last_boost_epoch: int = 0

    def points(self, epoch: int) -> np.ndarray:
        """The index that this epoch draws from."""
        if self.boost is None or epoch > self.last_boost_epoch:
            return self.index
        return np.concatenate([self.index, self.boost])


class ClassUniformSampler(BatchSampler):
    """Batches of `Draw`s. Every class gets the same number of items, floor(share * samples / classes), a random choice among its points
    that uses each once before it uses one again; the rest are samples taken at random, each at most once.

    The published sampler lets the epoch shrink where a class has no point; here random samples take its place, so that every
    epoch has as many items as the data set has samples.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        uniform: ClassUniform,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(length, batch_size, seed=seed, rank=rank, world=world)
        self.uniform = uniform

    def keys(self, epoch: int, rng: np.random.Generator) -> list[tuple]:
        """The epoch's items in the order in which they are trained on."""
        points = self.uniform.points(epoch)
        each = int(self.length * self.uniform.share / self.uniform.num_classes)
        chosen = [
            _repeat(rng.permutation(np.flatnonzero(points[:, 0] == k)), each)
            for k in np.unique(points[:, 0])
        ]
        centred = points[np.concatenate(chosen)] if chosen else points
        at_random = rng.permutation(self.length)[: self.length - len(centred)]
        items = [(int(sample), (int(y), int(x))) for _, sample, y, x in centred]
        items += [(int(sample), None) for sample in at_random]
        order = rng.permutation(len(items))
        return [
            Draw(epoch, items[number][0], place, items[number][1])
            for place, number in enumerate(order)
        ]


def class_index(
    dataset: Dataset, tile: int, *, workers: int = 1, cache: Path | None = None
) -> np.ndarray:
    """int32 (M, 4): (class, sample, y, x) of every class in every tile of every sample.

    Made by `workers` processes, and kept in `class_centroids/` below the data set's folder, or, where that cannot be written, below the
    user's cache folder (`cache` puts it elsewhere). The kept file's name holds a digest of what the index depends on, the label
    files' sizes and times among it, so that a stale one is never read; it is written whole or not at all, so any number of
    processes may do so at once.
    """
    labelled = [record for record in dataset.records if record.label is not None]
    if len(labelled) < len(dataset):
        raise InputError(
            f"{dataset.name} {dataset.split}: class-uniform sampling needs label files; train with --class-uniform-pct 0"
        )
    name = f"{dataset.name}-{dataset.split}-tile{tile}-{_digest(dataset, tile)}.npy"
    folders = (
        [cache] if cache else [root / "class_centroids" for root in (dataset.root, _user_cache())]
    )
    for folder in folders:
        kept = _read(folder / name)
        if kept is not None:
            return kept
    chunks = [
        range(first, min(first + CHUNK, len(dataset))) for first in range(0, len(dataset), CHUNK)
    ]
    parts = Parallel(n_jobs=max(1, workers))(
        delayed(_sample_index)(dataset, numbers, tile)
        for numbers in tqdm(
            chunks, desc=f"class centroids of {dataset.split}", leave=False, disable=None
        )
    )
    index = np.concatenate(parts)
    _keep(index, folders, name)
    return index


def tile_centroids(label: np.ndarray, num_classes: int, tile: int) -> np.ndarray:
    """int32 (M, 3): (class, y, x), the centre of mass, rounded down, of every class in every tile of a label uint8 (H, W).

    As published only whole tiles count, from the top left corner on; but a side shorter than a tile is one tile (published: none, so
    that such images would never be drawn).
    """
    height, width = label.shape
    rows, columns = min(tile, height), min(tile, width)
    found = []
    for top in range(0, height - rows + 1, rows):
        for left in range(0, width - columns + 1, columns):
            part = label[top : top + rows, left : left + columns].astype(np.int64)
            down, across = np.arange(rows)[:, None], np.arange(columns)
            by_row = np.bincount((part + 256 * down).ravel(), minlength=256 * rows).reshape(
                rows, 256
            )
            by_column = np.bincount((part + 256 * across).ravel(), minlength=256 * columns).reshape(
                columns, 256
            )
            count = by_row.sum(axis=0)
            present = np.flatnonzero(count[:num_classes])
            y = (down.T @ by_row)[0, present] // count[present] + top
            x = (across @ by_column)[present] // count[present] + left
            found.append(np.stack([present, y, x], axis=1))
    return np.concatenate(found).astype(np.int32)


def pick_classes(index: np.ndarray, classes: Iterable[int], first_sample: int) -> np.ndarray:
    """The rows of an index that are of these classes, their samples counted from `first_sample`."""
    part = index[np.isin(index[:, 0], list(classes))].copy()
    part[:, 1] += first_sample
    return part


def _sample_index(dataset: Dataset, numbers: Sequence[int], tile: int) -> np.ndarray:
    parts = [np.empty((0, 4), np.int32)]
    for number in numbers:
        label, _ = dataset.read_truth(dataset.records[number])
        points = tile_centroids(label, dataset.num_classes, tile)
        parts.append(np.insert(points, 1, number, axis=1))
    return np.concatenate(parts)


def _repeat(values: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of values, values, values, ..."""
    return np.resize(values, count)


def _digest(dataset: Dataset, tile: int) -> str:
    """16 digits that change when the index would."""
    known = hashlib.sha256(f"{VERSION} {dataset.name} {dataset.num_classes} {tile}\n".encode())
    for record in dataset.records:
        known.update(_line(record, dataset.root))
    return known.hexdigest()[:16]


def _line(record: Record, root: Path) -> bytes:
    found = record.label.stat()
    return f"{os.path.relpath(record.label, root)} {found.st_size} {found.st_mtime_ns}\n".encode()


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "semantic-edges"


def _read(path: Path) -> np.ndarray | None:
    """A kept index; None if there is none, or if the file is damaged."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        kept = np.load(path, allow_pickle=False)
        if kept.dtype == np.int32 and kept.ndim == 2 and kept.shape[1] == 4:
            return kept
    return None


def _keep(index: np.ndarray, folders: Sequence[Path], name: str) -> None:
    """Write the index into the first of the folders that takes it; into none, and the next run makes it again."""
    for folder in folders:
        if folder.parent.is_dir() and not folder.parent.stat().st_mode & 0o222:
            continue  # meant to be left alone, also by root, whom the file system would let write
        with contextlib.suppress(OSError), write_aside(folder / name) as aside:
            with aside.open("wb") as file:
                np.save(file, index)
            return
