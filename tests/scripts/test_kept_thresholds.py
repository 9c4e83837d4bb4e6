"""The thresholds of the validation: from train.py through the checkpoint to the drawings."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_nets import EDGE, SEG, registered, save_tiny, tiny_contents
from helpers.training import flags, records, start

import predict
from data.edges import decode_png, unpack
from data.errors import InputError
from data.image_io import read_image, write_png
from data.thinning import thin
from utils.checkpoint import CheckpointError, load_model, read_checkpoint, save_checkpoint
from utils.evaluation.edges.predictions import PredictionFolder
from utils.inference import load
from utils.model_info import ModelInfo

CLASSES = 11  # CamVid's
GIVEN = [0.55, None, *[0.45] * 9]
USED = (0.55, *[pytest.approx(0.46)], *[0.45] * 9)


@pytest.fixture(autouse=True)
def tiny_nets():
    with registered():
        yield


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny net for edges with thresholds, and answers around them."""
    path = tmp_path / "best.pth"
    save_checkpoint(path, tiny_contents() | {"thresholds": GIVEN})
    return path


@pytest.fixture
def image_path(tmp_path: Path, rng) -> Path:
    path = tmp_path / "photo.png"
    write_png(path, rng.integers(0, 256, (40, 52, 3), np.uint8))
    return path


def run(*argv: object) -> int:
    return predict.main(predict.parse_args([str(word) for word in (*argv, "--device", "cpu")]))


# --- training ---


@pytest.mark.parametrize("more", [(), ("--ema", "0.5")])
def test_a_run_keeps_the_thresholds_of_its_validations(tiny_camvid, tmp_path, more):
    folder = tmp_path / "run"
    start(*flags(tiny_camvid, folder, "--model", EDGE, "--epochs", "2", *more))
    first, second = (line["thresholds"] for line in records(folder) if line["kind"] == "val")
    assert len(first) == CLASSES
    assert read_checkpoint(folder / "last.pth")["thresholds"] == second
    assert "thresholds" not in read_checkpoint(folder / "previous.pth")  # before any validation
    values = [line["mf"] for line in records(folder) if line["kind"] == "val"]
    best = first if values[0] >= values[1] else second
    _, info = load_model(folder / "best.pth")
    assert info.thresholds == tuple(best)


def test_without_validation_there_are_none(tiny_camvid, tmp_path):
    folder = tmp_path / "run"
    start(*flags(tiny_camvid, folder, "--model", EDGE, "--epochs", "1", "--val-every", "0"))
    assert "thresholds" not in read_checkpoint(folder / "last.pth")
    assert load(folder / "last.pth", "cpu").thresholds is None


def test_a_resumed_run_takes_the_thresholds_from_the_log(tiny_camvid, tmp_path):
    """last.pth was written before the validation that the log has."""
    folder = tmp_path / "run"
    start(*flags(tiny_camvid, folder, "--model", EDGE, "--epochs", "1"))
    state = read_checkpoint(folder / "last.pth")
    expected = state.pop("thresholds")
    save_checkpoint(folder / "last.pth", state | {"args": state["args"] | {"epochs": 3}})
    start(*flags(tiny_camvid, folder, "--model", EDGE, "--val-every", "3", "--epochs", "3"))
    lines = [line for line in records(folder) if line["kind"] == "val"]
    assert [line["epoch"] for line in lines] == [0, 2]
    assert lines[0]["thresholds"] == expected
    assert read_checkpoint(folder / "previous.pth")["thresholds"] == expected  # of epoch 2
    assert read_checkpoint(folder / "last.pth")["thresholds"] == lines[1]["thresholds"]


# --- checkpoints ---


def test_thresholds_lie_beside_what_earlier_versions_read(checkpoint):
    contents = read_checkpoint(checkpoint)
    assert "thresholds" not in contents["model"]
    _, info = load_model(checkpoint)
    assert info.thresholds == tuple(GIVEN)
    assert ModelInfo.from_plain(info.to_plain()).thresholds == tuple(GIVEN)
    assert load(checkpoint, "cpu").thresholds == USED


def test_a_checkpoint_without_thresholds_is_drawn_as_before(tmp_path, image_path):
    save_tiny(tmp_path / "old.pth")
    predictor = load(tmp_path / "old.pth", "cpu")
    assert predictor.thresholds is None
    np.testing.assert_array_equal(predictor.edges(image_path), predictor(image_path) >= 0.5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("half", "thresholds is 'half', expected a list"),
        ([0.5], "1 entries of thresholds, but num_classes is 11"),
        ([*GIVEN[1:], 2], "a threshold is 2, expected a number, 0 to 1, or None"),
        ([*GIVEN[1:], True], "a threshold is True, expected"),
        ([*GIVEN[1:], float("nan")], "a threshold is nan, expected"),
        ([*GIVEN[1:], torch.tensor(0.5)], "a threshold is of type Tensor, expected"),
    ],
)
def test_thresholds_that_cannot_be(tmp_path, wrong, words):
    save_checkpoint(tmp_path / "best.pth", tiny_contents() | {"thresholds": wrong})
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path / "best.pth")


def test_a_net_for_segmentation_has_none(tmp_path):
    save_checkpoint(tmp_path / "best.pth", tiny_contents(SEG) | {"thresholds": GIVEN})
    with pytest.raises(CheckpointError, match="thresholds of a net for seg without an edge head"):
        load_model(tmp_path / "best.pth")


# --- predict.py ---


def test_predict_draws_each_class_at_its_threshold_thinned(
    checkpoint, image_path, tmp_path, capsys
):
    out = tmp_path / "out"
    assert run(image_path, "--checkpoint", checkpoint, "--out", out, "--save-bits") == 0
    assert "edges: thresholds each class's own, 0.45 to 0.55, thinned" in capsys.readouterr().out
    predictor = load(checkpoint, "cpu")
    prob = predictor(image_path)
    bounds = [0.55, 0.46, *[0.45] * 9]
    expected = np.stack([thin(p >= np.float32(t)) for p, t in zip(prob, bounds, strict=True)])
    assert expected.any()
    bits = decode_png(read_image(out / "bits/photo.png"))
    np.testing.assert_array_equal(unpack(bits, CLASSES), expected)
    np.testing.assert_array_equal(predictor.edges(image_path), expected)
    drawn = read_image(out / "photo_edges.png")
    np.testing.assert_array_equal(drawn, predictor.draw(image_path))


def test_the_flags_are_the_keywords(checkpoint, image_path, tmp_path):
    predictor = load(checkpoint, "cpu")
    cases = [
        (("--threshold", 0.4), {"threshold": 0.4}),
        (
            ("--threshold", 0.4, "--thin", "--min-length", 4),
            {"threshold": 0.4, "thin": True, "min_length": 4},
        ),
        (("--no-thin", "--nms"), {"thin": False, "nms": True}),
    ]
    for number, (words, options) in enumerate(cases):
        out = tmp_path / str(number)
        run(image_path, "--checkpoint", checkpoint, "--out", out, "--side-by-side", *words)
        both = predictor.draw(image_path, side_by_side=True, **options)
        np.testing.assert_array_equal(
            read_image(out / "photo_edges.png"), predictor.draw(image_path, **options)
        )
        np.testing.assert_array_equal(read_image(out / "photo_side_by_side.png"), both)
        np.testing.assert_array_equal(both[:40, :52], read_image(image_path))


def test_thresholds_of_a_metrics_file(checkpoint, image_path, tmp_path, capsys):
    _, info = load_model(checkpoint)
    rows = [
        {"name": name, "ods": {"threshold": 0.4 + 0.01 * k, "f": 0.5}}
        for k, name in enumerate(info.classes)
    ]
    content = {"task": "edge", "scores": {"thin": {"classes": rows[::-1]}}}
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(content))
    words = (image_path, "--checkpoint", checkpoint, "--thresholds", path)
    run(*words, "--out", tmp_path / "out", "--save-bits")
    assert "0.40 to 0.50, thinned" in capsys.readouterr().out
    predictor = load(checkpoint, "cpu")
    bounds = [0.4 + 0.01 * k for k in range(CLASSES)]
    expected = predictor.edges(image_path, threshold=bounds, thin=True)
    bits = decode_png(read_image(tmp_path / "out/bits/photo.png"))
    np.testing.assert_array_equal(unpack(bits, CLASSES), expected)
    with pytest.raises(SystemExit):
        run(*words, "--out", tmp_path / "out", "--threshold", 0.5)
    assert "--threshold: not allowed with argument --thresholds" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["png", "npz"])
def test_both_forms_of_probabilities_hold_the_same_scores(checkpoint, image_path, tmp_path, form):
    """They are the net's, whatever is drawn."""
    out = tmp_path / "out"
    run(image_path, "--checkpoint", checkpoint, "--out", out, "--save-prob", form)
    scores = np.stack(list(PredictionFolder(out, CLASSES).read("photo"))).astype(np.float32)
    scores /= 65536 if form == "png" else 1
    expected = np.rint(load(checkpoint, "cpu")(image_path) * 65536) / 65536
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-9)


def test_a_bare_save_prob_takes_no_input_for_its_format(checkpoint, image_path, tmp_path):
    run("--checkpoint", checkpoint, "--out", tmp_path / "out", "--save-prob", image_path)
    assert (tmp_path / "out/prob/class_011/photo.png").exists()
    words = [str(image_path), "--checkpoint", "a", "--out", "b"]
    assert predict.parse_args([*words, "--save-prob"]).save_prob == "png"
    assert predict.parse_args([*words, "--save-prob=npz"]).save_prob == "npz"
    assert predict.parse_args([*words, "--save-prob", "--no-save-prob"]).save_prob is None


@pytest.mark.parametrize(
    "words", [("--thin",), ("--nms",), ("--min-length", 3), ("--threshold", 0.3)]
)
def test_flags_of_edges_are_none_of_segmentation(image_path, tmp_path, words):
    save_tiny(tmp_path / "seg.pth", SEG)
    with pytest.raises(InputError, match=f"{words[0]} is for edges; the checkpoint holds tiny_seg"):
        run(image_path, "--checkpoint", tmp_path / "seg.pth", "--out", tmp_path / "out", *words)
    with pytest.raises(ValueError, match="is for segmentation"):
        load(tmp_path / "seg.pth", "cpu").edges(image_path, nms=True)


def test_label_maps_beside_their_image(image_path, tmp_path):
    save_tiny(tmp_path / "seg.pth", SEG)
    run(image_path, "--checkpoint", tmp_path / "seg.pth", "--out", tmp_path, "--side-by-side")
    both = read_image(tmp_path / "photo_side_by_side.png")
    np.testing.assert_array_equal(both[:40, :52], read_image(image_path))
    colors = read_image(tmp_path / "photo_colors.png")
    np.testing.assert_array_equal(both[:40, 54:106], colors[:40, :52])


def test_min_length_without_thinning_is_one_line(tmp_path, image_path):
    save_tiny(tmp_path / "old.pth")
    words = (image_path, "--checkpoint", tmp_path / "old.pth", "--out", tmp_path / "out")
    with pytest.raises(InputError, match=r"--min-length counts .*: add --thin"):
        run(*words, "--min-length", 3)
    with pytest.raises(InputError, match=r"^min_length counts .*: add thin"):
        load(tmp_path / "old.pth", "cpu").edges(image_path, min_length=3)
