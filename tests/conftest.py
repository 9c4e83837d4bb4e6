"""Fixtures of all tests: reference data where they exist, and one torch thread.

On a busy machine with two cores, one thread takes 5 s where two take 80 s.
"""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import settings

from data.image_io import write_png

pytest_plugins = ["helpers.bench", "helpers.sbd"]

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    torch.set_num_threads(1)
    # FFmpeg keeps the level of its first use in a process, which may be a test's own video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # The same examples in every run: a failure is of the change, not of the day.
    settings.register_profile("repeatable", derandomize=True, database=None)
    settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped without one. (skipif would hide them from `-m gpu`.)"""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the reference data in {folder}")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tiny_camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in CamVid's layout to train on in a test: 8 train, 4 val and 3 test images, 64x48.

    Eleven classes of blobs, each in a colour of its own, and void. Tests that break a file copy the
    folder first.
    """
    root = tmp_path_factory.mktemp("tiny_camvid")
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (12, 3))
    for split, count in (("train", 8), ("val", 4), ("test", 3)):
        lines = []
        for number in range(count):
            label = np.full((48, 64), 0, np.uint8)
            label[24:] = 3
            for k in rng.permutation(12)[:6]:
                centre = (int(rng.integers(64)), int(rng.integers(48)))
                cv2.circle(label, centre, int(rng.integers(5, 14)), int(k), -1)
            image = np.clip(colours[label] + rng.normal(0, 12, (48, 64, 3)), 0, 255).astype(
                np.uint8
            )
            name = f"{split}_{number:03d}.png"
            write_png(root / split / name, image)
            write_png(root / f"{split}annot" / name, label)
            lines.append(f"{split}/{name} {split}annot/{name}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root
