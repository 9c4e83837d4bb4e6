"""What a checkpoint says about its net: one line for whatever cannot be so."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models import build_model
from utils.checkpoint import CheckpointError, load_model, load_start, load_weights, read_checkpoint
from utils.model_info import MAX_BASE_SIZE, ModelInfo

PLAIN = {
    "name": "fcn",
    "backbone": "resnet18",
    "num_classes": 2,
    "task": "seg",
    "classes": ["road", "Straße"],
    "palette": [[0, 0, 0], [255, 1, 2]],
    "base_size": 0,
    "dataset": "",
    "options": {},
}
DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]

# field -> (value, words of the message)
WRONG: list[tuple[str, object, str]] = [
    ("name", "unet", "name is 'unet', expected one of casenet, dff"),
    ("name", 3, "name is 3, expected text"),
    ("name", ["fcn"], "name is of type list"),
    ("name", None, "name is None"),
    ("name", "fcn\x1b[31m", "name is 'fcn"),
    ("name", "dff", "task of dff is 'seg', expected 'edge'"),
    ("backbone", "resnet19", "backbone of fcn is 'resnet19', expected one of resnet18"),
    ("backbone", "wider_resnet38", "backbone of fcn is 'wider_resnet38'"),
    ("backbone", {}, "backbone is of type dict"),
    ("task", "edge", "task of fcn is 'edge', expected 'seg'"),
    ("task", "depth", "task of fcn is 'depth', expected 'seg'"),
    ("num_classes", 0, "num_classes is 0, expected a whole number, 1 to 255"),
    ("num_classes", -1, "num_classes is -1"),
    ("num_classes", 256, "num_classes is 256"),
    ("num_classes", True, "num_classes is True"),
    ("num_classes", 2.0, r"num_classes is 2\.0"),
    ("num_classes", "2", "num_classes is '2'"),
    ("num_classes", float("nan"), "num_classes is nan"),
    ("num_classes", 10**5000, "num_classes is a number of 16610 bits"),
    ("num_classes", torch.tensor(2), "num_classes is of type Tensor"),
    ("num_classes", np.int64(2), "num_classes is of type int64"),
    ("num_classes", 3, "2 entries of classes, but num_classes is 3"),
    ("classes", ["road"], "1 entries of classes, but num_classes is 2"),
    ("classes", ["road", "sky", "car"], "3 entries of classes, but num_classes is 2"),
    ("classes", "ab", "classes is 'ab', expected a list"),
    ("classes", {"a": 1, "b": 2}, "classes is of type dict"),
    ("classes", ["road", 3], "a class is 3, expected text"),
    ("classes", ["road", "a\nb"], r"a class is 'a\\nb', expected text"),
    ("classes", ["road", "\udcff"], r"a class is '\\udcff'"),
    ("classes", DEEP, "1 entries of classes, but"),
    ("palette", [[0, 0, 0]], "1 entries of palette, but num_classes is 2"),
    ("palette", [[0, 0, 0], [0, 0]], "a colour of palette is of type list, expected three"),
    ("palette", [[0, 0, 0], 7], "a colour of palette is 7, expected three numbers"),
    ("palette", [[0, 0, 0], [0, 0, 256]], "a colour of palette is 256, expected whole numbers"),
    ("palette", [[0, 0, 0], [0, 0, -1]], "a colour of palette is -1"),
    ("palette", [[0, 0, 0], [0, 0, 1e400]], "a colour of palette is inf"),
    ("palette", [[0, 0, 0], [0, 0, 10**30]], "a colour of palette is a number of 100 bits"),
    ("palette", [[0, 0, 0], DEEP], "a colour of palette is of type list"),
    ("palette", torch.zeros(2, 3), "palette is of type Tensor"),
    ("palette", None, "palette is None"),
    ("base_size", -5, f"base_size is -5, expected a whole number, 0 to {MAX_BASE_SIZE}"),
    ("base_size", 10**9, "base_size is 1000000000"),
    ("base_size", False, "base_size is False"),
    ("base_size", 0.5, r"base_size is 0\.5"),
    ("dataset", None, "dataset is None, expected text"),
    ("dataset", "x" * 10**6 + "\0", r"dataset is 'x{50,60}…, expected text"),
    ("options", [], "options is of type list, expected a dictionary"),
    ("options", {"fusion": "sequential"}, "fcn has no option 'fusion'"),
    ("options", {3: 4}, "fcn has no option 3"),
    ("future", 1, "'future' is unknown here; the file may be of a newer version"),
]


@pytest.mark.parametrize(
    ("name", "value", "words"), WRONG, ids=[f"{words[:20]}" for _, _, words in WRONG]
)
def test_each_field_is_checked(name: str, value: object, words: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy's, of numbers that do not fit
        with pytest.raises(CheckpointError, match=f"^a.pth: what it says .*{words}") as caught:
            ModelInfo.from_plain(PLAIN | {name: value}, "a.pth")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", PLAIN)
def test_each_field_is_needed_but_options(name: str) -> None:
    plain = {key: value for key, value in PLAIN.items() if key != name}
    if name == "options":
        assert ModelInfo.from_plain(plain).options == {}
        return
    with pytest.raises(CheckpointError, match=f"^the checkpoint: .*: {name} is missing"):
        ModelInfo.from_plain(plain)


@pytest.mark.parametrize("plain", [None, [], "fcn", 3, torch.ones(2)])
def test_something_else_than_a_dictionary(plain: object) -> None:
    with pytest.raises(CheckpointError, match=r"model is .*, expected a dictionary"):
        ModelInfo.from_plain(plain)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("gffnet", {"fusion": "both"}, "fusion is 'both', expected one of 'sequential', 'simul"),
        ("gffnet", {"fusion": True}, "fusion is True"),
        ("gffnet", {"align_corners": True}, "gffnet has no option 'align_corners'"),
        ("fcn_decouple", {"align_corners": 1}, "align_corners is 1, expected one of True, False"),
        ("fcn_decouple", {"align_corners": "yes"}, "align_corners is 'yes'"),
    ],
)
def test_options_are_those_of_the_net(model: str, options: dict, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        ModelInfo.from_plain(PLAIN | {"name": model, "options": options})


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("gffnet", {"fusion": "simultaneous"}),
        ("fcn_decouple", {"align_corners": False}),
        ("fcn", {}),
    ],
)
def test_what_is_right_comes_back_as_it_was(model: str, options: dict) -> None:
    plain = PLAIN | {"name": model, "options": options}
    info = ModelInfo.from_plain(copy.deepcopy(plain))
    assert info.to_plain() == plain
    assert info.palette.dtype == np.uint8 and info.classes == ("road", "Straße")


# --- files ---


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_model("fcn", num_classes=2, backbone="resnet18").state_dict()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (2, "checkpoint format 2, this version reads 1"),
        ("1", "its checkpoint format is '1', expected the number 1"),
        (None, "is None"),
        (True, "is True"),
        (1.0, "is 1.0"),
        (10**200, "is a number of 665 bits"),
        (torch.ones(3), "is of type Tensor"),
    ],
)
def test_formats_of_any_kind(found: object, words: str, tmp_path: Path) -> None:
    torch.save({"format": found, "x": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=rf"a\.pth: .*{words}"):
        read_checkpoint(tmp_path / "a.pth")


def one_nan(contents: dict) -> None:
    contents["weights"]["backbone.layer1.0.conv1.weight"][0, 0, 0, 0] = torch.nan


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c["model"].update(num_classes="2"), "num_classes is '2'"),
        (
            lambda c: c["model"].update(
                num_classes=3, classes=["a", "b", "c"], palette=[[0, 0, 0]] * 3
            ),
            "says that its net has 3 classes, but its weights are of 2",
        ),
        (lambda c: c["model"].update(backbone="resnet34"), "does not fit SegNet: .* missing"),
        (lambda c: c.update(model=[1]), "model is of type list, expected a dictionary"),
        (lambda c: c.update(weights={}), "found no tensors in it"),
        (lambda c: c.update(weights=torch.ones(1)), "does not fit SegNet: .* missing"),
        (one_nan, r"1 not finite \(NaN or infinity\): backbone\.layer1\.0\.conv1\.weight"),
        (
            lambda c: c["weights"].update({"module.final.6.weight": torch.ones(1)}),
            r"holds final\.6\.weight twice",
        ),
        (
            lambda c: c["weights"].update({"final.6.weight": torch.tensor(1.0)}),
            "1 of another shape: final.6.weight",
        ),
        (
            lambda c: c["weights"].update({"final.6.weight": torch.ones(2, 256, 1, 1).to_sparse()}),
            "1 sparse: final.6.weight",
        ),
    ],
)
def test_files_that_say_or_hold_what_cannot_be(
    edit: Callable[[dict], object], words: str, weights: dict, tmp_path: Path
) -> None:
    contents = copy.deepcopy({"format": 1, "model": PLAIN, "weights": dict(weights)})
    edit(contents)
    torch.save(contents, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=rf"a\.pth.*{words}") as caught:
        load_model(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


def test_damage_and_nan_are_refused_to_start_from_too(weights: dict, tmp_path: Path) -> None:
    model = build_model("fcn", num_classes=2, backbone="resnet18")
    contents = copy.deepcopy({"weights": dict(weights)})
    torch.save(contents, tmp_path / "a.pth")
    content = bytearray((tmp_path / "a.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.pth").write_bytes(content)
    one_nan(contents)
    torch.save(contents, tmp_path / "nan.pth")
    for load in (load_start, load_weights):
        with pytest.raises(CheckpointError, match="does not have its checksum"):
            load(model, tmp_path / "damaged.pth")
        with pytest.raises(CheckpointError, match="1 not finite"):
            load(model, tmp_path / "nan.pth")


@pytest.mark.parametrize("count", [0, 256])
def test_a_classifier_of_no_or_too_many_classes(count: int, tmp_path: Path) -> None:
    torch.save({"final.6.weight": torch.ones(count, 1, 1, 1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=f"its classifier has {count} classes, expected 1"):
        load_model(tmp_path / "a.pth", name="fcn", backbone="resnet18")
