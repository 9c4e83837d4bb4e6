"""`python -m data.inspect`, on label maps whose numbers are known by hand."""

import html
import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.bdd import bdd_at, write_jpg
from helpers.camvid import camvid_at
from helpers.cityscapes import cityscapes_at
from helpers.kitti import draw_frame
from helpers.mapillary import mapillary_at
from PIL import Image

from data import build_dataset
from data.errors import InputError, run
from data.image_io import write_png
from data.inspect.__main__ import main, page_path, parse_args
from data.inspect.duplicates import near_twins, perceptual_hash, same_content
from data.inspect.gradients import edge_fit
from data.inspect.measure import count_objects, edge_pixels, measure
from data.inspect.page import format_page
from data.inspect.regions import NONE, border_gap, components, ridge_widths, speck_limit
from data.inspect.report import make_report
from data.inspect.source import equally_spaced, open_source
from data.inspect.summary import ClassSummary
from data.inspect.table import class_table, columns_of, finding_lines, fit, percent, short
from data.inspect.thumbnails import any_inside
from data.scenes.make import make_scenes
from data.scenes.plan import Plan

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def photo(seed: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Smooth noise, which is unlike any other and survives compression."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def folder_at(root: Path, maps: dict[str, np.ndarray], names: list[str], **entries) -> Path:
    """A folder with an image for each label map. names: of the classes, whose ids are 0, 1, ..."""
    for number, (name, label) in enumerate(maps.items()):
        write_png(root / "images" / f"{name}.png", photo(number, label.shape[:2]))
        write_png(root / "labels" / f"{name}.png", label)
    entries = {"classes": [{"name": name} for name in names], **entries}
    (root / "dataset.json").write_text(json.dumps(entries))
    return root


def square(shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Class 0 with a square of class 1, 10x10, in it."""
    label = np.zeros(shape, np.uint8)
    label[10:20, 30:40] = 1
    return label


SPLIT_FOLDERS = {"splits": {"train": "a", "val": "b"}}


def two_splits(root: Path, **entries) -> Path:
    """Two images in each of two splits, which are folders."""
    labels = {f"{part}/{number}": square() for part in "ab" for number in range(2)}
    return folder_at(root, labels, ["ground", "box"], **SPLIT_FOLDERS, **entries)


def look(root: Path, tmp_path: Path, *flags: str, dataset: str = "folder") -> tuple[int, str]:
    """The status and the page."""
    out = tmp_path / "page.html"
    words = f"--dataset {dataset} --data-root {root} --out {out} --workers 1".split()
    status = run(lambda: main(parse_args([*words, *flags])))
    return status, out.read_text(encoding="utf-8") if out.exists() else ""


def findings_of(root: Path, dataset: str = "folder") -> list[str]:
    return finding_lines(make_report(open_source(dataset, root)).findings)


def one(lines: list[str], text: str) -> str:
    """The only line with a text."""
    found = [line for line in lines if text in line]
    assert len(found) == 1, lines
    return found[0]


# --- regions ---


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("across", [False, True])
def test_the_width_of_a_bar(width: int, across: bool) -> None:
    label = np.zeros((60, 80), np.uint8)
    label[20 : 20 + width, 10:70] = 1
    label = np.ascontiguousarray(label.T) if across else label
    assert set(ridge_widths(label)[1]) == {width}


def test_the_border_of_the_image_bounds_a_bar() -> None:
    """The lower 10 rows are one bar, the upper 30 another; a map of one class is as wide as it."""
    label = np.zeros((40, 200), np.uint8)
    label[30:] = 1
    found = ridge_widths(label)
    assert (set(found[1]), set(found[0])) == ({10}, {30})
    assert set(ridge_widths(np.zeros((9, 5), np.uint8))[0]) == {5}
    assert NONE not in ridge_widths(np.full((4, 4), NONE, np.uint8))


def test_a_slanting_bar() -> None:
    rows, columns = np.mgrid[:200, :200]
    label = (np.abs(2 * rows - columns - 100) / np.sqrt(5) <= 6).astype(np.uint8)
    summary = ClassSummary(widths=ridge_widths(label)[1])
    assert 11 <= (summary.median_width() or 0) <= 13


def test_large_maps_are_measured_smaller() -> None:
    """4100 columns are three times as many as can be measured: every 3rd pixel is."""
    label = np.zeros((30, 4100), np.uint8)
    label[9:21] = 1
    assert set(ridge_widths(label)[1]) == {12}


def test_the_median_width_is_by_area() -> None:
    """Ten points of a ridge 1 wide are 10 pixels, two of one 20 wide 40: more than half."""
    assert ClassSummary(widths={1: 10, 20: 2}).median_width() == 20
    assert ClassSummary(widths={1: 50, 20: 2}).median_width() == 1
    assert ClassSummary().median_width() is None


def test_components_with_their_places() -> None:
    mask = np.array(
        [
            [0, 0, 1, 0, 0, 0],
            [0, 1, 0, 0, 1, 1],
            [0, 0, 0, 0, 1, 1],
            [1, 0, 0, 0, 0, 0],
        ],
        bool,
    )
    count, found = components(mask)
    assert count == 3  # the two at the top touch by a corner
    areas = sorted(found[:, 0].tolist())
    assert areas == [1, 2, 4]
    assert found[found[:, 0] == 1].tolist() == [[1, 3, 0]]
    assert components(np.zeros((3, 3), bool))[0] == 0


def test_specks_grow_with_the_image() -> None:
    assert speck_limit((10, 10)) == 2
    assert speck_limit((360, 480)) == 6
    assert speck_limit((1024, 2048)) == 83


def test_the_place_of_a_small_component() -> None:
    """The first pixel of the first row, not the corner of the box around it."""
    mask = np.zeros((1000, 1000), bool)
    mask[5, 7] = mask[6, 6] = mask[7, 5] = True
    assert components(mask)[1].tolist() == [[3, 5, 7]]


def test_gaps_at_the_border() -> None:
    none = np.zeros((40, 60), bool)
    assert border_gap(none) == 0
    none[:, :2] = True  # two columns at the left, and their ends at the top and bottom
    assert border_gap(none) == pytest.approx(40 / 200)
    none[:, :4] = True  # too wide for an oversight; above and below none reaches the border
    assert border_gap(none) == 0
    assert border_gap(np.ones((4, 4), bool)) == 0


def loop_edges(label: np.ndarray, k: int) -> int:
    """Pixels within 2 of which class k begins or ends, one by one."""
    near = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if dy * dy + dx * dx <= 4]
    height, width = label.shape
    count = 0
    for y in range(height):
        for x in range(width):
            others = [
                label[y + dy, x + dx]
                for dy, dx in near
                if 0 <= y + dy < height and 0 <= x + dx < width
            ]
            count += len({other == k for other in others}) == 2
    return count


@pytest.mark.parametrize("num_classes", [3, 25, 150])
def test_edge_pixels_of_any_number_of_classes(rng, num_classes: int) -> None:
    ids = rng.choice([*range(0, num_classes, max(1, num_classes // 6)), 255], (4, 5))
    label = np.kron(ids, np.ones((5, 5), int)).astype(np.uint8)
    found = edge_pixels(label, None, num_classes)
    assert found == {k: loop_edges(label, k) for k in np.unique(label[label < 255]).tolist()}


def test_objects_are_counted_by_their_numbers() -> None:
    """Two touching ones are two, one cut in two is one, and parts without a number count each."""
    mask = np.zeros((8, 20), bool)
    mask[2:5, 1:7] = mask[2:5, 9:11] = mask[6, 15:17] = mask[0, 18] = True
    numbers = np.zeros((8, 20), np.int32)
    numbers[2:5, 1:4] = 7
    numbers[2:5, 4:7] = numbers[2:5, 9:11] = 9
    assert count_objects(mask, numbers, 4) == 2 + 2
    assert count_objects(mask, np.zeros_like(numbers), 4) == 4
    assert count_objects(mask[:, :12], numbers[:, :12], 2) == 2


# --- the image's edges ---


def test_a_label_that_lies_on_the_images_edges_scores_high() -> None:
    """Blocks of 32 pixels: a label of the same blocks, and one shifted by half a block."""
    rng = np.random.default_rng(3)
    blocks = np.kron(rng.permutation(96).reshape(8, 12), np.ones((32, 32), int)).astype(np.uint8)
    image = np.repeat((2.5 * blocks).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    right, wrong = (edge_fit(image, np.roll(blocks, n, (0, 1))) for n in (0, 16))
    assert right is not None and wrong is not None
    assert right.hits == pytest.approx(1) and right.score == pytest.approx(1)
    assert wrong.score < 0.2
    # Chance by hand: of each block's 32 pixels those within 3 of the changed ones are near.
    assert 0.2 < right.chance < 0.8


def test_labels_without_a_border_have_no_score() -> None:
    assert edge_fit(photo(0), np.zeros((48, 64), np.uint8)) is None


# --- one image ---


def test_the_counts_of_one_image(tmp_path: Path) -> None:
    """Ids: 0 and 3 are ground, 1 box, 2 not named, 9 none, 255 ignored."""
    label = square()
    label[0, :5] = 3
    label[47, :7] = 2
    label[46, :9] = 9
    label[:, 60:] = 255
    label[40, 50] = 1
    classes = [{"name": "ground", "ids": [0, 3]}, {"name": "box", "ids": [1]}]
    root = folder_at(tmp_path, {"x": label}, [], classes=classes, none_ids=[9], ignored_ids=[255])
    source = open_source("folder", root)
    found = measure(0, source.readers["train"], source.items[0].record, source.edge_classes)
    assert found.faults == [] and found.size == (48, 64) and found.kind == "PNG (3 x 8 bits)"
    ignored = 48 * 4
    assert (found.none, found.ignored) == (7 + 9 + ignored, ignored)
    assert found.unnamed == {2: 7}
    assert found.classes[1].pixels == 101 and found.classes[1].instances == 2
    assert found.classes[0].pixels == 48 * 64 - 101 - found.none
    assert found.classes[1].widths == {10: 1, 1: 1}
    assert found.specks == [(1, 1, 40, 50)]
    assert (found.island_counts, found.speck_counts) == ({1: 1}, {})
    # Both sides of the box's border at radius 2, and the disk of 13 pixels around the island.
    assert found.classes[1].edges == loop_edges(square(), 1) + 13


def test_the_background_has_no_edges(tmp_path: Path) -> None:
    background = {"name": "rest", "ids": [0]}
    root = folder_at(
        tmp_path,
        {"x": square()},
        [],
        classes=[{"name": "box", "ids": [1]}],
        background=background,
    )
    report = make_report(open_source("folder", root))
    assert report.source.classes == ("box", "rest")
    box, rest = report.total.classes
    assert box.edges == loop_edges(square(), 1) and rest.edges == 0
    assert rest.pixels == 48 * 64 - 100
    row = one(class_table(report.source, report.splits).splitlines(), "rest ")
    assert row.split("|")[1].split()[-1] == "-"


def test_values_of_coloured_maps(tmp_path: Path) -> None:
    red, odd = (255, 0, 0), (1, 2, 3)
    label = np.full((48, 64, 3), red, np.uint8)
    label[:2, :3] = odd
    classes = [{"name": "red", "color": list(red)}]
    root = folder_at(tmp_path, {"x": label}, [], classes=classes, labels="colors")
    line = one(findings_of(root), "not named")
    assert "[1, 2, 3]: 6 pixels" in line and line.startswith("problem: 1 value ")


# --- the folder's files ---


def test_an_incomplete_folder_is_a_list_of_problems(tmp_path: Path, capsys) -> None:
    root = two_splits(tmp_path / "set")
    (root / "labels/a/1.png").unlink()
    write_png(root / "labels/b/lost.png", square())
    write_png(root / "instances/b/0.png", np.ones((48, 64), np.uint16))
    write_png(root / "instances/b/ghost.png", np.ones((48, 64), np.uint16))
    write_png(root / "images/c/7.png", photo(20))
    write_png(root / "labels/c/7.png", square())
    lines = findings_of(root)
    assert "1 image has no label map" in one(lines, "[a/1]")
    assert "1 label map has no image" in one(lines, "[b/lost]")
    assert "1 instance map has no label map" in one(lines, "[b/ghost]")
    assert "3 labelled images have no instance map" in one(lines, "[a/0; b/1; c/7]")
    assert "1 image is in no split" in one(lines, "[c/7]")
    assert all(line.startswith("problem") for line in lines if "[" in line and "look" not in line)
    status, page = look(root, tmp_path)
    assert status == 0 and "5 problems" in page
    assert look(root, tmp_path, "--strict")[0] == 2
    with pytest.raises(FileNotFoundError):
        build_dataset("folder", root, "train")


def test_a_split_without_labels_is_one_to_predict(tmp_path: Path) -> None:
    root = two_splits(tmp_path / "set")
    shutil.rmtree(root / "labels/b")
    lines = findings_of(root)
    assert one(lines, "split val").startswith("look: No image of the split val has a label map")
    assert not any(line.startswith("problem") for line in lines)
    shutil.rmtree(root / "labels/a")
    assert sum(line.startswith("problem") for line in findings_of(root)) == 2


def test_splits_that_overlap_and_lists_that_are_wrong(tmp_path: Path) -> None:
    root = two_splits(tmp_path / "set")
    config = json.loads((root / "dataset.json").read_text())
    config["splits"] = {"train": ["a", "b"], "val": "b", "test": "test.txt", "extra": "x.txt"}
    (root / "dataset.json").write_text(json.dumps(config))
    (root / "test.txt").write_text("a/0\nnowhere\n")
    lines = findings_of(root)
    assert "2 images are in more than one split" in one(lines, "[b/0; b/1]")
    assert "nowhere" in one(lines, "The split test cannot be used")
    assert "no such list" in one(lines, "The split extra cannot be used")
    report = make_report(open_source("folder", root))
    assert report.total.images == 4  # each once
    assert [split.images for split in report.splits] == [4, 2]


@pytest.mark.parametrize("missing", ["dataset.json", "images", "labels"])
def test_what_cannot_be_read_at_all_is_status_2(tmp_path: Path, capsys, missing: str) -> None:
    root = two_splits(tmp_path / "set")
    shutil.move(root / missing, tmp_path / "away")
    status, page = look(root, tmp_path)
    err = capsys.readouterr().err
    assert (status, page) == (2, "")
    assert len(err.splitlines()) == 1 and missing in err


def test_unknown_splits_and_options_are_status_2(tmp_path: Path, capsys) -> None:
    root = two_splits(tmp_path / "set")
    assert look(root, tmp_path, "--split", "nosuch")[0] == 2
    assert "nosuch" in capsys.readouterr().err
    assert look(root, tmp_path, "--data-option", "cv=1")[0] == 2
    assert look(root, tmp_path, "--split", "val")[0] == 0
    assert "val: 2 images" in capsys.readouterr().out


def test_broken_files_are_listed_and_the_rest_is_measured(tmp_path: Path) -> None:
    root = two_splits(tmp_path / "set", ignored_ids=[255])
    (root / "images/a/0.png").write_bytes((root / "images/a/0.png").read_bytes()[:200])
    (root / "labels/a/1.png").write_bytes(b"no image")
    small = square((20, 50))
    small[:, 48:] = 255
    write_png(root / "labels/b/0.png", small)
    write_png(root / "images/b/2.png", photo(9))
    write_png(root / "labels/b/2.png", np.zeros((48, 64, 3), np.uint8))
    lines = findings_of(root)
    assert "1 image cannot be read" in one(lines, "images/a/0.png")
    assert "labels/b/2.png" in one(lines, "2 label maps cannot be read")
    line = one(lines, "another size")
    assert line.startswith("problem: 1 map is")
    assert "labels/b/0.png: the label map is 50x20, its image 64x48" in line
    report = make_report(open_source("folder", root))
    assert [split.labelled for split in report.splits] == [1, 2]
    assert report.splits[0].classes[1].pixels == 100
    shown = {choice.number: choice.reasons for choice in report.choices}
    assert 0 not in shown  # the broken image
    assert any("50x20" in reason for reason in shown[2])


def test_images_that_exif_turns(tmp_path: Path) -> None:
    """As stored the label fits; the one that says upright is read turned, and does not."""
    for upright in (False, True):
        root = folder_at(tmp_path / str(upright), {"x": square()}, ["a", "b"], upright=upright)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(photo(1)).save(root / "images/x.jpg", exif=exif)
        (root / "images/x.png").unlink()
        lines = findings_of(root)
        if upright:
            assert "64x48, its image 48x64" in one(lines, "another size")
        else:
            assert one(lines, "stored turned").startswith("look: 1 image is")
            assert not any("another size" in line for line in lines)


# --- classes ---


def test_classes_that_never_occur(tmp_path: Path) -> None:
    labels = {f"{part}/{n}": np.zeros((48, 64), np.uint8) for part in "ab" for n in range(2)}
    labels["a/1"][:, :20] = 1
    labels["b/0"][:, 30:] = labels["b/1"][:, 30:] = 2
    names = ["ground", "left", "right", "never"]
    lines = findings_of(folder_at(tmp_path, labels, names, **SPLIT_FOLDERS))
    line = one(lines, "never occurs.")
    assert line.startswith("problem: 1 class of 4") and line.endswith("[never]")
    assert one(lines, "in train.").startswith("problem: 1 class never occurs in train.")
    assert one(lines, "in train.").endswith("[right]")
    assert one(lines, "in val.").startswith("look: ") and one(lines, "in val.").endswith("[left]")
    assert one(lines, "in one image only").endswith("[left]")


@pytest.mark.parametrize("count", [30, 150])
def test_many_classes(tmp_path: Path, count: int) -> None:
    """Every class has a row on the terminal and on the page, no line is too long."""
    names = [f"a class with a long name, {k}" for k in range(count)]
    label = np.kron(np.arange(192).reshape(12, 16) % count, np.ones((8, 8), int)).astype(np.uint8)
    report = make_report(open_source("folder", folder_at(tmp_path, {"x": label}, names)))
    lines = class_table(report.source, report.splits).splitlines()
    assert len(lines) == 3 + count
    assert max(map(columns_of, lines)) <= 100
    page = format_page(report)
    assert page.count("<th scope=row data-v=") == count
    for k in (0, 23, 24, count - 1):
        assert report.total.classes[k].pixels == 64 * np.count_nonzero(np.arange(192) % count == k)
        assert report.total.classes[k].edges == loop_edges(label, k)
    assert {layer.label for layer in report.thumbnails[0].layers} == set(range(count))


def test_names_are_escaped(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", 'a "quoted" & <b>']
    labels = {"<img src=x>": square(), "it's": square()}
    root = folder_at(tmp_path / "<i>set", labels, names)
    page = format_page(make_report(open_source("folder", root)))
    parser = Tags()
    parser.feed(page)
    assert not parser.open
    tags = [tag for tag, _ in parser.found]
    assert tags.count("script") == 1 and "b" in tags
    assert all(attrs.get("src", "data:").startswith("data:") for _, attrs in parser.found)
    assert html.escape(names[0]) in page and html.escape(names[1]) in page
    assert "<script>alert" not in page and "<img src=x>" not in page and "<i>set" not in page


class Tags(html.parser.HTMLParser):
    """Collects the tags and checks that they are nested."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# --- duplicates ---


def test_copies_and_near_duplicates_between_splits(tmp_path: Path) -> None:
    """b/0 is a/0 at half the size as a JPEG, b/1 has a/1's pixels; all others differ."""
    size = (240, 320)
    labels = {f"{part}/{number}": square(size) for part in "ab" for number in range(4)}
    root = folder_at(tmp_path, labels, ["ground", "box"], **SPLIT_FOLDERS)
    for number, name in enumerate(labels):
        write_png(root / f"images/{name}.png", photo(number, size))
    half = cv2.resize(photo(0, size), (160, 120), interpolation=cv2.INTER_AREA)
    (root / "images/b/0.png").unlink()
    Image.fromarray(half).save(root / "images/b/0.jpg", quality=40)
    write_png(root / "labels/b/0.png", square((120, 160)))
    shutil.copy(root / "images/a/1.png", root / "images/b/1.png")
    lines = findings_of(root)
    assert "train: a/0 = val: b/0" in one(lines, "nearly the same")
    assert one(lines, "nearly the same").startswith("problem: 1 image is")
    assert one(lines, "pixel by pixel").endswith("[train: a/1 = val: b/1]")
    page = format_page(make_report(open_source("folder", root)))
    assert page.count("<div class=pair>") == 2


def test_copies_within_a_split_are_to_be_looked_at(tmp_path: Path) -> None:
    root = two_splits(tmp_path)
    shutil.copy(root / "images/a/0.png", root / "images/a/1.png")
    assert one(findings_of(root), "within the split").startswith("look: 1 image has copies")


def test_compressed_and_scaled_copies_are_near_and_others_far() -> None:
    images = [photo(seed, (240, 320)) for seed in range(30)]
    codes = [perceptual_hash(image) for image in images]
    changed = []
    for image in images:
        small = cv2.resize(image, (200, 150), interpolation=cv2.INTER_AREA)
        encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
        changed.append(perceptual_hash(cv2.imdecode(encoded, cv2.IMREAD_COLOR)))
    twins = near_twins([*codes, *changed], ["train"] * 30 + ["val"] * 30)
    assert {(pair.first, pair.second) for pair in twins} == {(n, 30 + n) for n in range(30)}
    assert perceptual_hash(np.full((40, 40, 3), 90, np.uint8)) is None


def test_near_twins_against_a_plain_loop(rng, monkeypatch) -> None:
    monkeypatch.setattr("data.inspect.duplicates.BLOCK", 50)  # several blocks
    codes: list = [int(rng.integers(1 << 63)) for _ in range(60)]
    for number in range(0, 60, 3):  # each third one is near to the one before
        codes[number] = codes[number - 1] ^ 0b1011
    codes[7] = None
    splits = [("train", "val", "test")[number % 3] for number in range(60)]
    order = {"train": 0, "val": 1, "test": 2}
    expected = {}
    for second in range(60):
        for earlier in "train", "val", "test":
            others = [
                (bin(codes[first] ^ codes[second]).count("1"), first)
                for first in range(60)
                if codes[first] is not None
                and codes[second] is not None
                and splits[first] == earlier
                and order[earlier] < order[splits[second]]
            ]
            if others and min(others)[0] <= 6:
                expected[min(others)[1], second] = min(others)[0]
    found = near_twins(codes, splits)
    assert {(pair.first, pair.second): pair.bits for pair in found} == expected
    assert len(expected) >= 15


def test_same_content_is_grouped() -> None:
    assert same_content([b"a", b"b", None, b"a", None, b"a"]) == [[0, 3, 5]]


def test_without_imagehash_one_line_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    root = two_splits(tmp_path)
    shutil.copy(root / "images/a/0.png", root / "images/b/1.png")
    lines = findings_of(root)
    assert "pip install ImageHash" in one(lines, "were not searched")
    assert one(lines, "pixel by pixel")  # copies are found all the same


# --- the contact sheet ---


def test_the_worst_images_come_first(tmp_path: Path) -> None:
    """One with three islands, one with one island, one with a gap at the border, the rest good."""
    labels = {name: square() for name in "abcdefgh"}
    for column in (2, 5, 8):
        labels["c"][40, column] = 1
    labels["f"][30, 50] = 1
    labels["h"][:, :2] = 9
    root = folder_at(tmp_path, labels, ["ground", "box"], none_ids=[9])
    report = make_report(open_source("folder", root), sheet=5)
    names = [report.source.items[choice.number].name for choice in report.choices]
    assert len(names) == 5 and set(names[:2]) == {"c", "h"} and names[2] == "f"
    by_name = dict(zip(names, report.choices, strict=True))
    assert by_name["c"].reasons == (
        "3 islands of one pixel: box at column 2, row 40, box at column 5, row 40, box at column "
        "8, row 40",
    )
    assert by_name["f"].reasons == ("1 island of one pixel: box at column 50, row 30",)
    assert "before 21 % of the image's border" in by_name["h"].reasons[-1]  # 48 of 224
    assert not by_name[names[3]].reasons
    everything = make_report(open_source("folder", root), sheet=100)
    assert len(everything.choices) == 8
    assert not make_report(open_source("folder", root), sheet=0).thumbnails


def test_ordinary_images_come_from_all_splits(tmp_path: Path) -> None:
    labels = {f"{part}/{number}": square() for part in "ab" for number in range(6)}
    root = folder_at(tmp_path, labels, ["ground", "box"], **SPLIT_FOLDERS)
    report = make_report(open_source("folder", root), sheet=4)
    splits = [report.source.items[choice.number].split for choice in report.choices]
    assert splits == ["train", "train", "val", "val"]


def test_samples_are_at_equal_distances(tmp_path: Path, capsys) -> None:
    assert equally_spaced(10, 2) == [2, 7]
    assert equally_spaced(3, 0) == equally_spaced(3, 5) == [0, 1, 2]
    labels = {f"t/{number:02d}": square() for number in range(10)}
    root = folder_at(tmp_path / "set", labels, ["a", "b"], splits={"train": "t"})
    assert look(root, tmp_path, "--samples", "2")[0] == 0
    assert "train: 2 images of 10" in capsys.readouterr().out
    names = [item.name for item in open_source("folder", root, samples=2).items]
    assert names == ["t/02", "t/07"]


def test_thin_edges_stay_visible_when_reduced() -> None:
    mask = np.zeros((1000, 2000), bool)
    mask[501] = True
    small = any_inside(mask, (100, 200))
    assert small.any(axis=0).all() and 1 <= small.sum(axis=0).max() <= 2


def test_the_page_stays_small(tmp_path: Path, monkeypatch) -> None:
    """Images of noise are the largest there are: they get a quality that fits."""
    for module in ("report", "thumbnails"):
        monkeypatch.setattr(f"data.inspect.{module}.PAGE_BYTES", 150_000)
    rng = np.random.default_rng(0)
    root = folder_at(tmp_path, {f"{n}": square((300, 400)) for n in range(6)}, ["a", "b"])
    for number in range(6):
        noise = rng.integers(0, 256, (300, 400, 3)).astype(np.uint8)
        write_png(root / f"images/{number}.png", noise)
    report = make_report(open_source("folder", root))
    assert len(report.thumbnails) == 6
    images = sum(len(thumbnail.image) for thumbnail in report.thumbnails.values())
    assert 30_000 < images < 75_000 + 6 * 30
    assert len(format_page(report)) < 200_000


# --- data sets by name ---


def sets_by_name(name: str, root: Path, request: pytest.FixtureRequest) -> Path:
    """A data set drawn small."""
    if name == "camvid":
        return camvid_at(root)
    if name == "cityscapes":
        for split in ("train", "val"):
            cityscapes_at(root, split)
        return root
    if name == "bdd":
        return bdd_at(root)
    if name == "mapillary":
        return mapillary_at(root)
    if name == "sbd":
        return request.getfixturevalue("sbd_root")
    if name == "kitti":
        label, coded = draw_frame()
        for number in range(200):
            file = f"{number:06d}_10.png"
            for folder, content in (
                ("training/semantic", label),
                ("training/instance", coded),
                ("training/image_2", photo(number, label.shape)),
                ("testing/image_2", photo(number, label.shape)),
            ):
                if folder[:4] == "trai" or number < 2:
                    write_png(root / folder / file, content)
        return root
    make_scenes(root, Plan(0, 1, 1, 1, 64, 64))
    return root


BY_NAME = ("bdd", "camvid", "cityscapes", "kitti", "mapillary", "sbd", "scenes")


@pytest.mark.parametrize("name", BY_NAME)
def test_every_data_set_by_name(name: str, tmp_path: Path, request, capsys) -> None:
    root = sets_by_name(name, tmp_path / "set", request)
    samples = ("--samples", "2") if name == "kitti" else ()
    status, page = look(root, tmp_path, *samples, dataset=name)
    out = capsys.readouterr().out
    assert status == 0 and "train: " in out
    assert ("val: " if name != "sbd" else "test: ") in out  # of two images none is held out
    lines = out.splitlines()
    table = lines[: lines.index("")]
    assert max(map(columns_of, table)) <= 100
    parser = Tags()
    parser.feed(page)
    assert not parser.open
    classes = build_dataset(name, root, "train").classes
    assert page.count("<th scope=row data-v=") == len(classes)


def test_instances_of_cityscapes_kitti_and_mapillary(tmp_path: Path, request) -> None:
    """Objects by their numbers: KITTI's two touching cars are two, its road is one part."""
    found = {}
    for name in ("cityscapes", "kitti", "mapillary"):
        root = sets_by_name(name, tmp_path / name, request)
        source = open_source(name, root, ["train"], samples=1)
        total = make_report(source).total
        found[name] = {
            source.classes[k]: entry.instances
            for k, entry in enumerate(total.classes)
            if entry.images
        }
    assert found["cityscapes"] == {"road": 1, "car": 1}
    assert found["kitti"] == {"road": 1, "car": 2}
    assert found["mapillary"] == {"Bird": 1, "Road": 1, "Car": 2}


def test_a_missing_test_split_is_a_note_and_a_missing_train_split_a_problem(tmp_path) -> None:
    root = camvid_at(tmp_path)
    (root / "test.txt").unlink()
    assert one(findings_of(root, "camvid"), "split test is left out").startswith("look: ")
    (root / "train.txt").unlink()
    assert one(findings_of(root, "camvid"), "split train is left").startswith("problem: ")
    (root / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"No train\.txt"):
        open_source("camvid", root)
    with pytest.raises(FileNotFoundError):
        open_source("camvid", camvid_at(tmp_path / "x", ("train",)), ["val"])


# --- the command ---


def test_where_the_page_goes(tmp_path: Path, monkeypatch) -> None:
    root = two_splits(tmp_path / "my set")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert page_path(None, "folder", root) == Path("inspect-my set.html")
    assert page_path(None, "camvid", root) == Path("inspect-camvid.html")
    args = ["--dataset", "folder", "--data-root", str(root), "--workers", "1"]
    assert main(parse_args(args)) == 0
    assert [path.name for path in work.iterdir()] == ["inspect-my set.html"]
    for wrong in ("dataset.json", "images"):
        with pytest.raises(InputError, match="page"):
            page_path(root / wrong, "folder", root)
    monkeypatch.chdir(root / "images")
    with pytest.raises(InputError, match="into the data set"):
        main(parse_args(args))


def test_nothing_is_written_into_the_data_set(tmp_path: Path) -> None:
    root = two_splits(tmp_path / "set")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert look(root, tmp_path)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_worker_processes_find_the_same(tmp_path: Path) -> None:
    labels = {f"{part}/{number:02d}": square() for part in "ab" for number in range(20)}
    root = folder_at(tmp_path, labels, ["ground", "box"], **SPLIT_FOLDERS)
    (root / "images/a/03.png").write_bytes(b"no image")
    source = open_source("folder", root)
    alone, together = (make_report(source, sheet=8, workers=n) for n in (1, 2))
    assert alone.measured == together.measured
    assert format_page(alone) == format_page(together)


def test_splits_beside_each_other_where_they_fit(tmp_path: Path) -> None:
    """Three of them leave 13 columns for a class; a longer name makes two tables."""
    labels = {f"{part}/0": square() for part in "abc"}
    splits = {"train": "a", "val": "b", "test": "c"}
    for name, tables in (("traffic light", 1), ("a traffic light", 2)):
        root = folder_at(tmp_path / name, labels, [name, "box"], splits=splits)
        report = make_report(open_source("folder", root))
        found = class_table(report.source, report.splits).split("\n\n")
        assert len(found) == tables
        assert all(one(table.splitlines(), name) for table in found)
        assert all(columns_of(line) <= 100 for table in found for line in table.splitlines())
    row = one(found[0].splitlines(), "box")
    # 100 of 3072 pixels; of edges 64 lie inside, 80 beside the box, and 4 at its corners.
    assert row.split() == [
        "box",
        "|",
        "1",
        "3.26",
        "1",
        "10",
        "148|",
        "1",
        "3.26",
        "1",
        "10",
        "148",
    ]


def test_cells_of_the_terminal() -> None:
    assert [short(n) for n in (0, 9999, 12345, 999_499, 1_234_567, 10**9)] == [
        "0", "9999", "12.3k", "999k", "1.23M", "1G",
    ]  # fmt: skip
    assert [percent(x) for x in (0, 0.0001, 0.01, 1.234, 31.66, 100)] == [
        "0.000", "<.001", "0.010", "1.23", "31.7", "100.0",
    ]  # fmt: skip
    assert fit("道路标志", 6) == "道路… " and fit("road", 6) == "road  "
    assert all(columns_of(fit("道路标志" * 9, n)) == n for n in range(3, 30))


# --- the page in a browser ---


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """Classes are switched, the table sorts, views change, and the page fetches nothing."""
    labels = {f"{part}/{number}": square() for part in "ab" for number in range(3)}
    labels["a/0"][40:44, 4:9] = 2
    root = folder_at(tmp_path / "set", labels, ["b <ground>", "a box", "c"], **SPLIT_FOLDERS)
    _, page = look(root, tmp_path)
    probe = """<script>
    const all = selector => [...document.querySelectorAll(selector)];
    const shown = (selector) => all(selector).filter(e => e.getClientRects().length).length;
    const names = () => all('.classes tbody th').map(cell => cell.textContent);
    const heads = all('.classes [aria-sort]'), before = names();
    heads[0].click(); heads[0].click(); const byName = names();
    heads[2].click(); const byShare = names();
    const edges = shown('.edge[data-layer="1"]');
    all('.classes [data-class="1"]')[0].click();
    const off = shown('.edge[data-layer="1"]'), others = shown('.edge[data-layer="0"]');
    const twin = all('.chips [data-class="1"]')[0].checked;
    all('[data-all="0"]')[0].click(); const none = shown('.edge, .area');
    all('[data-all="1"]')[0].click(); const again = shown('.edge[data-layer="1"]');
    all('[name=view][value=areas]')[0].click();
    const areas = [shown('.area'), shown('.edge')];
    const small = all('.grid .stack')[0].getBoundingClientRect().width;
    all('.grid .stack')[0].click();
    const large = all('.grid .stack')[0].getBoundingClientRect().width;
    const fetched = performance.getEntriesByType('resource').map(e => e.name);
    document.title = JSON.stringify({before, byName, byShare, edges, off, others, twin, none, again,
      areas, larger: large > small, wide: document.documentElement.scrollWidth > innerWidth,
      fetched: fetched.filter(name => !name.startsWith('data:'))});
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", probe), encoding="utf-8")
    for size in ("1200,800", "500,800"):
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
            "--disable-background-networking --disable-component-update "
            f"--window-size={size} --enable-logging=stderr --dump-dom"
        )
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        done = subprocess.run(
            [CHROMIUM, *flags.split(), profile, probed.as_uri()],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
        assert "CONSOLE" not in done.stderr
        found = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout)[1]))
        assert found["before"] == ["b <ground>", "a box", "c"]
        assert found["byName"] == ["a box", "b <ground>", "c"]
        assert found["byShare"] == ["b <ground>", "a box", "c"]
        assert found["edges"] == found["again"] == found["others"] == 6
        assert (found["off"], found["none"], found["twin"]) == (0, 0, False)
        assert found["areas"] == [13, 0]  # two classes on six images, a third on one
        assert found["larger"] or size == "500,800"  # there an image fills the page's width
        assert not found["wide"] and found["fetched"] == []


def test_a_jpeg_is_named_as_such(tmp_path: Path) -> None:
    root = folder_at(tmp_path, {"x": square(), "y": square((30, 40))}, ["a", "b"])
    write_jpg(root / "images/x.jpg", photo(3))
    (root / "images/x.png").unlink()
    total = make_report(open_source("folder", root)).total
    assert total.kinds == {"JPEG (3 x 8 bits)": 1, "PNG (3 x 8 bits)": 1}
    assert total.sizes == {(48, 64): 1, (30, 40): 1}


def test_an_image_of_two_splits_is_counted_once(tmp_path: Path, capsys) -> None:
    label = np.zeros((48, 64), np.uint8)
    label[20, 30] = 1  # a speck
    maps = {"a": label, "b": label, "c": label}
    root = folder_at(tmp_path / "set", maps, ["x", "y"], splits={"train": ".", "val": "."})
    (root / "images/a.png").write_bytes(b"junk")
    (root / "labels/b.png").write_bytes(b"")
    assert main(parse_args(f"--dataset folder --data-root {root} --out {tmp_path}/i.html "
                           "--workers 1".split())) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "problem: 1 image cannot be read." in said
    assert "problem: 1 label map cannot be read." in said
    assert "look: 2 specks in 2 images, 2 of one pixel." in said
    assert (tmp_path / "i.html").read_text().count(">c<") <= 2  # with its thumbnail once


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder with dataset.json"):
        open_source("folder", tmp_path / "nowhere")


def test_many_copies_are_one_short_row(tmp_path: Path) -> None:
    maps = {f"x{k:02d}": np.zeros((48, 64), np.uint8) for k in range(20)}
    root = folder_at(tmp_path / "set", maps, ["x"], splits={"train": "."})
    for path in sorted((root / "images").iterdir()):
        shutil.copy(root / "images/x00.png", path) if path.stem != "x00" else None
    report = make_report(open_source("folder", root), sheet=0)
    (row,) = next(one.names for one in report.findings if "copies within" in one.text)
    assert row == " = ".join(f"train: x{k:02d}" for k in range(8)) + " = 12 more"
