"""Checkpoints with and without an edge head: what --init-from takes, what `load_model` drops."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_nets import JOINT, registered
from torch import nn

from models import MODELS, build_model
from utils.checkpoint import (
    CheckpointError,
    edge_head_in,
    info_entries,
    load_model,
    load_start,
    save_checkpoint,
)
from utils.model_info import ModelInfo
from utils.training.start import start_from

OLD = ("car", "road", "tree", "sky", "dog", "cat")
NEW = ("tree", "crack", "road")
HEADS = ("none", "casenet", "dff")


@pytest.fixture(autouse=True)
def tiny_nets() -> Iterator[None]:
    with registered():
        yield


def net(name: str, head: str, classes: tuple[str, ...] = OLD, seed: int = 0) -> nn.Module:
    """Every parameter and every buffer is random."""
    torch.manual_seed(seed)
    options = {} if head == "none" else {"edge_head": head}
    model = build_model(name, num_classes=len(classes), backbone="resnet18", **options)
    for value in model.state_dict().values():
        value.copy_(torch.rand(value.shape) * 3)
    return model


def save(
    path: Path, name: str, head: str, classes: tuple[str, ...] = OLD, **more: object
) -> dict[str, torch.Tensor]:
    """A checkpoint as training writes it; returns its weights."""
    weights = net(name, head, classes).state_dict()
    palette = np.zeros((len(classes), 3), np.uint8)
    options = {} if head == "none" else {"edge_head": head}
    info = ModelInfo(
        name, "resnet18", len(classes), MODELS[name].task, classes, palette, 0, "", options, **more
    )
    save_checkpoint(path, info_entries(info) | {"weights": weights})
    return weights


def start(path: Path, name: str, head: str, classes: tuple[str, ...] = OLD, reset: bool = False):
    """(weights before, weights after, what was said) of a net that starts from a checkpoint."""
    model = net(name, head, classes, seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    notes = start_from(
        model, path, name=name, backbone="resnet18", classes=classes, reset_classifier=reset
    )
    return before, model.state_dict(), notes


@pytest.mark.parametrize("own", HEADS)
@pytest.mark.parametrize("theirs", HEADS)
def test_all_but_a_head_of_another_kind_is_kept(theirs: str, own: str, tmp_path: Path) -> None:
    found = save(tmp_path / "net.pth", JOINT, theirs)
    before, after, notes = start(tmp_path / "net.pth", JOINT, own)
    of_head = {key for key in after if key.startswith(("edge_head.", "edge_stem."))}
    for key, value in after.items():
        new = key in of_head and theirs != own
        assert torch.equal(value, before[key] if new else found[key]), key
    counters = {key for key in after if key.endswith("num_batches_tracked")}
    expected = []
    if own not in ("none", theirs):
        count = len(of_head - counters)
        expected.append(f"the edge head {own} starts from its initial values ({count} tensors)")
    if theirs not in ("none", own):
        count = sum(key.startswith(("edge_head.", "edge_stem.")) for key in found)
        has = "has none" if own == "none" else f"has {own}"
        expected.append(f"its edge head {theirs} is left out ({count} tensors): this net {has}")
    assert notes == [f"{tmp_path / 'net.pth'}: {line}" for line in expected]


@pytest.mark.parametrize(
    ("theirs", "own"), [("none", "dff"), ("dff", "none"), ("casenet", "casenet")]
)
def test_a_decoupled_net_starts_from_a_base_with_or_without(
    theirs: str, own: str, tmp_path: Path
) -> None:
    found = save(tmp_path / "base.pth", "fcn", theirs)
    before, after, notes = start(tmp_path / "base.pth", "fcn_decouple", own)
    for key, value in after.items():
        room = key.partition(".")[0]
        new = room == "decouple" or (room == "edge_head" and theirs != own)
        assert torch.equal(value, before[key] if new else found[key]), key
    assert "parameters keep their initial values: decouple.body.0.weight" in notes[-1]
    assert "edge_head." not in notes[-1]
    assert ("the edge head dff starts from" in notes[0]) == (own == "dff")
    assert len(notes) == (1 if theirs == own else 2)
    # The base's classes may be others, as long as no head of theirs is taken.
    if theirs != own:
        start(tmp_path / "base.pth", "fcn_decouple", own, NEW)
        return
    with pytest.raises(CheckpointError, match="of 6 classes, and the data set has 3; give --reset"):
        start(tmp_path / "base.pth", "fcn_decouple", own, NEW)
    before, after, notes = start(tmp_path / "base.pth", "fcn_decouple", own, NEW, reset=True)
    assert notes[1] == "and in the edge head: tree, road"
    bias = "edge_head.side5.0.bias"
    expected = [found[bias][2], before[bias][1], found[bias][1]]  # tree, crack, road
    assert after[bias].tolist() == [float(value) for value in expected]


@pytest.mark.parametrize("head", ["casenet", "dff"])
def test_classes_of_the_same_name_keep_their_weights_in_the_head_too(
    head: str, tmp_path: Path
) -> None:
    """All that depends on classes, by the shapes of a net of nine; channel by channel."""
    found = save(tmp_path / "net.pth", JOINT, head)
    before, after, notes = start(tmp_path / "net.pth", JOINT, head, NEW, reset=True)
    assert notes[1:] == [
        "of these, classes of the same name have its weights: tree, road",
        "and in the edge head: tree, road",
    ]
    nine = net(JOINT, head, tuple("abcdefghi")).state_dict()
    old_of = {0: 2, 2: 1}
    changed = 0
    for key, value in after.items():
        if nine[key].shape == value.shape:
            if key.endswith("num_batches_tracked"):
                continue
            assert torch.equal(value, found[key]), key
            continue
        per_class = value.shape[0] // 3
        of_classes = value.ndim > 1 and nine[key].shape[1] != value.shape[1]
        for i in range(value.shape[0]):
            source = old_of.get(i // per_class)
            if source is None:
                assert torch.equal(value[i], before[key][i]), key
                continue
            row = found[key][source * per_class + i % per_class]
            if not of_classes:
                assert torch.equal(value[i], row), key
                changed += 1
                continue
            for j in range(value.shape[1]):
                other = old_of.get(j // per_class)
                expected = before[key][i, j]
                if other is not None:
                    expected = row[other * per_class + j % per_class]
                assert torch.equal(value[i, j], expected), key
    assert changed > 4


def test_a_new_head_keeps_nothing_where_the_classifier_is_reset(tmp_path: Path) -> None:
    found = save(tmp_path / "net.pth", JOINT, "none")
    before, after, notes = start(tmp_path / "net.pth", JOINT, "dff", NEW, reset=True)
    assert "the edge head dff starts from its initial values" in notes[0]
    assert notes[2:] == ["of these, classes of the same name have its weights: tree, road"]
    assert torch.equal(after["final.6.bias"][0], found["final.6.bias"][2])
    assert all(torch.equal(v, before[k]) for k, v in after.items() if k.startswith("edge_head."))


@pytest.mark.parametrize("damage", ["edge_head.side1.0.weight", "edge_head.side5.0.weight"])
def test_a_head_in_parts_is_refused(damage: str, tmp_path: Path) -> None:
    weights = net(JOINT, "dff").state_dict()
    torch.save({k: v for k, v in weights.items() if k != damage}, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=f"1 missing: {damage}"):
        load_start(net(JOINT, "dff"), tmp_path / "less.pth")
    torch.save(
        {k: v for k, v in weights.items() if "edge_head" not in k or k == damage},
        tmp_path / "one.pth",
    )
    with pytest.raises(CheckpointError, match=r"edge_head"):
        load_start(net(JOINT, "none"), tmp_path / "one.pth")


@pytest.mark.parametrize("head", ["casenet", "dff"])
def test_the_head_can_be_left_out_when_a_checkpoint_is_loaded(head: str, tmp_path: Path) -> None:
    found = save(tmp_path / "net.pth", JOINT, head, thresholds=(0.5, None, *[0.25] * 4))
    whole, info = load_model(tmp_path / "net.pth")
    assert (info.edge_head, info.thresholds) == (head, (0.5, None, *[0.25] * 4))
    assert ModelInfo.from_plain(info.to_plain()).thresholds == info.thresholds
    assert edge_head_in(whole.state_dict()) == head
    _, info = load_model(tmp_path / "net.pth", options={"edge_head": head})
    assert info.options == {"edge_head": head}

    model, info = load_model(tmp_path / "net.pth", options={"edge_head": "none"})
    assert (info.options, info.thresholds) == ({}, None)
    ModelInfo.from_plain(info.to_plain())
    assert model.state_dict().keys() == {k for k in found if not k.startswith("edge_")}
    image = torch.randn(1, 3, 32, 32)
    assert set(model(image)) == {"seg"}
    assert torch.equal(model(image)["seg"], whole(image)["seg"])

    other = {"casenet": "dff", "dff": "casenet"}[head]
    with pytest.raises(CheckpointError) as refused:
        load_model(tmp_path / "net.pth", options={"edge_head": other})
    assert str(refused.value) == (
        f"{tmp_path / 'net.pth'} holds tiny_joint with the edge head {head}, but --edge-head says "
        f"{other}; leave --edge-head out"
    )


def test_a_head_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    weights = save(tmp_path / "net.pth", JOINT, "none")
    with pytest.raises(
        CheckpointError, match="holds tiny_joint with no edge head, but --edge-head says dff; leave"
    ):
        load_model(tmp_path / "net.pth", options={"edge_head": "dff"})
    _, info = load_model(tmp_path / "net.pth", options={"edge_head": "none"})
    assert info.options == {}
    # The head of a file that is taken for an edge net is unexpected, as anything else is.
    torch.save(net(JOINT, "dff").state_dict(), tmp_path / "joint.pth")
    with pytest.raises(CheckpointError, match="does not fit DFF"):
        load_model(tmp_path / "joint.pth", name="dff", backbone="resnet18")
    # Neither is anything else dropped.
    torch.save(weights | {"edge_head.more": torch.ones(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match=r"1 unexpected: edge_head\.more"):
        load_model(
            tmp_path / "more.pth", name=JOINT, backbone="resnet18", options={"edge_head": "none"}
        )


@pytest.mark.parametrize("head", HEADS)
def test_a_file_of_weights_alone_tells_its_head(head: str, tmp_path: Path) -> None:
    weights = net(JOINT, head).state_dict()
    torch.save(weights, tmp_path / "bare.pth")
    given = {"name": JOINT, "backbone": "resnet18"}
    model, info = load_model(tmp_path / "bare.pth", **given)
    assert info.edge_head == head
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    load_model(tmp_path / "bare.pth", **given, options={"edge_head": head})
    model, _ = load_model(tmp_path / "bare.pth", **given, options={"edge_head": "none"})
    assert edge_head_in(model.state_dict()) == "none"


def test_thresholds_need_an_edge_head(tmp_path: Path) -> None:
    save(tmp_path / "net.pth", JOINT, "none", thresholds=(0.5,) * 6)
    with pytest.raises(CheckpointError, match="thresholds of a net for seg without an edge head"):
        load_model(tmp_path / "net.pth")
