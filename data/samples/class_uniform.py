"""Class-uniform sampling (Zhu et al., CVPR 2019).

A share of each epoch's crops is centred on classes, the same number on each class. An image is
divided into square tiles. For each tile and class present in it, the index holds the centre of
the class's pixels; a crop is then placed so that it holds such a point. The index depends on the
labels alone, so it is made once and kept in the user's cache folder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.base import Dataset
from data.errors import InputError
from data.samples.sampler import BatchSampler
from data.system.cache import CacheEntry, cached_array
from data.system.chunks import CHUNK, map_chunks

VERSION = 1  # of the index


class CropKey(NamedTuple):
    """What one training crop is made from.

    epoch: counted from 0.
    sample: index of the sample.
    position: of the crop in the epoch. A sample may occur several times; it makes them differ.
    around: the pixel (y, x) of the sample that the crop must hold; None: any.
    """

    epoch: int
    sample: int
    position: int = 0
    around: tuple[int, int] | None = None


@dataclass(frozen=True)
class ClassUniform:
    """Which points the crops of an epoch are centred on.

    index: int32 (M, 4) of (class, sample, y, x), see `class_index`.
    share: of an epoch's crops that are centred on classes.
    boost: more points, of coarsely labelled samples, whose numbers follow those of the data set;
        they are used only around a class.
    last_boost_epoch: the last epoch (counted from 0) that uses `boost`.
    """

    index: np.ndarray
    share: float
    num_classes: int
    boost: np.ndarray | None = None
    last_boost_epoch: int = 0

    def points(self, epoch: int) -> np.ndarray:
        """The points that this epoch chooses from."""
        if self.boost is None or epoch > self.last_boost_epoch:
            return self.index
        return np.concatenate([self.index, self.boost])


class ClassUniformSampler(BatchSampler):
    """Yields batches of `CropKey`s.

    Every class gets the same number of crops, floor(share * samples / classes), around a random
    choice of its points that uses each once before it uses one again. The other crops are of
    samples taken at random, each at most once.

    The published sampler lets the epoch shrink where a class has no point; here random samples
    take its place, so that every epoch has as many crops as the data set has samples.
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
        """See `BatchSampler` for the arguments that are not named here.

        Args:
            length: number of samples, without those of `uniform.boost`.
            batch_size: of a global batch, over all ranks.
            uniform: the points to centre crops on.
        """
        super().__init__(length, batch_size, seed=seed, rank=rank, world=world)
        self.uniform = uniform

    def keys(self, epoch: int, rng: np.random.Generator) -> list[CropKey]:
        """The epoch's crops in the order in which they are trained on."""
        points = self.uniform.points(epoch)
        per_class = int(self.length * self.uniform.share / self.uniform.num_classes)
        chosen = [
            # np.resize repeats the permutation as often as needed.
            np.resize(rng.permutation(np.flatnonzero(points[:, 0] == k)), per_class)
            for k in np.unique(points[:, 0])
        ]
        centred = points[np.concatenate(chosen)] if chosen else points
        at_random = rng.permutation(self.length)[: self.length - len(centred)]
        crops: list[tuple[int, tuple[int, int] | None]] = [
            (int(sample), (int(y), int(x))) for _, sample, y, x in centred
        ]
        crops += [(int(sample), None) for sample in at_random]
        order = rng.permutation(len(crops))
        return [CropKey(epoch, crops[n][0], p, crops[n][1]) for p, n in enumerate(order)]


def class_index(
    dataset: Dataset, tile: int, *, workers: int = 1, cache: Path | None = None
) -> np.ndarray:
    """int32 (M, 4): (class, sample, y, x) of every class in every tile of every sample.

    The index is kept, see `data.system.cache`.

    Args:
        dataset: samples with label files; InputError if one has none, or if a label does not have
            its image's size.
        tile: side of the square tiles in pixels.
        workers: processes that make the index.
        cache: the folder to keep the index in, instead of the user's.
    """
    if any(record.label is None for record in dataset.records):
        raise InputError(
            f"{dataset.name} {dataset.split}: class-uniform sampling needs label files; train "
            "with --class-uniform-pct 0"
        )
    entry = CacheEntry(
        "class_centroids",
        f"{dataset.name}-{dataset.split}-tile{tile}",
        dataset.root,
        f"{VERSION} {dataset.name} {dataset.num_classes} {tile}{dataset.meaning()}",
        [record.label_path() for record in dataset.records],
    )
    return cached_array(
        entry,
        partial(_make_index, dataset, tile, workers),
        partial(_is_index, dataset),
        folder=cache,
    )


def tile_centroids(label: np.ndarray, num_classes: int, tile: int) -> np.ndarray:
    """int32 (M, 3): (class, y, x), the centre of mass, rounded down, of every class in every tile.

    As published only whole tiles count, from the top left corner on. But a side shorter than a
    tile is one tile (published: none, so that such images would never be chosen).

    label: uint8 (H, W). tile: side in pixels.
    """
    height, width = label.shape
    rows, columns = min(tile, height), min(tile, width)
    found = []
    for top in range(0, height - rows + 1, rows):
        for left in range(0, width - columns + 1, columns):
            part = label[top : top + rows, left : left + columns]
            found.append(_centroids(part, num_classes) + np.array([0, top, left]))
    return np.concatenate(found).astype(np.int32)


def pick_classes(index: np.ndarray, classes: Iterable[int], first_sample: int) -> np.ndarray:
    """The rows of an index that are of these classes, their samples counted from `first_sample`."""
    part = index[np.isin(index[:, 0], list(classes))].copy()
    part[:, 1] += first_sample
    return part


def _centroids(part: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 (M, 3): (class, y, x) of every class in uint8 (h, w)."""
    rows, columns = part.shape
    y = np.arange(rows)
    x = np.arange(columns)
    # Histograms of the ids in each row and in each column, (rows, 256) and (columns, 256).
    by_row = _histograms(part + 256 * y[:, None], rows)
    by_column = _histograms(part + 256 * x, columns)
    count = by_row.sum(axis=0)
    present = np.flatnonzero(count[:num_classes])
    centre_y = (y @ by_row)[present] // count[present]
    centre_x = (x @ by_column)[present] // count[present]
    return np.stack([present, centre_y, centre_x], axis=1)


def _histograms(codes: np.ndarray, lines: int) -> np.ndarray:
    return np.bincount(codes.ravel(), minlength=256 * lines).reshape(lines, 256)


def _make_index(dataset: Dataset, tile: int, workers: int) -> np.ndarray:
    parts = map_chunks(
        partial(_index_of_samples, dataset, tile),
        range(len(dataset)),
        workers=workers,
        title=f"class centroids of {dataset.split}",
        what=f"{dataset.name} {dataset.split}",
        chunk=CHUNK,
    )
    return np.concatenate(parts)


def _index_of_samples(dataset: Dataset, tile: int, numbers: Sequence[int]) -> np.ndarray:
    parts = [np.empty((0, 4), np.int32)]
    for number in numbers:
        label, _ = dataset.ground_truth(dataset.records[number])
        assert label is not None
        points = tile_centroids(label, dataset.num_classes, tile)
        parts.append(np.insert(points, 1, number, axis=1))
    return np.concatenate(parts)


def _is_index(dataset: Dataset, kept: np.ndarray) -> bool:
    if kept.dtype != np.int32 or kept.ndim != 2 or kept.shape[1] != 4:
        return False
    return not kept.size or bool(
        kept.min() >= 0
        and kept[:, 0].max() < dataset.num_classes
        and kept[:, 1].max() < len(dataset)
    )
