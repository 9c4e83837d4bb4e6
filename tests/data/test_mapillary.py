"""data.mapillary: drawn sets of all layouts, what is missing or broken, and the real sample."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.mapillary import LABEL, config, instances, mapillary_at

from data import build_dataset, dataset_class
from data.edges import label_to_edges
from data.errors import InputError
from data.image_io import read_index, write_png
from data.mapillary import Mapillary

TRAIN = np.array([[0, 0, 1, 1, 2, 2, 2, 2, 255, 255]] * 6, np.uint8)


@pytest.mark.parametrize(
    ("version", "config_name", "found"),
    [
        ("v2.0", "config_v2.0.json", "v2.0"),
        ("v1.2", "config_v1.2.json", "v1.2"),
        (".", "config.json", "v1.2"),
        (".", "config_v1.1.json", "v1.2"),
    ],
)
def test_every_layout(tmp_path: Path, version: str, config_name: str, found: str) -> None:
    dataset = build_dataset("mapillary", mapillary_at(tmp_path, version, config_name), "val")
    sample = dataset[1]
    assert (dataset.version, sample.name, sample.image.shape) == (found, "dd", (6, 10, 3))
    assert dataset.classes == ("Bird", "Road", "Car") and dataset.num_classes == 3
    assert dataset.palette.tolist() == [[0, 20, 30], [6, 20, 30], [9, 20, 30]]
    assert [label.has_instances for label in dataset.labels] == [True, False, False, True, False]
    np.testing.assert_array_equal(sample.label, TRAIN)
    assert (sample.label.dtype, sample.instance.dtype) == (np.uint8, np.int32)
    assert [r.name for r in build_dataset("mapillary", tmp_path, "trainval").records] == [
        "aa",
        "bb",
        "cc",
        "dd",
    ]
    test = build_dataset("mapillary", tmp_path, "test")
    assert len(test) == 1 and test[0].label is None and test.classes == dataset.classes


def test_instances_are_the_regions_on_disk_and_none_is_0_or_ignored(tmp_path: Path) -> None:
    sample = build_dataset("mapillary", mapillary_at(tmp_path), "train")[0]
    coded = instances().astype(int)
    same = sample.instance[0][:, None] == sample.instance[0][None, :]
    np.testing.assert_array_equal(same, coded[0][:, None] == coded[0][None, :])
    assert sample.instance.min() > 3
    edges = label_to_edges(sample.label, sample.instance, num_classes=3, radius=1)
    # Bird | Road, Road | Car, Car | Car, Car | not evaluated; between the two that are not
    # evaluated there is no edge.
    assert edges[2].tolist() == [0, 3, 3, 6, 6, 4, 4, 4, 4, 0]


def test_instances_may_be_left_out_or_asked_for(tmp_path: Path) -> None:
    mapillary_at(tmp_path)
    assert build_dataset("mapillary", tmp_path, "train", instances=False)[0].instance is None
    for path in tmp_path.glob("training/v2.0/instances/*.png"):
        path.unlink()
    assert build_dataset("mapillary", tmp_path, "train")[0].instance is None
    with pytest.raises(
        FileNotFoundError, match=r"2 of 6 files are missing .*v2.0/instances/aa.png"
    ):
        build_dataset("mapillary", tmp_path, "train", instances=True)


def test_of_two_versions_the_first_is_the_default(tmp_path: Path) -> None:
    mapillary_at(tmp_path)
    for part in ("training", "validation"):
        for path in (tmp_path / part / "v2.0/labels").iterdir():
            write_png(tmp_path / part / "v1.2/labels" / path.name, np.zeros((6, 10), np.uint8))
    (tmp_path / "config_v1.2.json").write_text(config(("Road", "Unlabeled")))
    assert build_dataset("mapillary", tmp_path, "train").classes == ("Road",)
    assert build_dataset("mapillary", tmp_path, "train", version="v2.0").classes == (
        "Bird",
        "Road",
        "Car",
    )
    (tmp_path / "training/images").rename(tmp_path / "elsewhere")
    labels = build_dataset("mapillary", tmp_path, "train", version="v2.0", images=False)
    np.testing.assert_array_equal(labels.read_ground_truth(labels.records[0])[0], TRAIN)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("training/images/aa.jpg", r"1 of 6 files are missing below .*training/images/aa.jpg"),
        ("training/v2.0/labels/bb.png", r"1 of 6 files are missing below .*v2.0/labels/bb.png"),
        (
            "training/v2.0/instances/bb.png",
            r"1 of 6 files are missing below .*v2.0/instances/bb.png",
        ),
        ("training/images/*", r"No \*.jpg in .*training/images. Unzip Mapillary Vistas into"),
        (
            "training/v2.0/labels/*",
            r"No \*.png in .*v2.0/labels: there are no labels of Mapillary Vistas v2.0",
        ),
        (
            "config_v2.0.json",
            r"No config_v2.0.json in .*names the classes of Mapillary Vistas v2.0",
        ),
    ],
)
def test_missing_files_stop_the_run(tmp_path: Path, remove: str, message: str) -> None:
    for path in mapillary_at(tmp_path).glob(remove):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        build_dataset("mapillary", tmp_path, "train")


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no split 'all'; expected one of train, val, trainval, test"
    ):
        build_dataset("mapillary", tmp_path, "all")
    with pytest.raises(InputError, match=r"no version 'v3'; expected one of v1.2, v2.0"):
        build_dataset("mapillary", tmp_path, "train", version="v3")
    with pytest.raises(
        FileNotFoundError, match=r"No config_v1.2.json or config_v1.1.json or config.json in"
    ):
        build_dataset("mapillary", tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "no list of labels"),
        ('{"labels": [{"readable": "Bird"}]}', "expected a name `readable`, a `color`"),
        (
            '{"labels": [{"readable": "A", "color": [300, 0, 0], "instances": true, '
            '"evaluate": true}]}',
            "label 0 .* from 0 to 255",
        ),
        ('{"labels": []}', "has 0 labels; expected 1 to 254"),
    ],
)
def test_a_broken_config_is_named(tmp_path: Path, text: str, words: str) -> None:
    (mapillary_at(tmp_path) / "config_v2.0.json").write_text(text)
    with pytest.raises(InputError, match=f"config_v2.0.json: .*{words}"):
        build_dataset("mapillary", tmp_path, "train")


def test_broken_files(tmp_path: Path) -> None:
    dataset = build_dataset("mapillary", mapillary_at(tmp_path), "train")
    first, second = dataset.records
    write_png(first.label, np.full((6, 10), 5, np.uint8))
    with pytest.raises(
        InputError, match=r"aa.png: label ids 5 are not among the 5 labels of Mapillary Vistas v2.0"
    ):
        dataset[0]
    write_png(first.label, LABEL)
    write_png(first.instance, instances()[:4])
    with pytest.raises(
        InputError, match=r"instances/aa.png: the instance map is 10x4, but its image .* is 10x6"
    ):
        dataset[0]
    second.label.write_bytes(second.label.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"labels/bb.png: the file is cut off"):
        dataset[1]


def test_the_table_of_v12_is_the_published_file(shared: Path) -> None:
    rows = json.loads((shared / "samples/mapillary_vistas/config_v1.1.json").read_text())["labels"]
    kind = dataset_class("mapillary")
    assert len(rows) == 66 and rows[65]["readable"] == "Unlabeled"
    assert kind.classes == tuple(row["readable"] for row in rows[:65])
    assert kind.palette.tolist() == [row["color"] for row in rows[:65]]


def test_real_sample(shared: Path) -> None:
    root = shared / "samples/mapillary_vistas"
    dataset = build_dataset("mapillary", root, "train")
    sample = dataset[0]
    assert (dataset.version, dataset.num_classes, sample.instance) == ("v1.2", 65, None)
    assert dataset.classes == Mapillary.classes
    raw = read_index(root / "training/v1.2/labels/__CRyFzoDOXn6unQ6a3DnQ.png")
    np.testing.assert_array_equal(
        sample.label, raw
    )  # ids are train ids, none of them "Unlabeled" in this crop
    assert {dataset.classes[k] for k in np.unique(sample.label)} == {
        "Building",
        "Street Light",
        "Pole",
    }
