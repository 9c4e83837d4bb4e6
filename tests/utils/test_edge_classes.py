"""Edges of any number of classes, from labels or files to scores, against each class by itself."""

import numpy as np
import pytest
from helpers.evaluation import metrics_of, score

from data.base import Dataset, Record
from data.edge_files import write_edges
from data.edges import class_edges, evaluation_edges, present_classes, to_groups
from data.image_io import write_png
from data.names import match_names
from utils.edge_metrics import default_thresholds, evaluate_image
from utils.evaluation.edges.ground_truth import DatasetGroundTruth, FolderGroundTruth
from utils.evaluation.edges.image_counts import count_edge_image
from utils.evaluation.edges.predictions import PredictionFolder
from utils.evaluation.edges.protocols import find_protocol

SHAPE = (36, 48)
T = 3


class Many(Dataset):
    """Two images of blobs of `count` classes, without instances."""

    name = "many"

    def __init__(self, folder, count, rng):
        self.classes = tuple(f"c{k}" for k in range(count))
        self.palette = np.zeros((count, 3), np.uint8)
        records = []
        for name in ("a", "b"):
            ids = rng.choice([*range(count), 255], (6, 8)).astype(np.uint8)
            write_png(folder / f"label/{name}.png", np.kron(ids, np.ones((6, 6), np.uint8)))
            write_png(folder / f"image/{name}.png", np.zeros((*SHAPE, 3), np.uint8))
            files = (folder / f"{kind}/{name}.png" for kind in ("image", "label"))
            records.append(Record(name, *files))
        super().__init__(folder, "val", records)


@pytest.fixture(params=[24, 30, 40, 65, 150])
def many(request, tmp_path, rng):
    """(data set, bool (2 images, M = 2, K, H, W): the edges of each class by itself)."""
    dataset = Many(tmp_path / "data", request.param, rng)
    edges = np.zeros((2, 2, dataset.num_classes, *SHAPE), bool)
    for i, record in enumerate(dataset.records):
        label, _ = dataset.read_ground_truth(record)
        for m, k in np.ndindex(2, dataset.num_classes):
            alone = np.where(label == k, 0, 255).astype(np.uint8)
            edges[i, m, k] = evaluation_edges(alone, num_classes=1, thin=m == 0, scale=1) != 0
    return dataset, edges


def test_labels_and_files_are_counted_as_each_class_by_itself(many, tmp_path, rng):
    dataset, edges = many
    count = dataset.num_classes
    protocol = find_protocol("dff", scale=1.0, thresholds=T)
    from_labels = DatasetGroundTruth(dataset, protocol)
    for i, record in enumerate(dataset.records):
        for m, mode in enumerate(protocol.modes):
            groups = from_labels.load(i).edges[mode]
            assert len(groups) == -(-count // 24)
            found = np.stack([class_edges(groups, k) for k in range(count)])
            assert np.array_equal(found, edges[i, m])
            assert present_classes(groups) == np.flatnonzero(found.any((1, 2))).tolist()
            write_edges(tmp_path / f"gt/gt_{mode}/inst/{record.name}.png", groups)
    from_files = FolderGroundTruth(tmp_path / "gt", protocol, count)
    assert from_files.names == ["a", "b"]
    assert from_files.size(0) == SHAPE
    scores = (rng.random((count, *SHAPE)) * 255).astype(np.uint8)
    counts = count_edge_image(scores, from_labels.load(1), protocol)
    assert np.array_equal(count_edge_image(scores, from_files.load(1), protocol), counts)
    knobs = {"thresholds": default_thresholds(T), "max_dist": 0.02}
    for k in (0, 23, count // 2, count - 1):
        for m in (0, 1):
            alone = evaluate_image(scores[k], edges[1, m, k], thin=m == 0, **knobs)
            assert np.array_equal(counts[m, k], alone)


def test_perfect_edge_images_score_1_with_a_report(many, tmp_path):
    dataset, edges = many
    truth = DatasetGroundTruth(dataset, find_protocol("dff", scale=1.0, thin=False))
    for i, record in enumerate(dataset.records):
        for root in (tmp_path / "gt", tmp_path / "pred"):
            write_edges(root / f"{record.name}.png", truth.load(i).edges["raw"])
    files = ("--predictions", tmp_path / "pred", "--labels", tmp_path / "gt")
    flags = ("--num-classes", dataset.num_classes, "--no-thin", "--thresholds", T, "--workers", 0)
    score(*files, *flags, "--pictures", 1, "--out", tmp_path / "out")
    raw = metrics_of(tmp_path / "out")["scores"]["raw"]
    assert raw["mean"]["ods"] == 1
    assert raw["mean"]["classes"] == edges[:, 1].any((0, 2, 3)).sum()
    assert (tmp_path / "out/report.html").stat().st_size > 1000


def test_files_of_later_classes_are_no_images(tmp_path):
    groups = [np.zeros(SHAPE, np.uint32)] * 2
    write_edges(tmp_path / "frame.png", groups)
    write_edges(tmp_path / "frame_23.png", groups)
    folder = PredictionFolder(tmp_path, 40)
    assert folder.names == ["frame", "frame_23"]
    assert folder.sizes("frame_23") == {SHAPE}
    assert match_names(["frame"], folder.names) == {"frame": "frame"}
    assert PredictionFolder(tmp_path, 24).names == ["frame", "frame_23", "frame_23_24", "frame_24"]


def test_to_groups(rng):
    bits = rng.integers(0, 1 << 32, (5, 6)).astype(np.uint32)
    groups = to_groups(bits, 32)
    assert [group.max() >> 24 for group in groups] == [0, 0]
    for k in range(32):
        assert np.array_equal(class_edges(groups, k), bits >> np.uint32(k) & 1 != 0)
    assert to_groups(bits, 24)[0] is bits
