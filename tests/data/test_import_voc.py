"""PASCAL VOC's layout, made with Pillow by its documentation, and the maps that it means."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.importing import art, drawings, names, options, photo, save_map

from data import build_dataset
from data.errors import InputError
from data.importer.__main__ import main
from data.importer.annotations import Annotations
from data.importer.args import parse_args
from data.importer.formats.voc import read
from data.sbd import CLASSES

# Of 2007_000032.png: 1 is (128, 0, 0), 15 (192, 128, 128), 255 (224, 224, 192).
PALETTE = [0] * 768
for number, (_, color) in enumerate(CLASSES, 1):
    PALETTE[3 * number : 3 * number + 3] = color
PALETTE[765:] = (224, 224, 192)
CLASS_MAP = "..xx. .x11x .x11x ..xx5"
OBJECT_MAP = "..xx. .x12x .x12x ..xx3"


def voc(tmp_path: Path, *listed: str, count: int = 3) -> Path:
    """A root with images 2007_000000, ...; listed: "train: 2007_000000 ..."."""
    root = tmp_path / "VOC2012"
    for number in range(count):
        name = f"2007_{number:06d}"
        photo(root / f"JPEGImages/{name}.jpg", 5, 4)
        save_map(root / f"SegmentationClass/{name}.png", art(CLASS_MAP), PALETTE)
        save_map(root / f"SegmentationObject/{name}.png", art(OBJECT_MAP), PALETTE)
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for line in listed:
        split, _, rest = line.partition(": ")
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in rest.split(" ")))
    return root


def load(root: Path, **flags: object) -> Annotations:
    return read(root, options(root / "JPEGImages", **flags))


def test_palette_maps_with_their_objects(tmp_path: Path) -> None:
    found = load(voc(tmp_path))
    assert names(found) == [name for name, _ in CLASSES]
    assert [entry.color for entry in found.classes] == [color for _, color in CLASSES]
    assert not found.covers
    drawn = drawings(found)["2007_000001"]
    np.testing.assert_array_equal(drawn.label, art(CLASS_MAP))
    np.testing.assert_array_equal(drawn.instance, art(OBJECT_MAP.replace("x", ".")))
    assert drawn.notes == {}
    assert [e.size for e in found.entries] == [(4, 5)] * 3
    assert any("those of PASCAL VOC" in note for note in found.notes)


def test_splits_from_the_lists(tmp_path: Path) -> None:
    """trainval repeats train and val; test names images whose maps are not published."""
    root = voc(
        tmp_path,
        "train: 2007_000000",
        "val: 2007_000001",
        "trainval: 2007_000000 2007_000001",
        "test: 2008_000001 2008_000002",
    )
    found = load(root)
    assert [entry.split for entry in found.entries] == ["train", "val", None]
    assert "test.txt: 2 names have no label map" in found.notes
    assert any("1 images are in no list" in n and "2007_000002" in n for n in found.notes)


def test_labels_that_labelme_writes(tmp_path: Path) -> None:
    """class_names.txt, whose first line is the background."""
    root = voc(tmp_path)
    (root / "class_names.txt").write_text("_background_\nwall\n\nroof\ndoor\nsign\npole\n")
    found = load(root)
    assert names(found) == ["wall", "roof", "door", "sign", "pole"]
    np.testing.assert_array_equal(drawings(found)["2007_000000"].label, art(CLASS_MAP))


def test_other_ids_are_ignored_and_counted(tmp_path: Path) -> None:
    found = load(voc(tmp_path), class_names={"wall": 1, "floor": 9})
    drawn = drawings(found)["2007_000000"]
    np.testing.assert_array_equal(drawn.label, art(CLASS_MAP.replace("5", "x")))
    assert drawn.notes == {"pixels of id 5, which has no name": 1}


def test_chosen_classes(tmp_path: Path) -> None:
    found = load(voc(tmp_path), classes=("bottle",))
    np.testing.assert_array_equal(
        drawings(found)["2007_000000"].label, art("..xx. .x..x .x..x ..xx1")
    )
    assert any(note.startswith("labels not taken: aeroplane, bicycle") for note in found.notes)


LABEL_MAP = """# label:color_rgb:parts:actions
background:0,128,0::
car:250,50,83::
street light:51,221,255:head,hand:jumping
"""


@pytest.mark.parametrize("kind", ["colours", "palette", "grey"])
def test_label_maps_of_cvat(tmp_path: Path, kind: str) -> None:
    """Its masks have "1 or 3 channels"; the background has the colour that the list says."""
    root = voc(tmp_path, count=0)
    (root / "labelmap.txt").write_text(LABEL_MAP)
    indices = art("..1 221")
    colors = [0, 128, 0, 250, 50, 83, 51, 221, 255] + [0] * 759
    photo(root / "JPEGImages/a b.jpg", 3, 2)
    path = root / "SegmentationClass/a b.png"
    table = np.array(colors[:9], np.uint8).reshape(3, 3)
    save_map(path, table[indices] if kind == "colours" else indices,
             colors if kind == "palette" else None)  # fmt: skip
    found = load(root)
    assert names(found) == ["car", "street light"]
    assert found.classes[1].color == (51, 221, 255)
    drawn = drawings(found)["a b"]
    np.testing.assert_array_equal(drawn.label, indices)
    assert drawn.instance is None


def test_maps_in_colours_without_a_list_are_of_voc(tmp_path: Path) -> None:
    root = voc(tmp_path, count=1)
    table = np.array(PALETTE, np.uint8).reshape(256, 3)
    save_map(root / "SegmentationClass/2007_000000.png", table[art(CLASS_MAP)])
    save_map(root / "SegmentationObject/2007_000000.png", table[art(OBJECT_MAP)])
    drawn = drawings(load(root))["2007_000000"]
    np.testing.assert_array_equal(drawn.label, art(CLASS_MAP))
    # Objects in the order of their colours: (0, 128, 0), (128, 0, 0), (128, 128, 0).
    expected = art(OBJECT_MAP.replace("x", ".").replace("1", "9").replace("2", "1"))
    expected[expected == 9] = 2
    np.testing.assert_array_equal(drawn.instance, expected)


def test_an_image_that_is_gone_is_missing(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "JPEGImages/2007_000001.jpg").unlink()
    found = load(root)
    assert [e.name for e in found.entries] == ["2007_000000", "2007_000002"]
    assert [Path(name).name for name in found.missing] == ["2007_000001.png"]


def write(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)


@pytest.mark.parametrize(
    ("listed", "break_it", "message"),
    [
        ("train: 2007_000000 2009_9", lambda r: None, "1 of 2 names have no map"),
        ("val: 2007_000000", lambda r: write(r, "ImageSets/Segmentation/train.txt", "2007_000000"),
         "val.txt: 2007_000000 is in the list of train, too"),
        ("train: 2007_000000", lambda r: write(r, "labelmap.txt", "car:1,2\n"),
         "expected NAME:R,G,B:PARTS:ACTIONS"),
        ("train: 2007_000000", lambda r: write(r, "labelmap.txt", "car:1,2,300::\n"), "above 255"),
        ("train: 2007_000000", lambda r: write(r, "labelmap.txt", "car:1,2,3::\nbus:1,2,3::\n"),
         "'car' and 'bus' are both [1, 2, 3]"),
        ("train: 2007_000000", lambda r: write(r, "class_names.txt", "car\nbus\ncar\n"),
         "two values have the name 'car'"),
        ("train: 2007_000000", lambda r: (r / "SegmentationObject/2007_000001.png").unlink(),
         "1 of 3 maps are missing"),
        ("train: 2007_000000",
         lambda r: (r / "SegmentationClass/2007_000001.png").write_bytes(b"GIF89a"),
         "2007_000001.png"),
        ("train: 2007_000000", lambda r: photo(r / "SegmentationObject/2007_000002.jpg", 5, 4)
         .replace(r / "SegmentationObject/2007_000002.png"), "is a JPEG"),
        ("train: 2007_000000", lambda r: write(r, "class_names.txt", "car\n") or save_map(
            r / "SegmentationClass/2007_000000.png", np.zeros((4, 5, 3), np.uint8)),
         "is in colours"),
    ],
)  # fmt: skip
def test_bad_folders(tmp_path: Path, listed: str, break_it: object, message: str) -> None:
    root = voc(tmp_path, listed)
    assert callable(break_it)
    break_it(root)
    with pytest.raises(InputError) as caught:
        load(root)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no folder SegmentationClass/"):
        read(tmp_path, options(tmp_path))
    (tmp_path / "VOC2012/empty/SegmentationClass").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"has no label maps \(.png\)"):
        load(voc(tmp_path, count=0) / "empty")


def test_a_map_of_another_size_fails_alone(tmp_path: Path) -> None:
    root = voc(tmp_path, count=1)
    save_map(root / "SegmentationObject/2007_000000.png", art("12 34"), PALETTE)
    with pytest.raises(InputError, match="the map is 2x2, but its image is 5x4"):
        drawings(load(root))


def test_the_command_finds_the_images_itself(tmp_path: Path) -> None:
    root = voc(tmp_path, "train: 2007_000000 2007_000001", "val: 2007_000002")
    out = tmp_path / "mine"
    assert main(parse_args(["voc", str(root), "--out", str(out)])) == 0
    data = build_dataset("folder", out, "val")
    assert [sample.name for sample in data] == ["val/2007_000002"]
    assert data.classes == tuple(name for name, _ in CLASSES)
    expected = art(CLASS_MAP).astype(int) - 1
    expected[(expected < 0) | (expected == 254)] = 255
    np.testing.assert_array_equal(data[0].label, expected)
    assert build_dataset("folder", out, "val", task="seg").classes[-1] == "background"


def test_instances_go_when_the_objects_go(tmp_path: Path) -> None:
    """Instance maps of an earlier run would cut the new labels at old places."""
    rows = np.array([[0, 1, 1, 0], [0, 1, 1, 0]], np.uint8)
    for part in ("SegmentationClass", "SegmentationObject"):
        save_map(tmp_path / f"voc/{part}/a.png", rows)
    photo(tmp_path / "voc/JPEGImages/a.jpg", 4, 2)
    argv = f"voc {tmp_path}/voc --out {tmp_path}/out".split()
    assert main(parse_args(argv)) == 0
    assert (tmp_path / "out/instances/a.png").is_file()
    shutil.rmtree(tmp_path / "voc/SegmentationObject")
    save_map(tmp_path / "voc/SegmentationClass/a.png", rows[:, ::-1])
    assert main(parse_args(argv)) == 0
    assert not (tmp_path / "out/instances/a.png").exists()
