"""test.py --task seg from the command line to the files; label maps of any origin."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation import (
    metrics_of,
    save_random_network,
    score,
    score_command,
    status_of_score,
    write_predictions,
)
from helpers.label_maps import (
    loop_boundary_regions,
    loop_confusion,
    plain_boundary_f,
    plain_iou,
)
from PIL import Image

from data import build_dataset
from data.camvid import CamVid
from data.cityscapes import Cityscapes
from data.errors import InputError
from data.image_io import read_index, write_png
from utils.checkpoint import load_model
from utils.evaluation.label_files import FolderLabels
from utils.evaluation.segmentation.pairing import match_maps
from utils.evaluation.segmentation.report import confusion_table, draw_boundary_errors, draw_errors
from utils.evaluation.segmentation.scores import (
    SegProtocol,
    count_label_map,
    image_quality,
    score_images,
)
from utils.evaluation.segmentation.submission import label_id_table
from utils.evaluation.segmentation.tables import bound_rows, format_scores, seg_table_rows
from utils.inference.loading import load
from utils.inference.scores import quantize

FEW = ("--workers", 0, "--pictures", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.pth"
    return save_random_network(path, "fcn", "seg", CamVid, trained_on="camvid")


def files_flags(pred: Path, labels: Path, num_classes: int) -> tuple[object, ...]:
    """Label maps in files against label maps in files."""
    return (
        *("--task", "seg", "--predictions", pred),
        *("--labels", labels, "--num-classes", num_classes),
    )


def draw_maps(rng, count=3, classes=5, size=(40, 60)) -> list[tuple[np.ndarray, np.ndarray]]:
    """(prediction, ground truth) pairs of blocks; class 4 never occurs, some pixels are ignored."""
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


def test_scores_over_images_equal_loops(rng):
    pairs = draw_maps(rng)
    protocol = SegProtocol(tuple("abcde"), (3.0, 0.02), region=2)
    counts = [count_label_map(*pair, protocol) for pair in pairs]
    scores = score_images(counts, protocol)
    total = sum(loop_confusion(*pair, 5) for pair in pairs)
    np.testing.assert_array_equal(scores.confusion[:, :5], total)
    ious = [plain_iou(pairs, k, 5) for k in range(5)]
    np.testing.assert_allclose(scores.iou, ious)
    assert scores.miou == pytest.approx(np.mean(ious[:4]))
    first = [plain_iou(pairs[:1], k, 5) for k in range(4)]
    assert image_quality(counts)[0] == pytest.approx(np.nanmean(first))
    present = np.array([[(truth == k).any() for k in range(5)] for _, truth in pairs])
    assert scores.images.tolist() == present.sum(axis=0).tolist()
    for i, radius in enumerate((3, 2)):  # 0.02 of the diagonal, rounded up
        f = np.array([[plain_boundary_f(*pair, k, radius) for k in range(5)] for pair in pairs])
        np.testing.assert_allclose(scores.f[i], f.mean(axis=0))
        for k in range(4):
            # Among blocks of several classes, a class that occurs has a boundary.
            assert scores.f_present[i, k] == pytest.approx(f[present[:, k], k].mean())
    regions = np.array(
        [[loop_boundary_regions(*pair, k, 2) for k in range(4)] for pair in pairs]
    ).sum(axis=0)
    np.testing.assert_allclose(scores.boundary_iou[:4], regions[:, 0] / regions[:, 1])


def test_a_class_that_is_nowhere(rng):
    protocol = SegProtocol(tuple("abcde"), (3.0, 0.02))
    scores = score_images([count_label_map(*pair, protocol) for pair in draw_maps(rng)], protocol)
    assert scores.f[0, 4] == 1  # as published
    assert np.isnan([scores.iou[4], scores.boundary_iou[4], scores.f_present[0, 4]]).all()
    assert scores.images[4] == 0
    assert "no ground truth" in format_scores(scores)


def test_tables_name_their_tolerances(rng):
    protocol = SegProtocol(tuple("abcde"), (3.0, 0.02))
    scores = score_images([count_label_map(*pair, protocol) for pair in draw_maps(rng)], protocol)
    assert scores.pixels == ((3, 3), (2, 2))
    assert seg_table_rows(scores)[0][3] == "F 3 px"
    assert bound_rows(scores)[2][:2] == ("0.02 of the diagonal", "2")
    assert f"mIoU {100 * scores.miou:.2f}" in format_scores(scores)


def test_a_network_is_scored(checkpoint, tiny_camvid, tmp_path, capsys):
    modes = ("--window", 32, "--scales", 0.5, 1, "--mirror", "--batch-size", 4)
    score("--checkpoint", checkpoint, "--data-root", tiny_camvid, "--out", tmp_path, *modes, *FEW)
    files = ["confusion.csv", "counts.npz", "metrics.json", "report.html", "scores.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    predictor = load(checkpoint, "cpu", window=32, scales=(0.5, 1.0), mirror=True)
    dataset = build_dataset("camvid", tiny_camvid, "val")
    pairs = []
    for sample in (dataset[i] for i in range(len(dataset))):
        pred = predictor(sample.image)
        pairs.append((pred, sample.label))
    metrics = metrics_of(tmp_path)
    scores = metrics["scores"]
    expected = sum(loop_confusion(*pair, 11) for pair in pairs)
    assert np.array_equal(np.array(scores["confusion"])[:, :11], expected)
    ious = [plain_iou(pairs, k, 11) for k in range(11)]
    assert scores["miou"] == pytest.approx(np.nanmean(ious))
    assert [each["bound"] for each in scores["boundary_f"]] == [
        *(3, 5, 9, 12),
        *(0.0005, 0.001875, 0.00375, 0.005),
    ]
    assert [each["pixels"] for each in scores["boundary_f"]][3:5] == [[12, 12], [1, 1]]
    f = [np.mean([plain_boundary_f(*pair, k, 3, classes=11) for pair in pairs]) for k in range(11)]
    assert scores["boundary_f"][0]["published_mean"] == pytest.approx(np.mean(f))
    assert [each["boundary_f"][0] for each in scores["classes"]] == pytest.approx(f)
    source = metrics["source"]
    assert (source["dataset"], source["split"], source["images"]) == ("camvid", "val", 4)
    assert (source["window"], source["scales"], source["mirror"]) == (32, [0.5, 1.0], True)
    assert (source["model"], source["backbone"]) == ("fcn", "resnet18")
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [row["class"] for row in rows] == list(CamVid.classes)
    assert float(rows[3]["boundary_f_3"]) == pytest.approx(f[3])
    shown = capsys.readouterr().out
    assert "0.001875 of the diagonal" in shown
    assert "bicyclist" in shown


def test_memory_and_files_give_the_same_scores(checkpoint, tiny_camvid, tmp_path):
    score("--checkpoint", checkpoint, "--data-root", tiny_camvid, "--out", tmp_path / "a", *FEW)
    predicted = tmp_path / "files"
    write_predictions(tiny_camvid / "val", "--checkpoint", checkpoint, "--out", predicted)
    truth = ("--dataset", "camvid", "--data-root", tiny_camvid, "--workers", 2)
    score("--task", "seg", "--predictions", predicted, *truth, "--out", tmp_path / "b")
    labels = tmp_path / "labels"
    dataset = build_dataset("camvid", tiny_camvid, "val")
    for record in dataset.records:
        write_png(labels / f"{record.name}.png", dataset.read_ground_truth(record)[0])
    score(*files_flags(predicted / "labels", labels, 11), "--out", tmp_path / "c", *FEW)
    scores = [metrics_of(tmp_path / run)["scores"] for run in "abc"]
    for part in scores:
        for each in part["classes"]:
            del each["name"]
    assert scores[0] == scores[1] == scores[2]


def test_label_ids_of_cityscapes(rng, tmp_path):
    """The ground truth as in gtFine, with instances and colours; predictions as for the server."""
    expected = np.zeros((19, 19), np.int64)
    for number in range(2):
        truth = rng.integers(0, 19, (16, 24)).astype(np.uint8)
        noise = rng.integers(0, 19, truth.shape)
        pred = np.where(rng.random(truth.shape) < 0.5, truth, noise).astype(np.uint8)
        expected += loop_confusion(pred, truth, 19)
        name = f"ulm_000000_00000{number}"
        ids = label_id_table()[truth]
        write_png(tmp_path / f"gt/ulm/{name}_gtFine_labelIds.png", ids)
        write_png(tmp_path / f"gt/ulm/{name}_gtFine_instanceIds.png", ids.astype(np.uint16) * 1000)
        write_png(tmp_path / f"gt/ulm/{name}_gtFine_color.png", Cityscapes.palette[truth])
        write_png(tmp_path / f"pred/{name}_anything.png", label_id_table()[pred])
    flags = (
        *("--task", "seg", "--predictions", tmp_path / "pred"),
        *("--labels", tmp_path / "gt", "--dataset", "cityscapes"),
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
    flags = files_flags(tmp_path / "pred", tmp_path / "labels", 2)
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
    flags = files_flags(tmp_path / "pred", tmp_path / "labels", 2)
    with pytest.raises(InputError, match="1 of 2 images have no prediction, such as a"):
        score(*flags, "--out", tmp_path / "out", *FEW)
    printed = capsys.readouterr().err
    assert "1 images have no prediction: a" in printed
    assert re.search(r"1 predictions have no (ground )?truth \(not scored\): c", printed)
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
        (
            (*pred, tmp_path / "wide", *labels),
            "wide/a.png: the prediction is 6x4",
        ),
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
        ((*pred, tmp_path / "pred", *labels, "--bounds", 3, 0), "argument --bounds: found '0'"),
        (
            ("--checkpoint", checkpoint, *root, "--window", 8),
            "--window: found '8', expected a whole number, 32 to",
        ),
        (
            ("--checkpoint", checkpoint, *root, "--submit", tmp_path / "s"),
            "--submit is for Cityscapes' server",
        ),
    ]
    for flags, words in cases:
        assert status_of_score(*flags, "--out", tmp_path / "out", *FEW) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: ")
        assert words in last
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
    edge = tmp_path / "edge.pth"
    save_random_network(edge, "casenet", "edge", CamVid, trained_on="camvid")
    modes = ("--window", 32, "--scales", 0.5, 1, "--mirror", "--batch-size", 4)
    to_files = ("--out", tmp_path / "files", "--save-prob")
    write_predictions(tiny_camvid / "test", "--checkpoint", edge, *to_files, *modes)
    flags = (
        *("--data-root", tiny_camvid, "--split", "test", "--thresholds", 5),
        *("--workers", 0, "--no-report"),
    )
    score("--checkpoint", edge, *flags, "--out", tmp_path / "a", *modes, "--device", "cpu")
    files = ("--predictions", tmp_path / "files", "--dataset", "camvid")
    score(*files, *flags, "--out", tmp_path / "b")
    assert metrics_of(tmp_path / "a")["scores"] == metrics_of(tmp_path / "b")["scores"]
    assert metrics_of(tmp_path / "a")["source"]["window"] == 32
    image = build_dataset("camvid", tiny_camvid, "test")[0].image
    _, _ = load_model(edge)
    predictor = load(
        tmp_path / "edge.pth", "cpu", window=32, scales=(0.5, 1.0), mirror=True, batch_size=4
    )
    prob = predictor(image)
    stored = read_index(tmp_path / "files/prob/class_004/test_000.png")
    assert np.array_equal(stored, quantize(prob[3]))


@pytest.mark.slow
def test_two_ranks_score_what_one_does(checkpoint, tiny_camvid, tmp_path):
    flags = ("--checkpoint", checkpoint, "--data-root", tiny_camvid, "--split", "test", *FEW)
    score(*flags, "--out", tmp_path / "one")
    done = score_command(*flags, "--out", tmp_path / "two", ranks=2)
    assert done.returncode == 0, done.stderr
    one, two = metrics_of(tmp_path / "one"), metrics_of(tmp_path / "two")
    assert one == two
    assert one["source"]["images"] == 3
    labels = (tiny_camvid / "testannot").iterdir()
    labelled = sum(np.count_nonzero(read_index(path) != 11) for path in labels)
    assert np.sum(one["scores"]["confusion"]) == labelled
