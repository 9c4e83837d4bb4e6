"""Folders of label maps: ids, colours, ADE20K's layout; made with Pillow."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.importing import art, drawings, names, options, photo, save_map
from PIL import Image

from data import build_dataset
from data.errors import InputError
from data.importer.__main__ import main
from data.importer.annotations import IGNORED_ID
from data.importer.args import parse_args, reader_options
from data.importer.formats import ade, colors, ids

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 200, 0)
PALETTE = {"roof": RED, "sky": BLUE}
TABLE = np.array([(0, 0, 0), RED, BLUE, GREEN], np.uint8)


def folder(tmp_path: Path, maps: dict[str, np.ndarray]) -> Path:
    """maps/NAME.png, with images of their sizes."""
    for name, array in maps.items():
        save_map(tmp_path / f"maps/{name}.png", array)
        photo(tmp_path / f"photos/{name}.jpg", array.shape[1], array.shape[0])
    return tmp_path / "maps"


def test_ids_with_names(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a": art("1x. 777"), "city/b": art("11 11 17")})
    found = ids.read(source, options(tmp_path / "photos", class_names={"roof": 7, "road": 1}))
    assert names(found) == ["roof", "road"]
    assert found.covers
    drawn = drawings(found)
    np.testing.assert_array_equal(drawn["a"].label, art("2x. 111"))
    np.testing.assert_array_equal(drawn["city/b"].label, art("22 22 21"))
    assert drawn["a"].instance is None
    assert drawn["a"].notes == {"pixels of id 0, which has no name": 1}


def test_ids_without_names_are_all_classes(tmp_path: Path) -> None:
    big = np.array([[300, 7, 7], [255, 0, 300]], np.uint16)
    source = folder(tmp_path, {"a": art("1x. 777"), "b": big})
    found = ids.read(source, options(tmp_path / "photos"))
    assert names(found) == ["id 0", "id 1", "id 7", "id 300"]
    drawn = drawings(found)
    np.testing.assert_array_equal(drawn["a"].label, art("2x1 333"))
    np.testing.assert_array_equal(drawn["b"].label, art("433 x14"))


def test_255_can_be_a_class(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a": art("1x. 777")})
    found = ids.read(source, options(tmp_path / "photos", class_names={"crack": 255}))
    np.testing.assert_array_equal(drawings(found)["a"].label, art(".1. ..."))


def test_a_background_is_no_class_unless_it_is_chosen(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a": art("1.2 11.")})
    given = {"Background": 0, "road": 1}
    found = ids.read(source, options(tmp_path / "photos", class_names=given))
    assert (names(found), found.covers) == (["road"], False)
    np.testing.assert_array_equal(drawings(found)["a"].label, art("1.x 11."))
    chosen = options(tmp_path / "photos", class_names=given, classes=("road", "Background"))
    found = ids.read(source, chosen)
    assert (names(found), found.covers) == (["road", "Background"], True)
    np.testing.assert_array_equal(drawings(found)["a"].label, art("12. 112"))


def test_colours_of_a_palette(tmp_path: Path) -> None:
    maps = {"a": TABLE[art("112 332")], "b": TABLE[art("11")]}
    found = colors.read(folder(tmp_path, maps), options(tmp_path / "photos", palette=PALETTE))
    assert [(e.name, e.color) for e in found.classes] == [("roof", RED), ("sky", BLUE)]
    assert found.covers
    drawn = drawings(found)
    np.testing.assert_array_equal(drawn["a"].label, art("112 ..2"))
    assert drawn["a"].notes == {"pixels of [0, 200, 0], which has no name": 2}
    assert drawn["b"].notes == {}


def test_colours_that_are_ignored_or_left_out(tmp_path: Path) -> None:
    palette = {"roof": RED, "sky": BLUE, "void": (0, 0, 0), "tree": GREEN}
    source = folder(tmp_path, {"a": TABLE[art("1.2 332")]})
    given = options(
        tmp_path / "photos", palette=palette, classes=("tree", "roof"), ignored=("void",)
    )
    found = colors.read(source, given)
    np.testing.assert_array_equal(drawings(found)["a"].label, art("2x. 11."))
    assert set(found.notes) == {
        "labels not taken: sky",
        "labels whose pixels are ignored: void",
    }


def test_without_a_palette_the_message_has_one(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a": TABLE[art("111 332")], "b": TABLE[art("222 222")]})
    with pytest.raises(InputError, match="needs --palette FILE") as caught:
        colors.read(source, options(tmp_path / "photos"))
    message = str(caught.value)
    assert json.loads(message[message.index("{") :]) == {
        "name 1": list(BLUE),
        "name 2": list(RED),
        "name 3": list(GREEN),
    }
    assert "3 colours in 2 of 2 maps" in message


def test_many_colours_of_one_image_are_counted_together(tmp_path: Path) -> None:
    array = np.zeros((1, 40, 3), np.uint8)
    array[0, :, 1] = np.repeat(np.arange(10), 4)
    array[0, :7, 1] = 0
    found = colors.read(
        folder(tmp_path, {"a": array}), options(tmp_path / "photos", palette={"x": (0, 9, 0)})
    )
    notes = drawings(found)["a"].notes
    assert notes["pixels of [0, 0, 0], which has no name"] == 7
    assert sum(notes.values()) == 36
    assert notes["pixels of other colours without a name"] == 36 - 7 - 4 * 4
    assert len(notes) == 6


def test_maps_with_a_suffix(tmp_path: Path) -> None:
    """As CamVid's 0001_L.png; only if it makes a name of all."""
    for name in ("0001", "city/0002"):
        photo(tmp_path / f"photos/{name}.png", 2, 1)
        save_map(tmp_path / f"maps/{name}_L.png", art("12"))
    found = ids.read(tmp_path / "maps", options(tmp_path / "photos"))
    assert [entry.name for entry in found.entries] == ["0001", "city/0002"]


def test_maps_without_image_and_a_map_of_palette_indices(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a": art("12")})
    save_map(source / "b.png", art("12"))
    save_map(source / "a.png", art("21"), [0, 0, 0, 1, 2, 3, 4, 5, 6])
    found = ids.read(source, options(tmp_path / "photos"))
    assert [Path(name).name for name in found.missing] == ["b.png"]
    np.testing.assert_array_equal(drawings(found)["a"].label, art("21"))


INFO = """Idx\tRatio\tTrain\tVal\tStuff\tName
1\t0.1576\t11664\t1172\t1\twall
2\t0.1072\t6046\t612\t1\tbuilding, edifice
3\t0.0878\t8265\t796\t1\tscreen, silver screen
4\t0.05\t1\t1\t0\tscreen, CRT screen
"""


def ade20k(tmp_path: Path) -> Path:
    for name, array in {
        "training/ADE_train_1": art("12. 433"),
        "validation/ADE_val_1": art("12"),
    }.items():
        save_map(tmp_path / f"annotations/{name}.png", array)
        photo(tmp_path / f"images/{name}.jpg", array.shape[1], array.shape[0])
    return tmp_path / "annotations"


def test_ade(tmp_path: Path) -> None:
    source = ade20k(tmp_path)
    (tmp_path / "objectInfo150.txt").write_text(INFO)
    found = ade.read(tmp_path, options(tmp_path / "images"))
    assert len(found.entries) == len(ade.read(source, options(tmp_path / "images")).entries)
    assert names(found) == ["wall", "building", "screen, silver screen", "screen, CRT screen"]
    assert found.covers
    assert [e.name for e in found.entries] == ["training/ADE_train_1", "validation/ADE_val_1"]
    drawn = drawings(found)
    np.testing.assert_array_equal(drawn["training/ADE_train_1"].label, art("12. 433"))
    assert not drawn["training/ADE_train_1"].notes  # 0 is none


def test_a_list_of_names_begins_at_the_first_id(tmp_path: Path) -> None:
    """Of ade 0 is none, so the list's first line is class 1."""
    names = tmp_path / "names.txt"
    names.write_text("wall\ndoor\n")
    for kind, expected in (("ids", {"wall": 0, "door": 1}), ("ade", {"wall": 1, "door": 2})):
        words = [kind, "maps", "--images", "photos", "--out", "out", "--class-names", str(names)]
        given = reader_options(parse_args(words), tmp_path, in_place=False)
        assert given.class_names == expected


def test_ade_by_class_names_and_without(tmp_path: Path) -> None:
    source = ade20k(tmp_path)
    given = options(tmp_path / "images", class_names={"none": 0, "wall": 1, "door": 3})
    found = ade.read(source, given)
    assert names(found) == ["wall", "door"]
    drawn = drawings(found)["training/ADE_train_1"]
    np.testing.assert_array_equal(drawn.label, art("1.. .22"))
    assert drawn.notes == {f"pixels of id {k}, which has no name": 1 for k in (2, 4)}
    assert names(ade.read(source, options(tmp_path / "images"))) == [
        f"class {k}" for k in (1, 2, 3, 4)
    ]


def test_in_place(tmp_path: Path) -> None:
    """Nothing is drawn: dataset.json says what the maps have."""
    source = folder(tmp_path, {"a": art("1.3 1x2")})
    photos = tmp_path / "photos"
    given = {"background": 0, "road": 1, "roof": 2, "void": 9}
    found = ids.read(source, options(photos, class_names=given, ignored=("void",), in_place=True))
    content = found.dataset_file
    assert content is not None and not content.colored
    assert [(c.name, c.values) for c in content.classes] == [("road", (1,)), ("roof", (2,))]
    assert content.background is not None and content.background.values == (0,)
    assert (content.none, set(content.ignored)) == ((), {9, IGNORED_ID})
    assert "id 3 has no name: 1 pixels in 1 images" in found.notes
    save_map(source / "a.png", TABLE[art("112 332")])
    found = colors.read(source, options(photos, palette=PALETTE, in_place=True))
    content = found.dataset_file
    assert content is not None and content.colored
    assert [(c.name, c.color, c.values) for c in content.classes] == [
        ("roof", RED, (0xFF0000,)),
        ("sky", BLUE, (0x0000FF,)),
    ]
    assert found.notes == ["[0, 200, 0] has no name: 2 pixels in 1 images"]


RGBA = np.dstack([TABLE[art("112 332")], np.full((2, 3), 255, np.uint8)])


def test_opaque_alpha_is_no_matter(tmp_path: Path) -> None:
    found = colors.read(
        folder(tmp_path, {"a": RGBA}), options(tmp_path / "photos", palette=PALETTE)
    )
    np.testing.assert_array_equal(drawings(found)["a"].label, art("112 ..2"))
    clear = RGBA.copy()
    clear[0, :2, 3] = 0
    folder(tmp_path, {"a": clear})
    with pytest.raises(InputError, match=r"a\.png: 2 pixels are transparent"):
        drawings(found)


@pytest.mark.parametrize(
    ("reader", "array", "flags", "message"),
    [
        (ids.read, RGBA, {}, "is in colours (4 channels)"),
        (ids.read, TABLE[art("12")], {}, "is in colours (3 channels)"),
        (ids.read, art("12"), {"class_names": {"a": 1, "b": 1}}, "'a' and 'b' are both id 1"),
        (ids.read, art("12"), {"class_names": {"a": 1}, "classes": ("c",)}, "has no label 'c'"),
        (colors.read, TABLE[art("12")], {"palette": {"a": RED, "b": RED}},
         "'a' and 'b' are both [255, 0, 0]"),
        (ade.read, TABLE[art("12")], {}, "is in colours (3 channels)"),
    ],
)  # fmt: skip
def test_bad_maps(
    tmp_path: Path, reader: object, array: np.ndarray, flags: dict[str, object], message: str
) -> None:
    source = folder(tmp_path, {"a": array})
    assert callable(reader)
    with pytest.raises(InputError) as caught:
        reader(source, options(tmp_path / "photos", **flags))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_colours_of_a_jpeg_and_of_16_bits(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a": TABLE[art("12")]})
    photo(tmp_path / "b.jpg", 2, 1).replace(source / "a.png")
    given = options(tmp_path / "photos", palette=PALETTE)
    with pytest.raises(InputError, match=r"a\.png: is a JPEG, which may not keep colours"):
        colors.read(source, given)
    cv2.imwrite(str(source / "a.png"), np.zeros((1, 2, 3), np.uint16))
    with pytest.raises(InputError, match="has 16 bits in each channel"):
        colors.read(source, given)
    (source / "a.png").unlink()
    Image.new("RGB", (2, 1)).save(source / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"has no label maps.*a\.jpg, but only lossless"):
        colors.read(source, given)


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a": art("12")})
    with pytest.raises(FileNotFoundError, match="no such folder of label maps"):
        ids.read(tmp_path / "none", options(tmp_path / "photos"))
    (tmp_path / "photos/a.jpg").rename(tmp_path / "photos/z.jpg")
    with pytest.raises(
        FileNotFoundError, match=r"none of the 1 label maps.*such as a, .*such as z"
    ):
        ids.read(source, options(tmp_path / "photos"))


def test_a_map_of_another_size(tmp_path: Path) -> None:
    found = ids.read(folder(tmp_path, {"a": art("12")}), options(tmp_path / "photos"))
    with pytest.raises(InputError, match="the map is 2x1, but its image is 5x4"):
        found.entries[0].draw((4, 5))


def test_the_file_of_ades_names(tmp_path: Path) -> None:
    source = ade20k(tmp_path)
    for text, message in (("wall\n", "no columns Idx and Name"), (INFO + "x\ty\n", "is no line")):
        (tmp_path / "objectInfo150.txt").write_text(text)
        with pytest.raises(InputError, match=message):
            ade.read(source, options(tmp_path / "images"))


@pytest.mark.parametrize("kind", ["ids", "colors"])
@pytest.mark.parametrize("in_place", [False, True])
def test_the_command_makes_the_same_of_both(tmp_path: Path, kind: str, in_place: bool) -> None:
    """Maps that are copied in the importer's ids, and maps that stay as they are."""
    names_file = tmp_path / "names.json"
    named = {"roof": 1, "sky": 2} if kind == "ids" else {"roof": RED, "sky": BLUE}
    names_file.write_text(json.dumps(named))
    source = tmp_path / ("mine/labels" if in_place else "maps")
    images = tmp_path / ("mine/images" if in_place else "photos")
    for name, label in (("a", art("112 332")), ("b c", art("122 ..1"))):
        save_map(source / f"{name}.png", label if kind == "ids" else TABLE[label])
        photo(images / f"{name}.png", 3, 2)
    flag = "--class-names" if kind == "ids" else "--palette"
    words = [kind, source, "--images", images, "--out", tmp_path / "mine", flag, names_file]
    assert main(parse_args(list(map(str, words)))) == 0
    data = build_dataset("folder", tmp_path / "mine", "all")
    assert data.classes == ("roof", "sky")
    labels = {sample.name: sample.label for sample in data}
    np.testing.assert_array_equal(labels["a"], [[0, 0, 1], [255, 255, 1]])
    np.testing.assert_array_equal(labels["b c"], [[0, 1, 1], [255, 255, 0]])


def test_names_with_dots(tmp_path: Path) -> None:
    """1.1.png is the map of 1.1.jpg, and never of 1.jpg."""
    source = folder(tmp_path, {"1": art("11"), "1.1": art("22")})
    found = ids.read(source, options(tmp_path / "photos"))
    assert {e.name: e.image.name for e in found.entries} == {"1": "1.jpg", "1.1": "1.1.jpg"}
    (tmp_path / "photos/1.1.jpg").unlink()
    found = ids.read(source, options(tmp_path / "photos"))
    assert [entry.name for entry in found.entries] == ["1"]
    assert list(found.missing) == [str(source / "1.1.png")]


def test_two_ids_of_one_name(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a": art("12")})
    with pytest.raises(InputError, match="--class-names: two values have the name 'road'"):
        ids.read(source, options(tmp_path / "photos", class_names={"road": 1, "road ": 2}))


def test_maps_that_stay_have_to_be_pngs(tmp_path: Path) -> None:
    """`data.folder` would not see others."""
    photo(tmp_path / "images/a.jpg", 2, 1)
    (tmp_path / "labels").mkdir()
    Image.fromarray(np.array([[1, 2]], np.uint8)).save(tmp_path / "labels/a.bmp")
    with pytest.raises(InputError, match=r"a.bmp: label maps that stay as they are have to be PNG"):
        main(
            parse_args(f"ids {tmp_path}/labels --images {tmp_path}/images --out {tmp_path}".split())
        )
    assert not (tmp_path / "dataset.json").exists()
