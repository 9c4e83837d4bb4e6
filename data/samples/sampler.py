"""Which samples make up each batch of each epoch, on each rank."""

from collections.abc import Iterator

import numpy as np

from data.errors import InputError


class BatchSampler:
    """Batches of (epoch, index) keys: each epoch is a permutation drawn from (seed, epoch), cut into global batches.

    Each rank takes its consecutive share of every global batch, so the same samples form the same steps for any number of ranks.
    The last, incomplete batch is left out, as published. `start_at(epoch, step)` begins the next iteration there.
    """

    def __init__(
        self, length: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if batch_size % world:
            raise InputError(
                f"--batch-size {batch_size} counts all ranks; it must be a multiple of their number, {world}"
            )
        if length < batch_size:
            raise InputError(
                f"--batch-size {batch_size} is more than the {length} training samples"
            )
        self.length, self.batch_size, self.seed, self.rank = length, batch_size, seed, rank
        self.share = batch_size // world
        self.epoch, self.first_step = 0, 0

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return self.length // self.batch_size

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Make the next iteration begin at this step of this epoch."""
        self.epoch, self.first_step = epoch, step

    def __iter__(self) -> Iterator[list[tuple]]:
        keys = self.keys(self.epoch, np.random.default_rng((self.seed, self.epoch)))
        for step in range(self.first_step, len(self)):
            begin = step * self.batch_size + self.rank * self.share
            yield keys[begin : begin + self.share]

    def keys(self, epoch: int, rng: np.random.Generator) -> list[tuple]:
        """What the data set is asked for in this epoch, in order: (epoch, index) of every sample, shuffled."""
        return [(epoch, int(index)) for index in rng.permutation(self.length)]
