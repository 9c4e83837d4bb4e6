"""Which edges are drawn: thresholds, thinning, lengths, widths, against hand-made drawings."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import InputError
from data.thinning import thin
from utils.edge_metrics import PREDICTED, default_thresholds, evaluate_image, summarize
from utils.inference.drawing import DrawnEdges, beside
from utils.inference.edge_lines import EdgeChoice, without_short
from utils.inference.line_style import draw_lines, line_width, widen
from utils.inference.suppression import suppress
from utils.model_info import ModelInfo, filled
from utils.prediction.metrics_file import read_thresholds
from utils.training.validate_edges import best_thresholds

PALETTE = np.array([(255, 0, 0), (0, 0, 255)], np.uint8)
INFO = ModelInfo("dff", "resnet18", 2, "edge", ("road", "car"), PALETTE, 0, "")
KNOWN = replace(INFO, thresholds=(0.3, 0.6))


def band(value: float = 0.9) -> np.ndarray:
    """float32 (21, 40): a band 7 pixels high around row 10, from end to end."""
    prob = np.zeros((21, 40), np.float32)
    prob[7:14] = value
    return prob


# --- the choice ---


def test_a_band_becomes_a_line_in_its_middle():
    lines = EdgeChoice.of(INFO, threshold=0.5, thin=True).edges(np.stack([band(), band(0.4)]))
    assert lines.dtype == bool
    middle = lines[0, :, 4:-4]
    assert middle[10].all()
    assert middle.sum() == 32
    assert not lines[1].any()


def test_the_checkpoint_s_thresholds_are_those_of_their_classes():
    """Both classes answer 0.5: that is an edge of the first, from 0.3 on, not of the second."""
    prob = np.stack([band(0.5), band(0.5)])
    choice = EdgeChoice.of(KNOWN)
    assert choice == EdgeChoice((0.3, 0.6), thin=True)
    lines = choice.edges(prob)
    np.testing.assert_array_equal(lines[0], thin(band(0.5) > 0))
    assert not lines[1].any()
    raw = EdgeChoice.of(KNOWN, thin=False).edges(prob)
    np.testing.assert_array_equal(raw[0], band() > 0)


def test_without_thresholds_bands_from_a_half_on():
    assert EdgeChoice.of(INFO) == EdgeChoice((0.5, 0.5))
    assert EdgeChoice.of(KNOWN, threshold=0.2) == EdgeChoice((0.2, 0.2))
    assert EdgeChoice.of(KNOWN, threshold=[0.2, 0.1], thin=True) == EdgeChoice((0.2, 0.1), True)
    assert EdgeChoice.of(KNOWN, threshold=np.array([0.25, 0.5])) == EdgeChoice((0.25, 0.5))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"threshold": 1.5}, "threshold 1.5: expected a probability"),
        ({"threshold": [0.5]}, "found 1 of them, expected one for all or 2"),
        ({"threshold": [0.5, None]}, "expected a probability"),
        ({"thin": 1}, "thin 1: expected True or False"),
        ({"nms": None}, "nms None: expected True or False"),
        ({"min_length": -1}, "min length -1: expected"),
        ({"min_length": 1.5}, "min length 1.5: expected"),
        ({"min_length": 3}, "thinned edges: add --thin"),
        ({"threshold": 0.5, "min_length": 3}, "thinned edges: add --thin"),
    ],
)
def test_values_that_make_no_sense(flags, words):
    with pytest.raises(InputError, match=words):
        EdgeChoice.of(INFO, **flags)


def test_thinned_edges_are_those_that_the_evaluation_counts(rng):
    """As many pixels at each threshold as the evaluation predicts."""
    noise = rng.random((40, 50)).astype(np.float32)
    prob = np.mean([np.roll(noise, (dy, dx), (0, 1)) for dy in range(4) for dx in range(4)], axis=0)
    prob = (prob * 65536).astype(np.uint16).astype(np.float32) / 65536
    thresholds = np.array([0.375, 0.5, 0.625])
    truth = np.zeros(prob.shape, bool)
    truth[20] = True
    counts = evaluate_image(prob, truth, thresholds=thresholds, max_dist=0.02, thin=True)
    for threshold, expected in zip(thresholds, counts[:, PREDICTED], strict=True):
        lines = EdgeChoice((float(threshold),), thin=True).edges(prob[None])
        assert expected == lines.sum() > 0


def test_short_lines_are_left_out():
    """Diagonal neighbours belong together; a line has exactly as many pixels as are asked for."""
    lines = np.zeros((12, 20), bool)
    lines[1, 2:7] = True  # 5 pixels
    lines[[4, 5, 6, 7], [3, 4, 5, 6]] = True  # 4, diagonal
    lines[10, 15:18] = True  # 3
    expected = lines.copy()
    expected[10] = False
    np.testing.assert_array_equal(without_short(lines, 4), expected)
    np.testing.assert_array_equal(without_short(lines, 5).nonzero()[0], [1] * 5)
    prob = np.stack([lines, lines]).astype(np.float32)
    found = EdgeChoice.of(INFO, threshold=0.5, thin=True, min_length=4).edges(prob)
    np.testing.assert_array_equal(found[1], expected)


# --- non-maximum suppression ---


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 110, 135])
def test_the_ridge_of_a_broad_response_is_kept(degrees):
    """A straight ridge that falls off by a Gaussian: what is kept lies on it, without a gap."""
    angle = np.deg2rad(degrees)
    y, x = np.mgrid[:61, :61] - 30.0
    distance = x * np.sin(angle) - y * np.cos(angle)
    prob = (0.9 * np.exp(-(distance**2) / (2 * 4.0**2))).astype(np.float32)
    kept = suppress(prob)
    on = kept > 0.05
    assert np.abs(distance[on]).max() < 1
    np.testing.assert_array_equal(kept[on], prob[on])
    disc = on & (x**2 + y**2 < 20**2)
    assert cv2.connectedComponents(disc.view(np.uint8), connectivity=8)[0] == 2  # and background
    along = (x * np.cos(angle) + y * np.sin(angle))[disc]
    assert along.min() < -18
    assert along.max() > 18
    assert disc.sum() <= 1.5 * 40


def test_two_bands_that_have_grown_together_are_two_lines():
    """Their ridges are 9 pixels apart, with 0.6 between them: a threshold of 0.5 sees one band."""
    rows = np.arange(40)
    profile = np.maximum.reduce(
        [0.9 - 0.07 * abs(rows - 14), 0.9 - 0.07 * abs(rows - 23), 0 * rows]
    )
    prob = np.repeat(profile[:, None], 50, axis=1).astype(np.float32)
    assert (prob[14:24] >= 0.5).all()
    lines = EdgeChoice((0.5,), nms=True).edges(prob[None])[0]
    np.testing.assert_array_equal(lines.nonzero()[0].reshape(2, -1), [[14] * 50, [23] * 50])


def test_a_step_of_even_width_keeps_one_side_and_a_flat_map_stays():
    prob = np.zeros((20, 30), np.float32)
    prob[8:12] = 0.8  # the middle is between two rows
    lines = suppress(prob) > 0
    assert (lines.sum(axis=0) == 1).all()
    assert set(lines.nonzero()[0]) <= {9, 10}
    np.testing.assert_array_equal(suppress(np.full((9, 9), 0.7, np.float32)), np.float32(0.7))


# --- drawing ---


@pytest.mark.parametrize(
    ("width", "expected"), [(20, 1), (599, 1), (640, 2), (1024, 3), (2048, 5), (5600, 14)]
)
def test_lines_grow_with_the_image(width, expected):
    assert line_width(width) == expected


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_a_widened_line_has_that_width(width):
    line = np.zeros((1, 20, 20), bool)
    line[0, 10] = True
    wide = widen(line, width)
    assert (wide[0].sum(axis=0) == width).all()
    assert wide[0, 10].all()


def test_lines_are_drawn_fully_and_wide_and_the_bits_are_thin():
    prob = np.zeros((2, 12, 800), np.float32)
    prob[0, 3:6] = 0.4  # from 0.3 on: its middle is drawn in its whole colour
    drawn = DrawnEdges(prob, KNOWN, EdgeChoice.of(KNOWN))
    assert drawn.classes == [0]
    assert drawn.edges[0, :, 400].sum() == 1
    red = (drawn.drawing == (255, 0, 0)).all(axis=-1)
    assert red[:, 400].sum() == 2
    assert (drawn.drawing[~red] == 255).all()


def test_lines_of_several_classes_alternate_and_keep_their_colours():
    """Two lines of 20 pixels, of which 12 are both: dashes of 4, and none of a third colour."""
    lines = np.zeros((2, 5, 30), bool)
    lines[0, 2, 0:20] = lines[1, 2, 8:28] = True
    canvas = np.full((5, 30, 3), 255, np.uint8)
    draw_lines(canvas, lines, PALETTE, 1)
    red, blue = ((canvas == color).all(axis=2) for color in PALETTE)
    row = "".join("r" if r else "b" if b else "." for r, b in zip(red[2], blue[2], strict=True))
    assert row == "rrrrrrrr" + "rrrrbbbbrrrr" + "bbbbbbbb" + ".."
    assert (canvas[[0, 1, 3, 4]] == 255).all()


def test_a_casing_is_white_around_lines_and_nowhere_else():
    """Drawn by hand: + are the pixels within 1 of the line, #."""
    lines = np.zeros((2, 4, 5), bool)
    lines[1, 1, 2] = True
    canvas = np.full((4, 5, 3), 100, np.uint8)
    draw_lines(canvas, lines, PALETTE, 1, cased=True)
    near = np.array([list(row) for row in ("..+..", ".+#+.", "..+..", ".....")])
    assert canvas[near == "#"].tolist() == [[0, 0, 255]]
    assert (canvas[near == "."] == 100).all()
    np.testing.assert_allclose(canvas[near == "+"], 0.3 * 100 + 0.7 * 255, atol=1)


def test_bands_are_drawn_by_their_probability():
    prob = np.stack([band(0.8), np.zeros((21, 40), np.float32)])
    drawn = DrawnEdges(prob, INFO, EdgeChoice.of(INFO)).drawing
    np.testing.assert_array_equal(drawn[10, 5], [255, 51, 51])
    np.testing.assert_array_equal(drawn[0, 5], [255, 255, 255])


def test_an_image_beside_its_drawing():
    left, right = np.zeros((5, 8, 3), np.uint8), np.full((5, 8, 3), 7, np.uint8)
    both = beside(left, right)
    assert both.shape == (5, 18, 3)
    assert (both[:, :8] == 0).all()
    assert (both[:, 8:10] == 255).all()
    assert (both[:, 10:] == 7).all()


# --- where thresholds come from ---


def test_the_best_thresholds_of_a_validation():
    """The first class is right from the third threshold on, the second never, the third absent."""
    counts = np.zeros((3, 1, 4, 4), np.int64)
    counts[0, 0] = [[10, 10, 10, 90], [10, 10, 10, 40], [10, 10, 10, 10], [2, 10, 2, 2]]
    counts[1, 0] = [[0, 10, 0, 50], [0, 10, 0, 20], [0, 10, 0, 5], [0, 10, 0, 0]]
    counts[2, 0, :, 3] = 5
    summaries = [summarize(part, default_thresholds(4)) for part in counts]
    found = best_thresholds(summaries)
    assert found is not None
    assert found == (pytest.approx(0.6), None, None)
    assert filled(found) == (pytest.approx(0.6),) * 3
    assert best_thresholds(summaries[1:]) is None
    assert filled((0.2, None, 0.4)) == (0.2, pytest.approx(0.3), 0.4)
    assert filled((None, None)) is None


def metrics(path: Path, **modes: list[tuple[str, float | None, float]]) -> Path:
    """A metrics.json: for each mode (name, threshold or None, F) of each class."""
    scores = {
        mode: {
            "classes": [
                {"name": name, "ods": None if at is None else {"threshold": at, "f": f}}
                for name, at, f in rows
            ]
        }
        for mode, rows in modes.items()
    }
    path.write_text(json.dumps({"task": "edge", "scores": scores}))
    return path


def test_thresholds_of_a_metrics_file_go_by_name(tmp_path):
    thin_rows = [("car", 0.2, 0.5), ("road", 0.7, 0.5)]
    raw_rows = [("car", 0.3, 0.5), ("road", 0.9, 0.5)]
    path = metrics(tmp_path / "metrics.json", raw=raw_rows, thin=thin_rows)
    assert read_thresholds(path, ("road", "car")) == ((0.7, 0.2), True)
    path = metrics(tmp_path / "metrics.json", raw=raw_rows)
    assert read_thresholds(path, ("road", "car")) == ((0.9, 0.3), False)


def test_a_class_without_a_score_gets_the_mean_of_the_others(tmp_path):
    rows = [("a", 0.2, 0.5), ("b", None, 0.0), ("c", 0.6, 0.5), ("d", 0.01, 0.0)]
    path = metrics(tmp_path / "metrics.json", thin=rows)
    assert read_thresholds(path, "abcd") == (
        (0.2, pytest.approx(0.4), 0.6, pytest.approx(0.4)),
        True,
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no valid JSON|is no JSON"),
        ("[]", "is no metrics.json of test.py for edges"),
        ('{"task": "seg", "scores": {}}', "is no metrics.json of test.py for edges"),
        ('{"task": "edge", "scores": {}}', "no best thresholds of classes in it"),
        ('{"task": "edge", "scores": {"thin": {"classes": [3]}}}', "no best thresholds"),
    ],
)
def test_other_files_than_a_metrics_file(tmp_path, content, words):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        read_thresholds(path, ("road", "car"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("road", "bus"), "car missing, bus unknown"),
        (("road",), "car missing"),
        (("road", "car", "bus"), "bus unknown"),
        (("road", "car", "car"), "a name occurs twice"),
    ],
)
def test_a_metrics_file_of_other_classes(tmp_path, names, words):
    path = metrics(tmp_path / "metrics.json", thin=[(name, 0.5, 0.5) for name in names])
    with pytest.raises(InputError, match=f"its classes are not the checkpoint's: {words}$"):
        read_thresholds(path, ("road", "car"))


def test_a_metrics_file_without_any_threshold_or_a_wrong_one(tmp_path):
    path = metrics(tmp_path / "metrics.json", thin=[("road", None, 0), ("car", 0.1, 0.0)])
    with pytest.raises(InputError, match="no class has a best threshold"):
        read_thresholds(path, ("road", "car"))
    path = metrics(tmp_path / "metrics.json", thin=[("road", 7, 0.5), ("car", 0.1, 0.5)])
    with pytest.raises(InputError, match="a threshold is 7, expected"):
        read_thresholds(path, ("road", "car"))
