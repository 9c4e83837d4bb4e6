"""hubconf.py through torch.hub.load, in a fresh process that runs in another folder."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data.camvid import CamVid
from models import build_model
from utils.checkpoint import ModelInfo, save_checkpoint
from utils.inference import load

ROOT = Path(__file__).resolve().parents[2]


def in_folder(folder: Path, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh Python whose working directory, first in sys.path, is `folder`."""
    command = [sys.executable, "-c", code, str(ROOT), *(str(argument) for argument in arguments)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pth"
    model = build_model("casenet", num_classes=11, backbone="resnet18")
    info = ModelInfo("casenet", "resnet18", 11, "edge", CamVid.classes, CamVid.palette, 0, "camvid")
    save_checkpoint(path, {"model": info.to_plain(), "weights": model.state_dict()})
    return path


LOAD = """
import sys, torch, numpy
torch.set_num_threads(1)
root, checkpoint, image, out = sys.argv[1:]
predictor = torch.hub.load(root, "load", checkpoint, source="local", device="cpu", mirror=True)
assert root not in sys.path
numpy.savez(out, prob=predictor(image), drawn=predictor.draw(image))
"""


def test_load(checkpoint, tiny_camvid, tmp_path):
    image, out = tiny_camvid / "test" / "test_000.png", tmp_path / "out.npz"
    done = in_folder(tmp_path, LOAD, checkpoint, image, out)
    assert done.returncode == 0, done.stderr
    found = np.load(out)
    predictor = load(checkpoint, "cpu", mirror=True)
    np.testing.assert_array_equal(found["prob"], predictor(image))
    np.testing.assert_array_equal(found["drawn"], predictor.draw(image))


HINTS = """
import sys, torch
root, weights = sys.argv[1:]
hints = {"name": "casenet", "backbone": "resnet18", "dataset": "camvid"}
predictor = torch.hub.load(root, "load", weights, source="local", device="cpu", **hints)
print(predictor.task, *predictor.classes[:2])
try:
    torch.hub.load(root, "load", weights, source="local")
except ValueError as error:
    print(type(error).__name__, error)
"""


def test_load_a_file_that_does_not_say_what_it_holds(checkpoint, tmp_path):
    torch.save(torch.load(checkpoint, weights_only=True)["weights"], tmp_path / "weights.pth")
    done = in_folder(tmp_path, HINTS, tmp_path / "weights.pth")
    assert done.returncode == 0, done.stderr
    task, error = done.stdout.splitlines()
    assert task == " ".join(("edge", *CamVid.classes[:2]))
    assert error.startswith("CheckpointError")


BUILD = """
import sys, torch
root = sys.argv[1]
model = torch.hub.load(root, "build", "gffnet", 3, "resnet18", source="local", fusion="sequential")
print(type(model).__name__, sum(parameter.numel() for parameter in model.parameters()))
"""


def test_build(tmp_path):
    done = in_folder(tmp_path, BUILD)
    assert done.returncode == 0, done.stderr
    model = build_model("gffnet", num_classes=3, backbone="resnet18", fusion="sequential")
    size = sum(parameter.numel() for parameter in model.parameters())
    assert done.stdout.split() == [type(model).__name__, str(size)]


IMPORTED = """
import sys, torch, utils
try:
    torch.hub.load(sys.argv[1], "build", "dff", 19, "resnet18", source="local")
except ImportError as error:
    print(error)
print("models" in sys.modules, utils.mine)
"""

# Python looks into the working directory, then into the repository.
EARLIER = """
import sys
sys.path.append(sys.argv[1])
import hubconf
try:
    hubconf.load("best.pth")
except ImportError as error:
    print(error)
print("models" in sys.modules, "utils" in sys.modules)
"""


@pytest.mark.parametrize("module", ["utils.py", "utils/__init__.py"])
def test_a_package_that_is_imported_already_is_named(tmp_path, module):
    (tmp_path / module).parent.mkdir(exist_ok=True)
    (tmp_path / module).write_text("mine = True\n")
    done = in_folder(tmp_path, IMPORTED)
    assert done.returncode == 0, done.stderr
    message, after = done.stdout.splitlines()
    assert f"found utils = {tmp_path / module}, expected those in {ROOT}; rename yours" in message
    assert "models =" not in message
    assert after == "False True"


def test_packages_earlier_on_the_path_are_named_and_not_imported(tmp_path):
    for name in ("data", "utils"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')\n")
    done = in_folder(tmp_path, EARLIER)
    assert done.returncode == 0, done.stderr
    message, after = done.stdout.splitlines()
    found = ", ".join(f"{name} = {tmp_path / name / '__init__.py'}" for name in ("data", "utils"))
    assert f"found {found}, expected those in {ROOT}" in message
    assert after == "False False"


# Python takes a folder without __init__.py for a package only where it finds no other of its name:
# not while the repository is on the path, but after.
FOLDER = """
import sys
sys.path.append(sys.argv[1])
import hubconf
print(type(hubconf.build("dff", 3, "resnet18")).__name__)
sys.modules.pop("data", None)
sys.path.remove(sys.argv[1])
import data
try:
    hubconf.build("dff", 3, "resnet18")
except ImportError as error:
    print(error)
"""


def test_a_folder_of_images_is_in_the_way_only_once_it_is_imported(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "image.png").touch()
    done = in_folder(tmp_path, FOLDER)
    assert done.returncode == 0, done.stderr
    built, message = done.stdout.splitlines()
    assert built == "DFF"
    assert f"data = {tmp_path / 'data'}, " in message
