"""Broken and hostile files at test.py's edge task: status 2 and one line, before anything counts.

A case is a line in CASES: what is done to a folder of good files, the flags, words of the message.
"""

import io
import json
import os
import zipfile

import cv2
import numpy as np
import pytest
import scipy.io
from helpers.edge_files import SIZE, write_edge_files
from helpers.evaluation import metrics_of, score, status_of_score
from PIL import Image

from data.edges import encode_png
from data.image_io import write_png
from utils.evaluation.edges.label_folders import training_radius
from utils.evaluation.edges.predictions import PredictionFolder

FEW = ("--thresholds", 3, "--workers", 0, "--pictures", 1)


@pytest.fixture
def folder(tmp_path, rng):
    """Four images of three classes: pred/ in class folders, gt/ with both modes of inst/."""
    write_edge_files(tmp_path, rng)
    return tmp_path


def arrays(make, name="p0.npy", save=np.save):
    """Replace pred/ by arrays; `make` is given (3, 30, 40) float in 0..1 and returns the first."""

    def change(root):
        target = root / "arrays"
        target.mkdir()
        good = np.random.default_rng(1).random((3, *SIZE))
        for i in range(4):
            np.save(target / f"p{i}.npy", good)
        (target / "p0.npy").unlink()
        save(target / name, make(good))

    return change


def raw(content, name="p0.npz"):
    """Arrays, of which the first file has this content."""

    def change(root):
        arrays(lambda good: good, name="p0.npy")(root)
        (root / "arrays/p0.npy").unlink()
        (root / "arrays" / name).write_bytes(content)

    return change


def zipped(method=zipfile.ZIP_DEFLATED, damage=None, flag=None):
    buffer, array = io.BytesIO(), io.BytesIO()
    np.save(array, np.random.default_rng(1).random((3, *SIZE)))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.npy", array.getvalue())
    content = bytearray(buffer.getvalue())
    if damage:
        content[damage] ^= 0xFF
    if flag is not None:  # general purpose flag or method, in both headers
        offset, value = flag
        content[offset] = value
        content[content.rindex(b"PK\x01\x02") + offset + 2] = value
    return bytes(content)


def npy_header(descr, shape):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def write(path, image):
    """Write an image in any of Pillow's modes."""

    def change(root):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)

    return change


def rename(before, after):
    return lambda root: (root / before).rename(root / after)


def copy_class(after):
    def change(root):
        (root / "pred" / after).mkdir()

    return change


def flat_labels(root, image):
    """labels/ with one image p0..p3 each."""
    for i in range(4):
        write_png(root / f"labels/p{i}.png", image)


def flat_predictions(root, image, count=4):
    for i in range(count):
        write_png(root / f"flat/p{i}.png", image)


GREY = np.zeros(SIZE, np.uint8)
IDS = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint8) % 19
COLOR = np.zeros((*SIZE, 3), np.uint8)
ARRAYS = ("--predictions", "arrays", "--labels", "gt")
FILES = ("--predictions", "pred", "--labels", "gt")
FLAT = ("--predictions", "flat", "--labels", "gt", "--num-classes", 3)
LABELS = ("--predictions", "pred", "--labels", "labels")


def stamp(root, settings, path="labels/gtlabel.json"):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(settings))


CASES = {
    # Arrays: types, shapes, lengths, archives
    "complex": (arrays(lambda a: a.astype(complex)), ARRAYS, "found an array of complex128"),
    "text": (arrays(lambda a: a.astype("U3")), ARRAYS, "found an array of <U3"),
    "dates": (arrays(lambda a: a.astype("M8[s]")), ARRAYS, "found an array of datetime64"),
    "spans": (arrays(lambda a: a.astype("m8[s]")), ARRAYS, "found an array of timedelta64"),
    "records": (arrays(lambda a: a.astype([("x", "f4")])), ARRAYS, "found an array of [("),
    "int64": (arrays(lambda a: a.astype(np.int64)), ARRAYS, "found an array of int64"),
    "int32": (arrays(lambda a: a.astype(np.int32)), ARRAYS, "found an array of int32"),
    "wide floats": (arrays(lambda a: a.astype(np.longdouble)), ARRAYS, "expected probabilities"),
    "objects": (arrays(lambda a: a.astype(object)), ARRAYS, "found an array of object"),
    "four ends": (arrays(lambda a: a[None]), ARRAYS, "shape (1, 3, 30, 40)"),
    "nothing": (arrays(lambda a: a[:, :0]), ARRAYS, "shape (3, 0, 40)"),
    "other classes later": (arrays(lambda a: a[:2], "p3.npy"), ARRAYS, "found an array of shape"),
    "700 TB": (raw(npy_header("<f8", (3, 10**7, 10**7)), "p0.npy"), ARRAYS, "is cut off"),
    "encrypted": (raw(zipped(flag=(6, 1))), ARRAYS, "p0.npz: the file cannot be read"),
    "unknown method": (raw(zipped(flag=(8, 77))), ARRAYS, "p0.npz: the file cannot be read"),
    "damaged": (raw(zipped(damage=400)), ARRAYS, "p0.npz: the file cannot be read"),
    "damaged LZMA": (raw(zipped(zipfile.ZIP_LZMA, damage=60)), ARRAYS, "cannot be read"),
    "cut off": (raw(zipped()[:900]), ARRAYS, "p0.npz: the file cannot be read"),
    "text as npz": (raw(b"hello"), ARRAYS, "p0.npz: the file cannot be read"),
    "both npz and npy": (
        lambda root: [arrays(lambda a: a)(root), (root / "arrays/p0.npz").write_bytes(zipped())],
        ARRAYS,
        "both",
    ),
    "out inside": (
        arrays(lambda a: a),
        (*ARRAYS, "--out", "arrays/scores"),
        "lies in the folder of predictions",
    ),
    # Class folders
    "class_1 and class_001": (copy_class("class_1"), FILES, "are class 1"),
    "superscript": (copy_class("class_²"), FILES, "is no number of a class"),
    "many classes": (copy_class("class_999999999"), FILES, "is no number of a class"),
    "a gap": (copy_class("class_99999"), FILES, "found class folders 1, 2, 3, 99999; expected"),
    "in one folder only": (
        lambda root: (root / "pred/class_002/p1.png").unlink(),
        FILES,
        "1 files are missing",
    ),
    "damaged by colours": (
        write("pred/class_002/p1.png", COLOR + np.array([0, 0, 1], np.uint8)),
        FILES,
        "p1.png: has 3 channels; expected a grey PNG of scores, or three equal channels",
    ),
    "JPEG score": (
        lambda root: Image.fromarray(GREY).save(root / "pred/class_002/p1.png", "JPEG"),
        FILES,
        "is a JPEG; expected a grey PNG",
    ),
    "float score": (
        lambda root: Image.fromarray(GREY.astype(np.float32)).save(
            root / "pred/class_002/p1.png", "TIFF"
        ),
        FILES,
        "is a TIFF; expected a grey PNG",
    ),
    # Images in one folder
    "grey and colour": (
        lambda root: [flat_predictions(root, COLOR), write_png(root / "flat/p2.png", GREY)],
        FLAT,
        "p2.png is grey, ",
    ),
    "bits beyond": (lambda root: flat_predictions(root, COLOR + 9), FLAT, "holds class"),
    "grey for many": (lambda root: flat_predictions(root, GREY), FLAT, "--task seg"),
    "two for one": (
        lambda root: [
            flat_predictions(root, COLOR),
            [write_png(root / f"gt/gt_{m}/inst/b/p0.png", COLOR) for m in ("thin", "raw")],
            write_png(root / "flat/c/p0.png", COLOR),
            (root / "flat/p0.png").unlink(),
        ],
        FLAT,
        "c/p0 could be the file of b/p0 and of p0",
    ),
    # Ground truth
    "ids as labels": (lambda root: flat_labels(root, IDS), LABELS, "is a grey map, not a 24-bit"),
    "16-bit colours": (
        lambda root: [
            flat_labels(root, COLOR),
            cv2.imwrite(str(root / "labels/p1.png"), COLOR.astype(np.uint16)),
        ],
        LABELS,
        "p1.png: has 16 bits in each channel",
    ),
    "paletted labels": (
        lambda root: [
            flat_labels(root, COLOR),
            Image.fromarray(GREY).convert("P").save(root / "labels/p1.png"),
        ],
        LABELS,
        "p1.png: is a map with a palette",
    ),
    "another number of classes": (
        lambda root: None,
        (*FILES, "--num-classes", 2),
        "3 classes (class folders), the ground truth has 2",
    ),
    "training labels": (
        lambda root: [flat_labels(root, COLOR), stamp(root, {"radius": 2, "num_classes": 3})],
        LABELS,
        "holds training labels (radius 2, no gt_eval/), which are no thin",
    ),
    "training labels below": (
        lambda root: [flat_labels(root, COLOR), stamp(root, {"radius": 2}, "gtlabel.json")],
        LABELS,
        "holds training labels",
    ),
    "only gt_thin": (
        lambda root: (root / "gt/gt_raw").rename(root / "other"),
        FILES,
        "holds the thin edges only (gt_thin/), which are no raw",
    ),
    "gt_raw/inst itself": (
        lambda root: None,
        ("--predictions", "pred", "--labels", "gt/gt_raw/inst"),
        "score --no-thin",
    ),
    "only cls": (
        lambda root: [(root / f"gt/gt_{m}/inst").rename(root / f"gt/gt_{m}/cls") for m in MODES],
        FILES,
        "has cls/ only",
    ),
    "only inst": (lambda root: None, (*FILES, "--no-instance"), "has inst/ only"),
    "text Boundaries": (
        lambda root: save_mats(root, {"Boundaries": "hello", "Segmentation": np.ones(SIZE)}),
        LABELS,
        "p0.mat: holds a boundary of <U5",
    ),
    "no Segmentation": (
        lambda root: save_mats(root, {"Boundaries": np.ones(SIZE)}),
        LABELS,
        "p0.mat: the file cannot be read as ground truth",
    ),
    "wide categories": (
        lambda root: save_mats(
            root,
            {
                "Boundaries": np.array([np.eye(4), None], object)[:1],
                "Segmentation": np.eye(4, dtype=np.uint8),
                "Categories": np.array([[-1.0]]),
            },
            "GTinst",
        ),
        LABELS,
        "p0.mat: holds class -1",
    ),
    "version 7.3": (
        lambda root: mat_bytes(root, b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\0" * 9),
        LABELS,
        "p0.mat: the file cannot be read",
    ),
    # Where to
    "out is a file": (
        lambda root: (root / "file").write_text(""),
        (*FILES, "--out", "file"),
        "file: is a file",
    ),
    "out is predictions": (lambda root: None, (*FILES, "--out", "pred"), "is a folder of inputs"),
    "out is labels": (lambda root: None, (*FILES, "--out", "gt"), "is a folder of inputs"),
    "out in a file": (
        lambda root: (root / "file").write_text(""),
        (*FILES, "--out", "file/below"),
        "cannot be written to",
    ),
    "result is a folder": (
        lambda root: (root / "res/metrics.json").mkdir(parents=True),
        (*FILES, "--out", "res"),
        "is a folder, where a file is to be written",
    ),
    # Flags
    "data root alone": (lambda root: None, (*FILES, "--data-root", "x"), "needs --dataset NAME"),
    "idle scale": (lambda root: None, (*FILES, "--eval-scale", "0.5"), "--eval-scale is for"),
    **{
        f"{flag} {value}": (lambda root: None, (*FILES, flag, value), f"argument {flag}: found")
        for flag in (
            *("--num-classes", "--max-dist", "--thresholds", "--eval-scale", "--margin"),
            *("--bounds", "--boundary-iou", "--workers", "--pictures"),
        )
        for value in ("-1", "nan", "inf", "1e308", "text", "1000000000000", "")
    },
    "a billion classes": (
        lambda root: flat_predictions(root, COLOR),
        (*FLAT[:-1], 10**9),
        "argument --num-classes",
    ),
}
MODES = ("thin", "raw")


def save_mats(root, structure, name="GTcls"):
    (root / "labels").mkdir()
    for i in range(4):
        scipy.io.savemat(root / f"labels/p{i}.mat", {name: structure})


def mat_bytes(root, content):
    (root / "labels").mkdir()
    for i in range(4):
        (root / f"labels/p{i}.mat").write_bytes(content)


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_status_2(folder, name, capsys, monkeypatch):
    change, flags, words = CASES[name]
    change(folder)
    monkeypatch.chdir(folder)
    before = sorted(path for path in folder.rglob("*"))
    out = () if "--out" in flags else ("--out", "out")
    assert status_of_score("--task", "edge", *FEW, *flags, *out) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    if "holds class" not in words and "damaged" not in name:  # seen only when a file is decoded
        assert sorted(path for path in folder.rglob("*")) == before


def test_named_pipes_are_no_files(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "pred/class_001/p0.png").unlink()
    os.mkfifo(folder / "pred/class_001/p0.png")
    assert status_of_score("--task", "edge", *FEW, *FILES, "--out", "out") == 2
    assert "1 files are missing" in capsys.readouterr().err
    assert status_of_score("--task", "edge", *FEW, *FILES, "--out", "out", "--allow-missing") == 0


def scores_of(folder):
    return np.load(folder / "counts.npz")["counts"]


def test_all_spellings_of_a_prediction_count_the_same(folder, monkeypatch):
    """Big-endian, 16-bit and Fortran-ordered arrays; folders without zeros; endings in capitals."""
    monkeypatch.chdir(folder)
    score("--task", "edge", *FEW, *FILES, "--out", "a", "--no-report")
    planes = [
        np.stack([np.array(Image.open(folder / f"pred/class_00{k}/p{i}.png")) for k in (1, 2, 3)])
        for i in range(4)
    ]
    (folder / "arrays").mkdir()
    np.save("arrays/p0.npy", planes[0].astype(">u2"))
    np.save("arrays/p1.npy", np.asfortranarray(planes[1].astype(np.uint16)))
    np.savez("arrays/p2.npz", np.moveaxis(planes[2].astype(np.uint16), 0, -1))
    np.save("arrays/p3.npy", planes[3] / 65536)
    score("--task", "edge", *FEW, *ARRAYS, "--out", "b", "--no-report")
    rename("pred/class_001", "pred/class_1")(folder)
    rename("pred/class_002/p0.png", "pred/class_002/p0.PNG")(folder)
    score("--task", "edge", *FEW, *FILES, "--out", "c", "--no-report")
    assert np.array_equal(scores_of(folder / "a"), scores_of(folder / "b"))
    assert np.array_equal(scores_of(folder / "a"), scores_of(folder / "c"))


def test_grey_of_few_bits_is_spread(tmp_path):
    """1 of 1 bit, 3 of 2 bits and 15 of 4 bits are score 1."""
    mask = np.eye(8, dtype=np.uint8)
    for bits in (1, 2, 4, 8):
        image = Image.fromarray(mask * 255).convert("1" if bits == 1 else "L")
        path = tmp_path / f"{bits}/class_1/p.png"
        path.parent.mkdir(parents=True)
        image.save(path, bits=bits)
        assert np.array_equal(next(PredictionFolder(tmp_path / f"{bits}").read("p")), mask * 255)


def test_binary_predictions_have_no_average_precision(folder, monkeypatch, capsys):
    """A perfect 24-bit prediction: recall and precision 1; AP is null, for it needs scores."""
    monkeypatch.chdir(folder)
    flags = ("--labels", "gt", "--num-classes", 3, *FEW)
    score("--predictions", "gt/gt_raw/inst", *flags, "--out", "bits", "--no-thin")
    raw = metrics_of(folder / "bits")["scores"]["raw"]
    assert (raw["mean"]["ods"], raw["mean"]["ois"], raw["mean"]["ap"]) == (1, 1, None)
    assert raw["note"].startswith("predictions are binary")
    assert raw["classes"][0]["ap"] is None
    assert "predictions are binary" in capsys.readouterr().out
    assert "nan" not in (folder / "bits/scores.csv").read_text()
    # Masks in class folders are as binary, which the counts say; scores are not.
    score("--predictions", "pred", *flags, "--out", "scores", "--no-thin", "--no-report")
    assert metrics_of(folder / "scores")["scores"]["raw"]["mean"]["ap"] > 0


def test_knobs_without_effect_are_not_stored(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    score("--task", "edge", *FEW, *FILES, "--out", "a", "--no-report")
    assert "truth as in the files (40x30)" in capsys.readouterr().out
    protocol = metrics_of(folder / "a")["protocol"]
    assert (protocol["scale"], protocol["instance"]) == (None, True)
    for mode in MODES:
        (folder / f"gt/gt_{mode}/inst").rename(folder / f"{mode}-flat")
        (folder / f"gt/gt_{mode}").rmdir()
        (folder / f"{mode}-flat").rename(folder / f"gt/gt_{mode}")
    score("--task", "edge", *FEW, *FILES, "--out", "b", "--no-report")
    assert metrics_of(folder / "b")["protocol"]["instance"] is None
    assert np.array_equal(scores_of(folder / "a"), scores_of(folder / "b"))


def test_a_grey_mask_is_the_truth_of_one_class(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(2)
    for i in range(4):
        mask = (rng.random(SIZE) < 0.1).astype(np.uint8)
        write_png(folder / f"labels/p{i}.png", mask * 255)
        write_png(folder / f"bits/p{i}.png", encode_png(mask.astype(np.uint32)))
        write_png(folder / f"one/p{i}.png", (rng.random(SIZE) * 255).astype(np.uint8))
    flags = ("--task", "edge", *FEW, "--predictions", "one", "--no-report")
    score(*flags, "--labels", "labels", "--out", "a")
    score(*flags, "--labels", "bits", "--out", "b")
    assert np.array_equal(scores_of(folder / "a"), scores_of(folder / "b"))
    write_png(folder / "labels/p1.png", IDS)
    assert status_of_score(*flags, "--labels", "labels", "--out", "c") == 2
    assert "holds values of 0 to 18" in capsys.readouterr().err


def test_label_folders_and_their_stamps(folder):
    stamp(folder, {"radius": 1.5}, "out/gtlabel.json")
    stamp(folder, {"scale": 0.5}, "out/gt_eval/gtlabel.json")
    (folder / "out/a/b").mkdir(parents=True)
    assert training_radius(folder / "out/a/b") == 1.5
    assert training_radius(folder / "out") is None  # has gt_eval/
    assert training_radius(folder / "out/gt_eval") is None
    assert training_radius(folder / "gt") is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gt/gtlabel.json", '{"num_classes": 30, "scale": 1}', "holds edges of 30 classes"),
        ("gt/gtlabel.json", '{"num_classes": 2, "scale": 1}', "holds edges of 2 classes"),
        ("gt/gtlabel.json", "[1]", "is no stamp of a label script"),
    ],
)
def test_labels_of_another_number_of_classes(folder, monkeypatch, capsys, name, content, words):
    monkeypatch.chdir(folder)
    (folder / name).write_text(content)
    assert status_of_score("--task", "edge", *FEW, *FILES, "--out", "a") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_files_of_others_among_partial_results_stay(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "a/partial").mkdir(parents=True)
    (folder / "a/partial/mine.npz").write_bytes(b"mine")
    score("--task", "edge", *FEW, *FILES, "--out", "a", "--no-report")
    assert [path.name for path in (folder / "a/partial").iterdir()] == ["mine.npz"]


def test_damaged_partial_results_are_counted_again(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    flags = ("--task", "edge", *FEW, *FILES, "--no-report")
    score(*flags, "--out", "whole")
    last = folder / "pred/class_003/p3.png"
    content = last.read_bytes()
    last.write_bytes(content[:70])  # the first three are counted, the last one ends the run
    assert status_of_score(*flags, "--out", "broken") == 2
    last.write_bytes(content)
    partial = sorted((folder / "broken/partial").glob("*.npz"))
    counts = np.load(partial[1])["counts"]
    damaged = bytearray(partial[0].read_bytes())
    damaged[100:104] = b"\xff\xff\xff\xff"
    partial[0].write_bytes(damaged)
    np.savez(partial[1], counts=-counts)
    np.savez(partial[2], counts=counts[:, :, :, :2])
    capsys.readouterr()
    score(*flags, "--out", "broken")
    assert "resuming" not in capsys.readouterr().out
    assert np.array_equal(scores_of(folder / "whole"), scores_of(folder / "broken"))


def test_names_that_are_no_utf8_are_escaped(folder, monkeypatch):
    monkeypatch.chdir(folder)
    strange = os.fsdecode(b"stra\xdfe")
    for path in folder.rglob("p1.png"):
        path.rename(path.with_name(f"{strange}.png"))
    (folder / "pred").rename(folder / strange)
    flags = ("--predictions", strange, "--labels", "gt", "--out", "a")
    score("--task", "edge", *FEW[:4], "--pictures", 4, *flags)
    assert metrics_of(folder / "a")["source"]["predictions"] == "stra\\udcdfe"
    assert "stra\\udcdfe" in (folder / "a/report.html").read_text(encoding="utf-8")
