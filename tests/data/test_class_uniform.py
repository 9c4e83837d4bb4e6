"""Class-uniform sampling: the index against loops and SciPy, epochs by their counts."""

import multiprocessing
import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from data import build_dataset
from data.base import Dataset, Record
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
from data.system.cache import cache_folders


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
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_uniform, "CHUNK", 3)
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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_index_is_kept_until_a_label_changes(
    tiny: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = build_dataset("camvid", tiny, "train")
    before = sorted(path.name for path in tiny.rglob("*"))
    index = class_index(dataset, 24)
    with monkeypatch.context() as patch:
        patch.setattr(class_uniform, "tile_centroids", never)
        np.testing.assert_array_equal(class_index(dataset, 24), index)
        with pytest.raises(AssertionError, match="made again"):
            class_index(dataset, 32)
        with pytest.raises(AssertionError, match="made again"):
            class_index(build_dataset("camvid", tiny, "val"), 24)
        # The same files elsewhere may be the next version of a data set.
        copy = shutil.copytree(tiny, tiny.with_name("copy"))
        with pytest.raises(AssertionError, match="made again"):
            class_index(build_dataset("camvid", copy, "train"), 24)
        link = tiny.with_name("link")
        link.symlink_to(tiny)
        np.testing.assert_array_equal(
            class_index(build_dataset("camvid", link, "train"), 24), index
        )
    path = tiny / "trainannot" / "train_003.png"
    write_png(path, np.full((48, 64), 7, np.uint8))
    os.utime(path, ns=(1, 1))  # older than before
    changed = class_index(dataset, 24)
    assert changed[changed[:, 1] == 3][:, 0].tolist() == [7] * 4
    assert sorted(path.name for path in tiny.rglob("*")) == before  # nothing beside the data
    assert len([*home.rglob("*.npz")]) == 2


def damaged(content: bytes) -> dict[str, bytes]:
    """A kept index, cut off, with a flipped bit, and as other files."""
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    return {"cut": content[:150], "flipped": bytes(flipped), "empty": b"", "text": b"index"}


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "text", "pipe", "other", "values"])
def test_a_damaged_index_is_made_again(tiny: Path, home: Path, how: str) -> None:
    dataset = build_dataset("camvid", tiny, "train")
    index = class_index(dataset, 24)
    (kept,) = home.rglob("*.npz")
    if how == "pipe":
        kept.unlink()
        os.mkfifo(kept)
    elif how == "other":
        np.savez(kept, other=index)
    elif how == "values":
        np.savez(kept, index=index + np.int32(8))  # samples that there are not
    else:
        kept.write_bytes(damaged(kept.read_bytes())[how])
    np.testing.assert_array_equal(class_index(dataset, 24), index)
    with np.load(kept) as stored:
        np.testing.assert_array_equal(stored["index"], index)


@pytest.mark.parametrize("how", ["blocked", "no home"])
def test_without_a_cache_folder_the_index_is_in_a_temporary_one(
    how: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as root, whom permissions do not stop: a file is in the folder's place."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    if how == "blocked":
        (tmp_path / "cache").write_text("a file where the folder would be")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    else:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

        def homeless() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", homeless)
    dataset = build_dataset("camvid", tiny, "train")
    index = class_index(dataset, 24)
    assert len([*(tmp_path / "temporary").rglob("*.npz")]) == 1
    with monkeypatch.context() as patch:
        patch.setattr(class_uniform, "tile_centroids", never)
        np.testing.assert_array_equal(class_index(dataset, 24), index)
    # What somebody else has put there is not read.
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert len(cache_folders("class_centroids")) == (2 if how == "blocked" else 1)


def test_where_nothing_can_be_written_the_index_is_made_each_time(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    dataset = build_dataset("camvid", tiny, "train")
    np.testing.assert_array_equal(class_index(dataset, 24), class_index(dataset, 24))


def _make(root: Path) -> int:
    return len(class_index(build_dataset("camvid", root, "train"), 16))


def test_many_processes_may_make_it_at_once(tiny: Path, home: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        lengths = pool.map(_make, [tiny] * 4)
    assert len(set(lengths)) == 1
    (kept,) = home.rglob("*.npz")
    with np.load(kept) as stored:
        assert len(stored["index"]) == lengths[0]
    assert not [*home.rglob("*.part")]


def test_a_label_of_another_size_than_its_image_is_refused(tiny: Path, home: Path) -> None:
    write_png(tiny / "trainannot" / "train_003.png", np.zeros((10, 12), np.uint8))
    with pytest.raises(InputError, match=r"train_003\.png.*12x10"):
        class_index(build_dataset("camvid", tiny, "train"), 24)
    assert not home.exists()


class Deadly:
    """A data set whose third label kills the process that reads it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["dataset"], name)

    def __len__(self) -> int:
        return len(self.dataset)

    def ground_truth(self, record: Record) -> tuple:
        if record.name.endswith("3"):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.dataset.ground_truth(record)


def test_a_worker_that_dies_is_one_line(
    tiny: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_uniform, "CHUNK", 1)
    with pytest.raises(InputError, match=r"camvid train: a process .* has died.*fewer --workers"):
        class_index(Deadly(build_dataset("camvid", tiny, "train")), 24, workers=2)


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
