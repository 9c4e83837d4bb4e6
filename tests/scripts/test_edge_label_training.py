"""Training, testing and predicting with label files instead of labels; SBD and KITTI."""

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.cityscapes import cityscapes_at
from helpers.kitti import draw_frame
from helpers.sbd import run as label_sbd

import predict
import train
from data import build_dataset, cityscapes_gtlabel, kitti_gtlabel
from data.errors import InputError, run
from data.gtlabel import __main__ as gtlabel
from data.image_io import write_png
from data.samples.edge import EdgeLabels, EdgeTraining
from data.samples.transforms import Augmentation

ROOT = Path(__file__).resolve().parents[2]
TINY = "--model dff --backbone resnet18 --pretrained none --batch-size 2 --epochs 1"
TINY += " --workers 0 --device cpu"
WHOLE = Augmentation(base_size=0, crop_size=64, scale=(1.0, 1.0), mirror=False)


def start(*argv: object) -> None:
    train.main(
        train.parse_args(
            [*TINY.split(), "--val-thresholds", "3", "--val-samples", "1", *map(str, argv)]
        )
    )


def score(*argv: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """test.py, whose name is taken by the standard library."""
    monkeypatch.setattr(
        sys,
        "argv",
        ["test.py", "--device", "cpu", "--thresholds", "3", "--workers", "0", *map(str, argv)],
    )
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "test.py"), run_name="__main__")
    assert end.value.code == 0


def label_camvid(data: Path, out: Path, split: str, *flags: str) -> int:
    argv = ["--dataset", "camvid", "--root", str(data), "--split", split, "--out", str(out), *flags]
    return gtlabel.main(gtlabel.parse_args(argv))


def test_files_hold_what_labels_give(tiny_camvid: Path, tmp_path: Path) -> None:
    """At scale 1, where both rules see the same pixels, a training item is the same from either."""
    assert label_camvid(tiny_camvid, tmp_path, "train") == 0
    dataset = build_dataset("camvid", tiny_camvid, "train")
    from_labels = EdgeTraining(EdgeLabels.of(dataset), WHOLE, 0)
    from_files = EdgeTraining(EdgeLabels.of(dataset, folder=tmp_path), WHOLE, 0)
    for index in range(len(dataset)):
        one, other = from_labels[0, index], from_files[0, index]
        for key in ("image", "edges", "valid"):
            np.testing.assert_array_equal(one[key], other[key])
        assert one["edges"].any()


def test_train_and_test_with_label_files(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels"
    for split in ("train", "val"):
        assert label_camvid(tiny_camvid, labels, split) == 0
    data = ("--dataset", "camvid", "--data-root", tiny_camvid)
    start(*data, "--crop-size", 48, "--edge-labels", labels, "--run-dir", tmp_path / "run")
    # Scores against files are those against the data set's labels, at the same scale.
    assert label_camvid(tiny_camvid, tmp_path / "truth", "test", "--eval", "--scale", "0.5") == 0
    test = ("--checkpoint", tmp_path / "run" / "best.pth", *data, "--split", "test")
    score(*test, "--out", tmp_path / "a", monkeypatch=monkeypatch)
    score(*test, "--labels", tmp_path / "truth", "--out", tmp_path / "b", monkeypatch=monkeypatch)
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in "ab")
    assert first["scores"] == second["scores"]


def test_missing_and_mis_sized_label_files_are_named(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    label_camvid(tiny_camvid, tmp_path, "train")
    argv = (
        "--dataset",
        "camvid",
        "--data-root",
        tiny_camvid,
        "--edge-labels",
        tmp_path,
        "--run-dir",
        tmp_path / "run",
    )
    assert run(lambda: start(*argv)) == 2  # no labels of the val split
    assert "4 of 4 edge labels of camvid val are missing" in capsys.readouterr().err
    write_png(tmp_path / "trainannot" / "train_002_edge.png", np.zeros((48, 60, 3), np.uint8))
    items = EdgeTraining(
        EdgeLabels.of(build_dataset("camvid", tiny_camvid, "train"), folder=tmp_path), WHOLE, 0
    )
    with pytest.raises(
        InputError, match=r"train_002_edge.png: is 60x48, but the image train_002 is 64x48"
    ):
        items[0, 2]


def test_label_files_of_other_classes_are_refused(tiny_camvid: Path, tmp_path: Path) -> None:
    """gtlabel.json says what the files hold; folders without it are taken as they are."""
    assert label_camvid(tiny_camvid, tmp_path, "train") == 0
    dataset = build_dataset("camvid", tiny_camvid, "train")
    stamp = tmp_path / "gtlabel.json"
    settings = json.loads(stamp.read_text())
    stamp.write_text(json.dumps({**settings, "num_classes": 4}))
    with pytest.raises(InputError, match=r"holds 4 classes at radius 2; camvid has 11; choose"):
        EdgeLabels.of(dataset, folder=tmp_path)
    # CamVid has no instances, so both kinds of labels are the same.
    stamp.write_text(json.dumps({**settings, "instance_sensitive": False}))
    assert EdgeLabels.of(dataset, folder=tmp_path).files
    for damaged in ({**settings, "num_classes": "11"}, {**settings, "instance_sensitive": 1}):
        stamp.write_text(json.dumps(damaged))
        with pytest.raises(InputError, match=r"gtlabel.json: is damaged; make the labels again"):
            EdgeLabels.of(dataset, folder=tmp_path)
    stamp.write_text("{")
    with pytest.raises(InputError, match=r"gtlabel.json: is no JSON"):
        EdgeLabels.of(dataset, folder=tmp_path)
    stamp.unlink()
    assert EdgeLabels.of(dataset, folder=tmp_path).files


def test_label_files_with_and_without_instances(tmp_path: Path) -> None:
    root = cityscapes_at(tmp_path / "cs", "train")
    dataset = build_dataset("cityscapes", root, "train")
    for flag, sensitive in (("--instance", True), ("--no-instance", False)):
        out = tmp_path / flag
        argv = ["--root", str(root), "--out", str(out), flag]
        assert cityscapes_gtlabel.main(cityscapes_gtlabel.parse_args(argv)) == 0
        assert EdgeLabels.of(dataset, folder=out, instance_sensitive=sensitive).files
        with pytest.raises(InputError, match=rf"edges between instances.* or give {flag}$"):
            EdgeLabels.of(dataset, folder=out, instance_sensitive=not sensitive)


def test_sbd_in_both_layouts(
    sbd_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "prepared"
    assert label_sbd(sbd_root, out, "--eval", "--scales", 0.5, 1) == 0
    sbd = ("--dataset", "sbd", "--crop-size", 64, "--scale", 1, 1)
    start(
        *sbd,
        "--data-root",
        sbd_root,
        "--train-split",
        "trainval",
        "--val-split",
        "test",
        "--run-dir",
        tmp_path / "a",
    )
    start(
        *sbd,
        "--data-root",
        out,
        "--edge-labels",
        out,
        "--val-split",
        "test",
        "--run-dir",
        tmp_path / "b",
    )
    with pytest.raises(InputError, match="has no label map; train with --edge-labels DIR"):
        start(*sbd, "--data-root", out, "--val-split", "test", "--run-dir", tmp_path / "c")
    scores = []
    for name, data in (("a", sbd_root), ("b", out)):
        argv = ("--checkpoint", tmp_path / "a" / "last.pth", "--data-root", data, "--split", "test")
        score(*argv, "--out", tmp_path / f"scores_{name}", monkeypatch=monkeypatch)
        scores.append(json.loads((tmp_path / f"scores_{name}" / "metrics.json").read_text()))
    assert scores[0]["protocol"]["margin"] == 5
    assert scores[0]["protocol"]["scale"] == 1
    assert scores[0]["scores"] == scores[1]["scores"]


def test_kitti(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "kitti"
    street = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    for place in range(200):
        label, coded = (
            cv2.resize(ids, (100, 60), interpolation=cv2.INTER_NEAREST)
            for ids in draw_frame(place % 3)
        )
        for kind, image in (("semantic", label), ("instance", coded), ("image_2", street)):
            write_png(data / "training" / kind / f"{place:06}_10.png", image)
    kitti = ("--dataset", "kitti", "--data-root", data)
    assert (
        kitti_gtlabel.main(
            kitti_gtlabel.parse_args(["--root", str(data), "--out", str(tmp_path / "labels")])
        )
        == 0
    )
    small = ("--crop-size", 48, "--batch-size", 89)
    start(*kitti, *small, "--edge-labels", tmp_path / "labels", "--run-dir", tmp_path / "run")
    score(
        "--checkpoint",
        tmp_path / "run" / "best.pth",
        *kitti,
        "--out",
        tmp_path / "scores",
        monkeypatch=monkeypatch,
    )
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["source"]["images"] == 21
    assert {
        c["name"] for c in metrics["scores"]["thin"]["classes"] if c["status"] != "no ground truth"
    } == {
        "road",
        "car",
    }
    folder = data / "testing"
    write_png(folder / "image_2" / "000000_10.png", street)
    flags = [
        "--checkpoint",
        str(tmp_path / "run" / "best.pth"),
        "--out",
        str(tmp_path / "edges"),
        "--device",
        "cpu",
    ]
    assert predict.main(predict.parse_args([str(folder), *flags])) == 0
    assert (tmp_path / "edges" / "image_2" / "000000_10_edges.png").is_file()
