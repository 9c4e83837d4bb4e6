"""utils.seg_metrics against plain loops, hand-drawn maps and the published function's numbers."""

from pathlib import Path

import cv2
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
    region_width,
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


# (width, height) -> boundary IoU's width at 0.005 of the diagonal: 11.45, 7.34, 6.49 and 3 px.
WIDTHS = {(2048, 1024): 11, (1280, 720): 7, (1242, 375): 6, (480, 360): 3}


def published_region(mask: np.ndarray, ratio: float) -> np.ndarray:
    """`mask_to_boundary` of Cheng et al.'s boundary-iou-api: the mask without itself eroded."""
    height, width = mask.shape
    dilation = max(1, round(ratio * np.sqrt(height**2 + width**2)))
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    eroded = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=dilation)
    return (mask - eroded[1:-1, 1:-1]).astype(bool)


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_boundary_iou_s_width_is_the_authors(rng, width, height):
    assert region_width(0.005, (height, width)) == WIDTHS[width, height]
    pred, truth = random_maps(rng, (height, width), 3, block=60)
    expected = []
    for k in range(3):
        masks = [((ids == k) & (truth != 255)).astype(np.uint8) for ids in (pred, truth)]
        one, other = (published_region(mask, 0.005) for mask in masks)
        expected.append([np.count_nonzero(one & other), np.count_nonzero(one | other)])
    assert boundary_iou_counts(pred, truth, 3, 0.005).tolist() == expected


def test_boundary_iou_of_two_shifted_halves_at_cityscapes_size():
    """Frames of 11 px around both halves, the right border 7 px off: counted on paper."""
    truth = np.zeros((1024, 2048), np.uint8)
    truth[:, 1024:] = 1
    pred = np.zeros_like(truth)
    pred[:, 1031:] = 1
    inner = 1024 - 2 * 11  # rows between the frames' upper and lower sides
    hits = [22 * 1024 + (11 + 4) * inner, 22 * 1017 + (11 + 4) * inner]
    union = [22 * 1031 + (11 + 18) * inner, 22 * 1024 + (11 + 18) * inner]
    counts = boundary_iou_counts(pred, truth, 2, 0.005)
    assert counts.T.tolist() == [hits, union]


def test_boundary_iou_s_width_in_pixels_and_at_least_one():
    assert [region_width(width, (1024, 2048)) for width in (1, 3, 2.9, 200)] == [1, 3, 2, 200]
    assert region_width(0.005, (20, 20)) == 1
    assert region_width(0.025, (60, 80)) == 2  # 2.5, rounded to even as Python and NumPy do
    assert region_width(0.035, (60, 80)) == 4  # 3.5


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


@pytest.mark.parametrize(
    "ids",
    [
        np.zeros((4, 5)),  # probabilities would become class 0
        np.full((4, 5), np.nan),
        np.zeros((4, 5), complex),
        np.full((4, 5), -1),
        np.full((4, 5), 256),
        np.full((4, 5), 2**32, np.uint64),
        np.zeros((0, 5), np.uint8),
        np.zeros(20, np.uint8),
        np.full((4, 5), "1"),
        None,
    ],
)
def test_maps_that_are_none_are_refused_by_all(ids):
    """Also as the prediction. Nothing is rounded, wrapped round or read as another class."""
    good = np.zeros((4, 5), np.uint8)
    for pair in ((ids, good), (good, ids)):
        for call in (
            lambda pair: confusion(*pair, 2),
            lambda pair: boundary_f(*pair, 2, 3),
            lambda pair: boundary_iou_counts(*pair, 2, 3),
        ):
            with pytest.raises(ValueError, match=r"label map|label ids"):
                call(pair)
    for one in (lambda: label_boundaries(ids), lambda: boundary_region(ids, 2)):
        with pytest.raises(ValueError, match=r"label map|label ids"):
            one()


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.uint64])
def test_all_types_of_integers_count_the_same(rng, dtype):
    pred, truth = (rng.integers(0, 2, (9, 11)).astype(np.uint8) for _ in range(2))
    expected = confusion(pred, truth, 2)
    assert np.array_equal(confusion(pred.astype(dtype), truth.astype(dtype), 2), expected)


@pytest.mark.parametrize("classes", [0, -1, 256, 10**9, 2.0, "2", None])
def test_numbers_of_classes_that_do_not_fit(classes):
    ids = np.zeros((4, 5), np.uint8)
    for call in (confusion, lambda *a: boundary_f(*a, 3), lambda *a: boundary_iou_counts(*a, 3)):
        with pytest.raises(ValueError, match="expected a whole number, 1 to 255"):
            call(ids, ids, classes)


def test_255_classes(rng):
    ids = rng.integers(0, 255, (9, 11)).astype(np.uint8)
    ids[0, 0] = 254
    assert np.diagonal(confusion(ids, ids, 255)).sum() == 99
    counts = boundary_iou_counts(ids, ids, 255, 2)
    assert np.array_equal(counts[:, 0], counts[:, 1])
    assert counts[254, 0] > 0
    assert boundary_f(ids, ids, 255, 3)[0].tolist() == [1] * 255


@pytest.mark.parametrize("bound", [0, -1, -0.5, np.nan, np.inf, -np.inf])
def test_bounds_that_make_no_sense(bound):
    ids = np.zeros((4, 5), np.uint8)
    for call in (boundary_f, boundary_iou_counts):
        with pytest.raises(ValueError, match="a tolerance of"):
            call(ids, ids, 2, bound)
    with pytest.raises(ValueError, match="a tolerance of"):
        region_width(bound, (4, 5))
    with pytest.raises(ValueError, match="no tolerance"):
        boundary_counts(ids, ids, 2, [])
    with pytest.raises(ValueError, match="a distance of 0 pixels"):
        boundary_region(ids, 0)


def test_bounds_beyond_the_image_reach_all_of_it(rng):
    """And take no more memory than the image's diagonal does."""
    pred, truth = random_maps(rng)
    whole = boundary_counts(pred, truth, 4, [40.0])  # of 24x31 pixels: all
    assert np.array_equal(boundary_counts(pred, truth, 4, [1e9]), whole)
    far = boundary_iou_counts(pred, truth, 4, 1e9)
    assert np.array_equal(far, boundary_iou_counts(pred, truth, 4, 16))


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((4, 6), int),  # a label map
        np.zeros(4, int),
        np.zeros((3, 2), int),
        np.zeros((0, 0), int),
        np.full((2, 2), -1),
        np.full((2, 2), np.nan),
        np.full((2, 2), "a"),
    ],
)
def test_what_is_no_confusion_matrix(counts):
    for score in (class_iou, mean_iou, class_accuracy, pixel_accuracy, frequency_weighted_iou):
        with pytest.raises(ValueError, match="confusion"):
            score(counts)


def test_counts_of_boundaries_have_four_columns():
    with pytest.raises(ValueError, match=r"expected counts \(\.\.\., 4\)"):
        boundary_f_measure(np.zeros((3, 5)))


def test_what_would_be_lost_in_silence(rng):
    ids = rng.integers(0, 3, (8, 8))
    with pytest.raises(ValueError, match="masked array"):
        confusion(np.ma.masked_equal(ids, 1), ids, 3)
    counts = np.full((3, 3), 60000)
    assert np.array_equal(class_iou(counts.astype(np.float16)), class_iou(counts.astype(float)))
    with pytest.raises(ValueError, match="more matched pixels"):
        boundary_f_measure([[5, 1, 5, 1]])
