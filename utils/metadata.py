"""What an exported net says of itself: strings by name, in ONNX files and in safetensors.

format_version  "1"
task            "edge" or "seg"
model           JSON: `ModelInfo.to_plain()`: name, backbone, classes, palette, thresholds, …
preprocessing   JSON: what an image must be, and what is done to it where
outputs         JSON: name of the logits -> shape and meaning
commit, torch   of this repository and of PyTorch, when it was written; "" if not known
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from data.files import parse_json
from data.samples.transforms import MEAN, STD
from utils.commit import git_commit
from utils.model_info import CheckpointError, ModelInfo, shown

VERSION = "1"
IMAGE = "image"  # the name of a graph's input
LEAST_SIDE = 32
MEANINGS = {
    "fuse": "logits (N, K, H, W); the sigmoid is the probability of an edge of each class",
    "side5": "logits (N, K, H, W) of the deepest side alone; the sigmoid is a probability",
    "seg": "logits (N, K, H, W); the argmax over K is the class of each pixel",
    "body": "logits (N, K, H, W) of the body alone; the argmax over K is a class",
    "edge": "logits (N, 1, H, W); the sigmoid is the probability of an edge of any class",
}


def to_metadata(info: ModelInfo, outputs: Sequence[str], *, in_graph: bool) -> dict[str, str]:
    """The strings that an exported net carries.

    Args:
        info: of the net.
        outputs: the names of its logits.
        in_graph: the file holds a graph that takes bytes and normalises them itself; else it holds
            weights, and who uses them normalises.
    """
    taken = (
        {"input": IMAGE, "dtype": "uint8", "shape": ["N", "H", "W", 3], "normalization": "inside"}
        if in_graph
        else {"dtype": "float32", "shape": ["N", 3, "H", "W"], "normalization": "by the caller"}
    )
    preprocessing = taken | {
        "color": "RGB",
        "range": [0, 255],
        "formula": "(value / 255 - mean) / std",
        "mean": list(MEAN),
        "std": list(STD),
        "least_side": LEAST_SIDE,
        "long_side": info.base_size,  # to which images are resized first; 0: as they are
        "exif_orientation": "applied" if info.upright else "ignored",
    }
    return {
        "format_version": VERSION,
        "task": info.task,
        "model": json.dumps(info.to_plain()),
        "preprocessing": json.dumps(preprocessing),
        "outputs": json.dumps({name: MEANINGS.get(name, "logits") for name in outputs}),
        "commit": git_commit() or "",
        "torch": torch.__version__,
    }


def is_ours(metadata: Mapping[str, str]) -> bool:
    """Whether a file's strings are those of `to_metadata`, of any version."""
    return "format_version" in metadata and "model" in metadata


def read_info(metadata: Mapping[str, str], where: str | Path) -> ModelInfo:
    """What the strings say about the net; CheckpointError or InputError with `where` in front."""
    if not is_ours(metadata):
        raise CheckpointError(
            f"{where}: does not say what net it holds (no metadata format_version and model); "
            "export the checkpoint with python -m utils.export"
        )
    version = metadata["format_version"]
    if version != VERSION:
        raise CheckpointError(
            f"{where}: format_version {shown(version)} of its metadata, this version reads "
            f"{VERSION}; export the checkpoint again"
        )
    text = metadata["model"]
    if not isinstance(text, str):
        raise CheckpointError(f"{where}: model of its metadata is {shown(text)}, expected text")
    return ModelInfo.from_plain(parse_json(text, f"{where}, metadata 'model'"), where)
