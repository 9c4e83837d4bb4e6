"""data.bdd: a drawn set in each layout, what is missing or broken there, and the real sample."""

from pathlib import Path

import numpy as np
import pytest
from helpers.bdd import LABEL, bdd_at

from data import build_dataset
from data.bdd import BDD, LAYOUTS, Layout
from data.cityscapes import Cityscapes
from data.errors import InputError
from data.image_io import read_index, write_png

LAYOUT_NAMES = ["since 2020", "2018", "within seg"]


@pytest.mark.parametrize("layout", LAYOUTS, ids=LAYOUT_NAMES)
@pytest.mark.parametrize("below", ["", "bdd100k"])
def test_every_layout_reads_the_same(tmp_path: Path, layout: Layout, below: str) -> None:
    bdd_at(tmp_path / below, layout)
    dataset = build_dataset("bdd", tmp_path, "trainval")
    assert [record.name for record in dataset.records] == ["00a-1", "00b-2", "7d0-1", "7d1-2"]
    sample = dataset[3]
    assert np.abs(sample.image.astype(int) - (50, 100, 200)).max() <= 3  # JPEG
    np.testing.assert_array_equal(sample.label, np.roll(LABEL, 1, axis=1))
    assert sample.label.dtype == np.uint8 and sample.instance is None
    test = build_dataset("bdd", tmp_path, "test")
    assert len(test) == 1 and test[0].label is None


def test_classes_are_those_of_cityscapes() -> None:
    assert BDD.classes == Cityscapes.classes
    np.testing.assert_array_equal(BDD.palette, Cityscapes.palette)


def test_hidden_files_are_no_samples_and_images_may_be_left_out(tmp_path: Path) -> None:
    bdd_at(tmp_path)
    (tmp_path / "images/10k/val/._7d0-1.jpg").write_bytes(b"left by macOS")
    assert len(build_dataset("bdd", tmp_path, "val")) == 2
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    dataset = build_dataset("bdd", tmp_path, "val", images=False)
    label, instance = dataset.read_ground_truth(dataset.records[0])
    np.testing.assert_array_equal(label, LABEL)
    assert instance is None


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (
            "images/10k/val/7d1-2.jpg",
            r"1 of 4 files are missing below .*: .*images/10k/val/7d1-2.jpg",
        ),
        (
            "labels/sem_seg/masks/val/7d0-1.png",
            r"1 of 4 files are missing below .*: .*masks/val/7d0-1.png",
        ),
        ("images/10k/val/*", r"No \*.jpg in .*images/10k/val. Unzip bdd100k_images_10k.zip"),
        (
            "labels/sem_seg/masks/val/*",
            r"No \*.png in .*masks/val. Unzip bdd100k_sem_seg_labels_trainval.zip",
        ),
    ],
)
def test_missing_files_stop_the_run(tmp_path: Path, remove: str, message: str) -> None:
    for path in bdd_at(tmp_path).glob(remove):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        build_dataset("bdd", tmp_path, "val")


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no split 'dev'; expected one of train, val, trainval, test"
    ):
        build_dataset("bdd", tmp_path, "dev")
    with pytest.raises(
        FileNotFoundError, match=r"Neither images/10k/ nor seg/ in .*bdd100k_images_10k.zip"
    ):
        build_dataset("bdd", tmp_path, "train")
    with pytest.raises(InputError, match="bdd has no option 'cv'; it takes images"):
        build_dataset("bdd", tmp_path, "train", cv=1)


def test_broken_files(tmp_path: Path) -> None:
    dataset = build_dataset("bdd", bdd_at(tmp_path), "train")
    first, second = dataset.records
    write_png(first.label, np.full((4, 6), 19, np.uint8))
    with pytest.raises(
        InputError, match=r"00a-1.png: label ids 19 are out of range; expected 0..18 or 255"
    ):
        dataset[0]
    write_png(first.label, np.zeros((3, 6), np.uint8))
    with pytest.raises(InputError, match=r"00a-1.png: the label is 6x3, but its image .* is 6x4"):
        dataset[0]
    second.image.write_bytes(second.image.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"00b-2.jpg: the JPEG is cut off"):
        dataset[1]


def test_real_sample(shared: Path) -> None:
    root = shared / "samples/bdd100k"
    sizes = {
        split: len(build_dataset("bdd", root, split)) for split in ("train", "val", "trainval")
    }
    assert sizes == {"train": 16, "val": 8, "trainval": 24}
    for record in build_dataset(
        "bdd", root, "val"
    ).records:  # the maps are the indices of the published colour maps
        label, _ = BDD(root, "val").read_ground_truth(record)
        published = read_index(root / "labels/sem_seg/colormaps/val" / f"{record.name}.png")
        np.testing.assert_array_equal(label, published)
    assert build_dataset("bdd", root, "train")[0].image.shape == (720, 1280, 3)
