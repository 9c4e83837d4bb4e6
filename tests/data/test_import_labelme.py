"""LabelMe's files, written by hand from its documentation, and the maps that they mean."""

import base64
import io

import numpy as np
import pytest
from helpers.exports import (
    class_ids,
    dataset_json,
    drawn,
    instance_map,
    label_map,
    labelme,
    labelme_shape,
    put_images,
    put_json,
    put_turned,
    run_import,
)
from PIL import Image

from data.errors import InputError


@pytest.fixture
def place(tmp_path):
    put_images(tmp_path / "sheets", "a.png")
    return tmp_path


def import_labelme(place, *flags, **sheets):
    for name, content in sheets.items():
        put_json(place / "sheets" / f"{name.replace('__', '/')}.json", content)
    return run_import("labelme", place / "sheets", "--out", place / "out", *flags)


def png_text(bits):
    file = io.BytesIO()
    Image.fromarray(np.array(bits, np.uint8) * 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_shapes_groups_and_reserved_labels(place):
    mask = labelme_shape("cat", [[1, 4], [2, 5]], "mask", mask=png_text([[1, 0], [1, 1]]))
    sheet = labelme(
        labelme_shape("dog", [[0, 0], [3, 0], [3, 2], [0, 2]], group=1),
        labelme_shape("cat", [[7, 3], [4, 1]], "rectangle"),
        labelme_shape("dog", [[7, 5], [8, 5], [8, 6], [7, 6]], group=1),
        mask,
        labelme_shape("__ignore__", [[0, 3], [1, 3], [1, 6], [0, 6]]),
        labelme_shape("_background_", [[4, 1], [5, 1], [5, 2], [4, 2]]),
    )
    assert import_labelme(place, a=sheet) == 0
    out = place / "out"
    # By name: cat is 1, dog is 2; 9 stands for ignored. Two dogs of one group are one object.
    label = np.where((found := label_map(out, "a")) == 255, 9, found)
    np.testing.assert_array_equal(label, drawn("""
        222.....
        222..11.
        ....111.
        9.......
        91......
        911....2
    """))  # fmt: skip
    np.testing.assert_array_equal(instance_map(out, "a"), drawn("""
        111.....
        111..22.
        ....222.
        ........
        .3......
        .33....1
    """))  # fmt: skip
    assert class_ids(out) == {"cat": [1], "dog": [2]}
    assert dataset_json(out)["upright"] is False  # as no image is to be turned


def test_circles_as_a_plain_loop(place):
    sheet = labelme(labelme_shape("dog", [[4, 3], [4, 1]], "circle"))
    assert import_labelme(place, a=sheet) == 0
    expected = [[(x + 0.5 - 4) ** 2 + (y + 0.5 - 3) ** 2 <= 4 for x in range(8)] for y in range(6)]
    np.testing.assert_array_equal(label_map(place / "out", "a"), expected)


def test_lines_and_points_need_a_width(place, capsys):
    sheet = labelme(
        labelme_shape("dog", [[0, 1], [8, 1]], "line"),
        labelme_shape("dog", [[1, 0], [1, 3], [3, 3]], "linestrip"),
        labelme_shape("dog", [[6, 5]], "point"),
    )
    with pytest.raises(InputError, match="no image has a pixel of any class"):
        import_labelme(place, a=sheet)
    assert not label_map(place / "out", "a").any()
    said = capsys.readouterr().out
    assert "shapes not drawn, as there is no --line-width: line (1), linestrip (1), point (1)" in (
        said
    )
    assert import_labelme(place, "--line-width", 2, a=sheet) == 0
    np.testing.assert_array_equal(label_map(place / "out", "a"), drawn("""
        11111111
        11111111
        1111....
        1111....
        .....11.
        .....11.
    """))  # fmt: skip


def test_version_3_and_paths_of_windows(place):
    """Version 3 had no shape_type, no group_id and no flags, and wrote "\\" on Windows."""
    put_images(place / "sheets/photos", "b.png")
    sheet = {
        "version": "3.16.7",
        "shapes": [{"label": "dog", "line_color": None, "fill_color": None,
                    "points": [[0, 0], [2, 0], [2, 2], [0, 2]]}],
        "lineColor": [0, 255, 0, 128],
        "imagePath": "..\\photos\\b.png",
        "imageData": None,
    }  # fmt: skip
    assert import_labelme(place, json__b=sheet) == 0
    assert (label_map(place / "out", "photos/b") == 1).sum() == 4


def test_an_embedded_image_is_written_out(place):
    (place / "sheets/a.png").unlink()
    pixels = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    sheet = labelme(labelme_shape("dog", [[0, 0], [2, 0], [2, 2]]), imageData=data)
    assert import_labelme(place, city__a=sheet) == 0
    np.testing.assert_array_equal(np.array(Image.open(place / "out/images/city/a.png")), pixels)
    damaged = labelme(imageData=data[:-200], image="b.png")
    assert import_labelme(place, city__b=damaged) == 2
    assert not (place / "out/images/city/b.png").exists()


def test_images_are_turned_as_labelme_turns_them(place):
    put_turned(place / "sheets/a.jpg", (8, 6), 6)
    (place / "sheets/a.png").unlink()
    sheet = labelme(labelme_shape("dog", [[0, 0], [8, 0], [8, 1], [0, 1]]), image="a.jpg")
    assert import_labelme(place, a=sheet) == 0
    assert dataset_json(place / "out")["upright"] is True
    assert label_map(place / "out", "a")[0].tolist() == [1] * 8


def test_what_is_not_taken_is_counted(place, capsys):
    put_json(place / "sheets/other.json", {"images": []})
    put_json(place / "sheets/list.json", [1])
    sheet = labelme(
        labelme_shape("dog", [[0, 0], [2, 0], [2, 2]]),
        labelme_shape("bird", [[0, 0], [2, 0], [2, 2]]),
        flags={"blurred": True, "night": False},
    )
    gone = labelme(image="gone.png")
    assert import_labelme(place, "--classes", "dog", a=sheet, z=gone) == 2
    said = capsys.readouterr()
    assert "labels not taken: bird (1)" in said.out
    assert "flags of images, which are no labels of pixels: blurred (1)" in said.out
    assert "that are none of LabelMe's: 2, such as" in said.out
    assert "gone.png of" in said.err


SQUARE = [[0, 0], [2, 0], [2, 2], [0, 2]]
WRONG_SHAPES = {
    "2 points": (labelme_shape("dog", SQUARE[:2]), "a polygon has 2 points; expected at least 3"),
    "rectangle of 3": (labelme_shape("dog", SQUARE[:3], "rectangle"), "expected 2 corners"),
    "circle of 3": (labelme_shape("dog", SQUARE[:3], "circle"), "its centre and a point"),
    "no points": (labelme_shape("dog", None), "no list of [x, y]"),
    "points of 3": (labelme_shape("dog", [[1, 2, 3]] * 3), "no list of [x, y]"),
    "points of text": (labelme_shape("dog", [["1", "2"]] * 3), "no list of [x, y]"),
    "huge": (labelme_shape("dog", [*SQUARE, [1e20, 0]]), "no place in an image"),
    "a cube": (labelme_shape("dog", SQUARE, "cuboid"), "is a 'cuboid'; expected a polygon"),
    "mask without base64": (labelme_shape("dog", [[0, 0], [1, 1]], "mask", mask="§"), "no base64"),
    "mask that is none": (labelme_shape("dog", [[0, 0], [1, 1]], "mask"), "no base64"),
    "mask of another size": (
        labelme_shape("dog", [[0, 0], [3, 1]], "mask", mask=png_text([[1, 1]])),
        "its mask is 2x1, and its box 4x2",
    ),
    "mask of text": (
        labelme_shape("dog", [[0, 0], [1, 1]], "mask", mask="aGVsbG8="),
        "is no image",
    ),
}


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_a_wrong_shape_fails_its_image_alone(place, capsys, case):
    shape, reason = WRONG_SHAPES[case]
    put_images(place / "sheets", "b.png")
    good = labelme(labelme_shape("dog", SQUARE), image="b.png")
    assert import_labelme(place, a=labelme(labelme_shape("dog", SQUARE), shape), b=good) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 1
    assert "a.json: shape 2 (dog): " in lines[0]
    assert reason in lines[0]
    assert (label_map(place / "out", "b") == 1).sum() == 4
    assert not (place / "out/images/a.png").exists()


WRONG_FILES = {
    "no JSON": ('{"shapes": ', "is no JSON"),
    "NaN": ('{"shapes": NaN}', "NaN is no number of JSON"),
    "shapes of text": (labelme(shapes="dog"), '"shapes" is no list'),
    "no path": (labelme(imagePath=None), '"imagePath" is'),
    "no label": (labelme({"points": SQUARE}), "shape 1 has no label"),
    "a height of text": (labelme(imageHeight="6"), "imageHeight and imageWidth are ('6', 8)"),
    "nothing of LabelMe's": ({"images": []}, "no JSON file of LabelMe below it"),
    "no labels": (labelme(), "there are no classes"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_refused_before_anything_is_written(place, case):
    content, reason = WRONG_FILES[case]
    with pytest.raises((InputError, FileNotFoundError)) as raised:
        import_labelme(place, a=content)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (place / "out").exists()


@pytest.mark.parametrize("kind", [3, ["polygon"]])
def test_a_kind_that_is_no_name_fails_its_image_alone(place, capsys, kind):
    put_images(place / "sheets", "b.png")
    good = {**labelme(labelme_shape("dog", [[0, 0], [3, 0], [3, 2], [0, 2]])), "imagePath": "b.png"}
    bad = labelme({**labelme_shape("dog", [[0, 0], [3, 0], [3, 2]]), "shape_type": kind})
    assert import_labelme(place, a=bad, b=good) == 2
    assert "a.json: shape 1 has the shape_type" in capsys.readouterr().err
    assert (label_map(place / "out", "b") == 1).sum() == 6


@pytest.mark.parametrize("path", ["a.exe", "a", "x/a.b.c/"])
def test_an_embedded_image_has_an_ending_that_is_found(place, path):
    """imagePath is any text; an image called a.exe would be in no data set."""
    text = base64.b64encode((place / "sheets/a.png").read_bytes()).decode()
    (place / "sheets/a.png").unlink()
    sheet = labelme(labelme_shape("dog", [[0, 0], [3, 0], [3, 2], [0, 2]]))
    assert import_labelme(place, a={**sheet, "imagePath": path, "imageData": text}) == 0
    assert (place / "out/images/a.png").is_file()


def test_a_file_as_source_without_images(place):
    put_json(place / "sheets/a.json", labelme())
    with pytest.raises(
        FileNotFoundError, match=r"a.json: is a file; expected a folder \(labelme wi"
    ):
        run_import("labelme", place / "sheets/a.json", "--out", place / "out")
