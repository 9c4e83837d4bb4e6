"""--temperature: what predict.py and Python make of a temperature or a file of them."""

import hashlib
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_nets import EDGE, SEG, registered, save_tiny, tiny_contents

import predict
from data.errors import InputError
from data.image_io import read_image, write_png
from utils.checkpoint import read_checkpoint, save_checkpoint
from utils.edge_metrics.calibration import at_temperature
from utils.evaluation.edges.predictions import PredictionFolder
from utils.inference import load
from utils.inference.options import InferenceOptions
from utils.inference.temperature import fit_note
from utils.prediction.metrics_file import read_thresholds

CLASSES = 11  # CamVid's
GIVEN = [0.55, None, *[0.45] * 9]


@pytest.fixture(autouse=True)
def tiny_nets():
    with registered():
        yield


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "best.pth"
    save_checkpoint(path, tiny_contents() | {"thresholds": GIVEN})
    return path


@pytest.fixture
def photo(tmp_path: Path, rng) -> Path:
    path = tmp_path / "photo.png"
    write_png(path, rng.integers(0, 256, (40, 52, 3), np.uint8))
    return path


def run(*argv: object) -> int:
    return predict.main(predict.parse_args([str(word) for word in (*argv, "--device", "cpu")]))


def temperature_file(path: Path, contents: object) -> Path:
    path.write_text(json.dumps(contents))
    return path


def test_probabilities_are_those_of_divided_logits(checkpoint, photo):
    plain, hot = load(checkpoint, "cpu"), load(checkpoint, "cpu", temperature=2.5)
    prob = plain(photo)
    expected = 1 / (1 + np.exp(-np.log(prob / (1 - prob)) / 2.5))
    assert hot(photo).dtype == np.float32
    np.testing.assert_allclose(hot(photo), expected, rtol=1e-5)
    np.testing.assert_array_equal(load(checkpoint, "cpu", temperature=1)(photo), prob)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_drawn_edges_stay_and_the_probabilities_change(
    checkpoint, photo, tmp_path, capsys, temperature
):
    flags = ("--checkpoint", checkpoint, "--save-prob", "--save-bits")
    assert run(photo, *flags, "--out", tmp_path / "plain") == 0
    capsys.readouterr()
    assert run(photo, *flags, "--out", tmp_path / "new", "--temperature", temperature) == 0
    assert f"temperature: {temperature:g}\n" in capsys.readouterr().out
    for name in ("photo_edges.png", "bits/photo.png"):
        ours, theirs = (read_image(tmp_path / folder / name) for folder in ("plain", "new"))
        np.testing.assert_array_equal(ours, theirs)
    plain, new = (
        np.stack(list(PredictionFolder(tmp_path / folder).read("photo"))) / 65536
        for folder in ("plain", "new")
    )
    np.testing.assert_allclose(new, at_temperature(plain, temperature), atol=4e-5)
    assert not np.allclose(new, plain, atol=0.01)


def test_a_file_has_one_for_all_or_one_for_each_class(checkpoint, photo, tmp_path):
    names = list(load(checkpoint, "cpu").classes)
    common = temperature_file(tmp_path / "common.json", {"temperature": 2.0, "classes": None})
    plain = load(checkpoint, "cpu")(photo)
    two = load(checkpoint, "cpu", temperature=2.0)(photo)
    np.testing.assert_array_equal(load(checkpoint, "cpu", temperature=common)(photo), two)
    rows = [{"name": name, "temperature": 3.0} for name in reversed(names)]
    rows[-1]["temperature"], rows[-2]["temperature"] = 1.0, None  # the first two classes
    own = temperature_file(tmp_path / "own.json", {"temperature": 2.0, "classes": rows})
    three = load(checkpoint, "cpu", temperature=3.0)(photo)
    predictor = load(checkpoint, "cpu", temperature=str(own))
    np.testing.assert_array_equal(predictor(photo), [plain[0], two[1], *three[2:]])
    thresholds = predictor.thresholds
    assert thresholds is not None
    assert thresholds[0] == 0.55
    # The second class had the mean of the others at T = 1.
    assert thresholds[1] == pytest.approx(float(at_temperature(np.array(0.46), 2)), rel=1e-6)
    assert thresholds[2] == pytest.approx(float(at_temperature(np.array(0.45), 3)), rel=1e-6)
    each = [1.0, 2.0, *[3.0] * 9]
    again = load(checkpoint, "cpu", temperature=each)
    np.testing.assert_array_equal(again(photo), predictor(photo))
    assert again.options_of_scores()["temperature"] == tuple(each)
    assert "temperature" not in load(checkpoint, "cpu").options_of_scores()


def test_a_threshold_that_is_given_is_of_the_probabilities_as_they_are(checkpoint, photo):
    predictor = load(checkpoint, "cpu", temperature=2.0)
    np.testing.assert_array_equal(
        predictor.edges(photo, threshold=0.47), predictor(photo) >= np.float32(0.47)
    )


def test_thresholds_of_a_metrics_file_move_from_its_temperature(tmp_path):
    rows = [
        {"name": name, "ods": {"threshold": t, "f": 0.5}}
        for name, t in (("road", 0.2), ("car", 0.7))
    ]
    scores = {"thin": {"classes": rows}}
    path = temperature_file(tmp_path / "metrics.json", {"task": "edge", "scores": scores})
    found = read_thresholds(path, ("car", "road"), 2.0)[0]
    assert found == pytest.approx([1 / (1 + math.sqrt(3 / 7)), 1 / 3], rel=1e-6)
    used = {"task": "edge", "scores": scores, "source": {"temperature": [2.0, 4.0]}}
    path = temperature_file(tmp_path / "metrics.json", used)
    assert read_thresholds(path, ("road", "car"), (2.0, 4.0))[0] == pytest.approx([0.2, 0.7])
    at_one = read_thresholds(path, ("road", "car"))[0]
    assert at_one == pytest.approx([1 / 17, (7 / 3) ** 4 / (1 + (7 / 3) ** 4)], rel=1e-6)
    used["source"]["temperature"] = "hot"
    with pytest.raises(InputError, match="a temperature that is none"):
        read_thresholds(temperature_file(path, used), ("road", "car"))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([], "is no temperature.json"),
        ({"temperature": 0}, "found a temperature of 0, expected"),
        ({"temperature": True}, "is no temperature.json"),
        ({"temperature": 2, "classes": 3}, "no temperatures of classes"),
        ({"temperature": 2, "classes": [{"name": "sky"}]}, "no temperatures of classes"),
        ({"temperature": 2, "classes": [{"name": "sky", "temperature": "x"}]}, "'sky' is 'x'"),
        ({"temperature": 2, "classes": [{"name": "sky", "temperature": 2}]}, "missing"),
    ],
)
def test_files_that_are_none(checkpoint, photo, tmp_path, contents, message):
    path = temperature_file(tmp_path / "temperature.json", contents)
    with pytest.raises(InputError, match=message):
        run(photo, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--temperature", path)
    assert not (tmp_path / "out").exists()


# --- what the file was fitted on ---


def fitted_file(path: Path, checkpoint: Path, /, **source: object) -> Path:
    """As test.py --fit-temperature writes it for a checkpoint, with these entries of its source."""
    own = {
        "model": EDGE,
        "backbone": "resnet18",
        "checkpoint": str(checkpoint),
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        **load(checkpoint, "cpu").options.of_the_scores(),
    }
    fit = {"nll": {}, "source": own | source}
    return temperature_file(path, {"temperature": 2.0, "classes": None, "fit": fit})


def note_of(checkpoint: Path, path: Path, **options: object) -> str | None:
    """What Python warns of; it is also the predictor's own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predictor = load(checkpoint, "cpu", temperature=path, **options)
    said = [str(each.message) for each in caught if each.category is UserWarning]
    assert said == ([predictor.warning] if predictor.warning else [])
    assert not caught or caught[0].filename == __file__
    return predictor.warning


def test_nothing_is_said_of_the_own_checkpoint(checkpoint, tmp_path):
    path = fitted_file(tmp_path / "t.json", checkpoint)
    assert note_of(checkpoint, path) is None
    renamed = tmp_path / "renamed.pth"
    renamed.write_bytes(checkpoint.read_bytes())
    assert note_of(renamed, path) is None
    other = tmp_path / "last.pth"
    save_checkpoint(other, tiny_contents())
    assert load(other, "cpu", temperature=2.0).warning is None  # a number is nobody's


def test_another_checkpoint_and_another_net_are_said(checkpoint, photo, tmp_path, capsys):
    path = fitted_file(tmp_path / "t.json", checkpoint)
    other = tmp_path / "last.pth"
    save_checkpoint(other, tiny_contents())
    said = (
        f"{path} was fitted for tiny_edge over resnet18, {checkpoint}; this is another checkpoint"
    )
    assert note_of(other, path) == said
    flags = ("--checkpoint", other, "--out", tmp_path / "out", "--temperature", path)
    assert run(photo, *flags) == 0
    assert f"note: {said}\n" in capsys.readouterr().err
    net = fitted_file(path, checkpoint, model="dff", backbone="resnet50", checkpoint="a.pth")
    said = f"{path} was fitted for dff over resnet50, a.pth; this is tiny_edge over resnet18"
    assert note_of(checkpoint, net) == said
    exported = tmp_path / "net.onnx"
    exported.write_bytes(b"of the same net")
    info = load(checkpoint, "cpu").info
    said = fit_note(
        fitted_file(path, checkpoint), exported, info, InferenceOptions().of_the_scores()
    )
    assert (said or "").endswith(
        "best.pth; this is another file, perhaps of the same net: one of them is an export"
    )
    other = fitted_file(path, checkpoint, sha256="0" * 64, checkpoint="net.safetensors")
    assert note_of(checkpoint, other).endswith("one of them is an export")
    older = fitted_file(path, checkpoint, model=None, backbone=None, sha256="0" * 64)
    said = f"{path} was fitted for {checkpoint}; this is another checkpoint"
    assert note_of(checkpoint, older) == said


def test_other_options_are_said(checkpoint, tmp_path):
    path = fitted_file(tmp_path / "t.json", checkpoint, base_size=960, half=True, batch_size=4)
    base = load(checkpoint, "cpu").options.base_size
    assert note_of(checkpoint, path) == f"{path} was fitted with base size 960 (here {base})"
    path = fitted_file(path, checkpoint, sha256="1", window=None)
    assert note_of(checkpoint, path, scales=(0.5, 1), mirror=True) == (
        f"{path} was fitted for tiny_edge over resnet18, {checkpoint}; this is another checkpoint; "
        "it was fitted with scales 1 (here 0.5 1), mirror no (here yes)"
    )


@pytest.mark.parametrize(
    "fit",
    [
        *(None, 3, [], {}, {"source": None}, {"source": [1]}, {"source": {}}),
        {"source": {"predictions": "folder", "images": 3}},
        {"source": {"model": 1, "backbone": {}, "checkpoint": [], "sha256": 7}},
        {"source": {"model": "\n", "sha256": "\x00"}},
    ],
)
def test_what_it_does_not_say_is_not_compared(fit, checkpoint, tmp_path):
    contents = {"temperature": 2.0, "classes": None, "fit": fit}
    assert note_of(checkpoint, temperature_file(tmp_path / "t.json", contents)) is None


def test_options_that_were_edited(checkpoint, tmp_path):
    edited = {"scales": [1, "x"], "mirror": {"a": 1}, "base_size": 10**70, "window": "w" * 99}
    note = note_of(checkpoint, fitted_file(tmp_path / "t.json", checkpoint, **edited))
    assert note is not None and "\n" not in note
    assert "window 'www" in note and "mirror of type dict (here no)" in note


def test_numbers_that_are_none(checkpoint, capsys):
    for wrong in ("0", "21", "nan", "text"):
        with pytest.raises(SystemExit):
            run("a.png", "--checkpoint", checkpoint, "--out", "o", "--temperature", wrong)
        assert "argument --temperature: " in capsys.readouterr().err
    for wrong in (0, "", True, (1.0, 2.0), [], float("nan")):
        with pytest.raises((InputError, FileNotFoundError)):
            load(checkpoint, "cpu", temperature=wrong)
    with pytest.raises(InputError, match="temperature 0"):
        InferenceOptions(temperature=0)


def test_a_segmentation_has_none(tmp_path):
    save_tiny(tmp_path / "seg.pth", SEG)
    with pytest.raises(InputError, match="temperature is for edges; the checkpoint holds tiny_seg"):
        load(tmp_path / "seg.pth", "cpu", temperature=2.0)
    assert read_checkpoint(tmp_path / "seg.pth")["model"]["name"] != EDGE


def test_numbers_of_any_length_are_said(checkpoint, tmp_path):
    """Written by hand: one that no float holds."""
    for option in ("scales", "base_size", "window"):
        for value in (10**400, [10**400]):
            path = fitted_file(tmp_path / "t.json", checkpoint, **{option: value})
            assert f"was fitted with {option.replace('_', ' ')} " in note_of(checkpoint, path)
