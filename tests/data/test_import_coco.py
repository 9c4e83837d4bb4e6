"""COCO's files, written by hand from its documentation, and the maps that they mean."""

import cv2
import numpy as np
import pytest
from helpers.exports import (
    box,
    class_ids,
    coco,
    coco_object,
    dataset_json,
    drawn,
    instance_map,
    label_map,
    put_images,
    put_json,
    run_import,
)
from pycocotools import mask as pycocotools

from data.errors import InputError
from data.image_io import write_png
from data.importer.formats.coco_rle import run_lengths, uncompress


@pytest.fixture
def place(tmp_path):
    put_images(tmp_path / "photos", "a.png")
    return tmp_path


def import_coco(place, content, *flags):
    source = put_json(place / "instances.json", content)
    return run_import("coco", source, "--images", place / "photos", "--out", place / "out", *flags)


def test_polygons_and_both_kinds_of_run_lengths(place, capsys):
    # Run lengths go down the columns: four pixels without, the last two of the first column and the
    # first of the second one with, and the rest without.
    counts = [4, 3, 41]
    content = coco(
        coco_object(1, [box(2, 1, 5, 3)]),
        coco_object(2, [box(4, 2, 7, 5)], category=3),
        coco_object(3, {"size": [6, 8], "counts": counts}),
        coco_object(4, [box(7, 0, 8, 1), box(7, 5, 8, 6)]),
    )
    assert import_coco(place, content) == 0
    # Classes in the file's order, dog is 1 and cat is 2; a later object lies over an earlier one.
    label = """
        .1.....1
        ..111...
        ..11222.
        ....222.
        1...222.
        1......1
    """
    instance = """
        .3.....4
        ..111...
        ..11222.
        ....222.
        3...222.
        3......4
    """
    out = place / "out"
    np.testing.assert_array_equal(label_map(out, "a"), drawn(label))
    np.testing.assert_array_equal(instance_map(out, "a"), drawn(instance))
    assert class_ids(out) == {"dog": [1], "cat": [2]}
    assert dataset_json(out)["background"] == {
        "name": "background",
        "color": [0, 0, 0],
        "ids": [0],
    }
    assert dataset_json(out)["ignored_ids"] == [255]
    said = capsys.readouterr().out
    assert "dog          3       1" in said
    assert f"next: python -m data.inspect --dataset folder --data-root {out}" in said


def test_crowds_are_drawn_first_and_below(place):
    content = coco(
        coco_object(1, [box(0, 0, 4, 4)]),
        coco_object(2, {"size": [6, 8], "counts": [0, 48]}, category=3, iscrowd=1),
    )
    assert import_coco(place, content) == 0
    expected = np.full((6, 8), 2)
    expected[:4, :4] = 1
    np.testing.assert_array_equal(label_map(place / "out", "a"), expected)
    # The crowd is one region, and the dog another.
    assert sorted(np.unique(instance_map(place / "out", "a"))) == [1, 2]


def test_images_without_annotations_and_boxes_without_outlines(place, capsys):
    put_images(place / "photos", "b.png", "c.png")
    content = coco(
        coco_object(1, [box(0, 0, 2, 2)]),
        coco_object(2, [], bbox=[1, 1, 3, 3]),
        coco_object(3, None, category=3, bbox=[1, 1, 3, 3]),
        names=("a.png", "b.png"),
    )
    assert import_coco(place, content) == 0
    out = place / "out"
    assert not label_map(out, "b").any()
    assert not instance_map(out, "b").any()
    assert not (out / "labels/c.png").exists()
    said = capsys.readouterr().out
    assert "annotations with a box and no outline, not drawn: cat (1), dog (1)" in said
    assert "1 images that no annotation names are left out" in said
    assert "c.png" in said


def panoptic(place, segments, info):
    content = coco(names=("a.png",))
    content["categories"] = [
        {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
        {"id": 9, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
    ]
    content["annotations"] = [{"image_id": 1, "file_name": "a.png", "segments_info": info}]
    ids = np.array(segments, np.int64)
    pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2)
    write_png(place / "instances/a.png", pixels.astype(np.uint8))
    return content


SEGMENTS = np.repeat([[0, 7, 7 + 256, 500000]], 6, axis=0).repeat(2, axis=1)
INFO = [
    {"id": 7, "category_id": 1, "iscrowd": 0},
    {"id": 263, "category_id": 1, "iscrowd": 1},
    {"id": 500000, "category_id": 9, "iscrowd": 0},
]


def test_panoptic_segments(place):
    assert import_coco(place, panoptic(place, SEGMENTS, INFO)) == 0
    out = place / "out"
    np.testing.assert_array_equal(label_map(out, "a"), drawn("..111122\n" * 6))
    np.testing.assert_array_equal(instance_map(out, "a"), drawn("..1122..\n" * 6))
    found = dataset_json(out)
    # All pixels are labelled: what has no segment is no class, in segmentation either.
    assert "background" not in found
    assert found["none_ids"] == [0]
    assert found["classes"][1] == {"name": "sky", "color": [70, 130, 180], "ids": [2]}


def test_panoptic_pngs_are_looked_at(place, capsys):
    assert import_coco(place, panoptic(place, SEGMENTS, INFO)) == 0
    with pytest.raises(InputError, match="no image could be imported"):
        import_coco(place, panoptic(place, SEGMENTS, INFO[:2]), "--out", place / "other")
    assert "does not list: 500000" in capsys.readouterr().err
    twice = [*INFO, dict(INFO[0])]
    with pytest.raises(InputError, match="two segments have one id"):
        import_coco(place, panoptic(place, SEGMENTS, twice))
    (place / "instances/a.png").unlink()
    (place / "instances").rmdir()
    with pytest.raises(FileNotFoundError, match="expected the PNGs of instances"):
        import_coco(place, coco({"image_id": 1, "segments_info": INFO}))


WRONG_SHAPES = {
    "3 coordinates": ([[1, 1, 5]], "has 3 coordinates; expected an even number"),
    "2 points": ([[1, 1, 5, 5]], "has 2 points; expected at least 3"),
    "no point": ([[]], "has 0 points"),
    "a number of text": ([[1, 1, 5, 5, "2", 3]], "something that is no number"),
    "true": ([[1, 1, 5, 5, True, 3]], "something that is no number"),
    "flat": ([1, 1, 5, 5, 2, 3], "neither a list of polygons nor an RLE"),
    "text": ("1 1 5 5", "neither a list of polygons nor an RLE"),
    "huge": ([[1, 1, 5, 5, 1e30, 3]], "no place in an image"),
    "huge whole": ([[1, 1, 5, 5, 10**400, 3]], "no place in an image"),
    "NaN": ([[1, 1, 5, 5, float("nan"), 3]], "no place in an image"),
    "short RLE": ({"size": [6, 8], "counts": [4, 3, 40]}, "sum to 47; expected 6 x 8 = 48 pixels"),
    "negative RLE": ({"size": [6, 8], "counts": [-4, 3, 49]}, "are negative"),
    "RLE of another image": ({"size": [8, 6], "counts": [48]}, "its RLE is 6x8, and its image, by"),
    "no size": ({"counts": [48]}, "has the size None"),
    "no counts": ({"size": [6, 8]}, "has no counts"),
    "cut text": ({"size": [6, 8], "counts": "04P"}, "is cut off"),
    "no text of an RLE": ({"size": [6, 8], "counts": "é !"}, "characters that"),
    "a long number": ({"size": [6, 8], "counts": "o" * 12 + "0"}, "too large"),
}


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_a_wrong_outline_fails_its_image_alone(place, capsys, case):
    segmentation, reason = WRONG_SHAPES[case]
    put_images(place / "photos", "b.png")
    content = coco(
        coco_object(4, segmentation), coco_object(5, [box(0, 0, 2, 2)], image=2),
        names=("a.png", "b.png"),
    )  # fmt: skip
    assert import_coco(place, content) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 1
    assert "instances.json: annotation 4: " in lines[0]
    assert reason in lines[0]
    assert (label_map(place / "out", "b") == 1).sum() == 4
    assert not (place / "out/images/a.png").exists()


def changed(change):
    content = coco(coco_object(1, [box(0, 0, 2, 2)]), coco_object(2, [box(2, 2, 4, 4)]))
    change(content)
    return content


WRONG_FILES = {
    "no JSON": ('{"images": [', "is no JSON"),
    "a list": ([1, 2], 'no list of objects "images"'),
    "no annotations": (changed(lambda c: c.pop("annotations")), '"annotations"'),
    "images of text": (changed(lambda c: c.update(images=["a"])), '"images"'),
    "no images": (changed(lambda c: c.update(images=[])), "has no images"),
    "no categories": (changed(lambda c: c.update(categories=[])), "has no categories"),
    "two annotations of an id": (
        changed(lambda c: c["annotations"][1].update(id=1)),
        "annotation 1: two annotations have this id",
    ),
    "two images of an id": (
        changed(lambda c: c["images"].append(dict(c["images"][0]))),
        "two images have the id 1",
    ),
    "two categories of an id": (
        changed(lambda c: c["categories"][1].update(id=18)),
        "two categories have the id 18",
    ),
    "an unknown category": (
        changed(lambda c: c["annotations"][1].update(category_id=4)),
        "annotation 2: its category_id 4 is that of no category",
    ),
    "an unknown image": (
        changed(lambda c: c["annotations"][1].update(image_id=77)),
        "annotation 2: its image_id 77 is that of no image",
    ),
    "an annotation without an id": (
        changed(lambda c: c["annotations"][1].pop("id")),
        "annotation 2 of the list has no",
    ),
    "a category without a name": (
        changed(lambda c: c["categories"][1].pop("name")),
        "category 2 of the list",
    ),
    "an image without a name": (changed(lambda c: c["images"][0].pop("file_name")), "image 1"),
    "an image of height 0": (
        changed(lambda c: c["images"][0].update(height=0)),
        "image 1 (a.png) has the height and width (0, 8)",
    ),
    "one image twice": (
        changed(lambda c: c["images"].append({"id": 2, "file_name": "x/a.png"})),
        "two annotations mean this image",
    ),
    "255 classes": (
        changed(
            lambda c: c["categories"].extend({"id": 100 + k, "name": str(k)} for k in range(253))
        ),
        "found 255 classes; expected at most 254, choose them with --classes",
    ),
    "a class's name of 101 letters": (
        changed(lambda c: c["categories"][0].update(name="a" * 101)),
        "has 101 characters",
    ),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_refused_before_anything_is_written(place, case):
    content, reason = WRONG_FILES[case]
    with pytest.raises((InputError, FileNotFoundError)) as raised:
        import_coco(place, content)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (place / "out").exists()


def test_missing_images_are_listed_and_the_others_made(place, capsys):
    content = coco(coco_object(1, [box(0, 0, 2, 2)]), names=("a.png", "gone.png"))
    assert import_coco(place, content) == 2
    assert "failed: 1 images that are annotated: not found below --images: gone.png" in (
        capsys.readouterr().err
    )
    assert (label_map(place / "out", "a") == 1).sum() == 4


def blobs(rng, size, classes):
    """A map of smooth regions of 0..classes-1."""
    noise = rng.random((classes, *size)).astype(np.float32)
    smooth = [cv2.GaussianBlur(layer, (0, 0), size[0] / 12) for layer in noise]
    return np.argmax(smooth, axis=0)


def run_list(mask):
    """COCO's uncompressed run lengths by a plain loop."""
    counts, current, run = [], False, 0
    for value in mask.T.ravel().tolist():
        if value != current:
            counts.append(run)
            run, current = 0, value
        run += 1
    return [*counts, run]


def test_round_trip_through_run_lengths(place, rng):
    size = (48, 64)
    put_images(place / "photos", "m.png", size=size)
    ids = blobs(rng, size, 3)
    content = coco(
        coco_object(1, {"size": [*size], "counts": run_list(ids == 1)}),
        coco_object(2, {"size": [*size], "counts": run_list(ids == 2)}, category=3),
        names=("m.png",), width=64, height=48,
    )  # fmt: skip
    assert import_coco(place, content) == 0
    np.testing.assert_array_equal(label_map(place / "out", "m"), ids)
    for annotation in content["annotations"]:
        mask = np.asfortranarray(ids == annotation["id"], np.uint8)
        text = pycocotools.encode(mask)["counts"].decode()
        annotation["segmentation"]["counts"] = text
    assert import_coco(place, content, "--out", place / "again") == 0
    np.testing.assert_array_equal(label_map(place / "again", "m"), ids)


def test_compressed_texts_as_pycocotools_has_them(rng):
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random((37, 411)) < share
        text = pycocotools.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
        assert uncompress(text).tolist() == run_list(mask)
        found = run_lengths({"size": [37, 411], "counts": text}).mask((37, 411))
        whole = np.zeros((37, 411), bool)
        height, width = found.bits.shape
        whole[found.top : found.top + height, found.left : found.left + width] = found.bits
        np.testing.assert_array_equal(whole, mask)


def test_round_trip_through_polygons(place, rng):
    """Axis-aligned shapes to the pixel; any outline, given by its pixels' centres, nearly so."""
    size = (400, 500)
    put_images(place / "photos", "m.png", "steps.png", size=size)
    ids = blobs(rng, size, 3)
    large = {k: cv2.connectedComponentsWithStats((ids == k).astype(np.uint8)) for k in (1, 2)}
    objects, expected = [], []
    for k, (_, parts, stats, _) in large.items():
        mask = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        # Corners lie on pixels' centres, so half a pixel inside: at 4 times the size an eighth.
        fine = cv2.resize(mask.astype(np.uint8), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros_like(fine), outlines, -1, 1, cv2.FILLED)
        expected.append(filled[::4, ::4] > 0)
        ring = (outlines[0].astype(float) + 0.5) / 4
        objects.append(coco_object(k, [ring.ravel().tolist()], category=(18, 3)[k - 1]))
    steps = np.kron(rng.integers(0, 2, (8, 10)), np.ones((50, 50), int))
    corners = 50 * np.argwhere(steps[::50, ::50])
    squares = [box(x, y, x + 50, y + 50) for y, x in corners.tolist()]
    objects.append(coco_object(9, squares, image=2))
    content = coco(*objects, names=("m.png", "steps.png"), width=500, height=400)
    assert import_coco(place, content) == 0
    np.testing.assert_array_equal(label_map(place / "out", "steps"), steps)
    numbers = instance_map(place / "out", "m")
    later = numbers == 2
    assert _iou(later, expected[1]) > 0.99
    assert _iou(numbers == 1, expected[0] & ~later) > 0.99


def _iou(first, second):
    return (first & second).sum() / (first | second).sum()


def test_a_part_of_camvid(place, shared):
    """Real label maps through run lengths and back."""
    names = sorted((shared / "CamVid").rglob("*annot/*.png"))[:2]
    if not names:
        pytest.skip("needs shared/CamVid")
    for number, path in enumerate(names):
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        put_images(place / "photos", f"c{number}.png", size=ids.shape)
        present = [k for k in np.unique(ids).tolist() if k != 0]
        content = {
            "images": [{"id": 1, "file_name": f"c{number}.png"}],
            "categories": [{"id": k, "name": f"class {k}"} for k in present],
            "annotations": [
                coco_object(k, {"size": [*ids.shape], "counts": run_list(ids == k)}, category=k)
                for k in present
            ],
        }
        assert import_coco(place, content, "--split", f"part{number}") == 0
        wanted = np.zeros_like(ids)
        for name, (value,) in class_ids(place / "out").items():
            wanted[ids == int(name.split()[1])] = value
        np.testing.assert_array_equal(label_map(place / "out", f"part{number}/c{number}"), wanted)


def test_run_lengths_of_two_sizes_where_the_file_says_none(place, capsys):
    put_images(place / "photos", "b.png")
    small = {"size": [3, 4], "counts": [4, 2, 6]}
    content = coco(
        coco_object(1, {"size": [6, 8], "counts": [4, 3, 41]}),
        coco_object(2, small),
        coco_object(3, [box(0, 0, 2, 2)], image=2),
        names=("a.png", "b.png"),
    )
    for image in content["images"]:
        del image["height"], image["width"]
    assert import_coco(place, content) == 2
    assert "annotation 2: its RLE is 4x3, and its image, by the file or by another RLE, 8x6" in (
        capsys.readouterr().err
    )
    assert not (place / "out/labels/a.png").exists()


def test_lvis_names_its_images_by_their_addresses(place):
    content = coco(coco_object(1, [box(1, 1, 4, 3)]))
    del content["images"][0]["file_name"]
    content["images"][0]["coco_url"] = "http://images.cocodataset.org/train2017/a.png"
    assert import_coco(place, content) == 0
    assert (label_map(place / "out", "a") == 1).sum() == 6


def test_boxes_alone_are_no_labels(place, capsys):
    content = coco({**coco_object(1, []), "bbox": [1, 1, 4, 4]})
    with pytest.raises(InputError, match="no image has a pixel of any class, so there is nothing"):
        import_coco(place, content)
    assert "annotations with a box and no outline, not drawn: dog (1)" in capsys.readouterr().out
