"""Crops and edge targets, against resized whole images; and that (seed, epoch, index) fix them."""

import cv2
import numpy as np
import pytest
import torch

from data.base import Sample
from data.edges import label_to_edges
from data.errors import InputError
from data.image_io import IGNORE
from data.samples.edge import EdgeLabels, EdgeTraining, edge_target, unpack_edges
from data.samples.transforms import (
    MEAN_COLOR,
    Augmentation,
    Window,
    draw_window,
    extract_crop,
    resize_long_side,
)


class Drawn:
    """Eight images with blobs of four classes and instances; one is smaller than the crop."""

    classes, num_classes = ("a", "b", "c", "d"), 4
    sizes = ((60, 91), (40, 33), (75, 50), (64, 64)) * 2

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        height, width = self.sizes[index]
        label, instance = (
            np.full((height, width), IGNORE, np.uint8),
            np.zeros((height, width), np.int32),
        )
        for number in range(6):
            y, x, k = rng.integers(height), rng.integers(width), rng.integers(4)
            cv2.circle(label, (int(x), int(y)), int(rng.integers(5, 20)), int(k), -1)
            cv2.circle(instance, (int(x), int(y)), int(rng.integers(5, 20)), 1000 + number, -1)
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        return Sample(cv2.GaussianBlur(image, (5, 5), 0), label, instance, f"drawn{index}")


def whole(sample: Sample, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The plain way: the whole image and its maps at the new size."""
    rows = [
        min(int((i + 0.5) * sample.image.shape[0] / size[0]), sample.image.shape[0] - 1)
        for i in range(size[0])
    ]
    columns = [
        min(int((i + 0.5) * sample.image.shape[1] / size[1]), sample.image.shape[1] - 1)
        for i in range(size[1])
    ]
    image = cv2.resize(sample.image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return image, sample.label[rows][:, columns], sample.instance[rows][:, columns]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.37, 2.0])
@pytest.mark.parametrize("index", range(4))
def test_a_crop_is_the_part_of_the_whole_scaled_image(
    index: int, scale: float, mirror: bool
) -> None:
    sample = Drawn()[index]
    size = (round(sample.image.shape[0] * scale), round(sample.image.shape[1] * scale))
    top, left = max(0, size[0] - 48) // 2, max(0, size[1] - 48) // 3
    crop = extract_crop(
        sample.image, (sample.label, sample.instance), Window(size, top, left, mirror), 48, margin=2
    )
    edges, valid = edge_target(crop, EdgeLabels(Drawn()))

    image, label, instance = whole(sample, size)
    bits = label_to_edges(label, instance, num_classes=4, radius=2)
    height, width = min(48, size[0]), min(48, size[1])
    expected = np.full((48, 48, 3), MEAN_COLOR, np.uint8)
    expected[:height, :width] = image[top : top + 48, left : left + 48]
    expected_edges, expected_valid = np.zeros((48, 48), np.uint32), np.zeros((1, 48, 48), np.uint8)
    expected_edges[:height, :width] = bits[top : top + 48, left : left + 48]
    expected_valid[:, :height, :width] = 1
    if mirror:
        expected, expected_edges, expected_valid = (
            expected[:, ::-1],
            expected_edges[:, ::-1],
            expected_valid[..., ::-1],
        )
    # Bilinear weights are rounded to 1/32 pixel in one of the two ways, hence not to the bit.
    assert np.abs(crop.image.astype(int) - expected).max() <= 4
    np.testing.assert_array_equal(edges, expected_edges)
    np.testing.assert_array_equal(valid, expected_valid)
    assert edges.any()


def test_windows_are_drawn_as_published(rng: np.random.Generator) -> None:
    """Long sides of 0.75 to 2 times the base size, crops inside, half of them mirrored."""
    windows = [draw_window(100, 200, Augmentation(400, 96), rng) for _ in range(2000)]
    sides = np.array([window.size[1] for window in windows])
    assert (sides.min(), sides.max()) == (300, 800)
    assert abs(sides.mean() - 550) < 15
    assert all(abs(window.size[0] - window.size[1] / 2) <= 0.5 for window in windows)
    assert all(0 <= window.top <= max(0, window.size[0] - 96) for window in windows)
    assert any(window.left == window.size[1] - 96 or window.left == 0 for window in windows)
    assert 0.45 < np.mean([window.mirror for window in windows]) < 0.55


def test_items_depend_on_seed_epoch_and_index_alone() -> None:
    def item(seed: int, epoch: int, index: int) -> dict:
        return EdgeTraining(EdgeLabels(Drawn()), Augmentation(0, 48), seed)[epoch, index]

    first, again = item(1, 2, 3), item(1, 2, 3)
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["edges"], again["edges"])
    for other in (item(2, 2, 3), item(1, 3, 3), item(1, 2, 7)):
        assert not torch.equal(first["image"], other["image"])


def test_bits_unpack_to_a_map_for_each_class(rng: np.random.Generator) -> None:
    bits = rng.integers(0, 2**32, (2, 5, 7), dtype=np.uint32)
    maps = unpack_edges(torch.from_numpy(bits.view(np.int32)), 32)
    assert maps.shape == (2, 32, 5, 7) and maps.dtype == torch.bool
    for n, y, x in np.ndindex(bits.shape):
        written = f"{bits[n, y, x]:032b}"[::-1]  # class 0 first; bit 31 is the sign in int32
        assert [bool(value) for value in maps[n, :, y, x]] == [digit == "1" for digit in written]


@pytest.mark.parametrize(
    ("base", "expected"), [(0, (30, 50)), (50, (30, 50)), (25, (15, 25)), (100, (60, 100))]
)
def test_resize_long_side(base: int, expected: tuple[int, int]) -> None:
    assert resize_long_side(np.zeros((30, 50, 3), np.uint8), base).shape[:2] == expected


@pytest.mark.parametrize(
    ("code", "raised"), [(cv2.Error.StsNoMem, MemoryError), (cv2.Error.StsAssert, InputError)]
)
def test_what_opencv_refuses_is_one_line(
    code: int, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lack of memory; and OpenCV 4 remaps sides of up to 32766 pixels only."""

    def refuse(*_: object, **__: object) -> None:
        error = cv2.error("said by OpenCV")
        error.code = code
        raise error

    monkeypatch.setattr(cv2, "resize", refuse)
    monkeypatch.setattr(cv2, "warpAffine", refuse)
    image = np.zeros((5, 9, 3), np.uint8)
    with pytest.raises(raised, match="9x5 pixels cannot be resized to 99x55"):
        resize_long_side(image, 99)
    for size, found in (((10, 18), "7x7"), ((2, 4), "4x2")):
        with pytest.raises(raised, match=f"9x5 pixels cannot be resized to {found}"):
            extract_crop(image, (), Window(size, 0, 0, mirror=False), 7)
