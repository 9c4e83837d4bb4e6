"""test.py from the command line to the files, with a network of random weights on tiny images."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation import (
    ROOT,
    metrics_of,
    save_random_network,
    score,
    score_command,
    status_of_score,
    write_predictions,
)

from data import build_dataset
from data.camvid import CamVid
from data.edges import encode_png, evaluation_edges
from data.image_io import read_index, write_png

FEW = ("--thresholds", 9, "--workers", 0, "--pictures", 1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_network(tmp_path_factory.mktemp("run") / "best.pth")


def save_network(path: Path, num_classes: int | None = None) -> Path:
    """CASENet for CamVid, or for its first classes."""
    return save_random_network(
        path,
        "casenet",
        "edge",
        CamVid,
        trained_on="camvid",
        num_classes=num_classes,
        base_size=48,
    )


@pytest.fixture(scope="module")
def predicted(checkpoint, tiny_camvid, tmp_path_factory) -> Path:
    """The folder that predict.py --save-prob writes."""
    out = tmp_path_factory.mktemp("predicted")
    write_predictions(tiny_camvid / "val", "--checkpoint", checkpoint, "--out", out, "--save-prob")
    return out


def same_scores(first: Path, second: Path) -> bool:
    files = ("scores.csv", "curves.csv")
    counts = [np.load(folder / "counts.npz")["counts"] for folder in (first, second)]
    return np.array_equal(*counts) and all(
        (first / f).read_bytes() == (second / f).read_bytes() for f in files
    )


def test_a_network_is_scored(checkpoint, tiny_camvid, tmp_path, capsys):
    network = ("--checkpoint", checkpoint, "--device", "cpu")
    score(*network, "--data-root", tiny_camvid, "--out", tmp_path, *FEW)
    files = ["counts.npz", "curves.csv", "metrics.json", "report.html", "scores.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    metrics = metrics_of(tmp_path)
    protocol, source = metrics["protocol"], metrics["source"]
    assert protocol["modes"] == ["thin", "raw"]
    knobs = (protocol["max_dist"], protocol["scale"], protocol["thresholds"])
    assert knobs == (0.02, 0.5, 9)
    assert (source["dataset"], source["split"], source["images"]) == ("camvid", "val", 4)
    assert source["base_size"] == 48
    assert (source["model"], source["backbone"]) == ("casenet", "resnet18")
    for mode in ("thin", "raw"):
        scores = metrics["scores"][mode]
        assert [each["name"] for each in scores["classes"]] == list(CamVid.classes)
        found = [
            each["ods"]["f"] for each in scores["classes"] if each["status"] != "no ground truth"
        ]
        assert len(found) == scores["mean"]["classes"]
        assert scores["mean"]["ods"] == pytest.approx(sum(found) / len(found))
        assert scores["published_mean"]["ods"] == pytest.approx(sum(found) / 11)
    shown = capsys.readouterr().out
    assert "max-dist 0.02, 9 thresholds, scale 0.5" in shown
    assert "bicyclist" in shown


def test_memory_files_and_labels_give_the_same_digits(checkpoint, tiny_camvid, predicted, tmp_path):
    """Predictions from the network or files, ground truth from the data set or files."""
    network = ("--checkpoint", checkpoint, "--device", "cpu")
    score(*network, "--data-root", tiny_camvid, "--out", tmp_path / "a", *FEW)
    truth = ("--dataset", "camvid", "--data-root", tiny_camvid)
    score("--task", "edge", "--predictions", predicted, *truth, "--out", tmp_path / "b", *FEW)
    dataset = build_dataset("camvid", tiny_camvid, "val")
    for record in dataset.records:
        label, _ = dataset.read_ground_truth(record)
        for mode in ("thin", "raw"):
            bits = evaluation_edges(label, num_classes=11, thin=mode == "thin")
            write_png(tmp_path / f"gt/gt_{mode}/inst/{record.name}.png", encode_png(bits))
    files = ("--predictions", predicted / "prob", "--labels", tmp_path / "gt")
    score(*files, "--out", tmp_path / "c", *FEW)
    assert same_scores(tmp_path / "a", tmp_path / "b")
    counts = [np.load(tmp_path / run / "counts.npz")["counts"] for run in "ac"]
    assert np.array_equal(*counts)
    assert "class 11" in (tmp_path / "c/scores.csv").read_text()


def test_chosen_classes_of_a_network_and_of_folders_by_name(
    checkpoint, tiny_camvid, predicted, tmp_path
):
    """As the same classes among all, in one pass with two tolerances, and from files."""
    truth = ("--dataset", "camvid", "--data-root", tiny_camvid, *FEW, "--no-report")
    network = ("--checkpoint", checkpoint, "--device", "cpu")
    score(*network, *truth, "--max-dist", "3px", "--out", tmp_path / "all")
    some = ("--classes", "Car", "SIGN", 3, "--max-dist", 0.02, "3px")
    score(*network, *truth, *some, "--out", tmp_path / "network")
    prob = predicted / "prob"
    for k, name in ((3, "road"), (6, "Sign"), (8, "CAR")):
        shutil.copytree(prob / f"class_{k + 1:03d}", tmp_path / "named" / name)
    files = ("--predictions", tmp_path / "named")
    score("--task", "edge", *files, *truth, *some, "--out", tmp_path / "files")
    whole = np.load(tmp_path / "all/counts.npz")["counts"]
    for source in ("network", "files"):
        found = tmp_path / source / "max-dist-3px"
        assert np.array_equal(np.load(found / "counts.npz")["counts"], whole[:, :, [3, 6, 8]])
        classes = [CamVid.classes[k] for k in (3, 6, 8)]
        assert metrics_of(found)["protocol"]["classes"] == classes
        assert metrics_of(tmp_path / source / "max-dist-0.02")["protocol"]["max_dist"] == 0.02


def test_flags_override_the_protocol(predicted, tiny_camvid, tmp_path):
    truth = ("--dataset", "camvid", "--data-root", tiny_camvid, "--no-report", "--workers", 0)
    knobs = (
        *("--protocol", "seal", "--thresholds", 5, "--eval-scale", 1, "--margin", 3),
        *("--no-raw", "--skip-absent", "--ap", "last", "--no-instance"),
    )
    score("--predictions", predicted, *truth, *knobs, "--out", tmp_path)
    protocol = metrics_of(tmp_path)["protocol"]
    assert protocol == {
        "name": "seal",
        "max_dist": 0.0035,
        "scale": 1.0,
        "margin": 3,
        "thresholds": 5,
        "thin": True,
        "raw": False,
        "instance": False,
        "skip_absent": True,
        "kill_internal": False,
        "ap": "last",
        "modes": ["thin"],
    }
    assert not (tmp_path / "report.html").exists()


def test_an_interrupted_run_resumes(predicted, tiny_camvid, tmp_path, capsys):
    """A torn file stops the run: status 2, one line. Mended, the run ends as an unbroken one."""
    shutil.copytree(predicted / "prob", tmp_path / "prob")
    last = sorted((tmp_path / "prob/class_011").iterdir())[-1]
    whole = last.read_bytes()
    last.write_bytes(whole[:60])
    flags = ("--dataset", "camvid", "--data-root", tiny_camvid, *FEW)
    run = ("--predictions", tmp_path / "prob", *flags, "--out", tmp_path / "broken")
    done = score_command(*run)
    assert done.returncode == 2
    assert done.stderr == f"error: {last}: the file is cut off; replace it\n"
    assert len(list((tmp_path / "broken/partial").iterdir())) == 3
    last.write_bytes(whole)
    score(*run)
    assert "resuming: 3 images" in capsys.readouterr().out
    assert not (tmp_path / "broken/partial").exists()
    score("--predictions", tmp_path / "prob", *flags, "--out", tmp_path / "unbroken")
    assert same_scores(tmp_path / "broken", tmp_path / "unbroken")


def test_allow_missing_says_so(predicted, tiny_camvid, tmp_path, capsys):
    shutil.copytree(predicted / "prob", tmp_path / "prob")
    name = sorted((tmp_path / "prob/class_001").iterdir())[0].name
    for folder in (tmp_path / "prob").iterdir():
        (folder / name).unlink()
    truth = ("--dataset", "camvid", "--data-root", tiny_camvid)
    flags = ("--predictions", tmp_path / "prob", *truth, *FEW)
    score(*flags, "--out", tmp_path / "out", "--allow-missing")
    source = metrics_of(tmp_path / "out")["source"]
    assert (source["images"], source["without_prediction"]) == (3, 1)
    assert "1 missing" in capsys.readouterr().err


def test_mistakes_are_one_line_and_status_2(checkpoint, predicted, tiny_camvid, tmp_path, capsys):
    few = save_network(tmp_path / "few.pth", 3)
    root, out = ("--data-root", tiny_camvid), ("--out", tmp_path / "out", *FEW)
    cases = [
        (("--checkpoint", checkpoint, "--task", "seg", *root, *out), "is for the task edge"),
        (("--checkpoint", few, *root, *out), "has 3 classes, camvid has 11"),
        (("--checkpoint", checkpoint, "--data-root", tmp_path, *out), "val.txt"),
        (
            ("--predictions", predicted, "--labels", tmp_path / "none", *out),
            "no such folder of labels",
        ),
        (("--predictions", tmp_path, "--dataset", "camvid", *root, *out), "found no predictions"),
        (
            ("--predictions", predicted, "--dataset", "camvid", *root, *out, "--max-dist", "7"),
            "argument --max-dist: found '7'",
        ),
        (
            ("--predictions", predicted, "--dataset", "camvid", *root, "--split", "train", *out),
            "files are missing",
        ),
    ]
    for flags, words in cases:
        assert status_of_score(*flags) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: ")
        assert words in last
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as stop:
        score("--predictions", predicted)
    assert stop.value.code == 2


@pytest.mark.slow
def test_two_ranks_score_what_one_does(checkpoint, tiny_camvid, tmp_path):
    network = ("--checkpoint", checkpoint, "--device", "cpu")
    flags = (*network, "--data-root", tiny_camvid, "--thresholds", 9, "--pictures", 1)
    score(*flags, "--workers", 0, "--out", tmp_path / "one")
    done = score_command(*flags, "--workers", 1, "--out", tmp_path / "two", ranks=2)
    assert done.returncode == 0, done.stderr
    assert same_scores(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_baselines_are_scored(tiny_camvid, tmp_path):
    """The prior is 1 where the class's edge is likeliest; test.py reads both baselines' files."""
    baselines = runpy.run_path(str(ROOT / "tests/benchmarks/edge_baselines.py"))
    flags = ["--data-root", tiny_camvid, "--base-size", 32, "--out", tmp_path]
    baselines["main"](baselines["parse_args"]([str(flag) for flag in flags]))
    truth = ("--dataset", "camvid", "--data-root", tiny_camvid, "--split", "test")
    for name in ("prior", "sobel"):
        score("--predictions", tmp_path / name, *truth, *FEW)
        assert (tmp_path / f"{name}-scores/metrics.json").is_file()
    prior = [read_index(path) for path in sorted((tmp_path / "prior").rglob("test_000.png"))]
    sobel = [read_index(path) for path in sorted((tmp_path / "sobel").rglob("test_000.png"))]
    assert {p.shape for p in prior} == {(24, 32)}
    assert max(p.max() for p in prior) == 65535
    assert all((s <= p).all() for s, p in zip(sobel, prior, strict=True))
