"""One's own data through the scripts: names, EXIF, files of predictions, what does not fit."""

import csv
import html
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.evaluation import metrics_of, score, status_of_score, write_predictions
from helpers.folder import SPLITS, describe, folder_at
from helpers.tiny_nets import EDGE, ENTRIES, SEG, registered
from helpers.training import start
from PIL import Image

import predict
from data import build_dataset
from data.edge_files import write_edges
from data.errors import InputError, run
from data.image_io import read_image, read_index, write_png
from utils.checkpoint import CheckpointError, ModelInfo, save_checkpoint
from utils.evaluation.text_tables import align_columns, columns_of
from utils.inference import load

NAMES = ['left, "right"', "<b>bold</b> & co", "道路", "Straße", "n" * 100, "car's"]
TRAIN = "--dataset folder --backbone resnet18 --pretrained none --crop-size 32 --batch-size 2 "
TRAIN += "--workers 0 --device cpu --epochs 1 --lr 0.01 --val-every 0"


@pytest.fixture(autouse=True)
def small_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with registered():
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six classes with strange names, their ids 0 to 5."""
    rng = np.random.default_rng(3)
    root = folder_at(tmp_path / "my data", 6, rng, size=(32, 40), counts=(2, 2, 2))
    describe(root, [{"name": name} for name in NAMES], none_ids=[255], splits=SPLITS)
    return root


def net_at(path: Path, model: str, classes: list[str], **changes: object) -> Path:
    """A checkpoint of a tiny net that was trained on a folder of these classes."""
    torch.manual_seed(1)
    net = ENTRIES[model].build(len(classes), "resnet18")
    palette = np.arange(3 * len(classes), dtype=np.uint8).reshape(-1, 3)
    info = ModelInfo(
        model, "resnet18", len(classes), ENTRIES[model].task, tuple(classes), palette, 0, "folder"
    )
    info = replace(info, **changes)
    save_checkpoint(path, {"model": info.to_plain(), "weights": net.state_dict()})
    return path


def scored(checkpoint: Path, root: Path, out: Path, *more: object) -> tuple[object, ...]:
    flags = ("--data-root", root, "--out", out, "--device", "cpu", "--workers", 0)
    return ("--checkpoint", checkpoint, *flags, *more)


@pytest.mark.parametrize("model", [EDGE, SEG])
def test_names_go_from_dataset_json_to_every_result(
    model: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = [*TRAIN.split(), "--data-root", str(root), "--model", model]
    assert start(*argv, "--run-dir", str(tmp_path / "run")) == 0
    checkpoint = tmp_path / "run/last.pth"
    assert list(load(checkpoint, "cpu").classes) == NAMES
    few = ("--thresholds", 3) if model == EDGE else ("--bounds", 1)
    capsys.readouterr()
    score(*scored(checkpoint, root, tmp_path / "scores", "--split", "trainval", *few))
    said = capsys.readouterr().out
    with (tmp_path / "scores/scores.csv").open(encoding="utf-8", newline="") as file:
        found = {row["class"] for row in csv.DictReader(file)}
    assert found == set(NAMES)
    page = (tmp_path / "scores/report.html").read_text(encoding="utf-8")
    assert "<b>bold</b>" not in page
    assert all(html.escape(name) in page for name in NAMES)
    metrics = metrics_of(tmp_path / "scores")
    assert metrics["source"]["images"] == 4
    # On the terminal, numbers stand below each other, and a long name is cut.
    assert "n" * 39 + "…" in said
    assert "n" * 40 not in said
    rows = [
        line for line in said.splitlines() if line.startswith(("道路", "Straße", "<b>", "left"))
    ]
    ends = {columns_of(re.match(r".*?  +[\d.-]+", line)[0]) for line in rows}
    assert len(rows) in (4, 8)
    assert len(ends) == 1
    write_predictions(root / "images", "--checkpoint", checkpoint, "--out", tmp_path / "drawn",
                      *(("--threshold", 0) if model == EDGE else ()))  # fmt: skip
    assert len([*(tmp_path / "drawn").rglob("*_overlay.png")]) == 6


def test_columns_of_wide_letters_line_up() -> None:
    table = align_columns([("class", "F"), ("道路", "1.00"), ("Cafe\u0301", "20.00")])
    assert table.splitlines() == [
        "class      F",
        "------------",
        "道路    1.00",
        "Cafe\u0301   20.00",
    ]


# --- EXIF ---


def turned(path: Path) -> None:
    """16x8 pixels as stored, 8x16 as seen, the light half above."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif, quality=100)


def test_a_net_trained_on_upright_images_sees_upright_images(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = describe(tmp_path / "data", 1, upright=True, none_ids=[255], splits={"train": ["."]})
    turned(root / "images/x.jpg")
    write_png(root / "labels/x.png", np.zeros((64, 32), np.uint8))
    argv = [*TRAIN.split(), "--data-root", str(root), "--model", EDGE, "--batch-size", "1"]
    assert start(*argv, "--run-dir", str(tmp_path / "run")) == 0
    checkpoint = tmp_path / "run/last.pth"
    predictor = load(checkpoint, "cpu")
    assert predictor.info.upright
    assert predictor(root / "images/x.jpg").shape == (1, 64, 32)
    assert predictor.read(root / "images/x.jpg", upright=False).shape == (32, 64, 3)
    flags = (root / "images/x.jpg", "--checkpoint", checkpoint, "--out")
    for more, size in ((), (64, 32)), (("--no-upright",), (32, 64)), (("--upright",), (64, 32)):
        out = tmp_path / f"out{len(more)}{size[0]}"
        write_predictions(*flags, out, *more, "--save-bits")
        assert read_image(out / "bits/x.png").shape[:2] == size
        assert ("EXIF" in capsys.readouterr().err) == (more == ("--no-upright",))
    score(*scored(checkpoint, root, tmp_path / "scores", "--split", "train", "--thresholds", 3))
    assert "EXIF" not in capsys.readouterr().err


def test_older_checkpoints_take_images_as_stored(tmp_path: Path) -> None:
    turned(tmp_path / "x.jpg")
    checkpoint = net_at(tmp_path / "net.pth", EDGE, ["a"])
    contents = torch.load(checkpoint, weights_only=True)
    assert "upright" not in contents["model"]  # so that earlier versions read it
    assert load(checkpoint, "cpu")(tmp_path / "x.jpg").shape == (1, 32, 64)
    contents["model"]["upright"] = "yes"
    torch.save(contents, checkpoint)
    with pytest.raises(CheckpointError, match="upright is 'yes', expected True or False"):
        load(checkpoint, "cpu")


# --- what does not fit ---


@pytest.mark.parametrize("model", [EDGE, SEG])
def test_other_classes_are_one_line(
    model: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    swapped = [NAMES[1], NAMES[0], *NAMES[2:]]
    renamed = ["road", *NAMES[1:]]
    for classes, says in (
        (swapped, "the same names in another order: class 1 is '<b>bold</b> & co' in the checkp"),
        (renamed, "only the checkpoint has 'road', only the data set has 'left, \"right\"'; score"),
        (NAMES[:5], 'only the data set has "car\'s"; score it'),
    ):
        checkpoint = net_at(tmp_path / "net.pth", model, classes)
        assert status_of_score(*scored(checkpoint, root, tmp_path / "out")) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"error: {checkpoint} was trained on other classes than folder")
        assert says in line


def test_published_weights_take_the_names_of_the_folder(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from models import build_model

    torch.manual_seed(0)
    net = build_model("casenet", num_classes=6, backbone="resnet18")
    torch.save(net.state_dict(), tmp_path / "published.pth")
    flags = ("--model", "casenet", "--backbone", "resnet18", "--dataset", "folder")
    few = ("--thresholds", 2, "--no-report", "--split", "test")
    score(*scored(tmp_path / "published.pth", root, tmp_path / "scores", *flags, *few))
    assert 'left, "right"' in capsys.readouterr().out
    argv = [str(root / "images"), "--checkpoint", str(tmp_path / "published.pth"), *flags]
    argv += ["--out", str(tmp_path / "drawn"), "--device", "cpu"]
    assert run(lambda: predict.main(predict.parse_args(argv))) == 2
    line = capsys.readouterr().err
    assert "--dataset folder names no classes, as each folder has its own; leave it out" in line


def test_a_split_without_labels_and_one_that_is_not_there(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree(root / "labels/test")
    for model in (EDGE, SEG):
        checkpoint = net_at(tmp_path / "net.pth", model, NAMES)
        for split, says in (
            ("test", "folder test: this split has no ground truth; choose another --split"),
            ("all", "2 of 6 images have no label map"),
            ("Test", "has no split 'Test'; expected one of train, val, test, trainval, all"),
        ):
            argv = scored(checkpoint, root, tmp_path / "out", "--split", split)
            assert status_of_score(*argv) == 2
            assert says in capsys.readouterr().err


def test_notes_come_before_training_and_scoring(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    describe(root, [{"name": name} for name in NAMES], splits=SPLITS)
    (root / "instances").mkdir()
    write_png(root / "labels/more.png", np.zeros((3, 3), np.uint8))
    argv = [*TRAIN.split(), "--data-root", str(root), "--model", EDGE]
    assert start(*argv, "--run-dir", str(tmp_path / "run")) == 0
    said = capsys.readouterr()
    assert "note: folder train: id 255 (2 images) is named by no class and taken" in said.err
    assert "note: 1 label map without image, not used: labels/more.png" in said.err
    score(*scored(tmp_path / "run/last.pth", root, tmp_path / "out", "--thresholds", 2))
    assert "note: folder val: id 255 (2 images) is named by no class" in capsys.readouterr().err


# --- files of predictions ---


def test_files_of_predictions_are_scored_against_a_folder(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The label maps themselves, and edges made of them, score 1."""
    for path in (root / "labels/val").iterdir():
        label = read_index(path)
        write_png(tmp_path / "seg/val" / path.name, label)
    data = ("--dataset", "folder", "--data-root", root, "--workers", 0)
    score("--task", "seg", "--predictions", tmp_path / "seg", *data, "--out", tmp_path / "of_seg")
    metrics = metrics_of(tmp_path / "of_seg")
    assert json.dumps(metrics).count('"<b>bold</b> & co"') >= 1
    assert metrics["scores"]["miou"] == 1
    truth = build_dataset("folder", root, "val", task="edge")
    for index, record in enumerate(truth.records):
        write_edges(tmp_path / "edges" / f"{record.name}.png", truth.edge_groups(index, thin=False))
    argv = ("--predictions", tmp_path / "edges", *data, "--no-thin", "--out", tmp_path / "of_edges")
    score(*argv, "--thresholds", 2)
    assert metrics_of(tmp_path / "of_edges")["scores"]["raw"]["mean"]["ods"] == 1
    assert "Straße" in capsys.readouterr().out
    with pytest.raises(InputError, match="--num-classes is 7, but folder has 6 classes"):
        score(*argv, "--num-classes", 7)


def test_a_run_does_not_go_on_with_other_classes(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """In another order the number fits, and the classes would be exchanged."""
    argv = [*TRAIN.split(), "--data-root", str(root), "--model", EDGE]
    run_dir = tmp_path / "run"
    assert start(*argv, "--run-dir", str(run_dir)) == 0
    content = json.loads((root / "dataset.json").read_text())
    rows = [{"ids": [k], **row} for k, row in enumerate(content["classes"])]
    more = (
        "--run-dir",
        str(run_dir),
        "--resume",
        "auto",
        "--epochs",
        "2",
        "--resume-with",
        "epochs",
    )
    for changed, says in ((rows[::-1], "class 1 was"), (rows[:-1], "class 6 was")):
        (root / "dataset.json").write_text(json.dumps({**content, "classes": changed}))
        with pytest.raises(CheckpointError, match=f"was trained on 6 classes, .*{says}"):
            start(*argv, *more)
    # A new run may start from it, and is told what would be better.
    (root / "dataset.json").write_text(json.dumps({**content, "classes": rows[::-1]}))
    capsys.readouterr()
    begin = ("--run-dir", str(tmp_path / "other"), "--init-from", str(run_dir / "last.pth"))
    assert start(*argv, *begin) == 0
    assert "--reset-classifier gives each class its own weights" in capsys.readouterr().out
    (root / "dataset.json").write_text(json.dumps({**content, "classes": rows}))
    assert start(*argv, *more) == 0
