"""Label maps as predictions, and tiny nets for segmentation with and without an edge head."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from helpers.tiny_nets import ENTRIES, JOINT, SEG

from data.base import Dataset
from data.image_io import write_png
from data.visualize import distinct_colors
from utils.checkpoint import ModelInfo, save_checkpoint
from utils.inference.engines.torch_engine import TorchEngine


def save_tiny_seg(path: Path, classes: tuple[str, ...], *, edge_head: str = "none") -> Path:
    """A net for `folder`, of random weights, the same ones each time; returns the path."""
    name = SEG if edge_head == "none" else JOINT
    options: dict[str, bool | str] = {} if edge_head == "none" else {"edge_head": edge_head}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = ENTRIES[name].build(len(classes), "resnet18", **options)
        # Labels in blobs, not in single pixels, and probabilities away from 0 and 1.
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    palette = distinct_colors(len(classes))
    info = ModelInfo(
        name, "resnet18", len(classes), "seg", classes, palette, 0, "folder", dict(options)
    )
    save_checkpoint(path, {"model": info.to_plain(), "weights": model.state_dict()})
    return path


@contextmanager
def counted_runs() -> Iterator[list[tuple[str, ...]]]:
    """Within the block, the list gets the outputs of each run of a net."""
    runs: list[tuple[str, ...]] = []
    original = TorchEngine.__call__

    def noted(self: TorchEngine, crops: np.ndarray, outputs: tuple[str, ...]) -> dict:
        runs.append(tuple(outputs))
        return original(self, crops, outputs)

    with mock.patch.object(TorchEngine, "__call__", noted):
        yield runs


def write_label_maps(out: Path, dataset: Dataset, colors: np.ndarray | None = None) -> Path:
    """The true label maps as predictions: ids, or in colours, black for none; returns `out`."""
    for record in dataset.records:
        label, _ = dataset.ground_truth(record)
        assert label is not None
        if colors is None:
            write_png(out / f"{record.name}.png", label)
        else:
            table = np.zeros((256, 3), np.uint8)
            table[: len(colors)] = colors
            write_png(out / f"{record.name}.png", table[label])
    return out
