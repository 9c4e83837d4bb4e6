"""Segmentation's evaluation with wrong, damaged and empty input: one line, before any counting."""

import csv
import json
import os
import shutil
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.camvid import camvid_at
from helpers.evaluation import metrics_of, save_random_network, score, status_of_score
from PIL import Image

import utils.evaluation.segmentation.submission as submission_module
from data import build_dataset
from data.camvid import CamVid
from data.errors import InputError, Terminated
from data.image_io import PNG_MAGIC, read_index, write_png
from data.scenes.dataset import Plan, make_scenes
from utils.distributed.environment import Ranks
from utils.evaluation.label_files import FolderLabels
from utils.evaluation.segmentation.label_maps import DatasetLabels, require_few_classes
from utils.evaluation.segmentation.pairing import match_maps, require_same_sizes
from utils.evaluation.segmentation.run import count_label_maps
from utils.evaluation.segmentation.scores import SegProtocol
from utils.evaluation.segmentation.submission import (
    prepare_submission,
    write_submission,
    zip_submission,
)

EMPTY = np.zeros((4, 5), np.uint8)
RANKS = Ranks(0, 1, 0)


class Maps:
    """Label maps in memory. load: called for each."""

    def __init__(self, *names: str, load: Callable[[str], np.ndarray] | None = None) -> None:
        self.origin: dict[str, object] = {}
        self.names = list(names)
        self.load = load or (lambda _name: EMPTY)

    def size(self, name: str) -> tuple[int, int]:
        return (4, 5)

    def where(self, name: str) -> str:
        return name


def matched(truth: list[str], predictions: list[str]) -> dict[str, str]:
    return match_maps(Maps(*truth), Maps(*predictions), allow_missing=True, report=print)


def flags_for(folder: Path, *, classes: object = 2) -> list[object]:
    """test.py on the label maps in `folder`, quickly."""
    return [
        *("--task", "seg", "--predictions", folder / "pred", "--labels", folder / "labels"),
        *("--num-classes", classes, "--out", folder / "out"),
        *("--workers", 0, "--pictures", 1, "--device", "cpu"),
    ]


@pytest.fixture
def folder(tmp_path) -> Path:
    """labels/ and pred/, each with the maps a and b of 5x4 pixels."""
    for name in ("labels/a", "labels/b", "pred/a", "pred/b"):
        write_png(tmp_path / f"{name}.png", EMPTY)
    return tmp_path


@pytest.fixture
def counted(monkeypatch) -> list[Path]:
    """Fills with the files whose pixels are read."""
    read: list[Path] = []

    def noted(path: Path, **options: int) -> np.ndarray:
        read.append(Path(path))
        return read_index(path, **options)

    monkeypatch.setattr("utils.evaluation.label_files.read_index", noted)
    return read


# Pairing


@pytest.mark.parametrize(
    ("truth", "predictions", "words"),
    [
        (["seq1/0001", "seq2/0001"], ["0001"], "0001 could be the file of seq1/0001 and of seq2"),
        (
            ["train/ulm_000000_000001", "val/ulm_000000_000001"],
            ["ulm_000000_000001_road"],
            "could be the file of train/ulm_000000_000001 and of val/ulm",
        ),
        (
            ["ulm_000000_000001_gtFine_labelIds"],
            ["x/ulm_000000_000001_a", "y/ulm_000000_000001_b"],
            "both x/ulm_000000_000001_a and y/ulm_000000_000001_b could be the file of",
        ),
        (["b\udcdf"], ["b\udcdf"], r"1 names of images are no UTF-8, such as b\\udcdf; rename"),
    ],
)
def test_pairs_are_one_to_one(truth, predictions, words):
    with pytest.raises(InputError, match=words):
        matched(truth, predictions)


def test_a_prediction_is_used_once():
    """The second file of an image that has one already is an extra, and no other image's."""
    names = ["ulm_000000_000001", "ulm_000000_000002"]
    files = ["ulm_000000_000001_leftImg8bit", "ulm_000000_000001_b", "c/ulm_000000_000002_c"]
    assert matched(names, files) == {names[0]: files[0], names[1]: files[2]}


def test_shuffled_names_of_cityscapes_match_in_order():
    names = [f"ulm_000000_{i:06d}" for i in range(200)]
    files = [f"d{i % 7}/{name}_pred" for i, name in enumerate(names)]
    order = np.random.default_rng(0).permutation(200)
    assert matched(names, [files[i] for i in order]) == dict(zip(names, files, strict=True))
    assert list(matched(names, files)) == names


def test_label_ids_beside_maps_of_other_images_are_refused(folder):
    write_png(folder / "labels/c_labelIds.png", EMPTY)
    with pytest.raises(InputError, match=r"1 PNGs end in _labelIds, and 2 of other images do not"):
        FolderLabels(folder / "labels", 19, what="labels")


def test_other_files_of_the_same_images_are_passed_by(tmp_path):
    for ending in ("gtFine_labelIds", "gtFine_labelTrainIds", "gtFine_color", "leftImg8bit"):
        write_png(tmp_path / f"{ending[:6]}/ulm_000000_000001_{ending}.png", EMPTY)
    found = FolderLabels(tmp_path, 19, what="labels").names
    assert found == ["gtFine/ulm_000000_000001_gtFine_labelIds"]


def test_endings_in_any_case_and_links(folder):
    (folder / "pred/a.png").rename(folder / "pred/a.PNG")
    (folder / "elsewhere").mkdir()
    (folder / "pred/b.png").rename(folder / "elsewhere/b.Png")
    (folder / "pred/more").symlink_to(folder / "elsewhere")
    (folder / "pred/loop").symlink_to(folder / "pred")
    score(*flags_for(folder))
    assert metrics_of(folder / "out")["source"]["images"] == 2


# Files


def png_header(width: int, height: int) -> bytes:
    """A PNG of those sizes with hardly any pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"0"))
    return PNG_MAGIC + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def save_as(kind: str, array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(array).save(path, kind)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "colours": (lambda path: write_png(path, np.zeros((4, 5, 3), np.uint8)), "found 3 channels"),
    "jpeg": (save_as("JPEG", EMPTY), "is a JPEG, which does not keep ids exactly"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "lfs": (lambda path: path.write_bytes(b"version https://git-lfs"), "a Git LFS pointer"),
    "bomb": (lambda path: path.write_bytes(png_header(60000, 60000)), "is 60000x60000"),
    "size": (lambda path: write_png(path, np.zeros((4, 6), np.uint8)), "is 6x4"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "1 of 2 images have no prediction"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_a_header_tells_is_told_before_the_counting(folder, fault, counted, capsys):
    break_file, words = BROKEN[fault]
    break_file(folder / "pred/b.png")
    assert status_of_score(*flags_for(folder)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    assert not counted
    assert not (folder / "out").exists()


def test_both_files_of_two_sizes_are_named(folder):
    write_png(folder / "pred/b.png", np.zeros((4, 6), np.uint8))
    write_png(folder / "pred/a.png", np.zeros((3, 5), np.uint8))
    maps = [FolderLabels(folder / name, 2, what=name) for name in ("labels", "pred")]
    with pytest.raises(InputError) as error:
        require_same_sizes(*maps, {"a": "a", "b": "b"})
    assert str(error.value) == (
        f"{folder}/pred/a.png: the prediction is 5x3, but its ground truth {folder}/labels/a.png "
        "is 5x4; label maps must have the size of the ground truth (2 of 2 predictions do not fit)"
    )


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_numbers_of_32_bits_are_refused(folder, dtype, capsys):
    save_as("TIFF", EMPTY.astype(dtype))(folder / "pred/b.png")
    assert status_of_score(*flags_for(folder)) == 2
    assert f"b.png: found numbers of {np.dtype(dtype)}" in capsys.readouterr().err


def test_a_label_of_another_size_than_its_image(tiny_camvid_copy, counted):
    dataset = build_dataset("camvid", tiny_camvid_copy, "val")
    record = dataset.records[1]
    write_png(record.label, np.zeros((3, 5), np.uint8))
    labels = DatasetLabels(dataset)
    assert labels.size(dataset.records[0].name) == (48, 64)
    words = r"val_001.png: the label is 5x3, but its image .*val_001.png is 64x48"
    for look in (labels.size, labels.load):
        with pytest.raises(InputError, match=words):
            look(record.name)
    assert not counted


@pytest.fixture
def tiny_camvid_copy(tiny_camvid, tmp_path) -> Path:
    root = tmp_path / "camvid"
    for path in tiny_camvid.rglob("*"):
        if path.is_file():
            target = root / path.relative_to(tiny_camvid)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return root


# Numbers


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--bounds", "nan"], "--bounds"),
        (["--bounds", "3", "inf"], "--bounds"),
        (["--bounds", "-1"], "--bounds"),
        (["--bounds", "1e308"], "--bounds"),
        (["--bounds", "0.5"], "--bounds"),  # 0.5 % meant; at 2048x1024 it would take hours
        (["--boundary-iou", "nan"], "--boundary-iou"),
        (["--boundary-iou", "0"], "--boundary-iou"),
        (["--boundary-iou", "201"], "--boundary-iou"),
        (["--num-classes", "256"], "label maps hold at most 255 classes"),
        (["--num-classes", "1000000000"], "--num-classes"),
        (["--num-classes", "0"], "--num-classes"),
    ],
)
def test_numbers_out_of_range_are_named(folder, flags, words, capsys):
    try:
        status = status_of_score(*flags_for(folder), *flags)
    except SystemExit as error:  # argparse
        status = error.code
    assert status == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert words in said[0]


def test_networks_of_too_many_classes_are_refused():
    with pytest.raises(InputError, match="256 classes do not fit into label maps of 8 bits"):
        require_few_classes(256)


def test_255_classes_are_scored(folder):
    for name in ("labels/a", "pred/a"):
        write_png(folder / f"{name}.png", np.full((4, 5), 254, np.uint8))
    score(*flags_for(folder, classes=255), "--no-report")
    scores = metrics_of(folder / "out")["scores"]
    assert (scores["miou"], scores["boundary_iou"]) == (1, 1)
    assert scores["classes"][254]["true_pixels"] == 20


# Nothing to score


def test_all_labels_void(folder, capsys):
    for name in "ab":
        write_png(folder / f"labels/{name}.png", np.full((4, 5), 255, np.uint8))
    assert status_of_score(*flags_for(folder)) == 0
    printed = capsys.readouterr().out
    note = "nothing to score: no pixel of the ground truth has one of the classes"
    assert printed.count(note) == 1
    assert "mIoU -   pixel accuracy -   frequency-weighted IoU -" in printed
    assert "nan" not in printed
    assert "100.00" not in printed

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    text = (folder / "out/metrics.json").read_text()
    scores = json.loads(text, parse_constant=refuse)["scores"]
    assert [scores[name] for name in ("miou", "pixel_accuracy", "boundary_iou")] == [None] * 3
    assert {each["published_mean"] for each in scores["boundary_f"]} == {None}
    assert scores["classes"][0]["status"] == "no ground truth"
    row = next(iter(csv.DictReader((folder / "out/scores.csv").open())))
    assert row["iou"] == row["boundary_iou"] == row["boundary_f_3"] == ""
    page = (folder / "out/report.html").read_text()
    assert note in page
    assert ">nan<" not in page


def test_a_class_that_is_nowhere_is_null(folder, capsys):
    score(*flags_for(folder, classes=3))
    scores = metrics_of(folder / "out")["scores"]
    assert [each["iou"] for each in scores["classes"]] == [1, None, None]
    assert [each["boundary_f"][0] for each in scores["classes"]] == [1, 1, 1]  # as published
    assert scores["miou"] == 1
    assert "nothing to score" not in capsys.readouterr().out


# Results


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda out: out.write_text("mine"), "out: is a file; expected a folder"),
        (
            lambda out: (out / "metrics.json").mkdir(parents=True),
            "metrics.json: is a folder, where",
        ),
    ],
)
def test_out_is_looked_at_before_the_work(folder, make, words, counted, capsys):
    make(folder / "out")
    assert status_of_score(*flags_for(folder)) == 2
    said = capsys.readouterr().err
    assert words in said
    assert not counted


def test_images_of_the_report_are_matched_before_the_work(tmp_path, counted, capsys):
    root = camvid_at(tmp_path / "camvid", ("val",))
    for name in ("labels/c/val0", "labels/d/val0", "pred/c/val0", "pred/d/val0"):
        write_png(tmp_path / f"{name}.png", EMPTY)
    images = ("--dataset", "camvid", "--data-root", root)
    assert status_of_score(*flags_for(tmp_path, classes=11), *images) == 2
    words = "val0 could be the file of c/val0 and of d/val0"
    assert words in capsys.readouterr().err
    assert not counted


def test_a_folder_whose_name_is_no_utf8(folder):
    """It goes into metrics.json and the report as escapes."""
    root = folder / os.fsdecode(b"stra\xdfe")
    root.mkdir()
    for name in ("labels", "pred"):
        (folder / name).rename(root / name)
    score(*flags_for(root))
    assert metrics_of(root / "out")["source"]["labels"] == str(root / "labels")
    assert "stra\\udcdfe/labels" in (root / "out/report.html").read_text()


def test_boundary_iou_states_its_width(folder, capsys):
    for name in ("labels/a", "labels/b", "pred/a", "pred/b"):
        write_png(folder / f"{name}.png", np.zeros((360, 480), np.uint8))
    write_png(folder / "labels/b.png", np.zeros((375, 1242), np.uint8))
    write_png(folder / "pred/b.png", np.zeros((375, 1242), np.uint8))
    score(*flags_for(folder))
    assert metrics_of(folder / "out")["scores"]["boundary_iou_pixels"] == [3, 6]
    assert "boundary IoU: within 0.005 (3-6 px) of the contours" in capsys.readouterr().out
    assert "0.005 (3-6 px)" in (folder / "out/report.html").read_text()


# Ending early


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ending", [Terminated, KeyboardInterrupt, MemoryError, InputError])
def test_the_counting_ends_at_once(workers, ending):
    """What ends one image ends them all: no job goes on, and no thread is left."""
    loaded: list[str] = []

    def load(name: str) -> np.ndarray:
        loaded.append(name)
        if name == "i3":
            raise ending("enough")
        return EMPTY

    names = [f"i{i}" for i in range(50)]
    before = threading.active_count()
    with pytest.raises(ending):
        count_label_maps(
            Maps(*names),
            Maps(*names, load=load),
            dict(zip(names, names, strict=True)),
            SegProtocol(("a", "b"), (3.0,)),
            workers=workers,
            ranks=RANKS,
        )
    assert len(loaded) < 20
    assert threading.active_count() == before


def test_too_little_memory_names_the_file(monkeypatch):
    def full(*_arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("utils.evaluation.segmentation.scores.boundary_counts", full)
    protocol = SegProtocol(("a", "b"))
    with pytest.raises(MemoryError, match=r"^a: 5x4 pixels$"):
        count_label_maps(Maps("a"), Maps("a"), {"a": "a"}, protocol, workers=1, ranks=RANKS)


def test_no_more_threads(monkeypatch):
    def refuse(*_arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
    with pytest.raises(InputError, match="fewer --workers"):
        count_label_maps(
            Maps("a"), Maps("a"), {"a": "a"}, SegProtocol(("a",)), workers=1, ranks=RANKS
        )


# EXIF


def turn(path: Path, orientation: int) -> None:
    """Save an image as a JPEG with that orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).convert("RGB").save(path, "JPEG", exif=exif)


def test_turned_images_are_counted(tiny_camvid_copy, tmp_path, capsys):
    dataset = build_dataset("camvid", tiny_camvid_copy, "val")
    assert dataset.turned_images() == 0
    for record, orientation in zip(dataset.records, (1, 3, 6), strict=False):
        assert record.image is not None
        turn(record.image, orientation)
    assert dataset.turned_images() == 2
    path = save_random_network(tmp_path / "n.pth", "fcn", "seg", CamVid, trained_on="camvid")
    source = ("--checkpoint", path, "--data-root", tiny_camvid_copy, "--out", tmp_path / "out")
    assert status_of_score(*source, "--workers", 0, "--no-report", "--device", "cpu") == 0
    note = "note: 2 of 4 images have an EXIF orientation; their pixels are taken as stored"
    assert capsys.readouterr().err.count(note) == 1


# Submissions


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "scenes"
    make_scenes(root, Plan(0, 1, 1, 2, 128, 64))
    return root


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda sub: sub.parent.write_text("mine"), r"\(Not a directory\); give another"),
        (lambda sub: sub.mkdir(parents=True) or (sub / "a").touch(), "is not empty"),
        (lambda sub: sub.mkdir(parents=True) or (sub.parent / "sub.zip").mkdir(), "there already"),
    ],
)
def test_submissions_are_refused_before_predicting(scenes, tmp_path, make, words):
    make(tmp_path / "x/sub")
    dataset = build_dataset("scenes", scenes, "test")

    def predict(name: str) -> np.ndarray:
        raise AssertionError(f"{name} was predicted")

    predictions = Maps(*(record.name for record in dataset.records), load=predict)
    with pytest.raises(InputError, match=words):
        write_submission(dataset, predictions, tmp_path / "x/sub", RANKS)


@pytest.mark.parametrize("folder", [".", "/", ".."])
def test_submissions_need_a_name(scenes, folder):
    with pytest.raises(InputError, match="expected a new folder, with a name of its own"):
        prepare_submission(build_dataset("scenes", scenes, "test"), Path(folder))


def test_names_and_space_of_a_submission(scenes, tmp_path, monkeypatch):
    dataset = build_dataset("scenes", scenes, "test")
    sizes = prepare_submission(dataset, tmp_path / "new/sub")
    assert sizes == {record.name: (64, 128) for record in dataset.records}
    assert not (tmp_path / "new").exists()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(free=10))
        with pytest.raises(InputError, match=r"a submission needs .* GB, and .* GB are free"):
            prepare_submission(dataset, tmp_path / "new/sub")
    first = dataset.records[0]
    monkeypatch.setattr(dataset, "records", [type(first)("my image", first.image)])
    with pytest.raises(InputError, match=r"1 images are not named <city>_<sequence>_<frame>"):
        prepare_submission(dataset, tmp_path / "sub")


def test_a_damaged_image_ends_a_submission_before_it_starts(tmp_path):
    make_scenes(tmp_path / "scenes", Plan(0, 1, 1, 2, 128, 64))
    dataset = build_dataset("scenes", tmp_path / "scenes", "test")
    image = dataset.records[-1].image
    assert image is not None
    image.write_bytes(b"<!doctype html>")
    with pytest.raises(InputError, match="is a web page, not an image"):
        prepare_submission(dataset, tmp_path / "sub")


def test_sigterm_leaves_no_half_zip(tmp_path, monkeypatch):
    write_png(tmp_path / "sub/a.png", EMPTY)
    write_png(tmp_path / "sub/b.png", EMPTY)

    class Ended(zipfile.ZipFile):
        def write(self, filename: object, arcname: object = None, *_rest: object) -> None:
            if arcname == "b.png":
                raise Terminated
            super().write(str(filename), str(arcname))

    monkeypatch.setattr(submission_module.zipfile, "ZipFile", Ended)
    with pytest.raises(Terminated):
        zip_submission(tmp_path / "sub", ["a", "b"])
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]
