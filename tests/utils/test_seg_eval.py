"""test.py --task seg from the command line to the files; label maps from networks, data sets and folders."""

import csv
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import predict
from data import build_dataset
from data.camvid import CamVid
from data.cityscapes import Cityscapes
from data.errors import InputError
from data.image_io import read_index, write_png
from models import build_model
from utils.checkpoint import ModelInfo, load_model, save_checkpoint
from utils.evaluation.segmentation.label_maps import FolderLabels, match_maps
from utils.evaluation.segmentation.report import confusion_table, draw_boundary_errors, draw_errors
from utils.evaluation.segmentation.scores import SegProtocol, count_label_map, score_images
from utils.evaluation.segmentation.submission import label_id_table
from utils.evaluation.segmentation.tables import bound_rows, format_scores, seg_table_rows
from utils.inference.predictor import predict_edges, predict_labels, quantize
from utils.seg_metrics import boundary_f, class_iou, confusion

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "test.py"))  # by path: `import test` is the standard library's
FEW = ("--workers", 0, "--pictures", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pth"
    model = build_model("fcn", num_classes=11, backbone="resnet18")
    info = ModelInfo("fcn", "resnet18", 11, "seg", CamVid.classes, CamVid.palette, 0, "camvid")
    save_checkpoint(path, {"model": info.to_plain(), "weights": model.state_dict()})
    return path


def score(*flags: object) -> None:
    SCRIPT["main"](SCRIPT["parse_args"]([str(flag) for flag in flags]))


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def draw_maps(rng, count=3, classes=5, size=(40, 60)) -> list[tuple[np.ndarray, np.ndarray]]:
    """(prediction, truth) pairs of blocks; class 4 never occurs, some of the truth is ignored."""
    pairs = []
    for _ in range(count):
        truth = np.kron(rng.integers(0, classes - 1, (4, 6)), np.ones((10, 10), int))[
            : size[0], : size[1]
        ].astype(np.uint8)
        pred = np.roll(truth, 2, axis=1)
        pred[:8, :20] = rng.integers(0, classes - 1)
        truth[rng.random(truth.shape) < 0.02] = 255
        pairs.append((pred, truth))
    return pairs


def test_scores_over_images_equal_sums_by_hand(rng):
    pairs = draw_maps(rng)
    protocol = SegProtocol(tuple("abcde"), (3.0, 0.02))
    scores = score_images([count_label_map(*pair, protocol) for pair in pairs], protocol)
    total = sum(confusion(*pair, 5) for pair in pairs)
    np.testing.assert_array_equal(scores.confusion[:, :5], total)
    np.testing.assert_allclose(scores.iou, class_iou(total))
    assert scores.miou == pytest.approx(np.nanmean(class_iou(total)))
    for i, bound in enumerate(protocol.bounds):
        each = np.array([boundary_f(*pair, 5, bound)[0] for pair in pairs])
        np.testing.assert_allclose(scores.f[i], each.mean(axis=0))
    assert scores.f[0, 4] == 1  # as published
    assert np.isnan(scores.f_present[0, 4])
    assert scores.images.tolist() == [
        sum((truth == k).any() for _, truth in pairs) for k in range(5)
    ]
    assert scores.pixels == ((3, 3), (2, 2))
    assert seg_table_rows(scores)[0][3] == "F 3 px"
    assert bound_rows(scores)[2][:2] == ("0.02 of the diagonal", "2")
    shown = format_scores(scores)
    assert "no ground truth" in shown
    assert f"mIoU {100 * scores.miou:.2f}" in shown


def test_a_network_is_scored(checkpoint, tiny_camvid, tmp_path, capsys):
    modes = ("--window", 32, "--scales", 0.5, 1, "--mirror", "--batch-size", 4)
    score("--checkpoint", checkpoint, "--data-root", tiny_camvid, "--out", tmp_path, *modes, *FEW)
    files = ["confusion.csv", "metrics.json", "report.html", "scores.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    model, _ = load_model(checkpoint)
    dataset = build_dataset("camvid", tiny_camvid, "val")
    pairs = []
    for sample in (dataset[i] for i in range(len(dataset))):
        pred = predict_labels(model, sample.image, window=32, scales=(0.5, 1.0), mirror=True)
        pairs.append((pred, sample.label))
    expected = sum(confusion(*pair, 11) for pair in pairs)
    metrics = metrics_of(tmp_path)
    scores = metrics["scores"]
    assert np.array_equal(np.array(scores["confusion"])[:, :11], expected)
    assert scores["miou"] == pytest.approx(np.nanmean(class_iou(expected)))
    assert [each["bound"] for each in scores["boundary_f"]] == [
        3,
        5,
        9,
        12,
        0.0005,
        0.001875,
        0.00375,
        0.005,
    ]
    assert [each["pixels"] for each in scores["boundary_f"]][3:5] == [[12, 12], [1, 1]]
    f = np.mean([boundary_f(*pair, 11, 3)[0] for pair in pairs], axis=0)
    assert scores["boundary_f"][0]["published_mean"] == pytest.approx(f.mean())
    assert [each["boundary_f"][0] for each in scores["classes"]] == pytest.approx(f.tolist())
    source = metrics["source"]
    assert (source["dataset"], source["split"], source["images"]) == ("camvid", "val", 4)
    assert (source["window"], source["scales"], source["mirror"]) == (32, [0.5, 1.0], True)
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [row["class"] for row in rows] == list(CamVid.classes)
    assert float(rows[3]["boundary_f_3"]) == pytest.approx(f[3])
    shown = capsys.readouterr().out
    assert "0.001875 of the diagonal" in shown
    assert "bicyclist" in shown


def test_memory_and_files_give_the_same_scores(checkpoint, tiny_camvid, tmp_path):
    score("--checkpoint", checkpoint, "--data-root", tiny_camvid, "--out", tmp_path / "a", *FEW)
    flags = [
        tiny_camvid / "val",
        "--checkpoint",
        checkpoint,
        "--out",
        tmp_path / "files",
        "--device",
        "cpu",
    ]
    predict.main(predict.parse_args([str(flag) for flag in flags]))
    truth = ("--dataset", "camvid", "--data-root", tiny_camvid)
    score(
        "--task",
        "seg",
        "--predictions",
        tmp_path / "files",
        *truth,
        "--out",
        tmp_path / "b",
        "--workers",
        2,
    )
    labels = tmp_path / "labels"
    dataset = build_dataset("camvid", tiny_camvid, "val")
    for record in dataset.records:
        write_png(labels / f"{record.name}.png", dataset.read_truth(record)[0])
    files = (
        "--task",
        "seg",
        "--predictions",
        tmp_path / "files/labels",
        "--labels",
        labels,
        "--num-classes",
        11,
    )
    score(*files, "--out", tmp_path / "c", *FEW)
    scores = [metrics_of(tmp_path / run)["scores"] for run in "abc"]
    for part in scores:
        for each in part["classes"]:
            del each["name"]
    assert scores[0] == scores[1] == scores[2]


def test_label_ids_of_cityscapes(rng, tmp_path):
    """The truth as gtFine has it, beside instances and colours; predictions in label ids, named as for the server."""
    expected = np.zeros((19, 19), np.int64)
    for number in range(2):
        truth = rng.integers(0, 19, (16, 24)).astype(np.uint8)
        pred = np.where(
            rng.random(truth.shape) < 0.5, truth, rng.integers(0, 19, truth.shape)
        ).astype(np.uint8)
        expected += confusion(pred, truth, 19)
        name = f"ulm_000000_00000{number}"
        write_png(tmp_path / f"gt/ulm/{name}_gtFine_labelIds.png", label_id_table()[truth])
        write_png(
            tmp_path / f"gt/ulm/{name}_gtFine_instanceIds.png",
            label_id_table()[truth].astype(np.uint16) * 1000,
        )
        write_png(tmp_path / f"gt/ulm/{name}_gtFine_color.png", Cityscapes.palette[truth])
        write_png(tmp_path / f"pred/{name}_anything.png", label_id_table()[pred])
    flags = (
        "--task",
        "seg",
        "--predictions",
        tmp_path / "pred",
        "--labels",
        tmp_path / "gt",
        "--dataset",
        "cityscapes",
    )
    score(*flags, "--label-ids", "--out", tmp_path / "out", *FEW)
    metrics = metrics_of(tmp_path / "out")
    assert np.array_equal(np.array(metrics["scores"]["confusion"])[:, :19], expected)
    assert metrics["scores"]["classes"][18]["name"] == "bicycle"
    with pytest.raises(InputError, match=r"out of range; .* add --label-ids"):
        score(*flags, "--out", tmp_path / "out", *FEW)


def test_paletted_files_and_void_predictions(tmp_path):
    """A palette PNG is read by its indices; a prediction of 255 is a missed pixel."""
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    image = Image.fromarray(truth, mode="P")
    image.putpalette(list(range(256)) * 3)
    (tmp_path / "labels").mkdir()
    image.save(tmp_path / "labels/a.png")
    write_png(tmp_path / "pred/a.png", np.array([[0, 255, 1, 255]], np.uint8))
    flags = (
        "--task",
        "seg",
        "--predictions",
        tmp_path / "pred",
        "--labels",
        tmp_path / "labels",
        "--num-classes",
        2,
    )
    score(*flags, "--out", tmp_path / "out", *FEW)
    scores = metrics_of(tmp_path / "out")["scores"]
    assert scores["confusion"] == [[1, 0, 1], [0, 1, 0]]
    assert [each["iou"] for each in scores["classes"]] == [0.5, 1]
    assert "no class" in (tmp_path / "out/report.html").read_text()


def test_missing_and_extra_predictions(tmp_path, capsys):
    for name in "ab":
        write_png(tmp_path / f"labels/{name}.png", np.zeros((4, 5), np.uint8))
    write_png(tmp_path / "pred/b.png", np.zeros((4, 5), np.uint8))
    write_png(tmp_path / "pred/c.png", np.zeros((4, 5), np.uint8))
    flags = (
        "--task",
        "seg",
        "--predictions",
        tmp_path / "pred",
        "--labels",
        tmp_path / "labels",
        "--num-classes",
        2,
    )
    with pytest.raises(InputError, match="1 of 2 images have no prediction, such as a"):
        score(*flags, "--out", tmp_path / "out", *FEW)
    told = capsys.readouterr().err
    assert "1 images have no prediction: a" in told
    assert re.search(r"1 predictions have no (ground )?truth \(not scored\): c", told)
    score(*flags, "--out", tmp_path / "out", "--allow-missing", "--no-report", *FEW)
    assert metrics_of(tmp_path / "out")["source"]["images"] == 1
    assert not (tmp_path / "out/report.html").exists()


def test_two_files_for_one_image(tmp_path):
    truth = tmp_path / "labels"
    write_png(truth / "ulm_000000_000001_gtFine_labelIds.png", np.full((4, 5), 7, np.uint8))
    for ending in ("x", "y"):
        write_png(tmp_path / f"pred/ulm_000000_000001_{ending}.png", np.full((4, 5), 7, np.uint8))
    maps = [
        FolderLabels(folder, 19, what=what)
        for folder, what in ((truth, "labels"), (tmp_path / "pred", "predictions"))
    ]
    with pytest.raises(InputError, match=r"both .* could be the file of"):
        match_maps(*maps, allow_missing=False, report=print)


def test_mistakes_are_one_line_and_status_2(checkpoint, tiny_camvid, tmp_path, capsys):
    write_png(tmp_path / "pred/a.png", np.zeros((4, 5), np.uint8))
    write_png(tmp_path / "wide/a.png", np.zeros((4, 6), np.uint8))
    write_png(tmp_path / "ids/a.png", np.full((4, 5), 26, np.uint8))
    (tmp_path / "empty").mkdir()
    pred, root = ("--task", "seg", "--predictions"), ("--data-root", tiny_camvid)
    labels = ("--labels", tmp_path / "pred", "--num-classes", 2)
    cases = [
        ((*pred, tmp_path / "wide", *labels), "a: the prediction is 6x4, the ground truth 5x4"),
        ((*pred, tmp_path / "ids", *labels), "label ids 26 are out of range; expected 0..1 or 255"),
        (
            (*pred, tmp_path / "empty", *labels),
            "found no predictions; expected label maps NAME.png",
        ),
        ((*pred, tmp_path / "none", *labels), "no such folder of predictions"),
        (
            (*pred, tmp_path / "pred", "--labels", tmp_path / "pred"),
            "add --num-classes or --dataset",
        ),
        (
            (*pred, tmp_path / "pred", *labels, "--label-ids"),
            "--label-ids is for Cityscapes' 19 classes",
        ),
        ((*pred, tmp_path / "pred", *labels, "--bounds", 3, 0), "--bounds 0: expected"),
        (("--checkpoint", checkpoint, "--task", "edge", *root), "is for the task seg"),
        (
            ("--checkpoint", checkpoint, *root, "--window", 8),
            "window 8: expected 32 pixels or more",
        ),
        (
            ("--checkpoint", checkpoint, *root, "--submit", tmp_path / "s"),
            "--submit is for Cityscapes' server",
        ),
    ]
    for flags, words in cases:
        command = (*flags, "--out", tmp_path / "out", *FEW)
        assert SCRIPT["run"](lambda command=command: score(*command)) == 2
        told = capsys.readouterr().err.splitlines()
        assert told[-1].startswith("error: ")
        assert words in told[-1], told[-1]
    assert not (tmp_path / "out").exists()


def test_the_report_has_all_parts(checkpoint, tiny_camvid, tmp_path):
    score("--checkpoint", checkpoint, "--data-root", tiny_camvid, "--out", tmp_path, *FEW)
    page = (tmp_path / "report.html").read_text()
    for words in (
        "Confusion",
        "Boundary F",
        "Best images",
        "Worst images",
        "red missed, blue false",
        "pedestrian",
    ):
        assert words in page
    assert page.count("data:image/") == 2 * 5
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_error_images():
    palette = np.array([(10, 20, 30), (200, 100, 50)], np.uint8)
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    prediction = np.array([[0, 1, 1, 0]], np.uint8)
    drawn = draw_errors(truth, prediction, palette)
    assert drawn[0].tolist() == [[255] * 3, [200, 100, 50], [255] * 3, [225, 228, 232]]
    truth = np.zeros((60, 60), np.uint8)
    truth[:, 30:] = 1
    near, far = np.roll(truth, 2, axis=1), np.roll(truth, 20, axis=1)
    near[:, :2], far[:, :20] = 0, 0
    colors = [
        {tuple(c) for c in draw_boundary_errors(truth, p, 2).reshape(-1, 3).tolist()}
        for p in (near, far)
    ]
    assert colors == [
        {(255, 255, 255), (70, 150, 90)},
        {(255, 255, 255), (215, 50, 40), (40, 90, 215)},
    ]


def test_names_are_escaped_in_the_confusion_table(rng):
    protocol = SegProtocol(("<a>", "b & c", "d", "e", "f"))
    scores = score_images([count_label_map(*pair, protocol) for pair in draw_maps(rng)], protocol)
    page = confusion_table(scores)
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
    assert page.count("<tr>") == 5  # the head and four classes that occur


def test_the_modes_of_inference_are_for_edges_too(tiny_camvid, tmp_path):
    torch.manual_seed(0)
    model = build_model("casenet", num_classes=11, backbone="resnet18").eval()
    info = ModelInfo("casenet", "resnet18", 11, "edge", CamVid.classes, CamVid.palette, 0, "camvid")
    save_checkpoint(
        tmp_path / "edge.pth", {"model": info.to_plain(), "weights": model.state_dict()}
    )
    modes = ("--window", 32, "--scales", 0.5, 1, "--mirror", "--batch-size", 4, "--device", "cpu")
    flags = [
        tiny_camvid / "test",
        "--checkpoint",
        tmp_path / "edge.pth",
        "--out",
        tmp_path / "files",
        "--save-prob",
    ]
    predict.main(predict.parse_args([str(flag) for flag in (*flags, *modes)]))
    shared_flags = (
        "--data-root",
        tiny_camvid,
        "--split",
        "test",
        "--thresholds",
        5,
        "--workers",
        0,
        "--no-report",
    )
    score("--checkpoint", tmp_path / "edge.pth", *shared_flags, "--out", tmp_path / "a", *modes)
    score(
        "--predictions",
        tmp_path / "files",
        "--dataset",
        "camvid",
        *shared_flags,
        "--out",
        tmp_path / "b",
    )
    assert metrics_of(tmp_path / "a")["scores"] == metrics_of(tmp_path / "b")["scores"]
    assert metrics_of(tmp_path / "a")["source"]["window"] == 32
    image = build_dataset("camvid", tiny_camvid, "test")[0].image
    prob = predict_edges(model, image, window=32, scales=(0.5, 1.0), mirror=True, batch_size=4)
    assert np.array_equal(
        read_index(tmp_path / "files/prob/class_004/test_000.png"), quantize(prob[3])
    )


@pytest.mark.slow
def test_two_ranks_score_what_one_does(checkpoint, tiny_camvid, tmp_path):
    flags = ("--checkpoint", checkpoint, "--data-root", tiny_camvid, "--split", "test", *FEW)
    score(*flags, "--out", tmp_path / "one")
    launcher = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    )
    command = [
        *launcher,
        str(ROOT / "test.py"),
        *(str(flag) for flag in flags),
        "--out",
        str(tmp_path / "two"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = metrics_of(tmp_path / "one"), metrics_of(tmp_path / "two")
    assert one == two
    assert one["source"]["images"] == 3
    assert np.sum(one["scores"]["confusion"]) == sum(
        np.count_nonzero(read_index(path) != 11) for path in (tiny_camvid / "testannot").iterdir()
    )
