"""What a loader process raises reaches the main process as what it is, and is no death of it."""

import numpy as np
import pytest
from torch.utils.data import Dataset

from data.errors import InputError, one_line
from data.samples.sampler import BatchSampler
from utils.training.loading import make_loader, named_deaths


class Failing(Dataset):
    """Raises in the process that reads."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 6

    def __getitem__(self, key: tuple) -> dict:
        if self.kind == "NumPy":
            np.empty(1 << 60, np.uint8)
        raise {"Python": MemoryError, "ours": RuntimeError, "input": InputError}[self.kind]("why")


@pytest.mark.parametrize(
    ("kind", "raised", "words"),
    [
        ("NumPy", MemoryError, "a loader process: Unable to allocate"),
        ("Python", MemoryError, "why"),
        ("ours", RuntimeError, "why"),
        ("input", InputError, "why"),
    ],
)
def test_an_error_in_a_loader_process_stays_what_it_is(
    kind: str, raised: type[Exception], words: str
) -> None:
    sampler = BatchSampler(6, 1, seed=0)
    loader = make_loader(Failing(kind), [None] * 6, sampler, workers=1, device="cpu")
    with pytest.raises(raised) as found, named_deaths(loader):
        next(iter(loader))
    assert type(found.value) is raised
    assert words in one_line(found.value)
    assert "died" not in one_line(found.value)
