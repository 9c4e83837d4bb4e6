"""--init-from: from a net of other classes, exactly what is kept and what starts from scratch."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import MODELS, build_model
from utils.checkpoint import CheckpointError, ModelInfo, save_checkpoint
from utils.training.start import start_from

OLD = ("car", "road", "tree", "sky", "dog", "cat", "bus", "van", "bin", "rail", "pole")
NEW = ("tree", "crack", "road", "hand")
NETS = ("dff", "casenet", "deeplabv3plus", "deeplabv3plus_decouple", "gffnet")


def net(name: str, classes: tuple[str, ...], seed: int = 0) -> nn.Module:
    """A net in which every parameter and every buffer is random."""
    torch.manual_seed(seed)
    model = build_model(name, num_classes=len(classes), backbone="resnet18")
    for value in model.state_dict().values():
        value.copy_(torch.rand(value.shape) * 3)
    return model


def save(path: Path, name: str, classes: tuple[str, ...]) -> nn.Module:
    """A checkpoint as training writes it; returns its net."""
    model = net(name, classes)
    palette = np.zeros((len(classes), 3), np.uint8)
    info = ModelInfo(name, "resnet18", len(classes), MODELS[name].task, classes, palette, 0, "")
    save_checkpoint(path, {"model": info.to_plain(), "weights": model.state_dict()})
    return model


def start(model: nn.Module, path: Path, name: str, **more: object) -> list[str]:
    options = {"name": name, "backbone": "resnet18", "classes": NEW, "reset_classifier": True}
    return start_from(model, path, **(options | more))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("old", [OLD, ("a", "b", "c", "d")], ids=["11 classes", "4 classes"])
def test_all_but_the_classifier_is_kept(name: str, old: tuple[str, ...], tmp_path: Path) -> None:
    theirs = save(tmp_path / "old.pth", name, tuple(f"{c} of old" for c in old)).state_dict()
    model = net(name, NEW, seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    (note,) = start(model, tmp_path / "old.pth", name)
    # Said by the shapes: what depends on the number of classes.
    other = build_model(name, num_classes=9, backbone="resnet18").state_dict()
    for key, value in model.state_dict().items():
        if other[key].shape != value.shape:
            assert torch.equal(value, before[key]), f"{key} starts from scratch"
            assert key in note
        elif not (key.endswith("num_batches_tracked") and key.startswith(model.classifier)):
            assert torch.equal(value, theirs[key]), f"{key} is the checkpoint's"
    assert f"{sum(other[k].shape != v.shape for k, v in before.items())} parameters keep" in note


@pytest.mark.parametrize("name", NETS)
def test_classes_of_the_same_name_keep_their_weights(name: str, tmp_path: Path) -> None:
    theirs = save(tmp_path / "old.pth", name, OLD).state_dict()
    model = net(name, NEW, seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    notes = start(model, tmp_path / "old.pth", name)
    assert notes[1] == "of these, classes of the same name have its weights: tree, road"
    # A loop over channels: 0 is tree (2 of old), 2 is road (1 of old), the others are new.
    old_of = {0: 2, 2: 1}
    changed = 0
    nine = build_model(name, num_classes=9, backbone="resnet18").state_dict()
    for key, value in model.state_dict().items():
        if value.ndim == 0 or not key.startswith(model.classifier):
            continue
        per_class = value.shape[0] // 4
        of_classes = value.ndim > 1 and nine[key].shape[1] != value.shape[1]
        for i in range(value.shape[0]):
            source = old_of.get(i // per_class)
            row = None if source is None else theirs[key][source * per_class + i % per_class]
            if row is None or not of_classes:
                assert torch.equal(value[i], before[key][i] if row is None else row), key
                continue
            for j in range(value.shape[1]):
                other = old_of.get(j // per_class)
                expected = (
                    before[key][i, j] if other is None else row[other * per_class + j % per_class]
                )
                assert torch.equal(value[i, j], expected), key
        changed += 1
    assert changed


def test_without_the_flag_other_classes_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "old.pth", "dff", OLD)
    with pytest.raises(
        CheckpointError, match="of 11 classes, and the data set has 4; give --reset"
    ):
        start(net("dff", NEW), tmp_path / "old.pth", "dff", reset_classifier=False)
    save(tmp_path / "four.pth", "dff", ("a", "b", "c", "d"))
    model = net("dff", NEW, seed=1)
    (note,) = start(model, tmp_path / "four.pth", "dff", reset_classifier=False)
    assert "is of the classes a, b, c, d, and the data set has tree, crack, road, hand" in note
    assert torch.equal(
        model.state_dict()["side5.0.bias"], net("dff", NEW).state_dict()["side5.0.bias"]
    )


def test_the_second_stage_starts_from_a_base_of_other_classes(tmp_path: Path) -> None:
    theirs = save(tmp_path / "base.pth", "deeplabv3plus", OLD).state_dict()
    model = net("deeplabv3plus_decouple", NEW, seed=1)
    (note,) = start(model, tmp_path / "base.pth", "deeplabv3plus_decouple", reset_classifier=False)
    for key, value in model.state_dict().items():
        if key.startswith("decouple."):
            assert key in note or key.endswith("num_batches_tracked")
        else:
            assert torch.equal(value, theirs[key])


@pytest.mark.parametrize("reset", [True, False])
def test_another_architecture_is_one_clear_line(reset: bool, tmp_path: Path) -> None:
    save(tmp_path / "seg.pth", "deeplabv3plus", OLD)
    with pytest.raises(CheckpointError) as refused:
        start(net("dff", NEW), tmp_path / "seg.pth", "dff", reset_classifier=reset)
    assert re.search(
        r"seg.pth holds deeplabv3plus over resnet18, and this run trains dff over resnet18; give "
        "--model deeplabv3plus --backbone resnet18, or another checkpoint$",
        str(refused.value),
    )
    # A file that does not say what it holds: as its tensors tell.
    torch.save(net("deeplabv3plus", OLD).state_dict(), tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match=r"does not fit DFF: .* missing"):
        start(net("dff", NEW), tmp_path / "bare.pth", "dff", reset_classifier=reset)
