"""Every command that the README shows, run in its order at a tiny size, in a folder laid out as the README says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.reference import official_state

from data.image_io import write_png
from data.scenes.dataset import Plan, make_scenes

ROOT = Path(__file__).resolve().parents[2]
# What makes a training run tiny. The published recipes' nets and weights are replaced by small random ones.
TINY_RUN = "--backbone resnet18 --pretrained none --epochs 1 --batch-size 2 --base-size 0 --workers 0 --val-samples 1"
TINY = {
    "train.py": f"{TINY_RUN} --device cpu --crop-size 32 --val-thresholds 3",
    "test.py": "--workers 0 --device cpu",
    "predict.py": "--device cpu",
}
TINY_SEG = f"{TINY_RUN} --device cpu --crop-size 64"
# Run by tests of their own, on data that this one does not draw.
ELSEWHERE = (
    "casenet-sbd",
    "data.sbd_gtlabel",
    "data.kitti_gtlabel",
    "tests/benchmarks",
    "baselines/",
)


def readme_commands() -> list[str]:
    """The lines of the README's shell blocks, comments cut off, continued lines joined."""
    blocks = re.findall(
        r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True)) for line in lines if line.strip()]


def tiny(command: str) -> list[str]:
    """The command with the flags that make it small, and with this Python."""
    words = shlex.split(command)
    if words[0] == "torchrun":
        words = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            *words[3:],
        ]
    else:
        words[0] = sys.executable
    script = next((word for word in words if word in TINY), None)
    seg = script == "train.py" and any(word.startswith("deeplabv3plus") for word in words)
    extra = shlex.split(TINY_SEG if seg else TINY[script]) if script else []
    if script == "test.py" and not any("deeplabv3plus" in word or word == "seg" for word in words):
        extra += ["--thresholds", "3"]
    if "dff_r101_cityscapes.pth.tar" in words:
        words = ["resnet50" if word == "resnet101" else word for word in words]
    return words + extra


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, tiny_camvid: Path) -> Path:
    """The scripts and the files that the README's commands name."""
    place = tmp_path_factory.mktemp("readme")
    for name in ("train.py", "test.py", "predict.py", "data", "models", "utils"):
        (place / name).symlink_to(ROOT / name)
    for name in ("scenes", "cityscapes"):
        make_scenes(place / "datasets" / name, Plan(0, 4, 2, 2, 96, 64))
    (place / "datasets" / "CamVid").symlink_to(tiny_camvid)
    (place / "more").mkdir()
    cv2.imwrite(str(place / "street.jpg"), cv2.imread(str(tiny_camvid / "test" / "test_000.png")))
    for path in (tiny_camvid / "test").iterdir():
        shutil.copy(path, place / "more")
    write_png(
        place / "my" / "labels" / "one.png",
        np.random.default_rng(0).integers(0, 3, (48, 64)).astype(np.uint8) * 9,
    )
    (place / "ids.json").write_text('{"0": 0, "9": 4, "18": 255}')
    state = official_state(ROOT / "tests" / "golden" / "models" / "keys" / "dff_resnet50_c19.json")
    torch.save({"state_dict": state}, place / "dff_r101_cityscapes.pth.tar")
    return place


@pytest.mark.slow
def test_every_command_of_the_readme(workplace: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = 0
    for command in readme_commands():
        if command.startswith("make ") or any(word in command for word in ELSEWHERE):
            continue
        done = subprocess.run(
            tiny(command),
            cwd=workplace,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        ran += 1
    assert ran >= 12


def test_files_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:data|models|utils|tests|docs)/[\w/.]+\.\w+)`", text) + re.findall(
        r'src="([^"]+)"', text
    ):
        assert (ROOT / path).exists(), path
    assert "@" not in re.sub(r"\S+@\S+\.\S+", "", text), "a placeholder is left"
