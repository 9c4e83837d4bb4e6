"""The data set folder: what is on disk comes out, splits stay, notes say what is unused."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.folder import describe, folder_at, loop_edges
from PIL import Image

from data import build_dataset
from data.edge_files import read_edge_groups
from data.edges import label_to_edges
from data.errors import InputError
from data.folder import notes as folder_notes
from data.folder import split_names
from data.gtlabel import __main__ as gtlabel
from data.image_io import write_png
from data.samples.class_uniform import class_index
from data.samples.edge import EdgeLabels

CLASSES = [{"name": "a", "ids": [3, 300]}, {"name": "b", "ids": [5]}]
VALUES = np.array([[3, 5, 9, 300], [0, 7, 5, 3]], np.uint16)  # 9 is ignored, 7 none, 0 background
ONE = {"train": ["."]}  # a split of all images
OBJECTS = np.array([[1, 1, 0, 2], [0, 0, 2, 0]], np.uint16)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def one_image(root: Path, values: np.ndarray = VALUES, *, objects: bool = False) -> Path:
    background = {"name": "rest", "ids": [0]}
    describe(root, CLASSES, background=background, none_ids=[7], ignored_ids=[9], splits=ONE)
    write_png(root / "images/x.png", np.full((*values.shape, 3), 50, np.uint8))
    write_png(root / "labels/x.png", values)
    if objects:
        write_png(root / "instances/x.png", OBJECTS)
    return root


def test_ids_of_16_bits_become_classes_none_and_ignored(tmp_path: Path) -> None:
    edge = build_dataset("folder", one_image(tmp_path), "all", task="edge")
    assert (edge.classes, edge.num_classes) == (("a", "b"), 2)
    label, region = edge.read_ground_truth(edge.records[0])
    assert label.tolist() == [[0, 1, 255, 0], [255, 255, 1, 0]]
    assert label.dtype == np.uint8
    # Ignored pixels are the rule's region 2; others have the region of their class.
    assert region.tolist() == [[4, 5, 2, 4], [259, 259, 5, 4]]
    seg = build_dataset("folder", tmp_path, "all", task="seg")
    assert seg.classes == ("a", "b", "rest")
    assert seg[0].label.tolist() == [[0, 1, 255, 0], [2, 255, 1, 0]]


def test_objects_of_one_class_are_regions_of_their_own(tmp_path: Path) -> None:
    dataset = build_dataset("folder", one_image(tmp_path, objects=True), "all")
    _, region = dataset.read_ground_truth(dataset.records[0])
    names: dict[int, set] = {}
    for key, number in zip(
        zip([0, 1, 9, 0, 8, 8, 1, 0], OBJECTS.ravel().tolist(), strict=True),
        region.ravel().tolist(),
        strict=True,
    ):
        names.setdefault(number, set()).add(key)
    assert all(len(keys) == 1 for keys in names.values())  # a region is of one class and object
    assert len(names) == 7
    assert names[2] == {(9, 0)}


def test_touching_objects_have_an_edge_and_ignored_pixels_none(tmp_path: Path) -> None:
    values = np.full((12, 20), 3, np.uint16)
    values[:, 15:] = 9
    values[0, 0] = 7
    objects = np.ones_like(values)
    objects[:, 8:] = 2
    one_image(tmp_path, values)
    write_png(tmp_path / "instances/x.png", objects)
    dataset = build_dataset("folder", tmp_path, "all", task="edge")
    labels = EdgeLabels.of(dataset)
    bits = labels.edges(labels.maps(0, dataset[0]))
    expected = np.zeros((12, 20), bool)
    expected[:, 6:10] = True  # two pixels on either side of the border between the objects
    expected[:3, 0] = expected[0, :3] = expected[1, 1] = True  # around the pixel without a class
    np.testing.assert_array_equal(bits == 1, expected)
    flat = EdgeLabels.of(dataset, instance_sensitive=False)
    expected[:, 6:10] = False
    np.testing.assert_array_equal(flat.edges(flat.maps(0, dataset[0])) == 1, expected)


def indexed(path: Path, ids: np.ndarray, mode: str) -> None:
    """A label map in colours: of three channels, with a palette, or a BMP under PNG's name."""
    palette = np.array([[0, 0, 0], [200, 10, 20], [10, 200, 20]], np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "palette":
        image = Image.fromarray(ids, "P")
        image.putpalette(palette.ravel().tolist())
        image.save(path)
    elif mode == "RGBA":
        alpha = np.full((*ids.shape, 1), 255, np.uint8)
        Image.fromarray(np.concatenate([palette[ids], alpha], axis=2)).save(path)
    else:
        Image.fromarray(palette[ids]).save(path, format="BMP" if mode == "BMP" else "PNG")


@pytest.mark.parametrize("mode", ["RGB", "palette", "RGBA", "BMP"])
def test_labels_in_colours(mode: str, tmp_path: Path, rng: np.random.Generator) -> None:
    ids = rng.integers(0, 3, (9, 11)).astype(np.uint8)
    classes = [
        {"name": "red", "color": [200, 10, 20]},
        {"name": "green", "colors": [[10, 200, 20]]},
    ]
    describe(tmp_path, classes, labels="colors", none_colors=[[0, 0, 0]], splits=ONE)
    write_png(tmp_path / "images/x.png", np.zeros((9, 11, 3), np.uint8))
    indexed(tmp_path / "labels/x.png", ids, mode)
    dataset = build_dataset("folder", tmp_path, "all")
    np.testing.assert_array_equal(dataset[0].label, np.array([255, 0, 1])[ids])
    assert dataset.notes() == []


def test_colours_of_a_jpeg_or_of_16_bits_are_refused(tmp_path: Path) -> None:
    describe(tmp_path, [{"name": "red", "color": [255, 0, 0]}], labels="colors")
    write_png(tmp_path / "images/x.png", np.zeros((9, 11, 3), np.uint8))
    dataset_at = tmp_path / "labels/x.png"
    dataset_at.parent.mkdir()
    for content, says in (
        (cv2.imencode(".jpg", np.zeros((9, 11, 3), np.uint8))[1], "is a JPEG, which may not keep"),
        (cv2.imencode(".png", np.zeros((9, 11, 3), np.uint16))[1], "has 16 bits in each channel"),
    ):
        dataset_at.write_bytes(content.tobytes())
        dataset = build_dataset("folder", tmp_path, "all")
        with pytest.raises(InputError, match=f"labels/x.png: {says}"):
            dataset[0]
        with pytest.raises(InputError, match=f"labels/x.png: {says}"):
            dataset.size(dataset.records[0])


def test_images_of_mixed_sizes_and_kinds(tmp_path: Path) -> None:
    describe(tmp_path, 1, none_ids=[255])
    (tmp_path / "images/deep er").mkdir(parents=True)
    pixels = np.full((20, 30, 3), 90, np.uint8)
    grey, deep = np.full((8, 9), 90, np.uint8), np.full((10, 40, 3), 90 * 257, np.uint16)
    files = {
        "a.JPG": pixels,
        "deep er/b.png": deep,
        "c.bmp": grey,
        "deep er/d.webp": pixels,
        "é.tiff": grey,
    }
    for name, image in files.items():
        ok, content = cv2.imencode(Path(name).suffix.lower(), image)
        assert ok
        (tmp_path / "images" / name).write_bytes(content.tobytes())
        write_png(
            (tmp_path / "labels" / name).with_suffix(".png"), np.zeros(image.shape[:2], np.uint8)
        )
    dataset = build_dataset("folder", tmp_path, "all")
    assert [r.name for r in dataset.records] == ["a", "c", "deep er/b", "deep er/d", "é"]
    for sample, record in zip(dataset, dataset.records, strict=True):
        assert sample.image.shape == (*dataset.size(record), 3)
        assert np.abs(sample.image.astype(int) - 90).max() <= 3
        assert sample.label.shape == sample.image.shape[:2]


def rotated(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 250  # left half light, as stored
    Image.fromarray(pixels).save(path, exif=exif, quality=100)


def test_upright_images_have_the_size_of_their_labels(tmp_path: Path) -> None:
    rotated(tmp_path / "images/x.jpg", 6)  # to be turned clockwise: the light half is above
    write_png(tmp_path / "labels/x.png", np.zeros((16, 8), np.uint8))
    dataset = build_dataset("folder", describe(tmp_path, 1, upright=True), "all")
    assert dataset.upright
    assert dataset.size(dataset.records[0]) == (16, 8)
    assert dataset[0].image[:6].min() > 240 > 10 > dataset[0].image[-6:].max()
    assert dataset.turned_images() == 0
    dataset = build_dataset("folder", describe(tmp_path, 1), "all")
    assert not dataset.upright
    assert dataset.turned_images() == 1
    with pytest.raises(InputError, match=r"the label is 8x16, but its image .*x\.jpg is 16x8"):
        dataset[0]


# --- splits ---


def with_shares(root: Path, names: list[str], **entries: object) -> dict[str, str]:
    """Name -> split, of images that need no content."""
    content = build_dataset("folder", describe(root, 1, **entries), "all").content
    found = {split: split_names(root, content, names, split) for split in ("train", "val", "test")}
    assert sorted(name for part in found.values() for name in part) == sorted(names)
    return {name: split for split, part in found.items() for name in part}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return one_image(tmp_path / "data")


def test_adding_images_moves_none_and_shares_are_kept_about(root: Path) -> None:
    names = [f"photo {n}" for n in range(3000)]
    before = with_shares(root, names[:1000])
    after = with_shares(root, names)
    assert all(after[name] == split for name, split in before.items())
    counts = Counter(after.values())
    assert counts["train"] == pytest.approx(2100, abs=100)
    assert counts["val"] == pytest.approx(450, abs=70)
    other = with_shares(root, names, seed=1)
    assert 0.3 < np.mean([other[name] != after[name] for name in names]) < 0.6


def test_the_shares_of_names_are_the_same_in_every_version(root: Path) -> None:
    import hashlib

    found = with_shares(root, ["a", "b/c", "é", *map(str, range(40))])
    for name, split in found.items():
        place = int(hashlib.sha256(f"0 {name}".encode()).hexdigest()[:16], 16) / 16**16
        assert split == ("train" if place < 0.7 else "val" if place < 0.85 else "test")


def test_images_of_a_folder_stay_together(root: Path) -> None:
    names = [f"video {v}/frame {n}" for v in range(60) for n in range(5)]
    found = with_shares(root, names, split_by="folder")
    for v in range(60):
        assert len({found[f"video {v}/frame {n}"] for n in range(5)}) == 1
    assert len(set(found.values())) == 3


def test_splits_as_folders_and_lists(tmp_path: Path, rng: np.random.Generator) -> None:
    root = folder_at(tmp_path, 2, rng, size=(16, 16), counts=(3, 2, 1))

    def names(split: str) -> list[str]:
        return [record.name for record in build_dataset("folder", root, split).records]

    train, val = [f"train/train {n}" for n in range(3)], [f"val/val {n}" for n in range(2)]
    assert names("train") == train
    assert names("trainval") == train + val
    assert names("all") == sorted([*train, *val, "test/test 0"])
    describe(root, 2, splits={"train": ["train", "test"], "val": "lists/val.txt"})
    (root / "lists").mkdir()
    (root / "lists/val.txt").write_text("val/val 1.png\nimages/val/val 0\n")
    assert names("train") == sorted([*train, "test/test 0"])
    assert names("val") == val
    (root / "lists/val.txt").write_text("val/val 9\n")
    with pytest.raises(InputError, match=r"val\.txt.*val/val 9.*no such image below images/"):
        names("val")
    (root / "lists/val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such list of images; dataset\.json"):
        names("val")
    with pytest.raises(InputError, match="has no split 'test'; expected one of train, val, train"):
        names("test")
    describe(root, 2, splits={"train": ["nowhere"]})
    with pytest.raises(InputError, match=r"split 'train' has no images; .*images/nowhere/"):
        names("train")
    with pytest.raises(InputError, match="has no split 'trainval'"):
        names("trainval")


def test_a_share_that_got_no_image_is_a_line(root: Path) -> None:
    describe(root, CLASSES)
    found = []
    for split in ("train", "val", "test"):
        try:
            build_dataset("folder", root, split)
            found.append(split)
        except InputError as error:
            assert f"the split '{split}' has no images; add images" in str(error)
    assert len(found) == 1


# --- what does not fit together ---


def test_files_that_are_missing(tmp_path: Path, rng: np.random.Generator) -> None:
    root = folder_at(tmp_path, 2, rng, size=(16, 16), objects=True)
    (root / "instances/train/train 1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 12 files are missing .*instances/train"):
        build_dataset("folder", root, "train")
    shutil.rmtree(root / "instances")
    (root / "labels/train/train 1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 4 images have no label map .*train 1\.png"):
        build_dataset("folder", root, "train")
    shutil.rmtree(root / "labels/test")
    assert build_dataset("folder", root, "test")[0].label is None
    shutil.rmtree(root / "labels")
    with pytest.raises(FileNotFoundError, match="no folder labels/ in"):
        build_dataset("folder", root, "val")
    shutil.rmtree(root / "images")
    with pytest.raises(FileNotFoundError, match="no folder images/ in"):
        build_dataset("folder", root, "val")


def test_two_images_of_one_name(root: Path) -> None:
    write_png(root / "images/y.png", np.zeros((2, 4, 3), np.uint8))
    (root / "images/y.png").rename(root / "images/x.jpg")
    with pytest.raises(InputError, match=r"x\.jpg.*x\.png|x\.png.*x\.jpg"):
        build_dataset("folder", root, "all")


# --- notes ---


def test_notes_say_what_is_not_used(tmp_path: Path, rng: np.random.Generator) -> None:
    root = folder_at(tmp_path, 4, rng, size=(16, 16), counts=(4, 2, 2), block=4)
    assert build_dataset("folder", root, "train").notes() == []
    describe(root, 2, splits={"train": ["train"], "val": ["val", "train"], "test": "gone.txt"})
    write_png(root / "labels/lonely.png", np.zeros((4, 4), np.uint8))
    maps = [np.unique(cv2.imread(str(p), -1)) for p in sorted((root / "labels/train").iterdir())]
    counts = Counter(int(value) for values in maps for value in values if value > 1)
    expected = ", ".join(
        f"id {value} ({count} image{'s' * (count > 1)})"
        for value, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    values, lonely, unusable, twice, idle = build_dataset("folder", root, "train").notes()
    assert values == (
        f"folder train: {expected} are named by no class and taken for none; add them to "
        'dataset.json: to a class, "none_ids" or "ignored_ids"'
    )
    assert lonely == "1 label map without image, not used: labels/lonely.png"
    assert unusable.endswith("gone.txt: no such list of images; dataset.json names it")
    assert idle == (
        "2 images in no split of dataset.json, not used: images/test/test 0.png, "
        "images/test/test 1.png"
    )
    assert twice.startswith("train and val share 4 images: train/train 0, train/train 1, ")


def test_values_are_counted_once_and_again_when_a_map_changes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(root, CLASSES, none_ids=[7], splits=ONE)
    dataset = build_dataset("folder", root, "all")
    first = dataset.notes()
    assert "id 0 (1 image), id 9 (1 image) are named by no class" in first[0]
    with monkeypatch.context() as patch:
        patch.setattr(folder_notes, "read_values", None)  # nothing is read again
        assert dataset.notes() == first
        describe(root, CLASSES, none_ids=[7, 0], splits=ONE)
        changed = build_dataset("folder", root, "all").notes()
        assert "id 9 (1 image) is named by no class and taken for none; add it to" in changed[0]
    write_png(root / "labels/x.png", np.full((2, 4), 77, np.uint16))
    os.utime(root / "labels/x.png", ns=(5, 5))
    assert "id 77 (1 image) is named" in dataset.notes()[0]


def test_unnamed_colours_are_counted(tmp_path: Path) -> None:
    describe(tmp_path, [{"name": "red", "color": [255, 0, 0]}], labels="colors", splits=ONE)
    picture = np.zeros((4, 40, 3), np.uint8)
    picture[0, :, 2] = np.arange(40)
    write_png(tmp_path / "images/x.png", picture)
    write_png(tmp_path / "labels/x.png", picture)
    note, absent = build_dataset("folder", tmp_path, "all").notes()
    assert absent.startswith("folder all: no label map has red, so it can neither be learned nor")
    assert note.startswith("folder all: [0, 0, 0] (1 image), [0, 0, 1] (1 image), ")
    assert "and 32 more are named by no class" in note


# --- label scripts and samplers ---


def label(root: Path, out: Path, *more: str) -> int:
    argv = ["--dataset", "folder", "--root", str(root), "--split", "all", "--out", str(out)]
    return gtlabel.main(gtlabel.parse_args([*argv, *more]))


def test_label_files_follow_dataset_json(root: Path, capsys: pytest.CaptureFixture) -> None:
    """In the data set's own folder too, where they are no label maps."""
    assert label(root, root, "--eval") == 0
    (bits,) = read_edge_groups(root / "labels/x_edge.png", 2)
    dataset = build_dataset("folder", root, "all", task="edge")
    assert [record.name for record in dataset.records] == ["x"]
    on_the_fly = label_to_edges(*dataset.read_ground_truth(dataset.records[0]), num_classes=2)
    np.testing.assert_array_equal(bits, on_the_fly)
    assert EdgeLabels.of(dataset, folder=root).files
    assert dataset.notes() == []
    # The same files mean something else now.
    describe(root, [CLASSES[1], CLASSES[0]], ignored_ids=[9], none_ids=[7, 0])
    dataset = build_dataset("folder", root, "all", task="edge")
    with pytest.raises(InputError, match="made before the ids or classes of folder changed"):
        EdgeLabels.of(dataset, folder=root)
    assert label(root, root, "--eval") == 0
    assert "1 made, 0 up to date" in capsys.readouterr().out
    (swapped,) = read_edge_groups(root / "labels/x_edge.png", 2)
    np.testing.assert_array_equal(swapped, (bits & 1) << 1 | bits >> 1)
    assert label(root, root, "--eval") == 0
    assert "all 1 are up to date" in capsys.readouterr().out


def test_a_list_of_a_split_is_not_replaced(root: Path) -> None:
    describe(root, CLASSES, splits={"all_of_it": "all.txt"})
    (root / "all.txt").write_text("x\n")
    with pytest.raises(InputError, match=r"files of the data set would be replaced.*all\.txt"):
        label(root, root)


def test_the_index_of_classes_follows_dataset_json(root: Path) -> None:
    first = class_index(build_dataset("folder", root, "all", task="seg"), 16)
    describe(root, [CLASSES[1], CLASSES[0]], background={"name": "rest", "ids": [0, 9]})
    second = class_index(build_dataset("folder", root, "all", task="seg"), 16)
    assert first[:, 0].tolist() == second[:, 0].tolist() == [0, 1, 2]
    assert first[0, 2:].tolist() == second[1, 2:].tolist()
    assert first[2].tolist() != second[2].tolist()


def test_edges_are_those_of_a_loop(tmp_path: Path, rng: np.random.Generator) -> None:
    root = folder_at(tmp_path, 5, rng, size=(24, 30), counts=(1, 1, 1), objects=True)
    dataset = build_dataset("folder", root, "val", task="edge")
    label_map, objects = (
        cv2.imread(str(root / kind / "val/val 0.png"), -1) for kind in ("labels", "instances")
    )
    labels = EdgeLabels.of(dataset)
    bits = labels.edges(labels.maps(0, dataset[0]))
    expected = loop_edges(label_map, objects, 5, 2)
    for k in range(5):
        np.testing.assert_array_equal(bits >> np.uint32(k) & 1 != 0, expected[k])


def test_the_example_of_the_documentation_is_read(tmp_path: Path) -> None:
    import data.dataset_file as module

    text = module.__doc__.split("\n\n")[1]
    content = module.parse_dataset_file(json.loads(text), "doc")
    assert [c.name for c in content.task_classes("seg")] == ["road", "car", "background"]


def test_lists_with_names_that_have_dots(tmp_path: Path) -> None:
    one_image(tmp_path)
    for name in ("1", "1.5"):
        shutil.copy(tmp_path / "images/x.png", tmp_path / f"images/{name}.png")
        shutil.copy(tmp_path / "labels/x.png", tmp_path / f"labels/{name}.png")
    describe(tmp_path, CLASSES, splits={"train": "t.txt"})
    (tmp_path / "t.txt").write_bytes(b"1.5\r\nimages/x.png\r\n")
    assert [r.name for r in build_dataset("folder", tmp_path, "train").records] == ["1.5", "x"]
    (tmp_path / "t.txt").write_text("1.5\n1.7\n")  # 1.7 is not 1
    with pytest.raises(InputError, match=r"line 2, .1.7.: there is no such image"):
        build_dataset("folder", tmp_path, "train")


def test_segmentation_of_one_class_needs_a_background(tmp_path: Path) -> None:
    one_image(tmp_path)
    describe(tmp_path, [{"name": "crack", "ids": [3]}], splits=ONE)
    with pytest.raises(InputError, match="'crack', and no background"):
        build_dataset("folder", tmp_path, "train", task="seg")
    assert build_dataset("folder", tmp_path, "train", task="edge").classes == ("crack",)
    background = {"name": "rest", "ids": [0]}
    describe(tmp_path, [{"name": "crack", "ids": [3]}], background=background, splits=ONE)
    assert build_dataset("folder", tmp_path, "train", task="seg").classes == ("crack", "rest")


def test_classes_that_a_split_lacks_are_said(tmp_path: Path) -> None:
    one_image(tmp_path)
    rows = [*CLASSES, {"name": "c", "ids": [11]}]
    describe(tmp_path, rows, none_ids=[7, 0], ignored_ids=[9], splits=ONE)
    assert build_dataset("folder", tmp_path, "train").notes() == [
        "folder train: no label map has c, so it can neither be learned nor scored there"
    ]
