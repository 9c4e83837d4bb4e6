"""Several results in one pass: tolerances, also in pixels, and kinds of scores."""

import json
import math

import numpy as np
import pytest
from helpers.edge_files import SIZE, write_edge_files
from helpers.evaluation import metrics_of, score, status_of_score
from helpers.matching import plain_match

from data.edges import pack
from data.errors import InputError
from utils.distributed.environment import Ranks
from utils.edge_metrics import default_thresholds, evaluate_image, match
from utils.evaluation.edges.counter import ImageCounter
from utils.evaluation.edges.examples import only_classes, shown_stack
from utils.evaluation.edges.ground_truth_files import FolderGroundTruth
from utils.evaluation.edges.image_counts import (
    ImageGroundTruth,
    count_edge_image,
    measure_image,
)
from utils.evaluation.edges.partial import ResumableCounter
from utils.evaluation.edges.protocols import Tolerance, find_protocol, with_tolerances
from utils.evaluation.edges.run import count_edge_images

FLAGS = ("--task", "edge", "--thresholds", 5, "--workers", 0, "--pictures", 1)


@pytest.fixture
def folder(tmp_path, rng):
    write_edge_files(tmp_path, rng)
    return tmp_path


def files(folder):
    return ("--predictions", folder / "pred", "--labels", folder / "gt")


def everything(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


# Tolerances


@pytest.mark.parametrize("pixels", [0, 1, 1.5, 2.2360679, 3, 7])
def test_pixels_are_the_same_for_all_sizes(rng, pixels):
    """Of every size of map the pairs are those within that many pixels, the limit included."""
    protocol = find_protocol("dff", max_dist_px=pixels)
    assert protocol.max_dist is None
    for size in ((9, 13), (16, 31), (30, 40), (37, 5)):
        pred, truth = rng.random((2, *size)) < 0.08
        expected = plain_match(pred, truth, pixels)
        assert match(pred, truth, protocol.reach(size)) == (expected, expected)


def test_no_size_loses_the_limit_to_rounding():
    """3 px apart is within 3 px, and one pixel more is not, at every size up to 4 megapixels."""
    protocol = find_protocol("dff", max_dist_px=3)
    for height in range(4, 2000, 13):
        for width in (height, 1999, 2 * height + 1):
            radius = min(protocol.reach((height, width)), 1) * math.hypot(height, width)
            assert math.floor(radius**2) == 9 or radius >= math.hypot(height, width)


def test_pixels_are_of_the_cropped_map(rng):
    pred, truth = rng.random((2, 30, 40)) < 0.1
    protocol = find_protocol("dff", max_dist_px=2, margin=4, thin=False, thresholds=1)
    edges = ImageGroundTruth({"raw": [truth.astype(np.uint32)]}, None)
    counts = count_edge_image([pred.astype(np.float32)], edges, protocol)[0, 0, 0]
    inner = (slice(4, -4), slice(4, -4))
    pairs = plain_match(pred[inner], truth[inner], 2)
    assert counts.tolist() == [pairs, truth[inner].sum(), pairs, pred[inner].sum()]


def test_tolerances_are_named_and_checked():
    plain = find_protocol("dff", "sbd")
    given = [Tolerance(0.02), Tolerance(3, pixels=True), Tolerance(0.0200001)]
    protocols = with_tolerances(plain, given)
    assert [each.tolerance for each in protocols] == ["0.02", "3px", "0.0200001"]
    assert with_tolerances(plain, None) == (plain,)
    assert {**protocols[1].knobs()} == {**plain.knobs(), "max_dist": None, "max_dist_px": 3}
    assert "max_dist_px" not in protocols[0].knobs()
    assert "max-dist 3px, 99 thresholds" in protocols[1].describe()
    with pytest.raises(InputError, match=r"--max-dist 0\.02 is given twice"):
        with_tolerances(plain, [Tolerance(0.02), Tolerance(3, pixels=True), Tolerance(0.02)])
    with pytest.raises(InputError, match="either as a fraction or in pixels"):
        find_protocol("dff", max_dist=0.02, max_dist_px=3)
    with pytest.raises(InputError, match="-1px; expected 0px"):
        find_protocol("dff", max_dist_px=-1)


def test_each_of_several_tolerances_is_as_if_alone(folder, capsys):
    given = {"max-dist-0.02": "0.02", "max-dist-0.1": "0.1", "max-dist-3px": "3px"}
    score(*FLAGS, *files(folder), "--max-dist", *given.values(), "--out", folder / "all")
    shown = capsys.readouterr().out
    assert sorted(path.name for path in (folder / "all").iterdir()) == sorted(given)
    for name, tolerance in given.items():
        alone = folder / "alone" / name
        score(*FLAGS, *files(folder), "--max-dist", tolerance, "--out", alone)
        found = everything(folder / "all" / name)
        assert found == everything(alone)
        assert len(found) == 5
        assert f"\nthin, max-dist {tolerance}\n" in shown
        assert f"\nraw, max-dist {tolerance}\n" in shown
        assert f"max-dist {tolerance}, 5 thresholds" in shown
        mean = metrics_of(alone)["scores"]["thin"]["mean"]["ods"]
        (row,) = [line.split() for line in shown.splitlines() if line.startswith(f"{name} ")]
        assert row[1] == f"{100 * mean:.2f}"
    knobs = metrics_of(folder / "all/max-dist-3px")["protocol"]
    assert (knobs["max_dist"], knobs["max_dist_px"]) == (None, 3)
    # SIZE has a diagonal of 50 pixels.
    fifty = metrics_of(folder / "all/max-dist-0.1")["scores"]
    score(*FLAGS, *files(folder), "--max-dist", "5px", "--out", folder / "five")
    assert metrics_of(folder / "five")["scores"] == fifty


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("3pix",), "argument --max-dist: found '3pix', expected a number"),
        (("3",), "found '3', expected a number above 0 to below 1, or pixels such as 3px"),
        (("px",), "argument --max-dist: found '', expected a number from 0 to 10000"),
        (("-1px",), "argument --max-dist"),
        (("nanpx",), "argument --max-dist: found 'nan'"),
        (("0.02", "1"), "argument --max-dist: found '1', expected a number above 0 to below 1"),
        (("0.02", "2e-2"), "--max-dist 0.02 is given twice"),
    ],
)
def test_wrong_tolerances_end_with_a_line(folder, given, line, capsys):
    status = status_of_score(*FLAGS, *files(folder), "--max-dist", *given, "--out", folder / "a")
    assert status == 2
    assert line in capsys.readouterr().err
    assert not (folder / "a").exists()


def test_a_folder_that_cannot_be_written_is_seen_before_the_work(folder, capsys):
    (folder / "a").mkdir()
    (folder / "a/max-dist-3px").write_text("mine")
    flags = (*FLAGS, *files(folder), "--max-dist", "0.02", "3px", "--out", folder / "a")
    assert status_of_score(*flags) == 2
    assert "max-dist-3px: is a file; expected a folder" in capsys.readouterr().err
    assert [path.name for path in (folder / "a").iterdir()] == ["max-dist-3px"]


def test_an_interrupted_test_of_several_results_resumes(folder, capsys):
    flags = (*FLAGS, *files(folder), "--no-report", "--max-dist", "0.02", "3px")
    score(*flags, "--out", folder / "whole")
    last = folder / "pred/class_003/p3.png"
    content = last.read_bytes()
    last.write_bytes(content[:70])
    assert status_of_score(*flags, "--out", folder / "broken") == 2
    last.write_bytes(content)
    # Other tolerances have other counts.
    score(*flags[:-1], "4px", "--out", folder / "broken")
    assert "resuming" not in capsys.readouterr().out
    last.write_bytes(content[:70])
    assert status_of_score(*flags, "--out", folder / "broken") == 2
    last.write_bytes(content)
    score(*flags, "--out", folder / "broken")
    assert "resuming: 3 images" in capsys.readouterr().out
    for name in ("max-dist-0.02", "max-dist-3px"):
        assert everything(folder / "broken" / name) == everything(folder / "whole" / name)


# Variants


def test_records_hold_every_variant_mode_and_tolerance(rng):
    """Each is what one class in one mode at one tolerance gives alone."""
    soft, thin, raw = (rng.random((3, 2, *SIZE))).astype(np.float32)
    true_thin, true_raw = rng.random((2, 2, *SIZE)) < 0.1
    truth = ImageGroundTruth({"thin": [pack(true_thin)], "raw": [pack(true_raw)]}, None)
    protocols = with_tolerances(
        find_protocol("dff", "sbd", thresholds=4, margin=0),
        [Tolerance(0.02), Tolerance(4, pixels=True)],
    )
    scores = {"soft": iter(soft), "hard": {"raw": iter(raw), "thin": iter(thin)}}
    counts = measure_image(scores, truth, protocols)["counts"]
    assert counts.shape == (2, 2, 2, 2, 4, 4)
    maps = {(0, 0): soft, (0, 1): soft, (1, 0): thin, (1, 1): raw}
    for v in range(2):
        for p, reach in enumerate((0.02, 4 / 50)):
            for m, true in enumerate((true_thin, true_raw)):
                for k in range(2):
                    expected = evaluate_image(
                        maps[v, m][k],
                        true[k],
                        thresholds=default_thresholds(4),
                        max_dist=reach,
                        thin=m == 0,
                    )
                    assert np.array_equal(counts[v, p, m, k], expected)


class CountingTruth(FolderGroundTruth):
    loads = 0

    def load(self, index):
        self.loads += 1
        return super().load(index)


def test_variants_are_counted_saved_and_checked(folder):
    protocols = with_tolerances(
        find_protocol("dff", thresholds=3), [Tolerance(0.02), Tolerance(2, pixels=True)]
    )
    truth = CountingTruth(folder / "gt", protocols[0], 3)
    counter = ImageCounter(truth, protocols, variants=("a", "b"))
    resumable = ResumableCounter(counter, "", folder / "partial")
    stacks = {"a": np.zeros((3, *SIZE), np.uint8), "b": np.full((3, *SIZE), 255, np.uint8)}
    records = count_edge_images(resumable, [0, 1], 0, Ranks(), predict=lambda _: stacks)
    assert records["counts"].shape == (2, 2, 2, 2, 3, 3, 4)
    predicted = records["counts"][:, :, :, 1, ..., 3]  # raw
    assert (predicted[:, 0] == 0).all()
    assert (predicted[:, 1] == SIZE[0] * SIZE[1]).all()
    assert truth.loads == 2
    assert np.array_equal(resumable.saved(1)["counts"], records["counts"][1])
    for other in (
        ImageCounter(truth, protocols, variants=("b", "a")),
        ImageCounter(truth, protocols[::-1], variants=("a", "b")),
        ImageCounter(truth, protocols, variants=("a", "b"), classes=(0, 1, 2)),
    ):
        assert ResumableCounter(other, "", folder / "partial").saved(1) is None
    with pytest.raises(ValueError, match="expected scores of"):
        counter.count(0, {"b": stacks["b"], "a": stacks["a"]})


def test_classes_are_counted_by_their_own_numbers(rng):
    truths = rng.random((30, *SIZE)) < 0.1
    groups = [pack(truths[:24]), pack(truths[24:])]
    scores = rng.random((3, *SIZE)).astype(np.float32)
    protocol = find_protocol("dff", "sbd", thresholds=3, raw=False)
    edges = ImageGroundTruth({"thin": groups}, None)
    counts = measure_image({"": scores}, edges, (protocol,), classes=(2, 23, 27))["counts"][0, 0]
    own = ImageGroundTruth({"thin": [pack(truths[[2, 23, 27]])]}, None)
    assert np.array_equal(counts, count_edge_image(scores, own, protocol))
    with pytest.raises(ValueError, match="zip"):
        measure_image({"": scores}, edges, (protocol,), classes=(2, 23))


def test_examples_show_one_stack_and_the_chosen_classes(rng):
    hard, thin = rng.random((2, 3, *SIZE))
    scores = {"soft": hard, "hard": {"thin": thin, "raw": hard}}
    assert shown_stack(scores, "hard") is thin
    assert shown_stack(scores, "soft") is hard
    assert shown_stack(hard, "") is hard
    truths = rng.random((60, *SIZE)) < 0.1
    groups = [pack(truths[:24]), pack(truths[24:48]), pack(truths[48:])]
    (first,) = only_classes(groups, (5, 30, 59))
    assert np.array_equal(first, pack(truths[[5, 30, 59]]))
    many = only_classes(groups, range(59, 29, -1))
    assert np.array_equal(many[1], pack(truths[35:29:-1]))


def test_a_single_result_has_no_new_entries(folder):
    score(*FLAGS, *files(folder), "--no-report", "--out", folder / "a")
    metrics = json.loads((folder / "a/metrics.json").read_text())
    assert list(metrics["protocol"])[:4] == ["name", "max_dist", "scale", "margin"]
    assert not {"max_dist_px", "classes"} & metrics["protocol"].keys()
    assert "variant" not in metrics["source"]
    stored = np.load(folder / "a/counts.npz")
    assert sorted(stored) == ["counts", "names"]
    assert stored["counts"].shape == (4, 2, 3, 5, 4)
