"""The registry, CamVid and Cityscapes: samples are what is on disk, mistakes there are named."""

from pathlib import Path

import numpy as np
import pytest
from helpers.camvid import camvid_at
from helpers.cityscapes import cityscapes_at

from data import DATASETS, build_dataset, dataset_class, parse_options
from data.base import Dataset
from data.cityscapes import LABELS, Cityscapes, to_train_ids, train_id_table
from data.errors import InputError
from data.image_io import read_index, write_png


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"unknown data set 'cityscape'.*camvid.*cityscapes.*scenes"
    ):
        build_dataset("cityscape", tmp_path, "train")


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_knows_its_classes_without_files(name: str) -> None:
    kind = dataset_class(name)
    assert issubclass(kind, Dataset)
    assert kind.palette.shape == (len(kind.classes), 3)
    assert kind.palette.dtype == np.uint8
    assert len(set(kind.classes)) == len(kind.classes) < 255


def test_camvid_reads_what_is_there(tmp_path: Path) -> None:
    dataset = build_dataset("camvid", camvid_at(tmp_path), "val")
    sample = dataset[2]
    assert (len(dataset), dataset.num_classes, sample.name) == (3, 11, "val2")
    assert sample.image.tolist()[0][0] == [20, 1, 200]
    assert sample.label.dtype == np.uint8
    expected = np.full((4, 6), 255)
    expected[0, 2] = 2
    np.testing.assert_array_equal(sample.label, expected)
    assert sample.instance is None


def test_camvid_trainval_is_both_and_segnet_paths_are_taken(tmp_path: Path) -> None:
    dataset = build_dataset("camvid", camvid_at(tmp_path, prefix="/SegNet/CamVid/"), "trainval")
    assert [record.name for record in dataset.records] == [
        f"{s}{i}" for s in ("train", "val") for i in range(3)
    ]
    assert dataset[5].image.tolist()[0][0] == [20, 1, 200]


def test_camvid_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no split 'all'.*train, val, test, trainval"):
        build_dataset("camvid", tmp_path, "all")
    with pytest.raises(FileNotFoundError, match=r"No train.txt in .*trainannot"):
        build_dataset("camvid", tmp_path, "train")
    camvid_at(tmp_path)
    (tmp_path / "trainannot/train1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 6 files are missing.*trainannot/train1.png"):
        build_dataset("camvid", tmp_path, "train")
    (tmp_path / "test.txt").write_text("")
    with pytest.raises(InputError, match="no samples of split 'test'"):
        build_dataset("camvid", tmp_path, "test")
    (tmp_path / "test.txt").write_text("test/test0.png\n")
    with pytest.raises(InputError, match=r"'test/test0.png': found 1 parts, expected 2"):
        build_dataset("camvid", tmp_path, "test")


def test_camvid_files_that_lie(tmp_path: Path) -> None:
    dataset = build_dataset("camvid", camvid_at(tmp_path), "train")
    write_png(dataset.records[0].label, np.full((4, 6), 12, np.uint8))
    with pytest.raises(
        InputError, match=r"train0.png: label ids 12 are out of range; expected 0..10 or 255"
    ):
        dataset[0]
    write_png(dataset.records[1].label, np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match=r"train1.png: the label is 5x4, but its image .* is 6x4"):
        dataset[1]
    whole = dataset.records[2].image.read_bytes()
    dataset.records[2].image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"train2.png: the file is cut off"):
        dataset[2]


def test_the_label_table_is_the_published_one() -> None:
    # The 19 classes that are trained, in the order of their train ids, and their label ids
    # (Cordts et al., 2016).
    names = (
        "road,sidewalk,building,wall,fence,pole,traffic light,traffic sign,vegetation,terrain,"
        "sky,person,rider,car,truck,bus,train,motorcycle,bicycle"
    )
    assert ",".join(Cityscapes.classes) == names
    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert [train_id_table()[i] for i in ids] == list(range(19))
    assert np.count_nonzero(train_id_table() != 255) == 19
    assert [label.id for label in LABELS] == list(range(34))
    assert [label.id for label in LABELS if label.has_instances] == list(range(24, 34))


def test_cityscapes_reads_what_is_there(tmp_path: Path) -> None:
    dataset = build_dataset("cityscapes", cityscapes_at(tmp_path), "val")
    sample = dataset[1]
    assert (len(dataset), sample.name, sample.image.shape) == (2, "ulm_000001_000019", (4, 8, 3))
    assert sample.instance.dtype == np.int32
    expected = np.zeros((4, 8), int)
    expected[:, 0], expected[1:3, 3:6] = 255, 13
    np.testing.assert_array_equal(sample.label, expected)
    assert np.unique(sample.instance).tolist() == [3, 7, 26000]


def test_cityscapes_splits_and_options(tmp_path: Path) -> None:
    cityscapes_at(tmp_path, "train", ("bonn_000000_000019",))
    cityscapes_at(tmp_path, "val")
    (tmp_path / "leftImg8bit/val/ulm/._ulm_000001_000019_leftImg8bit.png").write_bytes(
        b"left by macOS"
    )
    dataset = build_dataset("cityscapes", tmp_path, "trainval")
    assert [record.name for record in dataset.records] == [
        "bonn_000000_000019",
        "ulm_000000_000019",
        "ulm_000001_000019",
    ]
    assert build_dataset("cityscapes", tmp_path, "val", instances=False)[0].instance is None
    with pytest.raises(
        InputError, match=r"no split 'foo'; expected one of train, val, test, trainval, train_extra"
    ):
        build_dataset("cityscapes", tmp_path, "foo")


def test_a_test_split_may_come_without_labels(tmp_path: Path) -> None:
    cityscapes_at(tmp_path, "test")
    assert build_dataset("cityscapes", tmp_path, "test")[0].label is not None
    (tmp_path / "gtFine").rename(tmp_path / "elsewhere")
    sample = build_dataset("cityscapes", tmp_path, "test")[0]
    assert sample.label is None
    assert sample.instance is None


def test_labels_alone(tmp_path: Path) -> None:
    cityscapes_at(tmp_path)
    (tmp_path / "leftImg8bit").rename(tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=r"No <city>/\*_leftImg8bit.png in .*leftImg8bit_trainvaltest.zip"
    ):
        build_dataset("cityscapes", tmp_path, "val")
    dataset = build_dataset("cityscapes", tmp_path, "val", images=False)
    label, instance = dataset.read_ground_truth(dataset.records[0])
    assert (dataset.records[0].image, label.shape, instance.max()) == (None, (4, 8), 26000)
    with pytest.raises(InputError, match="ulm_000000_000019 has no image, only labels"):
        dataset[0]


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (
            "leftImg8bit/val/ulm/*_000001_*",
            r"1 of 2 label maps lack an image .*leftImg8bit/val: ulm/ulm_000001_000019",
        ),
        (
            "gtFine/val/ulm/*_000001_*labelIds.png",
            r"1 of 2 images lack a label map .*gtFine/val: ulm/ulm_000001_000019",
        ),
        (
            "gtFine/val/ulm/*_000001_*instanceIds.png",
            r"1 of 2 label maps lack an instance map .*ulm/ulm_000001_000019",
        ),
        (
            "gtFine/val/ulm/*labelIds.png",
            r"No <city>/\*_gtFine_labelIds.png in .*gtFine_trainvaltest.zip",
        ),
    ],
)
def test_a_file_without_its_partner_stops_the_run(
    tmp_path: Path, remove: str, message: str
) -> None:
    for path in cityscapes_at(tmp_path).glob(remove):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        build_dataset("cityscapes", tmp_path, "val")


def test_instance_maps_may_be_absent_altogether_unless_asked_for(tmp_path: Path) -> None:
    for path in cityscapes_at(tmp_path).glob("gtFine/val/ulm/*instanceIds.png"):
        path.unlink()
    assert build_dataset("cityscapes", tmp_path, "val")[0].instance is None
    with pytest.raises(FileNotFoundError, match=r"2 of 2 label maps lack an instance map"):
        build_dataset("cityscapes", tmp_path, "val", instances=True)


def test_cityscapes_files_that_lie(tmp_path: Path) -> None:
    dataset = build_dataset("cityscapes", cityscapes_at(tmp_path), "val")
    write_png(dataset.records[0].label, np.array([[7, 34, 255, 7, 7, 7, 7, 7]] * 4, np.uint8))
    with pytest.raises(
        InputError,
        match=r"_labelIds.png: label ids 34, 255 are not in Cityscapes' table; expected 0..33",
    ):
        dataset[0]
    write_png(dataset.records[0].label, np.full((3, 8), 7, np.uint8))
    with pytest.raises(
        InputError,
        match=r"instanceIds.png: the instance map has \(rows, columns\) \(4, 8\), its label",
    ):
        dataset[0]
    write_png(dataset.records[1].label, np.full((4, 9), 7, np.uint8))
    write_png(dataset.records[1].instance, np.full((4, 9), 7, np.uint16))
    with pytest.raises(InputError, match=r"the label is 9x4, but its image .* is 8x4"):
        dataset[1]
    write_png(dataset.records[1].label, np.full((4, 8, 3), 7, np.uint8))
    with pytest.raises(
        InputError, match="found 3 channels, expected a map of ids with one channel"
    ):
        dataset[1]


def test_coarse_labels_and_train_extra(tmp_path: Path) -> None:
    extra = ("erlangen_000000_000000", "troisdorf_000000_000073", "troisdorf_000000_000074")
    cityscapes_at(tmp_path, "train_extra", extra, kind="gtCoarse")
    dataset = build_dataset("cityscapes", tmp_path, "train_extra")
    # The published set has one black image, which is to be left out.
    assert [record.name for record in dataset.records] == [
        "erlangen_000000_000000",
        "troisdorf_000000_000074",
    ]
    assert dataset[0].label[1, 3] == 13 and dataset[0].instance.max() == 26000
    cityscapes_at(tmp_path, "val", kind="gtCoarse")
    with pytest.raises(FileNotFoundError, match=r"No <city>/\*_gtFine_labelIds.png"):
        build_dataset("cityscapes", tmp_path, "val")
    coarse = build_dataset("cityscapes", tmp_path, "val", coarse=True)
    assert coarse.records[0].label.name == "ulm_000000_000019_gtCoarse_labelIds.png"
    with pytest.raises(InputError, match="the test split has no coarse labels"):
        build_dataset("cityscapes", tmp_path, "test", coarse=True)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (
            "gtCoarse",
            r"No <city>/\*_gtCoarse_labelIds.png in .*/train_extra. Unzip gtCoarse.zip into",
        ),
        (
            "leftImg8bit",
            r"No <city>/\*_leftImg8bit.png in .*/train_extra. Unzip leftImg8bit_trainextra.zip",
        ),
        (
            "gtCoarse/train_extra/jena",
            r"1 of 2 images lack a label map \*_gtCoarse_labelIds.png .*jena/jena_000000",
        ),
    ],
)
def test_missing_coarse_files(tmp_path: Path, remove: str, message: str) -> None:
    cityscapes_at(
        tmp_path, "train_extra", ("bonn_000000_000000", "jena_000000_000000"), kind="gtCoarse"
    )
    (tmp_path / remove).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=message):
        build_dataset("cityscapes", tmp_path, "train_extra")


def test_each_zip_in_a_folder_of_its_own(tmp_path: Path) -> None:
    cityscapes_at(tmp_path, unzipped=("leftImg8bit_trainvaltest", "gtFine_trainvaltest"))
    names = ("bonn_000000_000000",)
    cityscapes_at(
        tmp_path,
        "train_extra",
        names,
        kind="gtCoarse",
        unzipped=("leftImg8bit_trainextra", "gtCoarse"),
    )
    assert len(build_dataset("cityscapes", tmp_path, "val", instances=True)) == 2
    assert build_dataset("cityscapes", tmp_path, "train_extra")[0].label.shape == (4, 8)


def test_published_cross_validation_splits_by_city(tmp_path: Path) -> None:
    official = ["frankfurt", "lindau", "munster"]
    others = [
        *(
            "aachen",
            "bochum",
            "bremen",
            "cologne",
            "darmstadt",
            "dusseldorf",
            "erfurt",
            "hamburg",
            "hanover",
            "jena",
        ),
        *(
            "krefeld",
            "monchengladbach",
            "strasbourg",
            "stuttgart",
            "tubingen",
            "ulm",
            "weimar",
            "zurich",
        ),
    ]
    cityscapes_at(tmp_path, "val", tuple(f"{city}_000000_000019" for city in official))
    cityscapes_at(tmp_path, "train", tuple(f"{city}_000000_000019" for city in others))
    cities = official + others
    for cv in range(3):  # as published: three in a row from cv thirds of the list on
        val = {
            r.name.split("_")[0]
            for r in build_dataset("cityscapes", tmp_path, "val", cv=cv).records
        }
        train = {
            r.name.split("_")[0]
            for r in build_dataset("cityscapes", tmp_path, "train", cv=cv).records
        }
        assert val == set(cities[cv * 21 // 3 :][:3])
        assert train == set(cities) - val
        assert len(build_dataset("cityscapes", tmp_path, "trainval", cv=cv)) == 21
    with pytest.raises(InputError, match="no cross-validation split 3; expected 0 to 2"):
        build_dataset("cityscapes", tmp_path, "val", cv=3)


def test_options_of_a_command_line() -> None:
    assert parse_options(["cv=1", "coarse=true", "version=v2.0"]) == {
        "cv": 1,
        "coarse": True,
        "version": "v2.0",
    }
    for word in ("cv", "=1", "cv="):
        with pytest.raises(InputError, match="is no option of a data set; expected NAME=VALUE"):
            parse_options([word])


def test_an_unknown_option_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="camvid has no option 'cv'; it takes none"):
        build_dataset("camvid", camvid_at(tmp_path), "val", cv=1)
    with pytest.raises(
        InputError, match="scenes has no option 'size'; it takes images, instances, coarse, cv"
    ):
        build_dataset("scenes", tmp_path, "val", size=1)


def test_real_camvid(shared: Path) -> None:
    sizes = {
        split: len(build_dataset("camvid", shared / "CamVid", split))
        for split in ("train", "val", "test", "trainval")
    }
    assert sizes == {"train": 367, "val": 101, "test": 233, "trainval": 468}
    sample = build_dataset("camvid", shared / "CamVid", "test")[0]
    assert (sample.name, sample.image.shape) == ("0001TP_008550", (360, 480, 3))
    raw = read_index(shared / "CamVid/testannot/0001TP_008550.png")
    np.testing.assert_array_equal(np.where(raw == 11, 255, raw), sample.label)


def test_real_cityscapes_labels_agree_with_the_published_train_ids(shared: Path) -> None:
    sample = build_dataset("cityscapes", shared / "samples/cityscapes_small", "val")[0]
    folder = shared / "samples/cityscapes_small/gtFine/val/frankfurt"
    published = read_index(folder / "frankfurt_000000_000294_gtFine_labelTrainIds.png")
    # The sample's two maps were reduced apart: 77 of 32768 pixels, all at class borders, differ
    # in the files themselves.
    assert np.count_nonzero(sample.label != published) == 77
    for label_id in np.unique(
        ids := read_index(folder / "frankfurt_000000_000294_gtFine_labelIds.png")
    ):
        assert np.bincount(published[ids == label_id]).argmax() == train_id_table()[label_id]
    assert np.unique(sample.instance)[-3:].tolist() == [26000, 26001, 26002]


def test_real_cityscapes_layouts(shared: Path) -> None:
    dataset = build_dataset("cityscapes", shared / "samples/cityscapes", "train", instances=True)
    assert [record.name[7:13] for record in dataset.records] == [
        "000000",
        "000001",
        "000004",
        "000005",
        "000006",
    ]
    labels = build_dataset(
        "cityscapes", shared / "samples/cityscapes_gt_only", "trainval", images=False
    )
    assert len(labels) == 3 + 15
    label, instance = labels.read_ground_truth(labels.records[-1])
    objects = instance >= 1000
    np.testing.assert_array_equal(
        to_train_ids(instance[objects] // 1000, "instance ids"), label[objects]
    )
