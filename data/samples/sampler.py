"""Which samples make up each batch of each epoch, on each rank."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data.errors import InputError


class BatchSampler:
    """Yields batches of keys: what the training data set is indexed with.

    Each epoch is a permutation drawn from (seed, epoch), divided into global batches; each rank
    takes its consecutive share of every global batch. So the same samples form the same steps for
    any world size. The last, incomplete batch is left out, as published.
    """

    def __init__(
        self, length: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        """Check that the batches can be divided.

        Args:
            length: number of samples.
            batch_size: of a global batch, over all ranks.
            seed: of the permutations.
            rank: of this process.
            world: number of ranks.
        """
        if batch_size % world:
            raise InputError(
                f"--batch-size {batch_size} counts all ranks; it must be a multiple of their "
                f"number, {world}"
            )
        if length < batch_size:
            raise InputError(
                f"--batch-size {batch_size} is more than the {length} training samples"
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.share = batch_size // world  # batch per rank
        self.epoch = 0
        self.first_step = 0

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return self.length // self.batch_size

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Make the next iteration begin at this step of this epoch, as a resumed run needs it."""
        self.epoch = epoch
        self.first_step = step

    def __iter__(self) -> Iterator[Sequence[Any]]:
        keys = self.keys(self.epoch, np.random.default_rng((self.seed, self.epoch)))
        for step in range(self.first_step, len(self)):
            begin = step * self.batch_size + self.rank * self.share
            yield keys[begin : begin + self.share]

    def keys(self, epoch: int, rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
        """All keys of an epoch, in order: (epoch, index) of every sample, shuffled."""
        return [(epoch, int(index)) for index in rng.permutation(self.length)]
