"""Counts against plain matchings, summaries against plain loops, both against reference numbers."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.matching import plain_match
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import thin as skimage_thin

from data.errors import InputError
from utils.edge_metrics import default_thresholds, evaluate_both, evaluate_image, summarize

GOLDEN = Path(__file__).parents[1] / "golden"
T99 = default_thresholds()


def scene(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth score (H, W) float64 and true edges bool (H, W)."""
    rng = np.random.default_rng(seed)
    score = cv2.GaussianBlur(rng.random((height, width)), (0, 0), rng.uniform(0.3, 1.5))
    score = (score - score.min()) / (np.ptp(score) or 1)
    return score, rng.random((height, width)) < rng.uniform(0, 0.4)


def plain_counts(
    prob: np.ndarray,
    gt: np.ndarray,
    thresholds: np.ndarray,
    max_dist: float,
    thin: bool,
    inside: np.ndarray | None = None,
) -> np.ndarray:
    """Each threshold by itself."""
    radius, counts = max_dist * math.hypot(*gt.shape), []
    far = np.array(
        [
            [plain_match(dot(gt.shape, y, x), gt, radius) == 0 for x in range(gt.shape[1])]
            for y in range(len(gt))
        ]
    )
    for threshold in thresholds:
        pred = prob >= threshold
        if thin:
            pred = skimage_thin(pred)
        if inside is not None:
            pred = pred & ~(inside & far)
        pairs = plain_match(pred, gt, radius)
        counts.append([pairs, gt.sum(), pairs, pred.sum()])
    return np.array(counts)


def dot(shape: tuple[int, int], y: int, x: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y, x] = True
    return mask


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    radius=st.floats(0, 5),
    thin=st.booleans(),
)
def test_a_sweep_is_as_many_separate_matchings(
    seed: int, height: int, width: int, radius: float, thin: bool
) -> None:
    prob, gt = scene(seed, height, width)
    max_dist, thresholds = radius / math.hypot(height, width), default_thresholds(9)
    found = evaluate_image(prob, gt, thresholds=thresholds, max_dist=max_dist, thin=thin)
    assert found.dtype == np.int64
    assert (found == plain_counts(prob, gt, thresholds, max_dist, thin)).all()


@pytest.mark.parametrize("seed", range(4))
def test_pixels_inside_objects_are_not_counted(seed: int) -> None:
    prob, _ = scene(seed, 14, 16)
    inside, gt = np.zeros((2, 14, 16), bool)
    inside[3:12, 4:13] = True
    gt[3:12, 4] = gt[3, 4:13] = True
    options = {"thresholds": default_thresholds(7), "max_dist": 2 / math.hypot(14, 16)}
    found = evaluate_image(prob, gt, thin=True, interior=inside, **options)
    assert (found == plain_counts(prob, gt, **options, thin=True, inside=inside)).all()
    assert (found[:, 3] <= evaluate_image(prob, gt, thin=True, **options)[:, 3]).all()


def test_margin_is_cropped_off_everything() -> None:
    prob, gt = scene(3, 30, 40)
    options = {"thresholds": default_thresholds(5), "max_dist": 0.05, "thin": True}
    inside = slice(4, -4)
    cropped = evaluate_image(prob[inside, inside], gt[inside, inside], **options)
    assert (evaluate_image(prob, gt, margin=4, **options) == cropped).all()
    assert (cropped != evaluate_image(prob, gt, **options)).any()


def test_both_protocols_in_one_call() -> None:
    prob, gt = scene(5, 40, 50)
    other = np.roll(gt, 1, axis=1)
    options = {"thresholds": T99, "max_dist": 0.03, "margin": 2}
    thin, raw = evaluate_both(prob, gt, other, **options)
    assert (thin == evaluate_image(prob, gt, thin=True, **options)).all()
    assert (raw == evaluate_image(prob, other, thin=False, **options)).all()


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.uint16, 65536), (np.uint8, 255), (np.float32, 1), (np.float64, 1)]
)
def test_scores_of_every_type_reach_their_thresholds(
    dtype: type, scale: int, rng: np.random.Generator
) -> None:
    prob = (rng.random((20, 30)) * (scale - 1 if scale > 1 else 1)).astype(dtype)
    found = evaluate_image(
        prob, np.zeros((20, 30), bool), thresholds=T99, max_dist=0.01, thin=False
    )
    assert (found[:, 3] == [(prob / np.float64(scale) >= t).sum() for t in T99]).all()


def test_counts_do_not_depend_on_threads() -> None:
    scenes = [scene(seed, 60, 80) for seed in range(8)]

    def count(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return evaluate_image(*pair, thresholds=T99, max_dist=0.04, thin=True)

    with ThreadPoolExecutor(4) as pool:
        for found, pair in zip(pool.map(count, scenes), scenes, strict=True):
            assert (found == count(pair)).all()


def plain_annotators(pred: np.ndarray, gts: np.ndarray, radius: float) -> tuple[int, int, int, int]:
    """The predicted pixels by distance to the annotator's; a hit if the matching can grow by it."""
    matched, hit = 0, np.zeros(pred.shape, bool)
    for gt in gts:
        true, used = np.argwhere(gt), np.zeros(pred.shape, bool)
        for p in sorted(
            np.argwhere(pred), key=lambda p: min(((true - p) ** 2).sum(axis=1), default=0)
        ):
            used[tuple(p)] = True
            used[tuple(p)] = plain_match(used, gt, radius) == used.sum()
        matched += used.sum()
        hit |= used
    return matched, gts.sum(), hit.sum(), pred.sum()


@pytest.mark.parametrize("seed", range(5))
def test_several_annotators(seed: int) -> None:
    prob, first = scene(seed, 9, 11)
    gts = np.stack([first, np.roll(first, 1, axis=0), np.zeros_like(first)])
    thresholds, max_dist = default_thresholds(4), 2.1 / math.hypot(9, 11)
    found = evaluate_image(prob, gts, thresholds=thresholds, max_dist=max_dist, thin=True)
    expected = [plain_annotators(skimage_thin(prob >= t), gts, 2.1) for t in thresholds]
    assert (found == np.array(expected)).all()


def test_one_annotator_is_the_usual_protocol() -> None:
    prob, gt = scene(7, 30, 40)
    options = {"thresholds": T99, "max_dist": 0.04, "thin": True}
    assert (evaluate_image(prob, gt[None], **options) == evaluate_image(prob, gt, **options)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prob": np.zeros((5, 6))}, "the prediction is 6x5, the ground truth 8x9"),
        ({"prob": np.full((9, 8), np.nan)}, "72 of the predicted scores are not a number"),
        ({"prob": np.zeros((9, 8), np.int64)}, "float, uint16 or uint8, got int64"),
        ({"margin": 4}, "a margin of 4 px leaves nothing of a map of 8x9"),
        ({"max_dist": -0.1}, "max_dist"),
        ({"interior": np.zeros((9, 9), bool), "thin": True}, "two maps"),
        ({"max_dist": math.nan}, "max_dist"),
        ({"thresholds": np.array([0.5, 0.2])}, "ascending"),
    ],
)
def test_mistakes_are_named(changes: dict, message: str) -> None:
    usual = {
        "prob": np.zeros((9, 8)),
        "gt": np.zeros((9, 8), bool),
        "thresholds": T99,
        "max_dist": 0.1,
        "thin": False,
    }
    with pytest.raises(InputError, match=message):
        evaluate_image(**(usual | changes))


# Summaries


def plain_summary(counts: np.ndarray, thresholds: np.ndarray) -> dict[str, float]:
    """ODS, OIS and AP by loops over single numbers."""

    def rates(row: np.ndarray) -> tuple[float, float]:
        return (row[0] / row[1] if row[1] else 0.0), (row[2] / row[3] if row[3] else 0.0)

    def f(r: float, p: float) -> float:
        return 2 * p * r / (p + r) if p + r > 0 else 0.0

    points = [(t, *rates(row)) for t, row in zip(thresholds, counts.sum(axis=0), strict=True)]
    best = (-1.0, 0.0)
    for (t0, r0, p0), (t1, r1, p1) in pairwise(points):
        for step in range(100):
            d = step / 99
            value = f(r1 * d + r0 * (1 - d), p1 * d + p0 * (1 - d))
            if value > best[0] + 1e-12:
                best = (value, t1 * d + t0 * (1 - d))
    total = np.zeros(4)
    for image in counts:
        values = [f(*rates(row)) for row in image]
        total += image[values.index(max(values))]
    area, precision_at = 0.0, {}
    for _, r, p in points:
        precision_at.setdefault(r, p)
    recalls = sorted(precision_at)
    for i in range(101):
        for r0, r1 in pairwise(recalls):
            if r0 <= i / 100 <= r1:
                p0, p1 = precision_at[r0], precision_at[r1]
                area += 0.01 * (p0 + (p1 - p0) * (i / 100 - r0) / (r1 - r0))
                break
    sbd = sum(max((p for _, r, p in points if r >= i / 100), default=0) for i in range(100)) / 101
    return {
        "ods": best[0],
        "threshold": best[1],
        "ois": f(*rates(total)),
        "ap": area,
        "ap_sbd": sbd,
    }


@pytest.mark.parametrize("seed", range(5))
def test_summary_by_plain_loops(seed: int) -> None:
    thresholds = default_thresholds(19)
    pairs = [scene(10 * seed + i, 25, 30) for i in range(3)]
    counts = np.stack(
        [evaluate_image(*p, thresholds=thresholds, max_dist=0.05, thin=True) for p in pairs]
    )
    summary, expected = summarize(counts, thresholds), plain_summary(counts, thresholds)
    found = (summary.ods.f, summary.ods.threshold, summary.ois.f, summary.ap, summary.ap_sbd)
    assert found == pytest.approx(
        tuple(expected[k] for k in ("ods", "threshold", "ois", "ap", "ap_sbd")), abs=1e-9
    )
    assert summary.images == 3 and summary.curve.shape == (19, 4)


def test_perfect_shifted_and_out_of_reach() -> None:
    gt = np.zeros((30, 40), bool)
    gt[8, 5:30] = gt[20, 5:30] = True
    scores = [
        summarize(
            evaluate_image(
                np.roll(gt, shift, axis=0) * 0.7, gt, thresholds=T99, max_dist=0.06, thin=True
            )[None],
            T99,
        )
        for shift in (0, 3, 4)
    ]
    assert [s.ods.f for s in scores] == [s.ois.f for s in scores] == [1, 1, 0]


def test_a_class_without_ground_truth_has_no_score() -> None:
    counts = evaluate_image(
        scene(0, 9, 9)[0], np.zeros((9, 9), bool), thresholds=T99, max_dist=0.1, thin=True
    )
    summary = summarize(counts[None], T99)
    assert not summary.has_truth and summary.has_prediction
    assert all(map(math.isnan, (summary.ods.f, summary.ois.f, summary.ap, summary.ap_sbd)))


def test_a_class_without_prediction_scores_zero() -> None:
    counts = evaluate_image(
        np.zeros((9, 9)), np.eye(9, dtype=bool), thresholds=T99, max_dist=0.1, thin=True
    )
    summary = summarize(counts[None], T99)
    assert summary.has_truth and not summary.has_prediction
    assert summary.ods.f == summary.ois.f == summary.ap == 0


def test_equal_recalls_first_or_last() -> None:
    """Recall 0.5 twice, with precision 0.2 at the lower and 0.6 at the higher threshold.

    The area is that from recall 0 to 0.5.
    """
    counts = np.array([[[5, 10, 5, 25], [5, 10, 3, 5], [0, 10, 0, 1]]])
    thresholds = default_thresholds(3)
    line = np.arange(51) / 50
    assert summarize(counts, thresholds).ap == pytest.approx(0.2 * line.sum() * 0.01)
    assert summarize(counts, thresholds, ap="last").ap == pytest.approx(0.6 * line.sum() * 0.01)
    with pytest.raises(ValueError, match="first"):
        summarize(counts, thresholds, ap="middle")


# Reference numbers


@pytest.mark.parametrize("max_dist", ["0.0035", "0.02"])
@pytest.mark.parametrize("name", ["c014_thin", "c014_raw", "c015_thin"])
def test_reference_cityscapes(name: str, max_dist: str) -> None:
    golden, mode = np.load(GOLDEN / "edge_cityscapes.npz"), name[5:]
    truth = np.unpackbits(golden[f"{name}_truth"], axis=-1).astype(bool)
    options = {"thresholds": T99, "max_dist": float(max_dist), "thin": mode == "thin"}
    counts = np.stack(
        [
            evaluate_image(s, t, **options)
            for s, t in zip(golden[f"{name[:4]}_score"], truth, strict=True)
        ]
    )
    key = f"{name}_md{max_dist}"
    for column, what in enumerate(("maxcard", "true", "maxcard", "predicted")):
        assert (counts[:, :, column] == golden[f"{key}_{what}"]).all(), what
    summary = summarize(counts, T99)
    found = (summary.ods.threshold, summary.ods.f, summary.ois.f, summary.ap)
    if truth.any():
        assert found == pytest.approx(tuple(golden[f"{key}_summary"]), abs=1e-9)
    else:
        assert not summary.has_truth and math.isnan(summary.ods.f)


@pytest.mark.parametrize("mode", ["thin", "raw"])
def test_reference_sbd(mode: str) -> None:
    golden = np.load(GOLDEN / "edge_sbd.npz")
    score = golden["score"]
    truth = np.unpackbits(golden[f"{mode}_truth"], axis=-1)[:, : score.shape[1]].astype(bool)
    counts = evaluate_image(
        score, truth, thresholds=T99, max_dist=0.02, thin=mode == "thin", margin=5
    )
    for column, what in enumerate(("maxcard", "true", "maxcard", "predicted")):
        assert (counts[:, column] == golden[f"{mode}_{what}"]).all(), what


def read_ground_truth(path: Path, class_number: int) -> np.ndarray:
    """One class (from 1) of a 24-bit edge PNG."""
    k = class_number - 1
    return (cv2.imread(str(path))[:, :, k // 8] >> (k % 8) & 1).astype(bool)


def read_case(
    shared: Path, folder: str, key: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
    """(counts, thresholds, exact pairs (images, T), published counts, published summary).

    Counts are (images, T, 4).
    """
    edges = shared / "golden/edges"
    golden = np.load(edges / folder / "counts.npz")
    summary = json.loads((edges / folder / "summary.json").read_text())
    words = key.removeprefix("sbd_").split("_")
    number, mode, max_dist = int(words[0][1:]), words[1], float(words[-1][2:])
    sbd = folder == "eval_sbd"
    thresholds = (
        golden[f"{key}__thresholds"]
        if f"{key}__thresholds" in golden.files
        else golden["thresholds"]
    )
    counts = []
    for name in {"eval_big": ["0016E5_08005_1024x512"], "eval_sbd": ["2008_000051"]}.get(
        folder, ["0016E5_08005", "0016E5_07987"]
    ):
        place = {"eval_big": folder, "eval_sbd": "sbd_gt"}.get(folder, "cityscapes_gt")
        truth = read_ground_truth(
            edges / place / f"{name}_eval_{mode}_{words[2] if sbd else 'inst'}.png", number
        )
        kind = f"{name}_pred_class{number:03d}.png"
        score = cv2.imread(str(edges / folder / kind), cv2.IMREAD_UNCHANGED)
        options = {"thresholds": thresholds, "max_dist": max_dist, "margin": 5 if sbd else 0}
        counts.append(evaluate_image(score, truth, thin=mode == "thin", **options))
    shape = (len(counts), len(thresholds))
    official = golden[f"{key}__official_run1"].reshape(*shape, 4)
    return (
        np.stack(counts),
        thresholds,
        golden[f"{key}__maxcard"].reshape(shape),
        official,
        summary[key],
    )


# The matcher behind the published figures is random. These are the largest effects of exact
# matching on them by golden/edges/README.md, unrounded.
NOISE = {"ODS_F": 0.00225, "OIS_F": 0.00295, "AP": 0.01275}


@pytest.mark.parametrize("folder", ["eval_cityscapes", "eval_sbd", "eval_big"])
def test_all_reference_numbers(shared: Path, folder: str) -> None:
    keys = json.loads((shared / "golden/edges" / folder / "summary.json").read_text())
    for key in keys:
        counts, thresholds, pairs, official, published = read_case(shared, folder, key)
        assert (counts[:, :, 0] == pairs).all() and (counts[:, :, 2] == pairs).all(), key
        assert (counts[:, :, 1] == official[:, :, 1]).all(), key
        # In one case the published evaluator doubled the prediction's size.
        if "c015_raw" not in key or folder != "eval_cityscapes":
            assert (counts[:, :, 3] == official[:, :, 3]).all(), key
        summary = summarize(counts, thresholds)
        if not summary.has_truth:
            continue
        found = {
            "ODS_T": summary.ods.threshold,
            "ODS_F": summary.ods.f,
            "OIS_F": summary.ois.f,
            "AP": summary.ap,
        }
        for figure, value in published.get("maxcard", {}).items():
            assert found[figure] == pytest.approx(value, abs=1e-9), (key, figure)
        for figure, noise in NOISE.items():
            assert abs(found[figure] - published.get("official", published)[figure]) <= noise, (
                key,
                figure,
            )


@pytest.mark.parametrize("folder", ["eval_cityscapes", "eval_sbd", "eval_big"])
def test_summary_of_the_published_counts(shared: Path, folder: str) -> None:
    """With the published counts the published figures come out, all of them, to rounding."""
    for key in json.loads((shared / "golden/edges" / folder / "summary.json").read_text()):
        _, thresholds, _, official, published = read_case(shared, folder, key)
        summary = summarize(official, thresholds)
        if summary.has_truth:
            published = published.get("official", published)
            found = {f"ODS_{k}": v for k, v in zip("TRPF", vars_of(summary.ods), strict=True)}
            found |= {
                f"OIS_{k}": v for k, v in zip("RPF", vars_of(summary.ois)[1:], strict=True)
            } | {"AP": summary.ap}
            for figure, value in found.items():
                assert value == pytest.approx(published[figure], abs=1e-9), (key, figure)


def vars_of(point: object) -> tuple[float, ...]:
    return tuple(getattr(point, name) for name in ("threshold", "recall", "precision", "f"))
