"""data.kitti and data.kitti_gtlabel on drawn miniature sets in the official layouts."""

import shutil

import numpy as np
import pytest
from helpers.edge_labels import read_bits
from helpers.kitti import CAR, ROAD, draw_frame

from data import kitti_gtlabel as script
from data.cityscapes import train_id_table
from data.edge_files import edge_label_path
from data.edges import label_to_edges
from data.errors import InputError
from data.image_io import write_png
from data.kitti import KITTI, VALIDATION, read_instances


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kitti")
    for place in range(200):
        label, coded = draw_frame(place % 3)
        street = np.full((12, 20, 3), place % 3, np.uint8)
        for kind, image in (("semantic", label), ("instance", coded), ("image_2", street)):
            path = folder / "training" / kind / f"{place:06}_10.png"
            if place < 3:
                write_png(path, image)
            else:
                shutil.copyfile(path.with_name(f"{place % 3:06}_10.png"), path)
    write_png(folder / "testing/image_2/000000_10.png", np.zeros((12, 20, 3), np.uint8))
    return folder


def run(*flags):
    return script.main(script.parse_args([*map(str, flags)]))


def test_sample(root):
    sample = KITTI(root, "trainval")[4]
    label, coded = draw_frame(1)
    assert sample.name == "000004_10" and sample.image[0, 0].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(sample.label, train_id_table()[label])
    assert sample.instance.dtype == np.int32
    assert set(np.unique(sample.instance)) == {0, ROAD, 1000 * CAR + 1, 1000 * CAR + 2}
    same = sample.instance[:, :, None] == sample.instance.reshape(1, 1, -1)
    np.testing.assert_array_equal(
        same, coded[:, :, None] == coded.reshape(1, 1, -1)
    )  # the same regions


def test_published_splits(root):
    everything = {record.name for record in KITTI(root, "trainval").records}
    for cv, places in enumerate(VALIDATION):
        train, val = KITTI(root, "train", cv=cv), KITTI(root, "val", cv=cv)
        assert len(train) == 179 and len(val) == 21
        assert [record.name for record in val.records] == [f"{place:06}_10" for place in places]
        assert {record.name for record in (*train.records, *val.records)} == everything
    # Written out from the published lists, so that the table itself is tested.
    names = [[r.name[3:6] for r in KITTI(root, "val", cv=cv).records] for cv in range(3)]
    assert [chosen[:4] for chosen in names] == [
        ["001", "005", "011", "029"],
        ["000", "012", "024", "031"],
        ["003", "006", "013", "021"],
    ]
    assert [chosen[-1] for chosen in names] == ["198", "197", "199"]
    test = KITTI(root, "test")[0]
    assert test.label is None and test.instance is None


def test_instance_numbers_mean_what_they_mean_in_cityscapes(tmp_path):
    write_png(tmp_path / "a.png", np.array([[0, 2, 2 << 8, (26 << 8) + 255, 33 << 8]], np.uint16))
    assert read_instances(tmp_path / "a.png").tolist() == [[0, 0, 2, 26255, 33]]


def test_an_instance_map_of_8_bits_has_lost_the_label_ids(tmp_path):
    _, coded = draw_frame()
    write_png(tmp_path / "a.png", (coded & 255).astype(np.uint8))
    with pytest.raises(InputError, match=r"a\.png: is an instance map of 8 bits"):
        read_instances(tmp_path / "a.png")
    write_png(tmp_path / "a.png", np.zeros((2, 3), np.uint8))
    assert not read_instances(tmp_path / "a.png").any()


def test_errors(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_semantics.zip"):
        KITTI(tmp_path, "trainval")
    with pytest.raises(InputError, match="no split 'dev'"):
        KITTI(root, "dev")
    with pytest.raises(InputError, match="cross-validation split 3"):
        KITTI(root, "train", cv=3)
    label, _ = draw_frame()
    write_png(tmp_path / "training/semantic/000000_10.png", label)
    with pytest.raises(
        InputError, match="found 1 labelled images; the published splits choose among 200"
    ):
        KITTI(tmp_path, "val", images=False)
    with pytest.raises(FileNotFoundError, match="1 of 2 files are missing"):
        KITTI(tmp_path, "trainval")
    label[0, 0] = 99
    write_png(tmp_path / "training/semantic/000000_10.png", label)
    write_png(tmp_path / "training/image_2/000000_10.png", np.zeros((12, 20, 3), np.uint8))
    with pytest.raises(InputError, match="label ids 99"):
        KITTI(tmp_path, "trainval")[0]


def test_labels_and_lists_of_the_semantics_benchmark(root, tmp_path):
    assert run("--root", root, "--out", tmp_path) == 0
    dataset = KITTI(root, "val", cv=1)
    sample, record = dataset[5], dataset.records[5]
    expected = label_to_edges(sample.label, sample.instance, num_classes=19)
    np.testing.assert_array_equal(read_bits(edge_label_path(tmp_path, dataset, record)), expected)
    assert expected[6, 8] >> 13 & 1  # between the two cars
    lines = (tmp_path / "val_cv1.txt").read_text().splitlines()
    assert (
        lines[5] == f"/training/image_2/{record.name}.png /training/semantic/{record.name}_edge.png"
    )
    assert [
        len((tmp_path / f"{s}.txt").read_text().splitlines()) for s in ("train_cv2", "trainval")
    ] == [179, 200]


def test_semantics_without_instance_maps(tmp_path, capsys):
    label, _ = draw_frame()
    write_png(tmp_path / "kitti/training/semantic/000000_10.png", label)
    with pytest.raises(InputError, match="--no-instance"):
        run("--root", tmp_path / "kitti", "--out", tmp_path / "out")
    assert run("--root", tmp_path / "kitti", "--out", tmp_path / "out", "--no-instance") == 0
    said = capsys.readouterr().out
    assert "labels only" in said and "1 images, not 200" in said
    found = read_bits(tmp_path / "out/training/semantic/000000_10_edge.png")
    np.testing.assert_array_equal(found, label_to_edges(train_id_table()[label], num_classes=19))


def test_odometry_sequences(tmp_path, capsys):
    label, coded = draw_frame()
    ids = np.where(label == CAR, CAR * 1000 + (coded & 255), label).astype(np.uint16)
    for sequence in ("00", "07"):
        for frame in ("000000", "000001"):
            write_png(tmp_path / f"labels/{sequence}/{frame}.png", label)
            write_png(tmp_path / f"instances/{sequence}/{frame}.png", ids)
            write_png(
                tmp_path / f"kitti/sequences/{sequence}/image_2/{frame}.png",
                np.zeros((12, 20, 3), np.uint8),
            )
    flags = ("--root", tmp_path / "kitti", "--odometry-labels", tmp_path / "labels")
    assert run(*flags, "--out", tmp_path / "flat", "--eval") == 0
    found = read_bits(tmp_path / "flat/sequences/07/000001_edge.png")
    np.testing.assert_array_equal(found, label_to_edges(train_id_table()[label], num_classes=19))
    assert (tmp_path / "flat/gt_eval/gt_thin/inst/07/000001.png").is_file()
    lines = (tmp_path / "flat/sequences/00.txt").read_text().splitlines()
    assert lines[0] == "/sequences/00/image_2/000000.png /sequences/00/000000_edge.png"
    said = capsys.readouterr().out
    assert said.index("sequence 00: 2 made") < said.index("sequence 07: 2 made")
    more = (
        "--odometry-instances",
        tmp_path / "instances",
        "--sequences",
        "07",
        "--out",
        tmp_path / "inst",
    )
    assert run(*flags, *more) == 0
    found = read_bits(tmp_path / "inst/sequences/07/000000_edge.png")
    np.testing.assert_array_equal(
        found, label_to_edges(train_id_table()[label], ids, num_classes=19)
    )
    assert not (tmp_path / "inst/sequences/00").exists()
    with pytest.raises(FileNotFoundError, match="sequence 21"):
        run(*flags, "--sequences", "21", "--out", tmp_path / "x")
    with pytest.raises(InputError, match="need --odometry-labels"):
        run("--root", tmp_path, "--sequences", "21", "--out", tmp_path / "x")
