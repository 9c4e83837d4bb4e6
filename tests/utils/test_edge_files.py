"""Files of the edge evaluation: predictions and ground truth in all layouts, and their names."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from helpers.edge_files import SIZE, write_edge_files
from scipy.sparse import csc_array

from data.edges import encode_png, label_to_edges, pack
from data.errors import InputError
from data.gtlabel.mat import write_gt_inst
from data.image_io import write_png
from data.names import match_names
from utils.evaluation.edges.ground_truth import FolderGroundTruth
from utils.evaluation.edges.ground_truth_mat import read_mat
from utils.evaluation.edges.predictions import PredictionFolder
from utils.evaluation.edges.protocols import find_protocol
from utils.evaluation.edges.sources import match_files


@pytest.fixture
def scored(tmp_path, rng):
    """(folder, names, scores, true bits) of four images as files; see `write_edge_files`."""
    return tmp_path, *write_edge_files(tmp_path, rng)


# Files of predictions


def test_layouts_hold_the_same_scores(tmp_path, rng):
    prob = (rng.random((3, *SIZE)) * 65535).astype(np.uint16)
    (tmp_path / "npz").mkdir()
    (tmp_path / "npy").mkdir()
    (tmp_path / "last").mkdir()
    for k in range(3):
        write_png(tmp_path / "prob" / f"class_{k + 1:03d}" / "town/p.png", prob[k])
    np.savez_compressed(tmp_path / "npz/p.npz", prob)
    np.save(tmp_path / "npy/p.npy", (prob / 65536).astype(np.float64))
    np.savez(tmp_path / "last/p.npz", scores=np.moveaxis(prob, 0, -1))
    for root, key in (
        (tmp_path, "town/p"),
        (tmp_path / "npz", "p"),
        (tmp_path / "npy", "p"),
        (tmp_path / "last", "p"),
    ):
        folder = PredictionFolder(root, 3)
        assert folder.sizes(folder.names[0]) == {SIZE}
        assert folder.names == [key]
        assert folder.num_classes == PredictionFolder(root).num_classes == 3
        found = [np.asarray(score, float) for score in folder.read(key)]
        scale = 1 if root.name == "npy" else 65536
        np.testing.assert_allclose(np.stack(found) / scale, prob / 65536, rtol=1e-6)


def test_edge_images_and_one_class(tmp_path, rng):
    edges = rng.random((3, *SIZE)) < 0.2
    write_png(tmp_path / "bits/p.png", encode_png(pack(edges)))
    assert np.array_equal(
        np.stack(list(PredictionFolder(tmp_path / "bits", 3).read("p"))), edges.astype(np.float32)
    )
    with pytest.raises(InputError, match="--num-classes"):
        PredictionFolder(tmp_path / "bits")
    grey = (rng.random(SIZE) * 255).astype(np.uint8)
    write_png(tmp_path / "grey/p.png", grey)
    folder = PredictionFolder(tmp_path / "grey")
    assert folder.num_classes == 1
    assert np.array_equal(next(folder.read("p")), grey)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 5)), "shape"),
        (np.full((3, 5, 6), 1.5), "expected probabilities"),
        (np.full((3, 5, 6), np.nan), "expected probabilities"),
        (np.zeros((4, 5, 6)), "4 classes"),
    ],
)
def test_bad_arrays(tmp_path, array, words):
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(InputError, match=words):
        list(PredictionFolder(tmp_path, 3).read("p"))


def test_bad_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        PredictionFolder(tmp_path / "none")
    with pytest.raises(InputError, match="found no predictions"):
        PredictionFolder(tmp_path)
    write_png(tmp_path / "class_001/p.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(InputError, match=r"1 classes .* has 3"):
        PredictionFolder(tmp_path, 3)
    write_png(tmp_path / "class_003/p.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(InputError, match="without a gap"):
        PredictionFolder(tmp_path)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/p.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(InputError, match="cannot be read"):
        PredictionFolder(tmp_path / "torn")


def test_names_match_with_and_without_folders_and_endings():
    wanted = ["aachen_1", "b", "c/x"]
    found = match_names(wanted, ["aachen/aachen_1_leftImg8bit", "c/x", "d/b", "other"])
    assert found == {"aachen_1": "aachen/aachen_1_leftImg8bit", "b": "d/b", "c/x": "c/x"}
    assert match_names(["gtFine/val/x_gtFine_edge"], ["x"]) == {"gtFine/val/x_gtFine_edge": "x"}
    with pytest.raises(InputError, match="both d/b and e/b"):
        match_names(["b"], ["d/b", "e/b"])


def test_missing_extra_and_mis_sized_files_are_listed_first(scored):
    folder, _, scores, _ = scored
    truth = FolderGroundTruth(folder / "gt", find_protocol("dff"), 3)
    (folder / "pred/class_002/p0.png").unlink()
    write_png(folder / "pred/class_001/p1.png", scores[0][0][:20])
    for k in (1, 2, 3):
        write_png(folder / f"pred/class_00{k}/unknown.png", scores[0][0])
    reported = []
    with pytest.raises(InputError, match=r"1 files are missing and 1 mis-sized"):
        match_files(
            truth, PredictionFolder(folder / "pred"), allow_missing=True, report=reported.append
        )
    assert [line.split(":")[0] for line in reported] == [
        "1 missing",
        "1 extra (not scored)",
        "1 mis-sized",
    ]
    assert "class_002/p0.png" in reported[0]
    assert "unknown" in reported[1]
    assert re.search(r"p1: 40x20, the (ground )?truth is 40x30", reported[2])
    write_png(folder / "pred/class_001/p1.png", scores[1][0])
    with pytest.raises(InputError, match="--allow-missing"):
        match_files(
            truth, PredictionFolder(folder / "pred"), allow_missing=False, report=reported.append
        )
    found = match_files(
        truth, PredictionFolder(folder / "pred"), allow_missing=True, report=reported.append
    )
    assert found == {1: "p1", 2: "p2", 3: "p3"}


# Files of ground truth


def test_published_mat_files(shared, tmp_path):
    """GTcls: a boundary per class. GTinst: a boundary per instance, joined by class."""
    folder = shared / "samples/sbd/dataset"
    (bits,), label = read_mat(folder / "cls/2008_000051.mat", 20)
    stored = scipy.io.loadmat(folder / "cls/2008_000051.mat")["GTcls"][0, 0]
    for k in range(20):
        assert np.array_equal(bits >> k & 1, stored["Boundaries"][k, 0].toarray())
        assert np.array_equal(label == k, stored["Segmentation"] == k + 1)
    (bits,), label = read_mat(folder / "inst/2008_000051.mat", 20)
    stored = scipy.io.loadmat(folder / "inst/2008_000051.mat")["GTinst"][0, 0]
    expected = np.zeros_like(bits)
    for number, boundary in zip(
        stored["Categories"].ravel(), stored["Boundaries"].ravel(), strict=True
    ):
        expected |= boundary.toarray().astype(np.uint32) << np.uint32(number - 1)
    assert np.array_equal(bits, expected)
    assert label is None
    with pytest.raises(InputError, match="holds class"):
        read_mat(folder / "cls/2008_000051.mat", 4)
    (tmp_path / "x.mat").write_bytes(b"no mat file at all")
    with pytest.raises(InputError, match=r"x\.mat: the file cannot be read"):
        read_mat(tmp_path / "x.mat", 4)


def test_absent_classes_of_another_size_are_empty(tmp_path):
    cells = np.empty((2, 1), object)
    cells[0, 0], cells[1, 0] = (
        csc_array(np.eye(3, dtype=np.uint8)),
        csc_array((6, 6), dtype=np.uint8),
    )
    scipy.io.savemat(
        tmp_path / "p.mat",
        {"GTcls": {"Boundaries": cells, "Segmentation": np.ones((6, 6), np.uint8)}},
    )
    (bits,), label = read_mat(tmp_path / "p.mat", 2)
    assert np.array_equal(bits, np.eye(3))
    assert label is None  # the segmentation has another size


def test_kill_internal_needs_the_inside(scored):
    with pytest.raises(InputError, match="needs the class of each pixel"):
        FolderGroundTruth(scored[0] / "gt", find_protocol("sbd2011", instance=True), 3)


def test_modes_have_the_same_images(scored):
    (scored[0] / "gt/gt_raw/inst/p2.png").unlink()
    with pytest.raises(InputError, match=r"p2 \(1 in all\)"):
        FolderGroundTruth(scored[0] / "gt", find_protocol("dff"), 3)
    assert len(FolderGroundTruth(scored[0] / "gt", find_protocol("dff", raw=False), 3).names) == 4
    (scored[0] / "gt/gt_thin/inst").rename(scored[0] / "flat")
    flat = FolderGroundTruth(scored[0] / "flat", find_protocol("dff"), 3)
    assert "same files" in flat.origin["note"]
    assert flat.names == ["p0", "p1", "p2", "p3"]


def test_a_class_cell_with_as_many_regions_as_classes_is_not_taken_for_an_instance_cell(tmp_path):
    """Our GTinst has a map per class, SBD's one per instance; with three of each, see the maps."""
    label = np.full((20, 30), 255, np.uint8)
    instance = np.zeros((20, 30), np.int32)
    for number, (left, k) in enumerate(((2, 1), (11, 1), (20, 2)), start=1):
        label[5:15, left : left + 7], instance[5:15, left : left + 7] = k, number
    bits = label_to_edges(label, instance, num_classes=3)
    write_gt_inst(tmp_path / "classes.mat", bits, label, instance, 3)
    np.testing.assert_array_equal(read_mat(tmp_path / "classes.mat", 3)[0], [bits])

    cells = np.empty((3, 1), object)
    for number in (1, 2, 3):
        cells[number - 1, 0] = (
            label_to_edges((instance != number).astype(np.uint8), num_classes=1) != 0
        )
    truth = {
        "Boundaries": cells,
        "Segmentation": instance.astype(np.uint8),
        "Categories": np.array([[2], [2], [3]]),
    }
    scipy.io.savemat(tmp_path / "instances.mat", {"GTinst": truth})
    np.testing.assert_array_equal(read_mat(tmp_path / "instances.mat", 3)[0], [bits])


@pytest.mark.parametrize(("radius", "noted"), [(0, False), (2, True)])
def test_truth_wider_than_a_line_is_noted(tmp_path: Path, radius: int, noted: bool) -> None:
    bits = np.zeros((40, 60), np.uint32)
    bits[20 - radius : 21 + radius, 5:50] = 1
    bits[5:35, 30 - radius : 31 + radius] = 2
    write_png(tmp_path / "a.png", encode_png(bits))
    truth = FolderGroundTruth(tmp_path, find_protocol("dff"), 2)
    assert ("wider than a line" in (truth.note() or "")) == noted
    assert FolderGroundTruth(tmp_path, find_protocol("dff", thin=False), 2).note() is None
