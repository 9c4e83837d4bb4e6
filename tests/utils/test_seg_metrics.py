"""utils.seg_metrics against plain loops, hand-drawn maps and the published function's numbers."""

from pathlib import Path

import numpy as np
import pytest
from helpers.label_maps import (
    loop_boundary,
    loop_boundary_regions,
    loop_confusion,
    plain_boundary_f,
    plain_iou,
    random_maps,
)

from data.image_io import read_index
from utils.seg_metrics import (
    PUBLISHED_BOUNDS,
    boundary_counts,
    boundary_f,
    boundary_f_measure,
    boundary_iou_counts,
    boundary_region,
    class_accuracy,
    class_iou,
    confusion,
    frequency_weighted_iou,
    label_boundaries,
    mean_iou,
    pixel_accuracy,
    tolerance_pixels,
)

GOLDEN = Path(__file__).parents[1] / "golden"


def test_confusion_and_its_scores_equal_loops(rng):
    pred, truth = random_maps(rng)
    counts = confusion(pred, truth, 4)
    expected = loop_confusion(pred, truth, 4)
    assert counts.dtype == np.int64
    assert np.array_equal(counts, expected)
    ious = [plain_iou([(pred, truth)], k, 4) for k in range(4)]
    np.testing.assert_allclose(class_iou(counts), ious, rtol=1e-15)
    assert mean_iou(counts) == pytest.approx(np.mean(ious), abs=1e-15)
    right = [(pred == k)[truth == k].mean() for k in range(4)]
    np.testing.assert_allclose(class_accuracy(counts), right, rtol=1e-15)
    share = [(truth == k).sum() / (truth != 255).sum() for k in range(4)]
    assert frequency_weighted_iou(counts) == pytest.approx(np.dot(share, ious), abs=1e-12)
    assert pixel_accuracy(counts) == pytest.approx((pred == truth)[truth != 255].mean(), abs=1e-15)


def test_absent_classes_are_left_out_of_the_mean():
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    counts = confusion(np.array([[0, 1, 1, 2]], np.uint8), truth, 4)
    # Class 2 is predicted, but only where nothing counts.
    assert np.isnan(class_iou(counts)[2:]).all()
    assert np.isnan(class_accuracy(counts)[2:]).all()
    assert mean_iou(counts) == 0.5
    assert np.isnan(mean_iou(np.zeros((3, 3))))
    assert np.isnan(pixel_accuracy(np.zeros((3, 3))))
    # A class that is only falsely predicted counts as 0.
    assert class_iou(confusion(np.array([[2]]), np.array([[0]]), 3))[2] == 0


def test_predictions_of_no_class_are_missed_pixels():
    truth, pred = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 255, 1, 7]], np.uint8)
    counts = confusion(pred, truth, 2, void=True)
    assert counts.tolist() == [[1, 0, 1], [0, 1, 1]]
    assert class_iou(counts).tolist() == [0.5, 0.5]
    assert pixel_accuracy(counts) == 0.5
    with pytest.raises(ValueError, match="2 labelled pixels are predicted as no class"):
        confusion(pred, truth, 2)


@pytest.mark.parametrize("bound", [1, 2, 2.5, 4, 0.02, 0.09])
def test_boundary_f_equals_its_definition(rng, bound):
    pred, truth = random_maps(rng)
    radius = bound if bound >= 1 else np.ceil(bound * np.hypot(*truth.shape))
    sums, counts = boundary_f(pred, truth, 5, bound)  # class 4 is absent from both
    expected = [plain_boundary_f(pred, truth, k, radius) for k in range(5)]
    np.testing.assert_allclose(sums, expected, atol=1e-12)
    assert sums[4] == 1
    assert counts.tolist() == [1] * 5


def test_several_bounds_in_one_pass_in_any_order(rng):
    pred, truth = random_maps(rng)
    bounds = (4, 1, 0.05, 2, 2)
    together = boundary_counts(pred, truth, 4, bounds)
    for bound, counts in zip(bounds, together, strict=True):
        assert np.array_equal(counts, boundary_counts(pred, truth, 4, [bound])[0])


def test_more_classes_than_a_word_has_bits(rng):
    pred, truth = random_maps(rng, classes=4)
    spread = np.array([3, 63, 64, 129] + [255] * 252, np.uint8)
    many = boundary_counts(spread[pred], spread[truth], 130, [2])[0]
    assert np.array_equal(many[[3, 63, 64, 129]], boundary_counts(pred, truth, 4, [2])[0])
    assert not np.delete(many, [3, 63, 64, 129], axis=0).any()


def test_a_shift_inside_the_tolerance_is_perfect_and_outside_is_nothing():
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 1
    pred = np.roll(truth, 3, axis=1)
    pred[:, :3] = 0
    assert boundary_f(pred, truth, 2, 3)[0].tolist() == [1, 1]
    assert boundary_f(pred, truth, 2, 2)[0].tolist() == [0, 0]
    assert boundary_f(truth, truth, 2, 1)[0].tolist() == [1, 1]


def test_one_sided_boundaries():
    counts = np.array([[0, 0, 0, 5], [0, 5, 0, 0], [0, 0, 0, 0], [0, 5, 0, 5]])
    assert boundary_f_measure(counts).tolist() == [0, 0, 1, 0]


def test_published_fractions_in_pixels():
    assert [tolerance_pixels(bound, (1024, 2048)) for bound in PUBLISHED_BOUNDS] == [2, 5, 9, 12]
    assert [tolerance_pixels(bound, (360, 480)) for bound in PUBLISHED_BOUNDS] == [1, 2, 3, 3]
    assert tolerance_pixels(3, (1024, 2048)) == 3
    with pytest.raises(ValueError, match="tolerance of 0"):
        tolerance_pixels(0, (10, 10))


def test_boundary_f_equals_the_published_numbers():
    """One image and two predictions, with the published function's F and precision."""
    golden = np.load(GOLDEN / "fboundary_camvid.npz")
    for kind in golden["kinds"]:
        for bound in golden["bounds"]:
            pred, label = golden[f"pred|{kind}"], golden["label"]
            np.testing.assert_allclose(
                boundary_f(pred, label, 11, float(bound))[0], golden[f"{kind}|{bound}|F"], atol=1e-9
            )
            _, true, matched, predicted = boundary_counts(pred, label, 11, [float(bound)])[0].T
            precision = np.where(predicted, matched / np.maximum(predicted, 1), true == 0)
            precision = np.where(
                (true == 0) & (predicted > 0),
                0,
                np.where((predicted == 0) & (true > 0), 1, precision),
            )
            np.testing.assert_allclose(precision, golden[f"{kind}|{bound}|P"], atol=1e-9)


def test_boundary_f_equals_all_published_numbers(shared):
    folder = shared / "golden/edges/fboundary"
    golden = np.load(folder / "fboundary.npz")
    for kind in golden["kinds"]:
        maps = [
            (read_index(folder / f"{n}_pred_{kind}.png"), read_index(folder / f"{n}_gt.png"))
            for n in golden["names"]
        ]
        for bound in golden["thresholds"]:
            parts = [boundary_f(pred, label, 11, float(bound)) for pred, label in maps]
            for part, f in zip(parts, golden[f"{kind}|{bound}|F"], strict=True):
                np.testing.assert_allclose(part[0], f, atol=1e-9)
            np.testing.assert_allclose(
                sum(f for f, _ in parts), golden[f"{kind}|{bound}|Fpc"], atol=1e-9
            )
            assert np.array_equal(sum(n for _, n in parts), golden[f"{kind}|{bound}|Fc"])


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_boundary_regions_equal_erosion(rng, distance):
    pred, truth = random_maps(rng)
    expected = [list(loop_boundary_regions(pred, truth, k, distance)) for k in range(4)]
    assert boundary_iou_counts(pred, truth, 4, distance).tolist() == expected


def test_boundary_region_of_an_image_smaller_than_its_width():
    ids = np.ones((3, 4), np.uint8)
    assert np.array_equal(boundary_region(ids, 5), ids)


def test_boundaries_of_any_class(rng):
    _, truth = random_maps(rng)
    edges = [loop_boundary(truth == k) for k in np.unique(truth)]
    assert np.array_equal(label_boundaries(truth), np.logical_or.reduce(edges))


def test_mistakes_are_named(rng):
    pred, truth = random_maps(rng)
    with pytest.raises(ValueError, match=r"the prediction is \(23, 31\)"):
        confusion(pred[1:], truth, 4)
    with pytest.raises(ValueError, match=r"label ids 0\.\.256"):
        confusion(np.array([[0, 256]]), np.array([[0, 0]]), 4)
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\)"):
        boundary_f(np.zeros((2, 3, 4), np.uint8), truth, 4, 3)
