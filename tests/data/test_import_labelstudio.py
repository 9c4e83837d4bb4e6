"""Label Studio's exports: JSON by hand from its documentation, and the maps that it means."""

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.importing import art, drawings, names, options, photo

from data.errors import InputError
from data.importer.annotations import Annotations
from data.importer.formats.labelstudio import read
from data.importer.formats.labelstudio_brush import decode


def pack(words: list[int], word_size: int = 8, sizes: tuple[int, ...] = (3, 4, 8, 16)) -> list[int]:
    """The coding as the README of rle-pack describes it, written bit by bit as text."""
    bits = f"{len(words):032b}{word_size - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)

    def length(count: int) -> str:
        kind = next(k for k, size in enumerate(sizes) if count <= 2**size)
        return f"{kind:02b}{count - 1:0{sizes[kind]}b}"

    singles: list[int] = []

    def flush() -> str:
        text = "".join(f"{word:0{word_size}b}" for word in singles)
        text = f"0{length(len(singles))}{text}" if singles else ""
        singles.clear()
        return text

    for word, run in itertools.groupby(words):
        count = len(list(run))
        if count == 1:
            singles.append(word)
            if len(singles) == 2 ** sizes[-1]:
                bits += flush()
            continue
        bits += flush()
        while count:
            part = min(count, 2 ** sizes[-1])
            bits += f"1{length(part)}{word:0{word_size}b}"
            count -= part
    bits += flush()
    bits += "0" * (-len(bits) % 8)
    return [int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)]


SAMPLE = [0] * 512 + [1] * 5 + [2] * 4 + [3] * 3 + [4, 4, 5, 4, 4] + [3] * 3 + [2] * 4 + [1] * 5
SAMPLE += [0] * (1024 - len(SAMPLE))


def test_the_packing_is_that_of_the_readme_of_rle_pack() -> None:
    """Its example has 30 bytes, and 20 with words of 3 bits and other sizes of lengths."""
    assert len(pack(SAMPLE)) == 30
    assert len(pack(SAMPLE, 3, (1, 2, 3, 9))) == 20
    assert list(decode(bytes(pack(SAMPLE)))) == SAMPLE
    assert list(decode(bytes(pack(SAMPLE, 8, (1, 2, 3, 9))))) == SAMPLE
    with pytest.raises(ValueError, match="words are no bytes"):
        decode(bytes(pack(SAMPLE, 3, (1, 2, 3, 9))))


@pytest.mark.parametrize("seed", range(6))
def test_packed_words_come_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = np.repeat(rng.integers(0, 256, 60), rng.integers(1, 40, 60)).tolist()
    words += rng.integers(0, 256, 300).tolist()  # single ones
    assert list(decode(bytes(pack(words)))) == words


def region(
    kind: str, label: str | list[str], size: tuple[int, int] = (20, 10), **value: Any
) -> Any:
    """A region of an image of 20x10 pixels."""
    labels = [label] if isinstance(label, str) else label
    return {
        "id": f"{kind}{label}",
        "type": f"{kind}labels",
        "from_name": "label",
        "to_name": "image",
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": value.pop("image_rotation", 0),
        "value": {**value, f"{kind}labels": labels},
    }


def task(*regions: Any, image: str = "/data/upload/3/0a1b2c3d-a.png", **annotation: Any) -> Any:
    return {
        "id": 7,
        "data": {"image": image},
        "annotations": [{"id": 1, "was_cancelled": False, "result": list(regions), **annotation}],
        "predictions": [],
    }


def load(tmp_path: Path, *tasks: Any, **flags: Any) -> Annotations:
    """Read tasks whose image is photos/a.png of 20x10 pixels."""
    photo(tmp_path / "photos/a.png", 20, 10)
    path = tmp_path / "project.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return read(path, options(tmp_path / "photos", **flags))


SQUARE = region("polygon", "car", points=[[10, 20], [40, 20], [40, 60], [10, 60]])  # x 2..8, y 2..6


def test_polygons_and_rectangles_in_the_order_of_the_regions(tmp_path: Path) -> None:
    roof = region("rectangle", "roof", x=25, y=40, width=50, height=50, rotation=0)  # 5..15, 4..9
    found = load(tmp_path, task(SQUARE, roof))
    assert names(found) == ["car", "roof"]
    assert found.upright is True
    drawn = drawings(found)["a"]
    expected = np.zeros((10, 20), int)
    expected[2:6, 2:8] = 1
    expected[4:9, 5:15] = 2
    np.testing.assert_array_equal(drawn.label, expected)
    np.testing.assert_array_equal(drawn.instance, expected)
    assert found.entries[0].size == (10, 20)


def test_a_rectangle_is_turned_clockwise_about_its_upper_left_corner(tmp_path: Path) -> None:
    """In pixels, not in percent: 8 x 3 pixels at (10, 1), turned by 60 degrees."""
    turned = region("rectangle", "car", x=50, y=10, width=40, height=30, rotation=60)
    label = drawings(load(tmp_path, task(turned)))["a"].label
    assert label.any()
    for row in range(10):
        for column in range(20):
            x, y = column + 0.5 - 10, row + 0.5 - 1
            along = x * 0.5 + y * np.sqrt(3) / 2
            across = y * 0.5 - x * np.sqrt(3) / 2
            assert label[row, column] == (0 < along < 8 and 0 < across < 3), (row, column)


def test_an_ellipse_has_radii_in_percent_of_both_sides(tmp_path: Path) -> None:
    ellipse = region("ellipse", "car", x=50, y=50, radiusX=20, radiusY=20, rotation=30)
    label = drawings(load(tmp_path, task(ellipse)))["a"].label
    turn = np.deg2rad(30)
    for row in range(10):
        for column in range(20):
            x, y = column + 0.5 - 10, row + 0.5 - 5
            along = (x * np.cos(turn) + y * np.sin(turn)) / 4
            across = (y * np.cos(turn) - x * np.sin(turn)) / 2
            assert label[row, column] == (along**2 + across**2 <= 1)


def rgba(
    mask: np.ndarray, color: tuple[int, int, int] = (255, 0, 120), alpha: int = 255
) -> list[int]:
    image = np.zeros((*mask.shape, 4), int)
    image[mask] = (*color, alpha)
    return image.ravel().tolist()


def test_brush_masks(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((10, 20), bool)
    mask[2:7, 3:15] = True
    noise = rng.random((10, 20)) < 0.2
    brush = region("brush", "car", format="rle", rle=pack(rgba(mask)))
    faint = region("brush", "dust", format="rle", rle=pack(rgba(noise, (1, 2, 3), 100)))
    drawn = drawings(load(tmp_path, task(brush, faint)))["a"]
    np.testing.assert_array_equal(drawn.label, np.where(noise, 2, mask))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_regions_of_images_that_were_turned(tmp_path: Path, turn: int) -> None:
    """Coordinates are percent of the turned image, which is turned back here by NumPy."""
    width, height = (10, 20) if turn % 180 else (20, 10)
    shown = np.zeros((height, width), int)
    shown[2:6, 1:4] = 1
    corners = [[1, 2], [4, 2], [4, 6], [1, 6]]
    points = [[100 * x / width, 100 * y / height] for x, y in corners]
    box = region("rectangle", "roof", image_rotation=turn, x=600 / width, y=800 / height,
                 width=200 / width, height=100 / height, rotation=0)  # fmt: skip
    shown[8:9, 6:8] = 2
    ellipse = region("ellipse", "sky", image_rotation=turn, x=500 / width, y=400 / height,
                     radiusX=250 / width, radiusY=80 / height, rotation=90)  # fmt: skip
    tall = np.mgrid[:height, :width] + 0.5
    shown[((tall[0] - 4) / 2.5) ** 2 + ((tall[1] - 5) / 0.8) ** 2 <= 1] = 3
    found = load(tmp_path, task(region("polygon", "car", points=points, image_rotation=turn), box,
                                ellipse))  # fmt: skip
    np.testing.assert_array_equal(drawings(found)["a"].label, np.rot90(shown, turn // 90))
    assert any("1 images that were turned" in note for note in found.notes)


def test_lines_and_points_need_a_width(tmp_path: Path) -> None:
    vertices = [{"id": "p1", "x": 10, "y": 50}, {"id": "p2", "x": 90, "y": 50, "prevPointId": "p1"}]
    road = region("vector", "road", vertices=vertices, closed=False)
    corners = [{"x": x, "y": y, "isBezier": y > 30} for x, y in SQUARE["value"]["points"]]
    closed = region("vector", "car", closed=True, vertices=corners)
    key = region("keypoint", "eye", x=75, y=25, width=0.3)
    found = load(tmp_path, task(closed, road, key))
    assert names(found) == ["car"]
    assert "1 regions of type 'vector': not drawn (without --line-width)" in found.notes
    assert "1 regions of type 'keypoint': not drawn (without --line-width)" in found.notes
    assert "1 vectors whose curves are drawn as straight lines" in found.notes
    expected = np.zeros((10, 20), int)
    expected[2:6, 2:8] = 1
    np.testing.assert_array_equal(drawings(found)["a"].label, expected)
    found = load(tmp_path, task(closed, road, key), line_width=2)
    assert names(found) == ["car", "eye", "road"]
    expected[4:6, 2:18] = 3
    expected[2, 14:16] = 2  # around (15, 2.5)
    label = drawings(found)["a"].label
    assert (label[4:6, 2:18] == 3).all()
    assert (label[2, 14:16] == 2).all()


def test_which_annotation_of_a_task_is_taken(tmp_path: Path) -> None:
    several = task(SQUARE, updated_at="2024-01-02T10:00:00.5Z")
    several["annotations"] += [
        {"result": [region("polygon", "newest", points=[[0, 0], [50, 0], [50, 50]])],
         "updated_at": "2024-03-01T10:00:00Z"},
        {"result": [SQUARE], "was_cancelled": True, "updated_at": "2024-04-01T10:00:00Z"},
    ]  # fmt: skip
    several["predictions"] = [{"result": [region("polygon", "guess", points=[[0, 0]])]}]
    undone = {**task(image="b.png"), "annotations": []}
    found = load(tmp_path, several, undone)
    assert names(found) == ["newest"]
    assert set(found.notes) == {
        "1 predictions: not taken",
        "1 cancelled annotations: not taken",
        "1 annotations of tasks with a newer one: not taken",
        "1 tasks without an annotation: not taken",
    }


def test_labels_of_regions(tmp_path: Path) -> None:
    two = region("polygon", ["car", "red"], points=SQUARE["value"]["points"])
    bare = {**region("polygon", [], points=[[0, 0], [9, 0], [9, 9]]), "id": "bare"}
    # <Labels> with <Rectangle>: the region twice, once without its label.
    value = {"x": 50, "y": 0, "width": 10, "height": 20, "rotation": 0}
    twice = [
        {**SQUARE, "id": "r", "type": "rectangle", "value": value},
        {**SQUARE, "id": "r", "type": "labels", "value": {**value, "labels": ["sign"]}},
    ]
    other = {"id": "c", "type": "choices", "value": {"choices": ["good"]}}
    # A choice for a region repeats its coordinates.
    chosen = {**SQUARE, "id": "r", "type": "choices", "value": {**value, "choices": ["bad"]}}
    found = load(
        tmp_path, task(two, bare, *twice, other, chosen, {"type": "relation", "from_id": "r"})
    )
    assert names(found) == ["car", "sign"]
    label = drawings(found)["a"].label
    assert label[0].tolist() == [0] * 10 + [2, 2] + [0] * 8
    assert set(found.notes) == {
        "1 regions with several labels, of which the first is taken",
        "1 regions without a label: not taken",
        "1 results of type 'choices': not taken",
        "1 results of type 'relation': not taken",
    }


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("/data/upload/3/0a1b2c3d-a.png", "a.png"),
        ("/data/upload/3/0a1b2c3d-a.png", "0a1b2c3d-a.png"),
        ("/data/local-files/?d=set%2Fcity/a%20b.png", "city/a b.png"),
        ("s3://bucket/city/a.png", "city/a.png"),
        ("https://example.com/x/Stra%C3%9Fe.png?sig=1", "Straße.png"),
        ("a.png", "deep/a.png"),
    ],
)
def test_addresses_of_images(tmp_path: Path, image: str, file: str) -> None:
    photo(tmp_path / "photos" / file, 20, 10)
    path = tmp_path / "project.json"
    path.write_text(json.dumps([task(SQUARE, image=image)]), encoding="utf-8")
    found = read(path, options(tmp_path / "photos"))
    assert [e.image for e in found.entries] == [tmp_path / "photos" / file]
    assert found.entries[0].name == file.removesuffix(".png")


def test_an_upload_is_first_looked_for_with_its_prefix(tmp_path: Path) -> None:
    photo(tmp_path / "photos/0a1b2c3d-a.png", 20, 10)
    found = load(tmp_path, task(SQUARE), task(SQUARE, image="none.png"))
    assert [e.name for e in found.entries] == ["0a1b2c3d-a"]
    assert list(found.missing) == ["none.png"]


def test_files_of_cloud_storage_by_their_coded_address(tmp_path: Path) -> None:
    coded = base64.urlsafe_b64encode(b"s3://bucket/a.png").decode()
    found = load(tmp_path, task(SQUARE, image=f"/tasks/1/resolve/?fileuri={coded}"))
    assert [e.name for e in found.entries] == ["a"]


def test_json_min(tmp_path: Path) -> None:
    sizes = {"original_width": 20, "original_height": 10}
    square = {**SQUARE["value"], **sizes}
    packed = pack(rgba(np.eye(10, 20, dtype=bool)))
    brush = {"format": "rle", "rle": packed, "brushlabels": ["dust"], **sizes}
    found = load(
        tmp_path,
        {"image": "/data/upload/3/0a1b2c3d-a.png", "id": 1, "label": [square], "annotator": 1,
         "updated_at": "2024-01-01T00:00:00Z"},
        {"image": "/data/upload/3/0a1b2c3d-a.png", "id": 1, "label": [square], "tag": [brush],
         "annotator": 2, "updated_at": "2024-01-02T00:00:00Z"},
    )  # fmt: skip
    assert names(found) == ["car", "dust"]
    expected = np.zeros((10, 20), int)
    expected[2:6, 2:8] = 1
    expected[range(10), range(10)] = 2
    np.testing.assert_array_equal(drawings(found)["a"].label, expected)
    assert "1 annotations of tasks with a newer one: not taken" in found.notes


def changed(**value: Any) -> Any:
    return task({**SQUARE, "value": {**SQUARE["value"], **value}})


WHOLE = pack(rgba(np.ones((10, 20), bool)))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("[{", "is no JSON"),
        ("[]", "expected a list of tasks"),
        ('"x"', "expected a list of tasks"),
        ([{"data": {"image": "a.png"}}], "has neither tasks with annotations"),
        ([{**task(SQUARE), "data": {"text": "x"}}], "0 fields that name an image"),
        ([{**task(SQUARE), "data": {"x": "a.png", "y": "b.png"}}], "2 fields that name an image"),
        ([task(SQUARE, image="data:image/png;base64,AA")], "holds the image itself"),
        ([task(SQUARE, was_cancelled=True)], "none of its 1 tasks has an annotation"),
        ([task(SQUARE, result={"a": 1})], "no list of regions"),
        ([changed(points=[[10, 20], [2000, 20], [3, 3]])], "a coordinate is '2000'"),
        ([changed(points=[[10, 20], [20], [3, 3]])], "[20] is no point"),
        ([changed(points=[[10, 20], ["a", 3], [3, 3]])], "a coordinate is 'a'"),
        ([changed(points=[])], "has no points"),
        ([task({**SQUARE, "image_rotation": 45})], "image_rotation is 45"),
        ([task({**SQUARE, "original_width": 0})], "the image's size is 0 x 10"),
        ([task(SQUARE, {**SQUARE, "id": "b", "original_width": 40})], "images of 2 sizes"),
        ([task(region("brush", "car", format="rle", rle=WHOLE, size=(21, 10)))],
         "its rle has 800 numbers, but its image of 21x10 has 840"),
        ([task(region("brush", "car", format="rle", rle=[1, 2]))], "its rle has 0 numbers"),
        ([task(region("brush", "car", format="rle", rle=[1, 256]))], "no byte"),
        ([task(region("brush", "car", format="mask", rle=WHOLE))], 'without format "rle"'),
        ([task(region("ellipse", "car", x=1, y=2, radiusX=3))], "is 'None'"),
    ],
)  # fmt: skip
def test_bad_exports(tmp_path: Path, tasks: Any, message: str) -> None:
    photo(tmp_path / "photos/a.png", 20, 10)
    path = tmp_path / "project.json"
    path.write_text(tasks if isinstance(tasks, str) else json.dumps(tasks))
    with pytest.raises(InputError) as caught:
        read(path, options(tmp_path / "photos"))
    assert message in str(caught.value)
    assert "project.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [7, 8, 12])
def test_a_brush_that_is_cut_off_fails_alone(tmp_path: Path, length: int) -> None:
    """Its head is whole, so that its image is found out when it is drawn."""
    cut = region("brush", "car", format="rle", rle=[*WHOLE[:length]])
    found = load(tmp_path, task(cut))
    with pytest.raises(
        InputError, match=r"project.json: task 7: region .*: its rle is wrong: it is cut off"
    ):
        drawings(found)


def test_an_outside_region_is_noted(tmp_path: Path) -> None:
    found = load(tmp_path, changed(points=[[10, 20], [140, 20], [40, 60]]))
    assert drawings(found)["a"].notes == {"objects that reach beyond the image": 1}


def test_maps_as_text_are_as_they_look() -> None:
    assert art(".1 x2").tolist() == [[0, 1], [255, 2]]


@pytest.mark.parametrize(
    "address",
    [
        "http://[abc",
        "http://[abc/zz.png",
        "/tasks/1/resolve/?fileuri=é",
        "/tasks/1/resolve/?fileuri=%FF",
        "/tasks/1/resolve/?fileuri=aHR0cDovL1thYmM=",  # http://[abc
    ],
)
def test_addresses_that_are_none_are_missing_images(tmp_path: Path, address: str) -> None:
    photo(tmp_path / "photos/a.png", 8, 6)
    value = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["car"]}
    results = [{"id": "r", "type": "polygonlabels", "value": value}]
    tasks = [{"id": 1, "data": {"image": address}, "annotations": [{"result": results}]}]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    assert read(path, options(tmp_path / "photos")).missing == [address]


def test_a_broken_image_fails_alone(tmp_path: Path) -> None:
    """Without a size in the export, the image's is needed."""
    photo(tmp_path / "photos/a.png", 8, 6)
    (tmp_path / "photos/b.png").write_bytes(b"junk")
    value = {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["car"]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"id": k, "image": f"{k}.png", "label": [value]} for k in "ba"]))
    found = read(path, options(tmp_path / "photos"))
    with pytest.raises(InputError, match=r"b.png: is no image that can be read"):
        found.entries[0].draw((6, 8))
    np.testing.assert_array_equal(
        found.entries[1].draw((6, 8)).label > 0,
        art("1111.... 1111.... 1111.... " + "........ " * 3),
    )
