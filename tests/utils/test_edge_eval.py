"""The edge evaluation: protocols, resizing, counting over images, scores."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
from helpers.edge_files import SIZE, write_edge_files

from data.base import Dataset, Record
from data.edges import pack
from data.errors import InputError
from data.image_io import write_png
from data.imresize import resize_bicubic
from utils.distributed.environment import Ranks
from utils.edge_metrics import default_thresholds, evaluate_image
from utils.evaluation.edges.counter import ImageCounter
from utils.evaluation.edges.ground_truth import DatasetGroundTruth, FolderGroundTruth
from utils.evaluation.edges.ground_truth_mat import read_mat
from utils.evaluation.edges.image_counts import ImageGroundTruth, count_edge_image
from utils.evaluation.edges.partial import ResumableCounter
from utils.evaluation.edges.predictions import PredictionFiles, PredictionFolder
from utils.evaluation.edges.protocols import PROTOCOLS, find_protocol
from utils.evaluation.edges.run import count_edge_images, metrics_document, write_edge_results
from utils.evaluation.edges.scores import image_scores, score_modes
from utils.evaluation.edges.sources import FileSource
from utils.evaluation.edges.tables import format_table

ROOT = Path(__file__).resolve().parents[2]
ALONE = Ranks()


@pytest.fixture
def scored(tmp_path, rng):
    """(folder, names, scores, true bits) of four images as files; see `write_edge_files`."""
    return tmp_path, *write_edge_files(tmp_path, rng)


def counter_of(folder, protocol, sub="pred"):
    truth = FolderGroundTruth(folder / "gt", protocol, 3)
    source = FileSource(PredictionFolder(folder / sub), truth, allow_missing=False, is_main=True)
    counter = ImageCounter(truth, (protocol,), source.files)
    return ResumableCounter(counter, "test", folder / "partial"), source.indices


def count_single(counter, indices, workers, ranks, **options):
    """The counts of one result, int64 (images, M, K, T, 4)."""
    return count_edge_images(counter, indices, workers, ranks, **options)["counts"][:, 0, 0]


# Protocols


def test_published_knobs():
    assert find_protocol("dff", "cityscapes").knobs() == find_protocol("dff", "camvid").knobs()
    street, sbd = find_protocol("dff", "cityscapes"), find_protocol("dff", "sbd")
    assert (street.max_dist, street.scale, street.margin, street.thresholds) == (0.02, 0.5, 0, 99)
    assert (sbd.max_dist, sbd.scale, sbd.margin, sbd.modes) == (0.02, 1.0, 5, ("thin", "raw"))
    assert find_protocol("seal", "cityscapes").max_dist == 0.0035
    assert find_protocol("seal", "sbd").max_dist == 0.0075
    old = find_protocol("sbd2011", "sbd")
    assert (old.modes, old.skip_absent, old.kill_internal, old.instance) == (
        ("thin",),
        True,
        True,
        False,
    )
    assert find_protocol("bsds").max_dist == 0.0075


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_knob_is_described(name):
    protocol = find_protocol(name, "sbd", max_dist=0.0123, thresholds=7, margin=3)
    for shown in ("0.0123", "7 thresholds", "margin 3 px", name):
        assert shown in protocol.describe()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"thin": False, "raw": False}, "--no-thin"),
        ({"max_dist": 2.0}, "--max-dist is 2"),
        ({"scale": 0.0}, "--eval-scale is 0"),
        ({"kill_internal": True}, "--no-raw"),
        ({"thresholds": 0}, "--thresholds is 0"),
    ],
)
def test_nonsense_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        find_protocol("dff", **changes)


# Resizing


def cubic(x):
    x = abs(x)
    return (
        1.5 * x**3 - 2.5 * x**2 + 1
        if x <= 1
        else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        if x < 2
        else 0.0
    )


def resize_row_slowly(row, m):
    """By definition: the kernel, stretched when shrinking, over the mirrored row."""
    n, stretch = len(row), min(1.0, m / len(row))
    out = []
    for i in range(m):
        centre = (i + 0.5) * n / m - 0.5
        reach = range(int(centre - 2 / stretch) - 2, int(centre + 2 / stretch) + 3)
        weights = [cubic((centre - j) * stretch) for j in reach]
        mirrored = [row[j % (2 * n) if j % (2 * n) < n else 2 * n - 1 - j % (2 * n)] for j in reach]
        out.append(np.dot(weights, mirrored) / sum(weights))
    return np.array(out)


@pytest.mark.parametrize("size", [(4, 9), (13, 5), (26, 38), (7, 30), (13, 19), (1, 1)])
def test_bicubic_is_its_definition(rng, size):
    image = rng.random((13, 19))
    rows = np.stack([resize_row_slowly(row, size[1]) for row in image])
    expected = np.stack([resize_row_slowly(column, size[0]) for column in rows.T], axis=1)
    np.testing.assert_allclose(resize_bicubic(image, size), expected, atol=1e-12)


def test_bicubic_gives_the_published_counts_of_a_resized_prediction(shared):
    """The published evaluation resized the prediction to the full size of an absent class."""
    golden = shared / "golden/edges/eval_cityscapes"
    counts = np.load(golden / "counts.npz")
    for i, name in enumerate(counts["images"]):
        stored = cv2.imread(str(golden / f"{name}_pred_class015.png"), cv2.IMREAD_UNCHANGED)
        resized = resize_bicubic(stored / 65536, (360, 480))
        found = [(resized >= threshold).sum() for threshold in counts["thresholds"]]
        assert found == counts["c015_raw_md0.02__official_run1"][i, :, 3].tolist()


# One image


def test_several_annotators(tmp_path, rng):
    maps = rng.random((3, 12, 15)) < 0.2
    cells = np.empty((1, 3), object)
    for a, one in enumerate(maps):
        cells[0, a] = {"Boundaries": one.astype(np.uint8)}
    scipy.io.savemat(tmp_path / "gt.mat", {"groundTruth": cells})
    groups, _ = read_mat(tmp_path / "gt.mat", 1)
    assert np.array_equal(groups, [maps])
    score, protocol = rng.random((12, 15)), find_protocol("bsds", thresholds=5)
    found = count_edge_image([score], ImageGroundTruth({"thin": groups}, None), protocol)[0, 0]
    expected = evaluate_image(
        score, maps, thresholds=default_thresholds(5), max_dist=0.0075, thin=True
    )
    assert np.array_equal(found, expected)
    assert (found[:, 1] == maps.sum()).all()


class OneSquare(Dataset):
    """One image of 40x40 with a square of class 0; its ground truth is the border."""

    name, classes, palette = "square", ("square", "nothing"), np.zeros((2, 3), np.uint8)

    def __init__(self, folder):
        label = np.full((40, 40), 255, np.uint8)
        label[8:32, 8:32] = 0
        write_png(folder / "label.png", label)
        super().__init__(folder, "val", [Record("one", folder / "label.png", folder / "label.png")])

    def edge_ground_truth(self, index, *, thin, scale, instance_sensitive):
        assert (thin, scale) == (True, 1.0)
        border = np.zeros((40, 40), np.uint32)
        border[8:32, 8:32] = 1
        border[9:31, 9:31] = 0
        return border


def test_sbd2011_skips_absent_classes_and_kills_internal(tmp_path):
    """Predicted: the border, a dot inside the square and one outside; a dot of an absent class."""
    protocol = find_protocol("sbd2011", thresholds=3)
    truth = DatasetGroundTruth(OneSquare(tmp_path), protocol)
    assert truth.size(0) == (40, 40)
    scores = np.zeros((2, 40, 40), np.uint8)
    scores[0] = truth.load(0).edges["thin"][0] * 255
    scores[0, 20, 20] = scores[0, 2, 2] = scores[1, 5, 5] = 255
    counts = count_edge_image(scores, truth.load(0), protocol)
    assert counts.shape == (1, 2, 3, 4)
    border = 4 * 23
    kept = border - 4  # thinning takes the corners of a one-pixel square
    assert counts[0, 0].tolist() == [[kept, border, kept, kept + 1]] * 3
    assert not counts[0, 1].any()
    plain = find_protocol("sbd2011", thresholds=3, skip_absent=False, kill_internal=False)
    counts = count_edge_image(scores, DatasetGroundTruth(OneSquare(tmp_path), plain).load(0), plain)
    assert counts[0, 0, 0].tolist() == [kept, border, kept, kept + 2]
    assert counts[0, 1, 0].tolist() == [0, 0, 0, 1]


# Counting


def test_counts_are_those_of_each_class_alone(scored):
    folder, _, scores, truths = scored
    protocol = find_protocol("dff", thresholds=9, margin=2)
    counts = count_single(*counter_of(folder, protocol), 0, ALONE)
    assert counts.shape == (4, 2, 3, 9, 4)
    knobs = {"thresholds": default_thresholds(9), "max_dist": 0.02, "margin": 2}
    for i in range(4):
        for m, thin in enumerate((True, False)):
            for k in range(3):
                expected = evaluate_image(scores[i][k], truths[i] >> k & 1 != 0, thin=thin, **knobs)
                assert np.array_equal(counts[i, m, k], expected)


def test_a_prediction_of_another_size_is_resized(rng):
    score, edge = (rng.random((60, 80)) * 65535).astype(np.uint16), rng.random(SIZE) < 0.1
    protocol = find_protocol("dff", raw=False, thresholds=9)
    found = count_edge_image(
        [score], ImageGroundTruth({"thin": [edge.astype(np.uint32)]}, None), protocol
    )
    smaller = resize_bicubic(score / 65536, SIZE)
    expected = evaluate_image(
        smaller, edge, thresholds=default_thresholds(9), max_dist=0.02, thin=True
    )
    assert np.array_equal(found[0, 0], expected)


def test_workers_ranks_and_memory_give_the_same_counts(scored):
    folder, _, scores, _ = scored
    protocol = find_protocol("dff", thresholds=5)
    counter, indices = counter_of(folder, protocol)
    expected = count_single(counter, indices, 0, ALONE)
    counter.forget()
    assert np.array_equal(count_single(counter, indices, 2, ALONE), expected)
    counter.forget()
    in_memory = ImageCounter(counter.counter.ground_truth, (protocol,))
    memory = ResumableCounter(in_memory, "test", folder / "partial")
    assert np.array_equal(
        count_single(memory, indices, 2, ALONE, predict=lambda i: scores[i]), expected
    )


class RecordingTruth(FolderGroundTruth):
    """Notes which images are loaded, which is done once for each image that is counted."""

    def load(self, index):
        self.loaded = [*getattr(self, "loaded", []), index]
        return super().load(index)


def test_counts_of_an_image_that_has_changed_are_not_used(scored, tmp_path):
    """A network's scores are made from the image, so its file counts as the label's does."""
    folder, _, scores, _ = scored
    protocol = find_protocol("dff", thresholds=5)
    truth = FolderGroundTruth(folder / "gt", protocol, 3)
    image = tmp_path / "p0.png"
    write_png(image, np.zeros((4, 4, 3), np.uint8))
    counter = ResumableCounter(
        ImageCounter(truth, (protocol,), images={0: image}), "", tmp_path / "partial"
    )
    counts = counter.count(0, scores[0])
    assert np.array_equal(counter.saved(0)["counts"], counts["counts"])
    write_png(image, np.zeros((5, 4, 3), np.uint8))
    assert counter.saved(0) is None


def test_an_interrupted_run_resumes_where_it_was(scored):
    folder, names, scores, _ = scored

    def recording(max_dist):
        protocol = find_protocol("dff", thresholds=5, max_dist=max_dist)
        truth = RecordingTruth(folder / "gt", protocol, 3)
        files = PredictionFiles(PredictionFolder(folder / "pred"), dict(enumerate(names)))
        counter = ImageCounter(truth, (protocol,), files)
        return ResumableCounter(counter, "test", folder / "partial"), truth

    counter, truth = recording(0.02)
    expected = count_single(counter, range(4), 0, ALONE)
    counter.forget()
    assert not (folder / "partial").exists()
    count_single(counter, range(2), 0, ALONE)
    truth.loaded = []
    assert np.array_equal(count_single(counter, range(4), 0, ALONE), expected)
    assert truth.loaded == [2, 3]
    # A changed prediction is counted again,
    write_png(folder / "pred/class_001" / f"{names[1]}.png", scores[2][0])
    count_single(counter, range(4), 0, ALONE)
    assert truth.loaded == [2, 3, 1]
    # and all are with another protocol.
    other, truth = recording(0.01)
    count_single(other, range(4), 0, ALONE)
    assert truth.loaded == [0, 1, 2, 3]
    # A torn file of partial results is as good as none.
    other.forget()
    count_single(other, range(4), 0, ALONE)
    truth.loaded = []
    next((folder / "partial").glob("*.npz")).write_bytes(b"torn")
    assert count_single(other, range(4), 0, ALONE).shape == expected.shape
    assert len(truth.loaded) == 1


def test_counting_works_without_torch():
    """Worker processes import these modules; torch would cost each of them 0.2 GB and a second."""
    modules = (
        "utils.edge_metrics, utils.seg_metrics, utils.evaluation.edges.image_counts, "
        "utils.evaluation.edges.workers"
    )
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_torn_prediction_stops_the_run_with_its_name(scored, workers, capfd):
    folder = scored[0]
    path = folder / "pred/class_002/p3.png"
    path.write_bytes(path.read_bytes()[:200])
    counter, indices = counter_of(folder, find_protocol("dff", thresholds=5))
    with pytest.raises(InputError, match=r"class_002/p3\.png: the file is cut off"):
        count_single(counter, indices, workers, ALONE)
    assert "Traceback" not in capfd.readouterr().err  # the pool's threads have none of their own


@pytest.mark.parametrize("set_name", ["eval_cityscapes", "eval_sbd"])
def test_golden_counts_from_files(shared, tmp_path, set_name):
    """Whole images through prediction and label files: the exact maximum at every threshold."""
    golden = shared / "golden/edges" / set_name
    stored = np.load(golden / "counts.npz")
    street = set_name == "eval_cityscapes"
    numbers = (1, 9, 14) if street else (5, 9, 15)
    protocol = find_protocol("dff", "cityscapes" if street else "sbd")
    names = [str(name) for name in stored["images"]] if street else ["2008_000051"]
    truth_folder = shared / "golden/edges" / ("cityscapes_gt" if street else "sbd_gt")
    for name in names:
        for mode in ("thin", "raw"):
            target = tmp_path / f"gt/gt_{mode}/inst/{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((truth_folder / f"{name}_eval_{mode}_inst.png").read_bytes())
        for k in range(1, (19 if street else 20) + 1):
            given = golden / f"{name}_pred_class{k:03d}.png"
            empty = np.zeros(cv2.imread(str(target)).shape[:2], np.uint8)
            score = cv2.imread(str(given), cv2.IMREAD_UNCHANGED) if k in numbers else empty
            write_png(tmp_path / f"pred/class_{k:03d}/{name}.png", score)
    truth = FolderGroundTruth(tmp_path / "gt", protocol, 19 if street else 20)
    files = PredictionFiles(PredictionFolder(tmp_path / "pred"), dict(enumerate(sorted(names))))
    counts = count_single(
        ResumableCounter(ImageCounter(truth, (protocol,), files), "", tmp_path / "partial"),
        range(len(names)),
        0,
        ALONE,
    )
    for number in numbers:
        for m, mode in enumerate(("thin", "raw")):
            key = (
                f"c{number:03d}_{mode}_md0.02"
                if street
                else f"sbd_c{number:03d}_{mode}_inst_md0.02"
            )
            order = [names.index(name) for name in truth.names]
            expected = stored[f"{key}__maxcard"].reshape(len(names), 99)[order]
            official = stored[f"{key}__official_run1"].reshape(len(names), 99, 4)[order]
            found = counts[:, m, number - 1]
            assert np.array_equal(found[..., 0], expected)
            assert np.array_equal(found[..., [1, 3]], official[..., [1, 3]])


class Deadly(FolderGroundTruth):
    def load(self, index):
        os._exit(1)


def test_a_worker_that_dies_is_reported_in_one_line(scored):
    protocol = find_protocol("dff", thresholds=5)
    truth = Deadly(scored[0] / "gt", protocol, 3)
    files = PredictionFiles(PredictionFolder(scored[0] / "pred"), {0: "p0"})
    counter = ResumableCounter(ImageCounter(truth, (protocol,), files), "", scored[0] / "partial")
    with pytest.raises(InputError, match="fewer --workers"):
        count_single(counter, [0], 1, ALONE)


# Scores


def test_perfect_shifted_and_absent(tmp_path):
    """Perfect: 1. A shift inside the tolerance: 1; outside: 0. An absent class is named as such."""
    truth = np.zeros((5, *SIZE), bool)
    truth[0, 10, 5:35] = truth[1, 10, 5:35] = truth[2, 10, 5:35] = truth[3, 10, 5:35] = True
    scores = truth.astype(np.float32)
    scores[1], scores[2] = (
        np.roll(scores[1], 1, axis=0),
        np.roll(scores[2], 3, axis=0),
    )  # tolerance: 0.04 x 50 px
    scores[3], scores[4, 3, 3] = 0, 1
    protocol = find_protocol("dff", raw=False, max_dist=0.04, thresholds=9)
    counts = count_edge_image(scores, ImageGroundTruth({"thin": [pack(truth)]}, None), protocol)[
        None
    ]
    (mode,) = score_modes(counts, ["perfect", "near", "far", "unpredicted", "absent"], protocol)
    assert [each.status for each in mode.classes] == ["ok"] * 3 + [
        "no prediction",
        "no ground truth",
    ]
    assert [each.summary.ods.f for each in mode.classes[:4]] == [1, 1, 0, 0]
    assert mode.mean("ods") == 0.5
    assert mode.published_mean("ods") == 0.4
    plain = metrics_document([mode], protocol, {"images": 1})
    absent = plain["scores"]["thin"]["classes"][4]
    assert (absent["ods"], absent["ap"], absent["status"]) == (None, None, "no ground truth")
    assert plain["scores"]["thin"]["mean"]["classes"] == 4
    assert plain["protocol"]["max_dist"] == 0.04
    text = format_table(mode)
    assert "no ground truth" in text
    assert "of 4 classes" in text
    write_edge_results(tmp_path, [mode], {"counts": counts}, protocol, {"images": 1}, ["one"])
    assert json.loads((tmp_path / "metrics.json").read_text()) == plain
    assert np.array_equal(np.load(tmp_path / "counts.npz")["counts"], counts)
    rows = list(csv.reader((tmp_path / "scores.csv").read_text().splitlines()))
    assert rows[1][:3] == ["thin", "perfect", "1.0"]
    assert rows[5][1:3] == ["absent", ""]
    assert rows[5][-2:] == ["no ground truth", protocol.describe()]
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 1 + 5 * 9


def test_scores_of_images():
    """The mean over an image's classes of F at the class's threshold; without true edges, nan."""
    counts = np.zeros((3, 1, 2, 1, 4), np.int64)
    counts[0, 0, 0, 0] = [5, 10, 5, 5]  # recall 0.5, precision 1
    counts[0, 0, 1, 0] = [4, 4, 4, 4]
    counts[1, 0, 0, 0] = [0, 10, 0, 5]
    counts[2, 0, 0, 0] = [0, 0, 0, 7]
    (mode,) = score_modes(counts, ["a", "b"], find_protocol("dff", raw=False, thresholds=1))
    np.testing.assert_allclose(image_scores(counts, mode, 0), [(2 / 3 + 1) / 2, 0, np.nan])
