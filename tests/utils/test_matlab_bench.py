"""The evaluation of edges against what MATLAB's own benchmarks of SBD and BSDS printed.

`golden/matlab_bench.npz` holds MATLAB's numbers; the maps and the ground truth they are of lie in
the shared folder only. The layout of the numbers:

    sbd|counts       int32 (2 images, 99 thresholds, 4): matched true, true, matched predicted,
                     predicted
    eval_bdry        threshold, R, P, F of ODS; R, P, F of OIS; AP; on SBD also the second AP
    eval_bdry_thr    threshold, R, P, F at each threshold
    eval_bdry_img    number, best threshold, R, P, F of each image
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from data.image_io import read_index
from utils.edge_metrics import Summary, summarize
from utils.evaluation.edges.ground_truth_mat import read_mat
from utils.evaluation.edges.image_counts import ImageGroundTruth, count_edge_image
from utils.evaluation.edges.protocols import EdgeProtocol, find_protocol

PERSON = 14  # class 15 of Pascal VOC
SBD_IMAGES = ("2008_000051", "2008_000195")
BSDS_IMAGES = ("2018", "3063", "5096", "6046", "8068")
ONE = np.uint32(1)


@pytest.fixture(scope="module")
def matlab() -> Mapping[str, np.ndarray]:
    return np.load(Path(__file__).parents[1] / "golden" / "matlab_bench.npz")


@pytest.fixture(scope="module")
def bench(shared) -> Path:
    return shared / "golden/edges/matlab_bench"


def six_digits(values: object) -> list[str]:
    """As MATLAB prints them, with %g."""
    return [f"{value:.6g}" for value in np.ravel(np.asarray(values, float))]


def ods_and_ois(summary: Summary) -> list[float]:
    ods, ois = summary.ods, summary.ois
    return [ods.threshold, ods.recall, ods.precision, ods.f, ois.recall, ois.precision, ois.f]


def test_summaries_of_matlabs_counts_are_matlabs(matlab):
    """All digits that MATLAB printed, from its own counts."""
    counts = matlab["sbd|counts"].astype(np.int64)
    summary = summarize(counts, ap="last")
    found = [*ods_and_ois(summary), summary.ap, summary.ap_sbd]
    assert six_digits(found) == six_digits(matlab["sbd|eval_bdry"])
    assert six_digits(summary.curve) == six_digits(matlab["sbd|eval_bdry_thr"])
    for i, (_, threshold, *rates) in enumerate(matlab["sbd|eval_bdry_img"]):
        own = summarize(counts[i : i + 1])
        assert six_digits([own.ois.recall, own.ois.precision, own.ois.f]) == six_digits(rates)
        f = own.curve[:, 3]
        assert own.curve[f.argmax(), 0] == pytest.approx(threshold)


def test_sbd_has_all_digits_of_matlab(matlab, bench, shared):
    """Six digits of ODS and OIS. Exact matching finds a pixel more at 5 of the 198 thresholds."""
    protocol = find_protocol("sbd2011", "sbd")
    counts = []
    for name in SBD_IMAGES:
        (bits,), label = read_mat(shared / f"samples/sbd/dataset/cls/{name}.mat", 20)
        assert label is not None
        # The class becomes the only one, number 0.
        edges = {"thin": [bits >> np.uint32(PERSON) & ONE]}
        truth = ImageGroundTruth(edges, np.where(label == PERSON, 0, 255).astype(np.uint8))
        counts.append(count(bench / f"sbd/class_015/{name}.bmp", truth, protocol))
    difference = np.stack(counts) - matlab["sbd|counts"]
    assert not difference[..., 1::2].any()  # true and predicted pixels
    assert difference.min() == 0
    assert difference.max() == 1
    assert difference[..., 0].sum() == 5
    summary = summarize(np.stack(counts), ap=protocol.ap)
    assert six_digits(ods_and_ois(summary)) == six_digits(matlab["sbd|eval_bdry"][:7])
    assert [summary.ap, summary.ap_sbd] == pytest.approx(matlab["sbd|eval_bdry"][7:], abs=2e-4)


def test_bsds_is_within_a_thousandth_of_matlab(matlab, bench):
    """Five annotators or more; exact matching finds up to 0.05 % more pairs."""
    protocol = find_protocol("bsds", thresholds=5)
    counts = []
    for name in BSDS_IMAGES:
        groups, _ = read_mat(bench / f"bsds/groundTruth/{name}.mat", 1)
        truth = ImageGroundTruth({"thin": groups}, None)
        counts.append(count(bench / f"bsds/png/{name}.png", truth, protocol))
    summary = summarize(np.stack(counts), ap=protocol.ap)
    found = [*ods_and_ois(summary), summary.ap]
    assert found == pytest.approx(matlab["bsds|eval_bdry"], abs=1e-3)
    np.testing.assert_allclose(summary.curve, matlab["bsds|eval_bdry_thr"], atol=1e-3)
    assert six_digits(ods_and_ois(summary)[1:4]) == ["0.60269", "0.848883", "0.704909"]


def count(path: Path, truth: ImageGroundTruth, protocol: EdgeProtocol) -> np.ndarray:
    """int64 (T, 4) of one image and its one class."""
    return count_edge_image([read_index(path)], truth, protocol)[0, 0]
