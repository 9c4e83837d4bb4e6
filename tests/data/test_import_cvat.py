"""CVAT's exports: XML written by hand from its documentation, and the maps that it means."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.importing import art, drawings, names, options, photo, save_map

from data.errors import InputError
from data.importer.annotations import Annotations
from data.importer.formats.cvat import read
from data.importer.shapes import NO_PIXEL, OUTSIDE

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>4</id><name>t</name><mode>annotation</mode><labels>
    <label><name>car</name><color>#2080c0</color><type>any</type><attributes></attributes></label>
    <label><name>tree</name><color>#40ff00</color><type>any</type>
      <attributes><attribute><name>kind</name></attribute></attributes></label>
    <label><name>good_frame</name><color>#000000</color><type>tag</type></label>
    <label><name>s1</name><type>skeleton</type></label>
    <label><name>1</name><type>points</type><parent>s1</parent></label>
  </labels></task><dumped>2024-01-01</dumped></meta>
"""


def export(tmp_path: Path, images: str, head: str = HEAD) -> Path:
    path = tmp_path / "annotations.xml"
    path.write_text(f"{head}{images}</annotations>", encoding="utf-8")
    return path


def one(
    tmp_path: Path, shapes: str, width: int = 8, height: int = 6, **flags: object
) -> Annotations:
    photo(tmp_path / "photos/a.png", width, height)
    text = f'<image id="0" name="a.png" width="{width}" height="{height}">{shapes}</image>'
    return read(export(tmp_path, text), options(tmp_path / "photos", **flags))


POLYGON = (
    '<polygon label="car" source="manual" occluded="0" '
    'points="1.00,1.00;5.00,1.00;5.00,4.00;1.00,4.00" z_order="{}"></polygon>'
)
MASK = (
    '<mask label="tree" source="manual" occluded="0" rle="1, 2, 1, 2" left="3" top="2" width="3" '
    'height="2" z_order="{}"></mask>'
)


@pytest.mark.parametrize(
    ("polygon", "mask", "expected"),
    [
        (0, 1, "........ .1111... .11122.. .11122.. ........ ........"),
        (0, 0, "........ .1111... .11122.. .11122.. ........ ........"),  # the later one
        (2, -1, "........ .1111... .11112.. .11112.. ........ ........"),
    ],
)
def test_z_order_then_the_order_of_the_file(
    tmp_path: Path, polygon: int, mask: int, expected: str
) -> None:
    found = one(tmp_path, POLYGON.format(polygon) + MASK.format(mask))
    assert names(found) == ["car", "tree"]
    assert [entry.color for entry in found.classes] == [(32, 128, 192), (64, 255, 0)]
    assert found.upright is True
    assert not found.covers
    drawn = drawings(found)["a"]
    np.testing.assert_array_equal(drawn.label, art(expected))
    assert len(np.unique(drawn.instance)) == 3
    assert found.entries[0].size == (6, 8)


def test_a_box_is_turned_clockwise_about_its_centre(tmp_path: Path) -> None:
    box = '<box label="car" xtl="3" ytl="4" xbr="15" ybr="8" rotation="30.00" z_order="0"/>'
    label = drawings(one(tmp_path, box, 20, 14))["a"].label
    for row in range(14):
        for column in range(20):
            x, y = column + 0.5 - 9, row + 0.5 - 6
            along = x * np.cos(np.pi / 6) + y * np.sin(np.pi / 6)  # turned back, anticlockwise
            across = y * np.cos(np.pi / 6) - x * np.sin(np.pi / 6)
            assert label[row, column] == (abs(along) < 6 and abs(across) < 2), (row, column)


def test_an_ellipse(tmp_path: Path) -> None:
    ellipse = '<ellipse label="tree" cx="9.5" cy="6" rx="7" ry="3" rotation="340.0" z_order="0"/>'
    label = drawings(one(tmp_path, ellipse, 20, 14))["a"].label
    turn = np.deg2rad(-20)
    for row in range(14):
        for column in range(20):
            x, y = column + 0.5 - 9.5, row + 0.5 - 6
            along = (x * np.cos(turn) + y * np.sin(turn)) / 7
            across = (y * np.cos(turn) - x * np.sin(turn)) / 3
            assert label[row, column] == 2 * (along**2 + across**2 <= 1)


def test_the_mask_of_the_documentation(tmp_path: Path) -> None:
    """A disk of 13 x 15 pixels, from docs.cvat.ai, counted out by hand."""
    mask = (
        '<mask label="car" source="manual" occluded="0" rle="3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, '
        '12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3" left="2" top="1" '
        'width="13" height="15" z_order="0"></mask>'
    )
    counts = [
        3,
        5,
        7,
        7,
        5,
        9,
        3,
        11,
        2,
        11,
        2,
        12,
        1,
        12,
        1,
        26,
        1,
        12,
        1,
        12,
        2,
        11,
        3,
        9,
        5,
        7,
        7,
        5,
        3,
    ]
    expected = np.zeros((17, 17), int)
    place = 0
    for number, count in enumerate(counts):
        for _ in range(count):
            expected[1 + place // 13, 2 + place % 13] = number % 2
            place += 1
    np.testing.assert_array_equal(drawings(one(tmp_path, mask, 17, 17))["a"].label, expected)


def test_what_is_not_drawn_is_counted(tmp_path: Path) -> None:
    shapes = (
        POLYGON.format(0)
        + '<polyline label="tree" points="0,0;8,6" occluded="0" z_order="3"></polyline>'
        + '<points label="wheel" points="1,1;6,4" occluded="0" z_order="5"></points>'
        + '<tag label="good_frame" source="manual"></tag><tag label="good_frame"/>'
        + '<cuboid label="car" xtl1="1"/><blob label="car"/>'
        + '<skeleton label="s1"><points label="1" outside="0" points="1,1"></points></skeleton>'
    )
    found = one(tmp_path, shapes)
    assert names(found) == ["car", "tree"]
    notes = "\n".join(found.notes)
    for line in (
        "1 <polyline> of 'tree': not drawn without --line-width",
        "1 <points> of 'wheel': not drawn without --line-width",
        "2 <tag> of 'good_frame': not drawn",
        "1 <cuboid> of 'car': not drawn",
        "1 <blob> of 'car': unknown, so not drawn",
        "1 <skeleton> of 's1': not drawn",
    ):
        assert line in notes
    found = one(tmp_path, shapes, line_width=2)
    assert names(found) == ["car", "tree", "wheel"]
    label = drawings(found)["a"].label
    assert label[1, 1] == 3 and label[4, 6] == 3 and label[0, 0] == 3  # disks of two pixels
    assert label[2, 3] == 2  # the line, from corner to corner


def test_groups_are_one_object_and_outside_is_noted(tmp_path: Path) -> None:
    box = '<box label="car" xtl="{}" ytl="0" xbr="{}" ybr="2" group_id="{}" z_order="0"/>'
    found = one(tmp_path, box.format(0, 2, 7) + box.format(3, 5, 7) + box.format(6, 12, 0)
                + '<polygon label="car" points="1,4;3,4" z_order="0"/>')  # fmt: skip
    drawn = drawings(found)["a"]
    assert drawn.instance is not None
    assert drawn.instance[0].tolist() == [1, 1, 0, 1, 1, 0, 2, 2]
    assert drawn.notes == {OUTSIDE: 1, NO_PIXEL: 1}


def test_labels_are_chosen_and_ignored(tmp_path: Path) -> None:
    found = one(tmp_path, POLYGON.format(0) + MASK.format(1), classes=("tree",), ignored=("car",))
    assert names(found) == ["tree"]
    expected = art("........ .xxxx... .xxx11.. .xxx11.. ........ ........")
    np.testing.assert_array_equal(drawings(found)["a"].label, expected)
    found = one(tmp_path, POLYGON.format(0) + MASK.format(1), classes=("tree",))
    assert any("car (1)" in note for note in found.notes)


def test_images_by_path_subsets_and_missing_ones(tmp_path: Path) -> None:
    image = '<image id="{}" name="{}" subset="{}" width="8" height="6">{}</image>'
    for name in ("city/Straße 1.png", "b.png"):
        photo(tmp_path / "photos" / name, 8, 6)
    text = (
        image.format(0, "set/city/Straße 1.png", "Train", POLYGON.format(0))
        + image.format(1, "b.png", "Validation", "")
        + image.format(2, "gone.png", "default", POLYGON.format(0))
    )
    found = read(export(tmp_path, text), options(tmp_path / "photos"))
    assert [(e.name, e.split) for e in found.entries] == [("city/Straße 1", "train"), ("b", "val")]
    assert list(found.missing) == ["gone.png"]
    assert any(note.startswith("1 images have no object") for note in found.notes)
    assert not drawings(found)["b"].label.any()


def test_a_zip_is_read_without_unpacking(tmp_path: Path) -> None:
    expected = drawings(one(tmp_path, POLYGON.format(0)))["a"].label
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.write(tmp_path / "annotations.xml", "../../annotations.xml")
    (tmp_path / "annotations.xml").unlink()
    before = sorted(tmp_path.rglob("*"))
    found = read(tmp_path / "task.zip", options(tmp_path / "photos"))
    np.testing.assert_array_equal(drawings(found)["a"].label, expected)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_and_a_mask_archive(tmp_path: Path) -> None:
    one(tmp_path, POLYGON.format(0))
    assert len(read(tmp_path, options(tmp_path / "photos")).entries) == 1
    masks = tmp_path / "masks"
    (masks / "ImageSets/Segmentation").mkdir(parents=True)
    (masks / "ImageSets/Segmentation/default.txt").write_text("a\n")
    (masks / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:10,20,30::\nroof: x:40,0,0::\n"
    )
    colors = np.zeros((6, 8, 3), np.uint8)
    colors[1:4, 1:5] = (10, 20, 30)
    colors[0, 7] = (40, 0, 0)
    save_map(masks / "SegmentationClass/a.png", colors)
    colors[1:4, 3:5] = (0, 128, 0)
    save_map(masks / "SegmentationObject/a.png", colors)
    found = read(masks, options(tmp_path / "photos"))
    assert names(found) == ["car", "roof: x"]
    assert found.entries[0].split is None
    drawn = drawings(found)["a"]
    expected = art(".......2 .1111... .1111... .1111... ........ ........")
    np.testing.assert_array_equal(drawn.label, expected)
    assert drawn.instance is not None
    assert drawn.instance[0].tolist() == [0] * 7 + [3]
    assert drawn.instance[1].tolist() == [0, 2, 2, 1, 1, 0, 0, 0]


GOOD = POLYGON.format(0)
BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">
<!ENTITY lol1 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]>
<annotations><version>&lol1;</version>"""
OUTER = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;'
)
IMAGE = '<image id="0" name="a.png" width="8" height="6">{}</image>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + '<image id="0" name="a.png" width="8" height="6"><polyg', "no complete XML"),
        ("", "no complete XML"),
        (BOMB + IMAGE.format(GOOD) + "</annotations>", "defines entities"),
        (OUTER + "</annotations>", "defines entities"),
        ("<dataset><images/></dataset>", "begins with <dataset>"),
        (HEAD + '<track id="0" label="car"><box frame="0"/></track></annotations>', "tracks"),
        (HEAD + "</annotations>", "no <image>"),
        (HEAD + '<image id="0" name="a.png" height="6"/></annotations>', "has no width"),
        (HEAD + '<image id="3" width="8" height="6"/></annotations>', "image '3' has no name"),
        (HEAD + '<image id="0" name="a" width="0" height="6"/></annotations>', "width is 0"),
        (GOOD.replace("5.00,4.00", "5.00"), "is no point"),
        (GOOD.replace("5.00,4.00", "nan,4.00"), "a point is 'nan'"),
        (GOOD.replace("5.00,4.00", "5e9,4.00"), "a point is '5e9'"),
        (GOOD.replace('points="1.00,1.00;5.00,1.00;5.00,4.00;1.00,4.00"', ""), "has no points"),
        (GOOD.replace('label="car" ', ""), "has no label"),
        (MASK.format(0).replace("1, 2, 1, 2", "1, 2, 1"), "has 4 pixels, but its box 3x2 has 6"),
        (MASK.format(0).replace("1, 2, 1, 2", "1, -2, 1"), "no list of whole numbers"),
        (MASK.format(0).replace('left="3"', 'left="3.5"'), "left is 3.5"),
        ('<box label="car" xtl="1" ytl="1" xbr="3" z_order="0"/>', "has no ybr"),
        ('<ellipse label="car" cx="1" cy="1" rx="x" ry="2"/>', "rx is 'x'"),
    ],
)  # fmt: skip
def test_bad_exports(tmp_path: Path, text: str, message: str) -> None:
    photo(tmp_path / "photos/a.png", 8, 6)
    whole = text.startswith(("<?xml", "<dataset")) or not text
    path = tmp_path / "annotations.xml"
    path.write_text(text if whole else f"{HEAD}{IMAGE.format(text)}</annotations>")
    with pytest.raises(InputError) as caught:
        read(path, options(tmp_path / "photos"))
    assert message in str(caught.value)
    assert "annotations.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_archives_and_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        archive.writestr("SegmentationClass/a.png", b"x")
    with pytest.raises(InputError, match=r"holds 0 files annotations.xml.*unzip it first"):
        read(tmp_path / "masks.zip", options(tmp_path))
    damaged = bytearray(
        (tmp_path / "masks.zip")
        .read_bytes()
        .replace(b"SegmentationClass/a.png", b"annotations.xml........")
    )
    (tmp_path / "bad.zip").write_bytes(damaged)
    with pytest.raises(InputError, match=r"bad\.zip"):
        read(tmp_path / "bad.zip", options(tmp_path))
    with pytest.raises(FileNotFoundError, match="has neither"):
        read(tmp_path, options(tmp_path))
    with pytest.raises(FileNotFoundError, match="no such"):
        read(tmp_path / "none.xml", options(tmp_path))


def test_without_defusedxml_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("defusedxml", "defusedxml.common", "defusedxml.ElementTree"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="needs defusedxml: pip install defusedxml"):
        one(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("rle", "side", "says"),
    [("9" * 5000, 4, "no list of whole numbers"), ("16", 10**6, "its box is 1000000x1000000")],
)
def test_masks_of_impossible_sizes(tmp_path: Path, rle: str, side: int, says: str) -> None:
    mask = f'<mask label="car" rle="{rle}" left="0" top="0" width="{side}" height="{side}"/>'
    with pytest.raises(InputError, match=says):
        one(tmp_path, mask)
