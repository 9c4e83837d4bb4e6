"""test.py and predict.py in this process or as commands, and networks of random weights."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import torch
from helpers.ranks import run_ranks

import predict
from data.base import Dataset
from models import build_model
from utils.checkpoint import ModelInfo, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "test.py"))  # by path: `import test` is the standard library's


def score(*flags: object) -> None:
    """test.py with these flags; its errors are raised."""
    SCRIPT["main"](SCRIPT["parse_args"]([str(flag) for flag in flags]))


def status_of_score(*flags: object) -> int | str | None:
    """The exit status of test.py with these flags; what it prints can be captured."""
    try:
        return SCRIPT["run"](lambda: score(*flags))
    except SystemExit as stop:  # argparse refuses a flag
        return stop.code


def score_command(*flags: object, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    """test.py as a command of its own, on so many ranks."""
    words = [str(flag) for flag in flags]
    if ranks > 1:
        return run_ranks("test.py", words, ranks)
    return subprocess.run(
        [sys.executable, str(ROOT / "test.py"), *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def write_predictions(*flags: object) -> None:
    """predict.py with these flags, on the CPU."""
    predict.main(predict.parse_args([*(str(flag) for flag in flags), "--device", "cpu"]))


def metrics_of(folder: Path) -> dict:
    """What test.py wrote to metrics.json."""
    return json.loads((folder / "metrics.json").read_text())


def save_random_network(
    path: Path,
    name: str,
    task: str,
    dataset: type[Dataset],
    *,
    trained_on: str,
    num_classes: int | None = None,
    base_size: int = 0,
    edge_head: str = "none",
) -> Path:
    """Write the checkpoint of a net with ResNet-18 and random weights, the same ones each time.

    Args:
        path: Where to; it is also returned.
        name: Of the net.
        task: What it is for, "edge" or "seg".
        dataset: Has the classes and their colours.
        trained_on: Name of the data set that the checkpoint claims.
        num_classes: Only the first ones of the classes; None: all.
        base_size: Long side of images that the checkpoint asks for; 0: as on disk.
        edge_head: Of a segmentation net.
    """
    torch.manual_seed(0)
    classes = tuple(dataset.classes)[:num_classes]
    options: dict[str, bool | str] = {} if edge_head == "none" else {"edge_head": edge_head}
    model = build_model(name, num_classes=len(classes), backbone="resnet18", **options)
    info = ModelInfo(
        name,
        "resnet18",
        len(classes),
        task,
        classes,
        dataset.palette[:num_classes],
        base_size,
        trained_on,
        options,
    )
    save_checkpoint(path, {"model": info.to_plain(), "weights": model.state_dict()})
    return path
