"""Batches: every sample once per epoch, the same global batches for any number of ranks."""

import pytest

from data.errors import InputError
from data.samples.sampler import BatchSampler


def batches(
    epoch: int, *, world: int = 1, step: int = 0, seed: int = 3, length: int = 22
) -> list[list[list[tuple[int, int]]]]:
    """[rank][step][(epoch, index)] of an epoch."""
    shares = []
    for rank in range(world):
        sampler = BatchSampler(length, 4, seed=seed, rank=rank, world=world)
        sampler.start_at(epoch, step)
        shares.append(list(sampler))
    return shares


def test_an_epoch_takes_each_sample_once_and_drops_the_rest() -> None:
    steps = batches(0)[0]
    indices = [index for step in steps for _, index in step]
    assert len(steps) == len(BatchSampler(22, 4, seed=3)) == 5
    assert len(indices) == len(set(indices)) == 20
    assert {epoch for step in steps for epoch, _ in step} == {0}


def test_epochs_and_seeds_differ_and_repeat() -> None:
    assert batches(1) == batches(1)
    assert batches(1) != batches(2)
    assert batches(1) != batches(1, seed=4)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_the_same_global_batches(world: int) -> None:
    joint = [
        [key for share in shares for key in share]
        for shares in zip(*batches(5, world=world), strict=True)
    ]
    assert joint == batches(5)[0]


def test_start_in_the_middle() -> None:
    assert batches(1, step=3)[0] == batches(1)[0][3:]


def test_impossible_batch_sizes_are_named() -> None:
    with pytest.raises(
        InputError,
        match="--batch-size 6 counts all ranks; it must be a multiple of their number, 4",
    ):
        BatchSampler(22, 6, seed=0, world=4)
    with pytest.raises(InputError, match="--batch-size 32 is more than the 22 training samples"):
        BatchSampler(22, 32, seed=0)
