"""data.edges against the published MATLAB scripts' output and the rule written pixel by pixel."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers.edge_labels import read_bits

from data import edges
from data.cityscapes import train_id_table
from data.edges.rule import STRIP
from data.errors import InputError
from data.image_io import read_index

GOLDEN = ("0016E5_08005", "0016E5_07987", "0016E5_07963")


def slow_edges(label, instance, num_classes, radius, instance_sensitive=True, ignored_ids=(2, 3)):
    """The definition, one class and one pixel at a time. bool (K, H, W)."""
    no_instances = instance is None
    if no_instances:
        instance = label
    height, width = label.shape

    def neighbours(y, x):
        reach = int(radius)
        for v in range(max(0, y - reach), min(height, y + reach + 1)):
            for u in range(max(0, x - reach), min(width, x + reach + 1)):
                if (v, u) != (y, x) and (v - y) ** 2 + (u - x) ** 2 <= radius**2:
                    yield v, u

    def ignored(y, x):
        return not no_instances and label[y, x] >= num_classes and instance[y, x] in ignored_ids

    result = np.zeros((num_classes, height, width), bool)
    for k in range(num_classes):
        mask = (label == k).astype(int)
        own = np.where(label == k, instance, 0) if instance_sensitive and not no_instances else mask
        for y in range(height):
            for x in range(width):
                candidate = not ignored(y, x) and any(
                    instance[p] != instance[y, x] and not ignored(*p) for p in neighbours(y, x)
                )
                result[k, y, x] = candidate and any(own[p] != own[y, x] for p in neighbours(y, x))
    return result


def blobs(rng, shape, ids):
    """Random patches, so that regions, thin lines and single pixels all occur."""
    coarse = rng.choice(ids, (-(-shape[0] // 3), -(-shape[1] // 3)))
    patches = np.kron(coarse, np.ones((3, 3), coarse.dtype))[: shape[0], : shape[1]]
    noise = rng.random(shape) < 0.05
    return np.where(noise, rng.choice(ids, shape), patches)


def read_golden(folder: Path, name: str):
    ids, instance = (
        read_index(folder / f"{name}_labelIds.png"),
        read_index(folder / f"{name}_instanceIds.png"),
    )
    return train_id_table()[ids], instance.astype(np.int32)


def test_committed_golden_labels():
    """One of the frames below, kept in the repository so that parity is tested on any machine."""
    with np.load(Path(__file__).parents[1] / "golden/labels_cityscapes.npz") as stored:
        ground_truth = train_id_table()[stored["labelIds"]], stored["instanceIds"]
        np.testing.assert_array_equal(
            edges.label_to_edges(*ground_truth, num_classes=19), stored["train"]
        )
        for mode, kind in product(("thin", "raw"), ("inst", "cls")):
            found = edges.evaluation_edges(
                *ground_truth,
                num_classes=19,
                thin=mode == "thin",
                instance_sensitive=kind == "inst",
            )
            np.testing.assert_array_equal(found, stored[f"{mode}_{kind}"])


@pytest.mark.parametrize("name", GOLDEN)
def test_training_label_is_the_published_one(shared, name):
    folder = shared / "golden/edges/cityscapes_gt"
    found = edges.label_to_edges(*read_golden(folder, name), num_classes=19)
    np.testing.assert_array_equal(found, read_bits(folder / f"{name}_train_edge.png"))


def test_training_label_of_a_full_size_frame_is_the_published_one(shared):
    folder = shared / "golden/edges/cityscapes_gt_2048x1024"
    found = edges.label_to_edges(*read_golden(folder, GOLDEN[0]), num_classes=19)
    np.testing.assert_array_equal(found, read_bits(folder / f"{GOLDEN[0]}_train_edge.png"))


@pytest.mark.parametrize("kind", ["cls", "inst"])
@pytest.mark.parametrize("thin", [True, False])
@pytest.mark.parametrize("name", GOLDEN)
def test_evaluation_edges_is_the_published_one(shared, name, thin, kind):
    folder = shared / "golden/edges/cityscapes_gt"
    ground_truth = read_golden(folder, name)
    found = edges.evaluation_edges(
        *ground_truth, num_classes=19, thin=thin, instance_sensitive=kind == "inst"
    )
    np.testing.assert_array_equal(
        found, read_bits(folder / f"{name}_eval_{'thin' if thin else 'raw'}_{kind}.png")
    )


@pytest.mark.parametrize("thin", [True, False])
def test_evaluation_edges_of_a_full_size_frame_is_the_published_one(shared, thin):
    ground_truth = read_golden(shared / "golden/edges/cityscapes_gt_2048x1024", GOLDEN[0])
    found = edges.evaluation_edges(*ground_truth, num_classes=19, thin=thin)
    stored = (
        shared
        / f"golden/edges/eval_big/{GOLDEN[0]}_1024x512_eval_{'thin' if thin else 'raw'}_inst.png"
    )
    np.testing.assert_array_equal(found, read_bits(stored))


@pytest.mark.parametrize("radius", [1, 1.5, 2, 3, 3.2])
@pytest.mark.parametrize("instance_sensitive", [True, False])
@pytest.mark.parametrize(
    ("shape", "num_classes"),
    [((13, 17), 4), ((1, 25), 3), ((25, 1), 3), ((2, 3), 2), ((9, 8), 1), ((1, 1), 1)],
)
def test_rule_is_the_definition(rng, radius, instance_sensitive, shape, num_classes):
    for _ in range(3):
        label = blobs(rng, shape, [*range(num_classes), 255]).astype(np.uint8)
        # Ids that agree with no label, 0, 2 and 3 among them: the rule has to hold for these too.
        instance = blobs(rng, shape, [0, 2, 3, 7, 26001, 26002]).astype(np.int32)
        found = edges.label_to_edges(
            label,
            instance,
            num_classes=num_classes,
            radius=radius,
            instance_sensitive=instance_sensitive,
        )
        expected = slow_edges(label, instance, num_classes, radius, instance_sensitive)
        np.testing.assert_array_equal(edges.unpack(found, num_classes), expected)


@pytest.mark.parametrize("radius", [1, 2])
def test_rule_without_instances_is_the_definition(rng, radius):
    label = blobs(rng, (15, 14), [0, 1, 2, 3, 255]).astype(np.uint8)
    found = edges.unpack(edges.label_to_edges(label, num_classes=4, radius=radius), 4)
    np.testing.assert_array_equal(found, slow_edges(label, None, 4, radius))
    assert found[0].any()  # class 0 is a class like another


def test_a_tall_map_is_worked_on_in_strips_without_seams(rng):
    label = blobs(rng, (2 * STRIP + 5, 6), [0, 1, 255]).astype(np.uint8)
    instance = np.where(label == 255, 2, label + 10).astype(np.int32)
    for radius in (1, 2, 3):
        found = edges.unpack(edges.label_to_edges(label, instance, num_classes=2, radius=radius), 2)
        np.testing.assert_array_equal(found, slow_edges(label, instance, 2, radius))


def test_a_drawn_map():
    label = np.array([[0, 0, 0, 0, 1, 1, 1, 1]], np.uint8)
    assert edges.label_to_edges(label, num_classes=2).tolist() == [[0, 0, 3, 3, 3, 3, 0, 0]]
    assert edges.label_to_edges(label, num_classes=2, radius=1).tolist() == [
        [0, 0, 0, 3, 3, 0, 0, 0]
    ]
    cars = np.array([[9, 9, 9, 9, 5, 5, 6, 6]], np.int32)  # two cars touch
    assert edges.label_to_edges(label, cars, num_classes=2, radius=1).tolist() == [
        [0, 0, 0, 3, 3, 2, 2, 0]
    ]
    insensitive = edges.label_to_edges(
        label, cars, num_classes=2, radius=1, instance_sensitive=False
    )
    assert insensitive.tolist() == [[0, 0, 0, 3, 3, 0, 0, 0]]


def test_ids_2_and_3_are_ignored_as_void_only():
    label = np.array([[0, 0, 255, 255]], np.uint8)
    for void, expected in ((1, [0, 1, 1, 0]), (2, [0, 0, 0, 0]), (3, [0, 0, 0, 0])):
        instance = np.array([[7, 7, void, void]], np.int32)
        assert edges.label_to_edges(label, instance, num_classes=1, radius=1).tolist() == [expected]
    third = edges.label_to_edges(
        label, np.array([[3, 3, 0, 0]]), num_classes=1, radius=1
    )  # the third instance of a class
    assert third.tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.uint32])
def test_any_integer_type_of_instance_ids(rng, dtype):
    label = blobs(rng, (12, 12), [0, 1, 255]).astype(np.uint8)
    instance = blobs(rng, (12, 12), [1, 2, 3, 200])
    found = edges.label_to_edges(label, instance.astype(dtype), num_classes=2)
    np.testing.assert_array_equal(edges.unpack(found, 2), slow_edges(label, instance, 2, 2))


def test_all_32_bits(rng):
    label = blobs(rng, (20, 20), [*range(32), 255]).astype(np.uint8)
    found = edges.label_to_edges(label, num_classes=32, radius=1)
    np.testing.assert_array_equal(edges.unpack(found, 32), slow_edges(label, None, 32, 1))
    np.testing.assert_array_equal(edges.pack(edges.unpack(found, 32)), found)


def test_more_classes_than_bits_are_refused():
    with pytest.raises(InputError, match=r"65 classes.*1 to 32"):
        edges.label_to_edges(np.zeros((4, 4), np.uint8), num_classes=65)


def test_an_instance_map_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"\(4, 5\).*\(4, 4\)"):
        edges.label_to_edges(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.int32), num_classes=2)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1, 1.25, 1.5, 2])
@pytest.mark.parametrize("size", [(7, 10), (1, 5), (333, 2)])
def test_resize_takes_the_pixel_that_imresize_takes(rng, scale, size):
    ids = rng.integers(0, 1000, size).astype(np.uint16)
    found = edges.resize_nearest(ids, scale)
    height, width = (int(np.ceil(n * scale)) for n in size)
    assert found.shape == (height, width) and found.dtype == ids.dtype
    for y in range(height):
        for x in range(width):
            source = (
                min(int((y + 0.5) / scale), size[0] - 1),
                min(int((x + 0.5) / scale), size[1] - 1),
            )
            assert found[y, x] == ids[source]


def test_half_size_takes_the_odd_rows_and_columns():
    ids = np.arange(24).reshape(4, 6)
    np.testing.assert_array_equal(edges.resize_nearest(ids, 0.5), ids[1::2, 1::2])


def test_png_bits_are_where_the_published_files_have_them():
    for k in range(24):
        channel, bit = 2 - k // 8, k % 8  # RGB: class 0 is the lowest bit of blue
        pixel = edges.encode_png(np.array([[1 << k]], np.uint32))[0, 0]
        assert pixel[channel] == 1 << bit and pixel.sum() == 1 << bit


def test_png_round_trip(rng):
    bits = rng.integers(0, 1 << 24, (5, 7)).astype(np.uint32)
    image = edges.encode_png(bits)
    assert image.dtype == np.uint8 and image.shape == (5, 7, 3)
    np.testing.assert_array_equal(edges.decode_png(np.ascontiguousarray(image)), bits)
    np.testing.assert_array_equal(edges.decode_png(image), bits)


def test_png_refuses_a_25th_class():
    with pytest.raises(ValueError, match="24"):
        edges.encode_png(np.array([[1 << 24]], np.uint32))


def test_pack_and_unpack(rng):
    masks = rng.random((19, 6, 5)) < 0.3
    bits = edges.pack(masks)
    assert bits.dtype == np.uint32
    np.testing.assert_array_equal(bits, (masks * 2 ** np.arange(19)[:, None, None]).sum(0))
    np.testing.assert_array_equal(edges.unpack(bits, 19), masks)
