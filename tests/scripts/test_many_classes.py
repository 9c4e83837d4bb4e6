"""Any number of classes, 1 to 254, in both tasks: targets, loss, a training step, scores.

Everything is compared with loops over pixels.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.evaluation import metrics_of, score, write_predictions
from helpers.folder import describe, folder_at, loop_edges
from helpers.label_maps import loop_confusion
from helpers.tiny_nets import EDGE, SEG, registered
from helpers.training import records, start

from data import build_dataset
from data.gtlabel import __main__ as gtlabel
from data.image_io import read_image, read_index
from data.samples.edge import EdgeLabels, EdgeTraining, unpack_edges
from data.samples.transforms import Augmentation
from models.losses import edge_losses
from utils.inference import load
from utils.inference.scores import quantize

COUNTS = (1, 24, 25, 32, 33, 150)
SIZE = (32, 40)
WHOLE = Augmentation(base_size=0, crop_size=40, scale=(1.0, 1.0), mirror=False)
TRAIN = "--dataset folder --backbone resnet18 --pretrained none --crop-size 32 --batch-size 2 "
TRAIN += "--workers 0 --device cpu --epochs 1 --lr 0.01"


@pytest.fixture(autouse=True)
def small_nets() -> Iterator[None]:
    with registered():
        yield


def data_at(folder: Path, classes: int, *, objects: bool = True) -> Path:
    rng = np.random.default_rng(classes)
    counts = (2, 1, 1)
    return folder_at(folder / "data", classes, rng, size=SIZE, counts=counts, objects=objects)


def true_edges(root: Path, split: str, classes: int, number: int = 0) -> np.ndarray:
    """bool (K, H, W) at radius 2, from the files."""
    label, objects = (
        read_index(root / f"{kind}/{split}/{split} {number}.png")
        for kind in ("labels", "instances")
    )
    return loop_edges(label, objects, classes, 2)


def train(root: Path, run: Path, model: str, *more: str) -> Path:
    argv = [*TRAIN.split(), "--data-root", str(root), "--model", model, "--run-dir", str(run)]
    assert start(*argv, *more) == 0
    return run / "best.pth"


def label_files(root: Path, out: Path, split: str, *more: str) -> None:
    argv = ["--dataset", "folder", "--root", str(root), "--split", split, "--out", str(out), *more]
    assert gtlabel.main(gtlabel.parse_args(argv)) == 0


@pytest.mark.parametrize("classes", COUNTS)
def test_targets_of_labels_and_of_files_are_those_of_a_loop(classes: int, tmp_path: Path) -> None:
    root = data_at(tmp_path, classes)
    label_files(root, tmp_path / "edges", "train")
    dataset = build_dataset("folder", root, "train", task="edge")
    for folder in (None, tmp_path / "edges"):
        items = EdgeTraining(EdgeLabels.of(dataset, folder=folder), WHOLE, 0)
        batch = torch.stack([items[0, index]["edges"] for index in range(2)])
        assert batch.shape == ((2, 40, 40) if classes <= 32 else (2, -(-classes // 24), 40, 40))
        target = unpack_edges(batch, classes).numpy()
        assert target.shape == (2, classes, 40, 40)
        for index in range(2):
            expected = true_edges(root, "train", classes, index)
            np.testing.assert_array_equal(target[index, :, :32], expected)
            assert expected.any()
        assert not target[:, :, 32:].any()  # padding


def test_a_mirrored_crop_of_groups_is_the_mirror_image(tmp_path: Path) -> None:
    root = data_at(tmp_path, 33)
    dataset = build_dataset("folder", root, "train", task="edge")
    mirrored = Augmentation(base_size=0, crop_size=40, scale=(1.0, 1.0), mirror=True)
    seen = set()
    for epoch in range(8):
        item = EdgeTraining(EdgeLabels.of(dataset), mirrored, 0)[epoch, 0]
        target = unpack_edges(item["edges"][None], 33)[0].numpy()
        corner = read_image(dataset.records[0].image)[0, 0]
        flipped = bool((item["image"].numpy()[0, 0] != corner).any())
        expected = true_edges(root, "train", 33)
        np.testing.assert_array_equal(target[:, :32], expected[..., ::-1] if flipped else expected)
        seen.add(flipped)
    assert seen == {True, False}


@pytest.mark.parametrize("classes", [1, 33, 150])
def test_the_loss_is_that_of_a_loop(classes: int, tmp_path: Path) -> None:
    root = data_at(tmp_path, classes)
    dataset = build_dataset("folder", root, "train", task="edge")
    item = EdgeTraining(EdgeLabels.of(dataset), WHOLE, 0)[0, 0]
    logits = torch.randn(1, classes, 40, 40, generator=torch.Generator().manual_seed(0))
    target = unpack_edges(item["edges"][None], classes)
    found = edge_losses({"side5": logits, "fuse": logits}, target, item["valid"][None])
    expected = true_edges(root, "train", classes)
    edges, pixels = int(expected.sum()), SIZE[0] * SIZE[1]
    weight = min(max(1.0, (pixels - edges) / edges), pixels)
    total = 0.0
    values = logits[0].double().numpy()
    for (k, y, x), edge in np.ndenumerate(expected):
        z = values[k, y, x]
        total += weight * np.log1p(np.exp(-z)) if edge else np.log1p(np.exp(z))
    assert float(found["fuse"]) == pytest.approx(total / (classes * 40 * 40), rel=1e-5)


@pytest.mark.parametrize("classes", COUNTS)
def test_an_edge_net_is_trained_tested_and_drawn(classes: int, tmp_path: Path) -> None:
    """A step, a validation, and raw scores: with a tolerance below a pixel, a match is equality.

    Validation and `--labels` give the numbers of test.py on the data set.
    """
    root = data_at(tmp_path, classes)
    best = train(root, tmp_path / "run", EDGE, "--val-thresholds", "3", "--val-split", "test")
    mf = next(line["mf"] for line in records(tmp_path / "run") if line["kind"] == "val")
    same = ("--checkpoint", best, "--data-root", root, "--split", "test", "--device", "cpu")
    same = (*same, "--workers", 0, "--thresholds", 3, "--no-report")
    score(*same, "--out", tmp_path / "scores")
    scores = metrics_of(tmp_path / "scores")["scores"]
    assert mf == pytest.approx(scores["thin"]["mean"]["ods"])

    label_files(root, tmp_path / "truth", "test", "--eval")
    files = ("--dataset", "folder", "--labels", tmp_path / "truth")
    score(*same, *files, "--out", tmp_path / "of_files")
    assert metrics_of(tmp_path / "of_files")["scores"] == scores

    score(*same, "--no-thin", "--max-dist", 0.001, "--out", tmp_path / "exact")
    prob = quantize(load(best, "cpu").scores(root / "images/test/test 0.png")) / 65536
    true = true_edges(root, "test", classes)
    rows = list(csv.DictReader((tmp_path / "exact/scores.csv").open(encoding="utf-8")))
    assert [row["class"] for row in rows] == [f"c{k}" for k in range(classes)]
    assert [int(row["true_pixels"]) for row in rows] == true.sum(axis=(1, 2)).tolist()
    points = list(csv.DictReader((tmp_path / "exact/curves.csv").open(encoding="utf-8")))
    assert len(points) == 3 * classes
    for point in points:
        k = int(point["class"].removeprefix("c"))
        found = loop_f(prob[k], true[k], float(point["threshold"]))
        expected = found if true[k].any() else np.nan
        assert float(point["f"]) == pytest.approx(expected, abs=1e-9, nan_ok=True)

    write_predictions(root / "images/test", "--checkpoint", best, "--out", tmp_path / "drawn",
                      "--threshold", 0.1)  # fmt: skip
    assert read_image(tmp_path / "drawn/test 0_edges.png").shape[0] > SIZE[0]


def loop_f(prob: np.ndarray, true: np.ndarray, threshold: float) -> float:
    """F of one class, pixel by pixel."""
    hits = predicted = 0
    for p, t in zip(prob.ravel().tolist(), true.ravel().tolist(), strict=True):
        predicted += p >= threshold
        hits += p >= threshold and t
    return 2 * hits / (predicted + int(true.sum())) if hits else 0.0


@pytest.mark.parametrize(
    ("model", "classes"), [("dff", 1), ("casenet", 1), ("dff", 33), ("casenet", 150)]
)
def test_the_published_edge_nets_take_a_step(model: str, classes: int, tmp_path: Path) -> None:
    root = data_at(tmp_path, classes)
    label_files(root, tmp_path / "edges", "train")
    best = train(root, tmp_path / "run", model, "--val-every", "0", "--edge-labels",
                 str(tmp_path / "edges"))  # fmt: skip
    last = best.with_name("last.pth")
    assert all(np.isfinite(line["loss"]) for line in records(tmp_path / "run"))
    prob = load(last, "cpu")(root / "images/test/test 0.png")
    assert prob.shape == (classes, *SIZE)
    assert np.isfinite(prob).all()


def with_background(root: Path, classes: int) -> None:
    background = {"name": "rest", "ids": [255]}
    splits = {name: [name] for name in ("train", "val", "test")}
    describe(root, classes, background=background, splits=splits)


@pytest.mark.parametrize("classes", [1, 33, 150, 254])
def test_a_segmentation_net_is_trained_tested_and_drawn(classes: int, tmp_path: Path) -> None:
    """K classes and the background, whose id follows theirs."""
    root = data_at(tmp_path, classes, objects=False)
    with_background(root, classes)
    best = train(root, tmp_path / "run", SEG, "--class-uniform-tile", "16")
    test = ("--checkpoint", best, "--data-root", root, "--split", "test", "--device", "cpu")
    score(*test, "--workers", 0, "--out", tmp_path / "scores", "--no-report")
    predicted = load(best, "cpu")(root / "images/test/test 0.png")
    true = read_index(root / "labels/test/test 0.png")
    true[true == 255] = classes
    matrix = loop_confusion(predicted, true, classes + 1)
    with (tmp_path / "scores/confusion.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["true", *(f"c{k}" for k in range(classes)), "rest", "no class"]
    assert [list(map(int, row[1:-1])) for row in rows] == matrix.tolist()
    write_predictions(root / "images/test", "--checkpoint", best, "--out", tmp_path / "drawn")
    written = read_index(tmp_path / "drawn/labels/test 0.png")
    np.testing.assert_array_equal(written, predicted)


@pytest.mark.parametrize("model", ["deeplabv3plus_decouple", "fcn"])
def test_the_published_segmentation_nets_take_a_step(model: str, tmp_path: Path) -> None:
    root = data_at(tmp_path, 1, objects=False)
    with_background(root, 1)
    train(root, tmp_path / "run", model, "--val-every", "0", "--class-uniform-pct", "0")
    assert all(np.isfinite(line["loss"]) for line in records(tmp_path / "run"))
    info = json.dumps(load(tmp_path / "run/last.pth", "cpu").classes)
    assert info == '["c0", "rest"]'
