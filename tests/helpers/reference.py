"""The recipes of golden/models/README.md: weights and inputs made from their names and seeds."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def recipe_tensor(key: str, shape: list[int]) -> Tensor:
    """The reference network's weight of this official key, float32 (a counter: int64)."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        values = 0.1 * rng.standard_normal(shape)
    elif len(shape) >= 2:
        values = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif key.endswith("bias"):
        values = 0.1 * rng.standard_normal(shape)
    else:
        values = rng.uniform(0.5, 1.5, shape)
    return torch.from_numpy(np.asarray(values, np.float32))


def official_state(keys_file: Path) -> dict[str, Tensor]:
    """A whole official state dict by the recipe."""
    return {
        key: recipe_tensor(key, shape) for key, shape in json.loads(keys_file.read_text())["keys"]
    }


def recipe_input(seed: int, shape: list[int]) -> Tensor:
    """The reference input, float32."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def assert_close(found: Tensor | np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """max|diff| <= tolerance * max(1, max|expected|)."""
    difference = np.abs(np.asarray(found) - expected).max()
    assert difference <= tolerance * max(1.0, np.abs(expected).max()), difference
