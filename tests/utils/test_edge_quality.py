"""The crisp mode, crispness, calibration and a fitted temperature in test.py."""

import csv
import json
import math

import numpy as np
import pytest
from helpers.edge_files import SIZE, write_edge_files
from helpers.evaluation import metrics_of, score, status_of_score

from data.edges import pack
from data.errors import InputError
from data.image_io import write_png
from utils.edge_metrics import default_thresholds, evaluate_image
from utils.edge_metrics.calibration import at_temperature, fit_temperature, reliability
from utils.edge_metrics.crispness import crisp_sums, crispness
from utils.evaluation.edges.derived import EdgeMaking
from utils.evaluation.edges.image_counts import ImageGroundTruth, measure_image
from utils.evaluation.edges.protocols import find_protocol
from utils.evaluation.edges.quality.calibration import score_calibration
from utils.evaluation.edges.quality.crispness import score_crispness
from utils.evaluation.edges.quality.temperature import fit_temperatures
from utils.inference.temperature import read_temperature

FLAGS = ("--task", "edge", "--thresholds", 5, "--workers", 0, "--pictures", 1)
CRISP = find_protocol("dff", "folder", thresholds=5, crisp=True, calibration=True)


@pytest.fixture
def folder(tmp_path, rng):
    write_edge_files(tmp_path, rng)
    return tmp_path


def files(folder):
    return ("--predictions", folder / "pred", "--labels", folder / "gt")


def edges_of(thin, raw):
    groups = {"thin": thin, "raw": raw}
    return ImageGroundTruth({m: [pack(each)] for m, each in groups.items()}, None)


# --- one image ---


def test_crisp_is_raw_predictions_against_thin_truth(rng):
    thin, raw = rng.random((2, 2, *SIZE)) < 0.1
    prob = rng.random((2, *SIZE))
    counts = measure_image({"": prob}, edges_of(thin, raw), (CRISP,))["counts"][0, 0]
    assert CRISP.modes == ("thin", "raw", "crisp")
    how = {"thresholds": default_thresholds(5), "max_dist": 0.02}
    for k in range(2):
        modes = (("thin", thin, True), ("raw", raw, False), ("crisp", thin, False))
        for m, (_, truth, thinned) in enumerate(modes):
            expected = evaluate_image(prob[k], truth[k], thin=thinned, **how)
            np.testing.assert_array_equal(counts[m, k], expected)


def test_a_fat_line_is_right_when_thinned_and_wrong_when_crisp():
    """Each of seven rows is predicted, one is true: thinned all are right, as they are a third."""
    thin = np.zeros((1, 40, 60), bool)
    thin[0, 20] = True
    prob = np.zeros((1, 40, 60), np.float32)
    prob[0, 17:24] = 0.9
    protocol = find_protocol("dff", "folder", thresholds=1, raw=False, crisp=True, max_dist_px=1)
    record = measure_image({"": prob}, edges_of(thin, thin), (protocol,))
    thinned, crisp = record["counts"][0, 0, :, 0, 0]
    assert thinned[0] >= 54  # the ends of the line shrink
    assert thinned[2] == thinned[3]
    assert crisp.tolist() == [60, 60, 60, 420]
    after, before = record["crispness"][0, 0]
    assert before == 7 * after


def test_the_crisp_mode_alone_needs_thin_truth_alone(rng):
    protocol = find_protocol("dff", "folder", thin=False, raw=False, crisp=True)
    assert (protocol.modes, protocol.truths) == (("crisp",), ("thin",))
    truth = ImageGroundTruth({"thin": [pack(rng.random((1, *SIZE)) < 0.1)]}, None)
    assert measure_image({"": rng.random((1, *SIZE))}, truth, (protocol,))["counts"].size


def test_crispness_is_of_the_size_of_the_prediction_and_calibration_of_the_truth(rng):
    """The truth is of half size and cropped by 3 pixels."""
    protocol = find_protocol("dff", "folder", thresholds=5, crisp=True, calibration=True, margin=3)
    thin, raw = rng.random((2, 1, 20, 30)) < 0.1
    prob = (rng.random((1, 40, 60)) * 65535).astype(np.uint16)
    record = measure_image({"": prob}, edges_of(thin, raw), (protocol,))
    assert record["crispness"].tolist() == [[list(crisp_sums(prob[0]))]]
    assert record["calibration"][0, 0, :, 0].sum() == 14 * 24
    assert record["calibration"][0, 0, :, 1].sum() == raw[0, 3:-3, 3:-3].sum()


def test_they_are_the_same_at_all_tolerances_and_absent_classes_say_nothing(rng):
    thin, raw = rng.random((2, 3, *SIZE)) < 0.1
    thin[1], raw[1] = False, False
    skipping = [
        find_protocol("dff", "folder", skip_absent=True, crisp=True, calibration=True, max_dist=d)
        for d in (0.02, 0.05)
    ]
    prob = rng.random((3, *SIZE))
    record = measure_image({"a": prob, "b": prob / 2}, edges_of(thin, raw), skipping)
    assert record["counts"].shape == (2, 2, 3, 3, 99, 4)
    assert record["crispness"].shape == (2, 3, 2)
    assert record["calibration"].shape[:2] == (2, 3)
    for name in ("crispness", "calibration"):
        assert not record[name][:, 1].any()
        assert record[name][:, [0, 2]].any(axis=(2, *range(3, record[name].ndim))).all()


def test_who_draws_thin_edges_draws_them_crisp(rng):
    """A source with maps of its own for thin and raw edges; an iterator is read once."""
    thin, raw = rng.random((2, 2, *SIZE)) < 0.1
    own = {"thin": iter(thin.astype(np.float32)), "raw": iter(raw.astype(np.float32))}
    record = measure_image({"hard": own}, edges_of(thin, raw), (CRISP,))
    assert (record["counts"][0, 0, 2, :, :, 0] == record["counts"][0, 0, 2, :, :, 1]).all()
    assert record["crispness"][0].tolist() == [list(crisp_sums(t.astype(float))) for t in thin]


def test_derived_edges_are_crisp_as_thin_ones(rng):
    labels = np.kron(rng.integers(0, 3, (5, 6)), np.ones((8, 8))).astype(np.uint8)
    made = EdgeMaking(3, CRISP.modes).hard(labels, 1.0)
    maps = {mode: np.stack(list(made[mode])) for mode in CRISP.modes}
    np.testing.assert_array_equal(maps["crisp"], maps["thin"])
    assert maps["raw"].sum() > maps["thin"].sum()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"thin": False, "raw": False}, "and no --crisp"),
        ({"raw": False, "crisp": True, "kill_internal": True}, "leave out --crisp"),
        ({"raw": False, "calibration": True}, "add --raw"),
    ],
)
def test_what_does_not_go_together(changes, words):
    with pytest.raises(InputError, match=words):
        find_protocol("dff", **changes)


def test_knobs_stand_where_they_are_set():
    assert CRISP.knobs()["crisp"] is CRISP.knobs()["calibration"] is True
    assert not {"crisp", "calibration"} & find_protocol("dff").knobs().keys()


# --- several images ---


def test_images_without_a_response_say_nothing():
    sums = np.array([[[2, 4], [0, 0], [0, 0]], [[1, 4], [3, 3], [0, 0]]])
    scores = score_crispness(sums, ("a", "b", "c"))
    assert scores.to_plain() == {
        "mean": 0.6875,
        "classes": [
            {"name": "a", "crispness": 0.375, "images": 2},
            {"name": "b", "crispness": 1.0, "images": 1},
            {"name": "c", "crispness": None, "images": 0},
        ],
    }


def test_test_py_adds_up_all_images(folder, capsys):
    out = folder / "scores"
    score(*FLAGS, *files(folder), "--crisp", "--calibration", "--out", out)
    printed = capsys.readouterr().out
    plain, metrics = np.load(out / "counts.npz"), metrics_of(out)
    assert list(metrics["scores"]) == ["thin", "raw", "crisp"]
    assert plain["crispness"].shape == (4, 3, 2)
    # Thin and raw truth are the same here, and so are crisp and raw.
    assert metrics["scores"]["crisp"] == metrics["scores"]["raw"]
    crisp, calibration = metrics["crispness"], metrics["calibration"]
    values = [s[0] / s[1] for s in plain["crispness"][:, 0]]
    assert crisp["classes"][0]["crispness"] == pytest.approx(np.mean(values))
    each = [row["crispness"] for row in crisp["classes"]]
    assert crisp["mean"] == pytest.approx(np.mean(each))
    curve = reliability(plain["calibration"][:, 0].sum(axis=0))
    found = calibration["classes"][0]
    assert found["ece"] == curve.ece
    assert sum(row["pixels"] for row in found["curve"]) == 4 * SIZE[0] * SIZE[1]
    assert calibration["classes"][2]["ece"] is None  # without ground truth
    assert calibration["mean"]["classes"] == 2
    ece = [row["ece"] for row in calibration["classes"][:2]]
    assert calibration["mean"]["ece"] == pytest.approx(np.mean(ece))
    # Random predictions: 0.5 on the mean, at 5 and 3 % of edges.
    assert found["mean_probability"] == pytest.approx(0.5, abs=0.02)
    assert found["ece"] == pytest.approx(0.45, abs=0.03)
    assert "crispness and calibration" in printed
    assert f"{100 * crisp['mean']:.2f}" in printed
    rows = list(csv.DictReader((out / "calibration.csv").open()))
    assert len(rows) == 2 * 15
    assert float(rows[0]["true_share"]) == found["curve"][0]["true_share"]
    rows = list(csv.DictReader((out / "crispness.csv").open()))
    assert float(rows[1]["crispness"]) == crisp["classes"][1]["crispness"]
    page = (out / "report.html").read_text()
    assert "Crisp protocol" in page
    assert "Share of true edges over probability" in page
    assert not (out / "temperature.json").exists()


def test_without_the_flags_nothing_is_new(folder):
    score(*FLAGS, *files(folder), "--out", folder / "plain")
    assert list(metrics_of(folder / "plain")) == ["task", "protocol", "source", "scores"]
    assert {"counts", "names"} == set(np.load(folder / "plain/counts.npz"))
    assert not list((folder / "plain").glob("c*n*ss.csv"))
    assert "Crispness" not in (folder / "plain/report.html").read_text()


def test_an_interrupted_test_and_workers_change_nothing(folder):
    flags = (*FLAGS, *files(folder), "--crisp", "--fit-temperature", "--no-report")
    score(*flags, "--out", folder / "one")
    broken = folder / "pred/class_003/p3.png"
    kept = broken.read_bytes()
    broken.write_bytes(kept[: len(kept) // 2])
    assert status_of_score(*flags, "--out", folder / "two") == 2
    assert len(list((folder / "two/partial").iterdir())) == 3
    broken.write_bytes(kept)
    score(*flags, "--out", folder / "two", "--max-dist", "0.02")
    for name in ("metrics.json", "temperature.json", "crispness.csv", "calibration.csv"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()
    assert not (folder / "two/partial").exists()


# --- temperature ---


def write_overconfident(folder, rng, temperature):
    """One class over forty thousand pixels: of a probability p, g(p) are edges at T."""
    logit = rng.normal(-3, 3, (4, 100, 100))
    prob = 1 / (1 + np.exp(-logit))
    truth = rng.random(logit.shape) < at_temperature(prob, temperature)
    for i in range(4):
        stored = np.minimum(np.rint(prob[i] * 65536), 65535).astype(np.uint16)
        write_png(folder / f"pred/class_001/p{i}.png", stored)
        write_png(folder / f"gt/p{i}.png", truth[i].astype(np.uint8) * 255)
    return truth


def test_a_temperature_is_fitted_and_mends_the_probabilities(tmp_path, rng, capsys):
    write_overconfident(tmp_path, rng, 2.0)
    out = tmp_path / "scores"
    flags = (*FLAGS, *files(tmp_path), "--no-thin", "--out", out)
    score(*flags, "--fit-temperature")
    fitted = json.loads((out / "temperature.json").read_text())
    assert fitted["temperature"] == pytest.approx(2, rel=0.05)
    assert fitted["classes"] is None
    assert fitted["fit"]["nll"]["after"] < fitted["fit"]["nll"]["before"]
    assert fitted["fit"]["ece"]["after"] < 0.01 < 0.04 < fitted["fit"]["ece"]["before"]
    before = metrics_of(out)["calibration"]["mean"]
    assert fitted["fit"]["ece"]["before"] == before["ece"]
    assert fitted["fit"]["nll"]["before"] == before["nll"]
    assert fitted["fit"]["source"] == metrics_of(out)["source"]
    assert read_temperature(out / "temperature.json", ("any", "names")) == fitted["temperature"]
    assert f"temperature {fitted['temperature']:g}: NLL " in capsys.readouterr().out
    assert "The same with the temperature" in (out / "report.html").read_text()


def test_each_class_may_have_its_own(rng, folder):
    score(*FLAGS, *files(folder), "--fit-temperature", "class", "--out", folder / "scores")
    fitted = json.loads((folder / "scores/temperature.json").read_text())
    counts = np.load(folder / "scores/counts.npz")["calibration"].sum(axis=0)
    found = [row["temperature"] for row in fitted["classes"]]
    assert found == [fit_temperature(counts[0]), fit_temperature(counts[1]), None]
    assert fitted["temperature"] == fit_temperature(counts[:2].sum(axis=0))
    names = [row["name"] for row in fitted["classes"]]
    own = read_temperature(folder / "scores/temperature.json", names)
    assert own == (found[0], found[1], fitted["temperature"])


def test_binary_predictions_are_crisp_or_not_and_never_calibrated(folder, rng, capsys):
    """Three equal columns in every image, class by class."""
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 10:13] = 255
    for path in (folder / "pred").rglob("*.png"):
        write_png(path, mask)
    out = folder / "scores"
    score(*FLAGS, *files(folder), "--crisp", "--calibration", "--out", out)
    metrics = metrics_of(out)
    assert metrics["crispness"]["mean"] == pytest.approx(1 / 3)
    assert metrics["calibration"]["note"].startswith("predictions are binary")
    assert metrics["calibration"]["mean"] == {"ece": None, "nll": None, "classes": 0}
    assert all(row["ece"] is None for row in metrics["calibration"]["classes"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["mean", "33.33", "-", "predictions", "are", "binary"] in rows
    with pytest.raises(InputError, match="predictions are binary"):
        score(*FLAGS, *files(folder), "--fit-temperature", "--out", folder / "fit")
    for name in ("p0", "p1", "p2", "p3"):
        (folder / "arrays").mkdir(exist_ok=True)
        np.savez(folder / f"arrays/{name}.npz", np.ones((3, *SIZE), bool))
    flags = ("--predictions", folder / "arrays", "--labels", folder / "gt", "--out", folder / "b")
    with pytest.raises(InputError, match="a temperature needs probabilities"):
        score(*FLAGS, *flags, "--fit-temperature")
    assert not (folder / "b").exists()


def test_what_an_earlier_test_left_is_not_taken_for_this_one(folder):
    """Files that this test does not write, and a single result above the folders of several."""
    out = folder / "scores"
    flags = (*FLAGS, *files(folder), "--no-report", "--out", out)
    measured = {"crispness.csv", "calibration.csv", "temperature.json"}
    score(*flags, "--crisp", "--fit-temperature")
    assert measured <= {path.name for path in out.iterdir()}
    score(*flags)
    assert not measured & {path.name for path in out.iterdir()}
    assert (out / "metrics.json").is_file()
    score(*flags, "--crisp", "--fit-temperature")
    score(*flags, "--max-dist", 0.02, "3px")
    assert {path.name for path in out.iterdir()} == {"max-dist-0.02", "max-dist-3px"}
    assert metrics_of(out / "max-dist-3px")["protocol"]["max_dist_px"] == 3


def test_a_temperature_is_of_all_classes(folder, capsys):
    flags = (*FLAGS, *files(folder), "--fit-temperature", "--classes", 0)
    assert status_of_score(*flags) == 2
    assert "leave out --classes" in capsys.readouterr().err


def test_a_temperature_is_not_fitted_on_top_of_another(folder, capsys):
    flags = ("--checkpoint", folder / "net.pth", "--fit-temperature", "--temperature", 2)
    assert status_of_score(*flags) == 2
    assert "leave out --temperature" in capsys.readouterr().err


def test_without_ground_truth_there_is_nothing_to_fit():
    scores = score_calibration(np.zeros((2, 1, 331, 3), np.int64), ("a",), binary=False)
    assert math.isnan(scores.mean_ece)
    with pytest.raises(InputError, match="no class has ground truth"):
        fit_temperatures(scores, each=False)


def test_the_same_map_is_as_crisp_in_a_test_as_alone(rng):
    prob = rng.random((1, *SIZE))
    truth = edges_of(np.zeros((1, *SIZE), bool), np.zeros((1, *SIZE), bool))
    sums = measure_image({"": prob}, truth, (CRISP,))["crispness"]
    assert score_crispness(sums[:, 0], ("a",)).mean == crispness(prob[0])
