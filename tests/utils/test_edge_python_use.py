"""The edge metrics from Python: what would be silently wrong is refused."""

import numpy as np
import pytest

from data.base import Dataset, Record
from data.errors import InputError
from data.image_io import write_png
from data.imresize import STRIP_PIXELS, resize_bicubic
from utils.edge_metrics import default_thresholds, evaluate_both, evaluate_image, match, summarize
from utils.evaluation.edges.ground_truth import DatasetGroundTruth
from utils.evaluation.edges.image_counts import ImageGroundTruth, as_probability
from utils.evaluation.edges.protocols import find_protocol
from utils.evaluation.edges.scores import score_modes

KNOBS = {"thresholds": default_thresholds(3), "max_dist": 0.1, "thin": False}
GT = np.eye(8, dtype=bool)
PROB = np.full((8, 8), 0.5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prob": PROB * np.nan}, "not a number"),
        ({"prob": PROB * 1j}, "scores must be float"),
        ({"prob": PROB.astype(int)}, "scores must be float"),
        ({"prob": PROB > 0}, "scores must be float"),
        ({"prob": np.ma.masked_greater(PROB, 0.4)}, "masked array"),
        ({"prob": PROB[:4]}, "resize the prediction"),
        ({"gt": GT * 0.5}, "gt holds float64 numbers"),
        ({"gt": np.arange(64).reshape(8, 8)}, "gt holds int64 numbers"),
        ({"gt": -GT.astype(int)}, "gt holds int64 numbers"),
        ({"gt": GT[0]}, r"gt is bool \(8,\)"),
        ({"gt": GT[None, None]}, r"gt is bool \(1, 1, 8, 8\)"),
        ({"gt": np.zeros((0, 8, 8), bool)}, r"gt is bool \(0, 8, 8\)"),
        ({"thresholds": [0.5, 0.2]}, "ascending"),
        ({"thresholds": [0.5, np.nan]}, "ascending"),
        ({"thresholds": [[0.5]]}, "ascending"),
        ({"thresholds": []}, "ascending"),
        ({"max_dist": np.nan}, "max_dist is nan"),
        ({"max_dist": -1}, "max_dist is -1"),
        ({"margin": 4}, "leaves nothing"),
        ({"margin": 0.5}, "whole number of pixels"),
        ({"interior": GT * 0.5, "thin": True}, "interior holds float64"),
    ],
)
def test_nonsense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        evaluate_image(**{"prob": PROB, "gt": GT} | KNOBS | changes)


def test_masks_of_integers_are_edges():
    plain = evaluate_image(PROB, GT, **KNOBS)
    for mask in (GT.astype(np.uint8), GT * np.uint8(255), GT.astype(np.int64)):
        assert np.array_equal(evaluate_image(PROB, mask, **KNOBS), plain)
        assert match(mask, GT, 0.1) == (8, 8)
    several = evaluate_image(PROB, np.stack([GT, GT[::-1]]), **KNOBS)
    found = evaluate_image(PROB, np.stack([GT, GT[::-1]]) * np.uint8(255), **KNOBS)
    assert np.array_equal(found, several)
    with pytest.raises(InputError, match="pred holds float64"):
        match(PROB, GT, 0.1)
    with pytest.raises(InputError, match="gt_raw holds float64"):
        evaluate_both(PROB, GT, GT * 0.5, thresholds=KNOBS["thresholds"], max_dist=0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: -c, "0 or more"),
        (lambda c: c * np.nan, "0 or more"),
        (lambda c: c * 1j, "numbers of pixels"),
        (lambda c: c[..., ::-1], "more matched pixels than pixels"),
        (lambda c: c[0], "expected counts"),
    ],
)
def test_counts_that_mean_nothing_are_refused(change, words):
    counts = np.tile([1, 2, 1, 3], (2, 5, 1))
    assert summarize(counts).has_truth
    with pytest.raises(ValueError, match=words):
        summarize(change(counts), np.linspace(0.1, 0.9, 5))
    with pytest.raises(ValueError, match="ascending"):
        summarize(counts, np.linspace(0.9, 0.1, 5))


def test_bare_bits_are_no_groups():
    with pytest.raises(ValueError, match="to_groups"):
        ImageGroundTruth({"thin": np.zeros((4, 5), np.uint32)}, None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_resizing_in_strips_changes_no_digit(rng, monkeypatch, dtype):
    score = (rng.random((31, 57)) * (1 if dtype == np.float32 else 200)).astype(dtype)
    whole = resize_bicubic(as_probability(score), (16, 29))
    monkeypatch.setattr("data.imresize.STRIP_PIXELS", 31 * 5)
    assert STRIP_PIXELS > 10**7
    assert np.array_equal(resize_bicubic(score, (16, 29), as_probability), whole)


def test_equal_counts_at_all_thresholds_are_binary():
    protocol = find_protocol("dff", thresholds=4, raw=False)
    counts = np.tile([5, 5, 5, 6], (2, 1, 2, 4, 1)).astype(np.int64)
    (mode,) = score_modes(counts, ["a", "b"], protocol)
    assert mode.binary
    assert mode.to_plain()["mean"]["ap"] is mode.to_plain()["published_mean"]["ap"] is None
    counts[0, 0, 1, 3] = 0, 5, 0, 0
    (mode,) = score_modes(counts, ["a", "b"], protocol)
    assert not mode.binary
    assert "note" not in mode.to_plain()
    counts[..., 3] = 0
    counts[..., [0, 2]] = 0
    assert not score_modes(counts, ["a", "b"], protocol)[0].binary  # nothing is predicted


class Sized(Dataset):
    """An image with a label map, and with edges of its own: as SBD, which compares no sizes."""

    name, classes, palette = "sized", ("a",), np.zeros((1, 3), np.uint8)

    def __init__(self, folder, label_size, edge_size=(30, 40)):
        self.edge_size = edge_size
        write_png(folder / "label.png", np.zeros(label_size, np.uint8))
        write_png(folder / "image.png", np.zeros((30, 40, 3), np.uint8))
        super().__init__(folder, "val", [Record("x", folder / "image.png", folder / "label.png")])

    def edge_ground_truth(self, index, *, thin, scale, instance_sensitive):
        return np.zeros(self.edge_size, np.uint32)


def test_labels_of_another_size_than_their_image_are_refused(tmp_path):
    protocol = find_protocol("dff", scale=1.0)
    assert DatasetGroundTruth(Sized(tmp_path, (30, 40)), protocol).load(0).label is None
    small = DatasetGroundTruth(Sized(tmp_path, (3, 5)), protocol)
    for look in (small.size, small.load):
        with pytest.raises(InputError, match=r"label\.png: the label is 5x3, but its image"):
            look(0)
    other = DatasetGroundTruth(Sized(tmp_path, (30, 40), (15, 20)), protocol)
    with pytest.raises(InputError, match=r"its edges are 20x15, but .* should be 40x30"):
        other.load(0)


def test_counts_of_few_bits_do_not_overflow():
    counts = np.full((300, 3, 4), 60000)
    assert summarize(counts.astype(np.float16)).ods == summarize(counts).ods
