"""Class-uniform sampling: the index against loops and SciPy, epochs by their counts."""

import multiprocessing
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from data import build_dataset
from data.base import Record
from data.errors import InputError
from data.image_io import IGNORE, write_png
from data.samples import class_uniform
from data.samples.class_uniform import (
    ClassUniform,
    ClassUniformSampler,
    CropKey,
    class_index,
    pick_classes,
    tile_centroids,
)
from data.samples.transforms import Augmentation, draw_window, extract_crop


def blobs(rng: np.random.Generator, height: int, width: int, num_classes: int) -> np.ndarray:
    coarse = rng.integers(0, num_classes + 1, (height // 8 + 1, width // 8 + 1))
    label = np.kron(coarse, np.ones((8, 8), int))[:height, :width].astype(np.uint8)
    return np.where(label == num_classes, IGNORE, label)


def plain_centroids(label: np.ndarray, num_classes: int, tile: int) -> list[tuple[int, int, int]]:
    """The published loop, over whole tiles."""
    found = []
    for top in range(0, label.shape[0] - tile + 1, tile):
        for left in range(0, label.shape[1] - tile + 1, tile):
            part = label[top : top + tile, left : left + tile]
            for k in range(num_classes):
                if (part == k).any():
                    y, x = center_of_mass((part == k).astype(int))
                    found.append((k, int(y) + top, int(x) + left))
    return found


@pytest.mark.parametrize(
    ("height", "width", "tile"), [(64, 96, 32), (70, 99, 32), (33, 47, 16), (40, 40, 40)]
)
def test_centroids_are_the_published_ones(
    height: int, width: int, tile: int, rng: np.random.Generator
) -> None:
    label = blobs(rng, height, width, 5)
    ours = [tuple(int(value) for value in row) for row in tile_centroids(label, 5, tile)]
    assert ours == plain_centroids(label, 5, tile)
    assert ours


def test_an_image_smaller_than_a_tile_is_one_tile() -> None:
    label = np.full((10, 30), IGNORE, np.uint8)
    label[2:5, 20:24] = 1
    assert plain_centroids(label, 2, 64) == []
    assert tile_centroids(label, 2, 64).tolist() == [[1, 3, 21]]
    assert tile_centroids(label, 2, 25).tolist() == [[1, 3, 21]]
    assert tile_centroids(label, 2, 20).tolist() == []  # beyond the last whole tile


@pytest.fixture
def tiny(tiny_camvid: Path, tmp_path: Path) -> Path:
    return shutil.copytree(
        tiny_camvid, tmp_path / "set", ignore=shutil.ignore_patterns("class_centroids")
    )


def test_the_index_is_that_of_every_sample_for_any_number_of_workers(
    tiny: Path, tmp_path: Path
) -> None:
    dataset = build_dataset("camvid", tiny, "train")
    index = class_index(dataset, 24, workers=1, cache=tmp_path / "one")
    again = class_index(dataset, 24, workers=2, cache=tmp_path / "two")
    np.testing.assert_array_equal(index, again)
    expected = [
        (k, number, y, x)
        for number in range(8)
        for k, y, x in plain_centroids(dataset[number].label, 11, 24)
    ]
    assert sorted(map(tuple, index.tolist())) == sorted(expected)
    assert index.dtype == np.int32


def never(*_: object) -> None:
    raise AssertionError("the index was made again")


def test_the_index_is_kept_until_a_label_changes(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = build_dataset("camvid", tiny, "train")
    index = class_index(dataset, 24)
    (kept,) = (tiny / "class_centroids").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(class_uniform, "tile_centroids", never)
        np.testing.assert_array_equal(class_index(dataset, 24), index)
        with pytest.raises(AssertionError, match="made again"):
            class_index(dataset, 32)
        with pytest.raises(AssertionError, match="made again"):
            class_index(build_dataset("camvid", tiny, "val"), 24)
    path = tiny / "trainannot" / "train_003.png"
    write_png(path, np.full((48, 64), 7, np.uint8))
    os.utime(path, ns=(1, 1))
    changed = class_index(dataset, 24)
    assert changed[changed[:, 1] == 3][:, 0].tolist() == [7] * 4
    kept.write_bytes(kept.read_bytes()[:200])
    for name in list((tiny / "class_centroids").iterdir()):
        name.write_bytes(name.read_bytes()[:150])  # cut off
    np.testing.assert_array_equal(class_index(dataset, 24), changed)


@pytest.mark.parametrize("how", ["blocked", "read-only"])
def test_a_folder_that_cannot_be_written_sends_the_index_to_the_users_cache(
    how: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if how == "blocked":
        (tiny / "class_centroids").write_text("a file where the folder would be")
    else:  # tests may run as root, whom permissions do not stop
        tiny.chmod(0o555)
    dataset = build_dataset("camvid", tiny, "train")
    index = class_index(dataset, 24)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1
    monkeypatch.setattr(class_uniform, "tile_centroids", never)
    np.testing.assert_array_equal(class_index(dataset, 24), index)
    tiny.chmod(0o755)


def _make(root: Path) -> int:
    return len(class_index(build_dataset("camvid", root, "train"), 16))


def test_many_processes_may_make_it_at_once(tiny: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        lengths = pool.map(_make, [tiny] * 4)
    assert len(set(lengths)) == 1
    (kept,) = (tiny / "class_centroids").iterdir()
    assert len(np.load(kept)) == lengths[0]


def index_of(counts: dict[int, int], samples: int) -> np.ndarray:
    """This number of points of each class, over the samples in turn."""
    rows = [(k, n % samples, n, k) for k, count in counts.items() for n in range(count)]
    return np.array(rows, np.int32)


def keys(
    uniform: ClassUniform, epoch: int, *, length: int = 40, world: int = 1, seed: int = 1
) -> list[list[CropKey]]:
    """[step] -> the global batch."""
    shares = []
    for rank in range(world):
        sampler = ClassUniformSampler(length, 4, uniform, seed=seed, rank=rank, world=world)
        sampler.start_at(epoch)
        shares.append(list(sampler))
    return [[key for share in step for key in share] for step in zip(*shares, strict=True)]


def test_an_epoch_has_as_many_crops_of_each_class() -> None:
    """40 samples, half of the crops on 4 classes: 5 each.

    Class 2 has 3 points; each is used once before one is used again.
    """
    uniform = ClassUniform(index_of({0: 50, 1: 9, 2: 3, 3: 5}, 40), 0.5, 4)
    crops = [key for step in keys(uniform, 0) for key in step]
    assert len(crops) == 40
    assert [key.position for key in crops] == list(range(40))
    centred = [key for key in crops if key.around is not None]
    assert Counter(key.around[1] for key in centred) == {0: 5, 1: 5, 2: 5, 3: 5}
    assert sorted(Counter(key.around for key in centred if key.around[1] == 2).values()) == [
        1,
        2,
        2,
    ]
    assert len({key.around for key in centred if key.around[1] == 3}) == 5
    at_random = [key.sample for key in crops if key.around is None]
    assert len(set(at_random)) == len(at_random) == 20
    assert all(key.sample == key.around[0] % 40 for key in centred)
    assert any(key.around for key in crops[:10]) and any(key.around is None for key in crops[:10])


def test_an_absent_class_leaves_its_share_to_random_samples() -> None:
    crops = [
        key for step in keys(ClassUniform(index_of({0: 5, 3: 5}, 40), 0.5, 4), 0) for key in step
    ]
    assert len(crops) == 40
    assert Counter(key.around and key.around[1] for key in crops) == {None: 30, 0: 5, 3: 5}


def test_epochs_repeat_and_differ_and_ranks_share_them() -> None:
    uniform = ClassUniform(index_of({0: 50, 1: 50}, 40), 0.5, 2)
    assert keys(uniform, 3) == keys(uniform, 3)
    assert keys(uniform, 3) != keys(uniform, 4)
    assert keys(uniform, 3) != keys(uniform, 3, seed=2)
    assert keys(uniform, 3, world=2) == keys(uniform, 3, world=4) == keys(uniform, 3)


def test_boosted_classes_come_from_coarse_samples_until_their_last_epoch() -> None:
    coarse = pick_classes(index_of({0: 30, 1: 30, 2: 30}, 10), [1], first_sample=40)
    assert set(coarse[:, 0]) == {1}
    assert (coarse[:, 1].min(), coarse[:, 1].max()) == (40, 49)
    uniform = ClassUniform(index_of({0: 20, 1: 2, 2: 20}, 40), 0.75, 3, coarse, last_boost_epoch=5)
    for epoch, boosted in ((0, True), (5, True), (6, False)):
        crops = [key for step in keys(uniform, epoch) for key in step]
        coarsely = [key for key in crops if key.sample >= 40]
        assert bool(coarsely) == boosted
        assert all(key.around[1] == 1 for key in coarsely)
        assert len(crops) == 40


@pytest.mark.parametrize("crop_size", [24, 48, 100])
def test_the_crop_holds_its_point_and_lies_within_the_image(
    crop_size: int, rng: np.random.Generator
) -> None:
    label = np.zeros((60, 90), np.uint8)
    augmentation = Augmentation(0, crop_size, (0.5, 2.0))
    offsets = []
    for _ in range(300):
        y, x = int(rng.integers(60)), int(rng.integers(90))
        label[:] = 0
        label[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 1
        window = draw_window(60, 90, augmentation, rng, (y, x))
        assert 0 <= window.top <= max(0, window.size[0] - crop_size)
        assert 0 <= window.left <= max(0, window.size[1] - crop_size)
        crop = extract_crop(np.zeros((60, 90, 3), np.uint8), (label,), window, crop_size)
        assert (crop.maps[0] == 1).any()
        offsets.append(y * window.size[0] / 60 - window.top)
    assert np.std(offsets) > crop_size / 10, "the point's place within the crop is random"


def test_data_without_labels_is_refused(tiny: Path) -> None:
    dataset = build_dataset("camvid", tiny, "train")
    dataset.records[2] = Record("x", dataset.records[2].image)
    with pytest.raises(InputError, match="needs label files; train with --class-uniform-pct 0"):
        class_index(dataset, 24)
