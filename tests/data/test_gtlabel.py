"""data.cityscapes_gtlabel, and what all label scripts share: staleness, failures, workers, .mat."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
from helpers.cityscapes import write_frame
from helpers.edge_labels import read_bits

from data import cityscapes_gtlabel as script
from data.base import Record
from data.cityscapes import Cityscapes, train_id_table
from data.edge_files import edge_label_path, group_paths, read_edges, require_edge_labels
from data.edges import pack, unpack
from data.errors import InputError
from data.gtlabel import job, jobs, pool
from data.gtlabel.products import GroundTruth, Rule, TrainingLabel
from data.gtlabel.stamp import Stamp
from data.image_io import read_image, write_png

ROOT = Path(__file__).resolve().parents[2]
FRAMES = (("train", "aachen", "aachen_000001_000019"), ("val", "lindau", "lindau_000002_000019"))


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden/labels_cityscapes.npz") as stored:
        return {key: stored[key] for key in stored.files}


@pytest.fixture
def root(tmp_path, golden):
    """A miniature Cityscapes whose frames all are the golden one."""
    for split, city, name in FRAMES:
        write_frame(tmp_path / "cs", split, city, name, golden["labelIds"], golden["instanceIds"])
    return tmp_path / "cs"


def run(root, out, *flags):
    return script.main(
        script.parse_args(["--root", str(root), "--out", str(out), *map(str, flags)])
    )


def edge_file(out, frame=FRAMES[0]):
    return out / "gtFine" / frame[0] / frame[1] / f"{frame[2]}_gtFine_edge.png"


def test_files_are_the_published_ones(root, tmp_path, golden):
    out = tmp_path / "out"
    assert run(root, out, "--eval") == 0
    for split, city, name in FRAMES:
        np.testing.assert_array_equal(
            read_bits(edge_file(out, (split, city, name))), golden["train"]
        )
        for mode in ("thin", "raw"):
            for kind in ("inst", "cls"):
                path = out / f"gt_eval/gt_{mode}/{kind}/{name}_leftImg8bit.png"
                np.testing.assert_array_equal(read_bits(path), golden[f"{mode}_{kind}"])
        image, label = (
            f"/leftImg8bit/{split}/{city}/{name}_leftImg8bit.png",
            f"/gtFine/{split}/{city}/{name}_gtFine_edge.png",
        )
        assert (out / f"{split}.txt").read_text() == f"{image} {label}\n"
        assert (out / image[1:]).is_file() and (
            out / label[1:]
        ).is_file()  # the lists' paths start at OUT
    assert not (out / "test.txt").exists()


def test_the_test_list_has_images_only(root, tmp_path):
    write_png(root / "leftImg8bit/test/bonn/bonn_1_leftImg8bit.png", np.zeros((4, 4, 3), np.uint8))
    run(root, tmp_path / "out", "--split", "val")
    assert (
        tmp_path / "out/test.txt"
    ).read_text() == "/leftImg8bit/test/bonn/bonn_1_leftImg8bit.png\n"
    assert not (tmp_path / "out/train.txt").exists()


def test_no_instance_makes_class_edges(root, tmp_path, golden):
    run(root, tmp_path / "out", "--no-instance", "--split", "train", "--eval", "--scale", 1)
    found = read_bits(edge_file(tmp_path / "out"))
    assert (found & ~golden["train"] == 0).all() and (found != golden["train"]).any()
    np.testing.assert_array_equal(
        read_bits(tmp_path / "out/gt_eval/gt_raw/cls" / f"{FRAMES[0][2]}_leftImg8bit.png"), found
    )
    assert not (tmp_path / "out/gt_eval/gt_raw/inst").exists()


def test_labels_without_images(tmp_path, golden, capsys):
    write_frame(tmp_path / "cs", *FRAMES[0], golden["labelIds"], golden["instanceIds"], color=None)
    assert run(tmp_path / "cs", tmp_path / "out") == 0
    assert "1 of 1 label maps have no image" in capsys.readouterr().out
    np.testing.assert_array_equal(read_bits(edge_file(tmp_path / "out")), golden["train"])


def test_second_run_does_what_is_missing_or_stale(root, tmp_path, capsys):
    out, made = tmp_path / "out", edge_file(tmp_path / "out")
    run(root, out)

    def report(*flags):
        capsys.readouterr()
        assert run(root, out, *flags) == 0
        return capsys.readouterr().out

    assert "all 2 are up to date" in report()
    made.unlink()
    assert "1 made, 1 up to date" in report()
    assert made.is_file()
    label = root / "gtFine/train/aachen" / f"{FRAMES[0][2]}_gtFine_labelIds.png"
    os.utime(label, ns=(made.stat().st_mtime_ns + 10**9,) * 2)  # changed after the label was made
    assert "1 made, 1 up to date" in report()
    os.utime(label, ns=(0, 0))  # an older file in its place, as unzip and cp -p leave them
    assert "1 made, 1 up to date" in report()
    assert "all 2 are up to date" in report()
    before = made.read_bytes()
    assert "2 made" in report("--no-instance")  # other settings
    assert made.read_bytes() != before
    assert "all 2 are up to date" in report("--no-instance")
    assert "2 made" in report("--overwrite", "--no-instance")


def test_a_new_product_does_not_redo_the_others(root, tmp_path):
    out = tmp_path / "out"
    run(root, out)
    before = edge_file(out).stat().st_mtime_ns
    assert run(root, out, "--eval") == 0
    assert edge_file(out).stat().st_mtime_ns == before
    assert (out / f"gt_eval/gt_thin/inst/{FRAMES[0][2]}_leftImg8bit.png").is_file()


def test_failures_are_listed_and_the_rest_is_done(root, tmp_path, golden, capsys):
    half = root / "gtFine/train/aachen" / f"{FRAMES[0][2]}_gtFine_labelIds.png"
    half.write_bytes(half.read_bytes()[:500])
    wrong = golden["labelIds"].copy()
    wrong[5, 5] = 77
    write_frame(root, "train", "aachen", "aachen_000002_000019", wrong, golden["instanceIds"])
    write_frame(
        root,
        "train",
        "aachen",
        "aachen_000003_000019",
        golden["labelIds"][:-1],
        golden["instanceIds"],
    )
    assert run(root, tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "1 made, 0 up to date, 3 failed" in said.out
    for words in (
        "labelIds.png: the file is cut off",
        "label ids 77",
        "the instance map is (360, 480)",
    ):
        assert words in said.err
    assert not list((tmp_path / "out").rglob("aachen*.png"))
    np.testing.assert_array_equal(
        read_bits(edge_file(tmp_path / "out", FRAMES[1])), golden["train"]
    )


def test_a_label_without_its_instance_map(root, tmp_path, golden, capsys):
    for path in root.rglob("*_instanceIds.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"2 of 2 label maps have no instance map.*--no-instance"):
        run(root, tmp_path / "out")
    assert run(root, tmp_path / "out", "--no-instance") == 0
    found, label = read_bits(edge_file(tmp_path / "out")), golden["labelIds"]
    assert "edges come from the label ids alone" in capsys.readouterr().out
    border = np.isin(label, (2, 3))
    assert (found[border] == 0).all() and found[4:-4, 6:-6].any()  # the frame still is no edge


def test_an_empty_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"No <city>/\*_gtFine_labelIds.png.*gtFine_trainvaltest.zip"
    ):
        run(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--scale", 0], "a number from 0.01 to 4"),
        (["--scale", "nan"], "a number from 0.01 to 4"),
        (["--radius", 0.5], "a number from 1 to 64"),
        (["--radius", "1e308"], "a number from 1 to 64"),
        (["--workers", 0], "a whole number, 1 to 1024"),
        (["--workers", ""], "a whole number, 1 to 1024"),
    ],
)
def test_bad_flags(root, tmp_path, flags, words, capsys):
    with pytest.raises(SystemExit) as end:
        run(root, tmp_path / "out", *flags)
    assert end.value.code == 2
    flag, value = flags[0], flags[1]
    assert f"error: argument {flag}: found '{value}', expected {words}" in capsys.readouterr().err


def test_workers_write_the_same_files(root, tmp_path):
    run(root, tmp_path / "one", "--eval")
    assert run(root, tmp_path / "two", "--eval", "--workers", 2) == 0
    ones = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png"))
    assert len(ones) == 2 + 2 * 4  # labels, evaluation ground truth
    for path in ones:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_the_command(root, tmp_path):
    command = [
        sys.executable,
        "-m",
        "data.cityscapes_gtlabel",
        "--root",
        root,
        "--out",
        tmp_path / "out",
        "--workers",
        "2",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "2 made" in done.stdout
    failed = subprocess.run(
        [*command[:4], tmp_path, *command[5:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        failed.returncode == 2
        and failed.stderr.startswith("error: No <city>")
        and failed.stderr.count("\n") == 1
    )


def test_nothing_half_written_is_left(root, tmp_path):
    run(root, tmp_path / "out", "--eval", "--mat")
    assert not list((tmp_path / "out").rglob(".*"))


def test_visualize(root, tmp_path, golden):
    run(root, tmp_path / "out", "--split", "train", "--visualize")
    image = read_image(tmp_path / "out/view/gtFine/train/aachen" / edge_file(tmp_path).name)
    edge = golden["train"] != 0
    assert (image[:360][~edge] == 255).all() and (image[:360][edge] != 255).any(axis=-1).all()
    assert image.shape[0] > 360 and (image[360:] != 255).any()  # the legend


def test_mat_structures(root, tmp_path, golden):
    out, name = tmp_path / "out", FRAMES[0][2]
    run(root, out, "--split", "train", "--eval", "--mat")
    cell = scipy.io.loadmat(edge_file(out).with_suffix(".mat"))["labelEdge"]
    np.testing.assert_array_equal(mat_bits(cell), golden["train"])
    for mode in ("thin", "raw"):
        cls = scipy.io.loadmat(out / f"gt_eval/gt_{mode}/cls/{name}_leftImg8bit.mat")["GTcls"][0, 0]
        inst = scipy.io.loadmat(out / f"gt_eval/gt_{mode}/inst/{name}_leftImg8bit.mat")["GTinst"][
            0, 0
        ]
        np.testing.assert_array_equal(mat_bits(cls["Boundaries"]), golden[f"{mode}_cls"])
        np.testing.assert_array_equal(mat_bits(inst["Boundaries"]), golden[f"{mode}_inst"])
        label, ids = (
            train_id_table()[golden["labelIds"][1::2, 1::2]],
            golden["instanceIds"][1::2, 1::2],
        )
        np.testing.assert_array_equal(cls["Segmentation"], np.where(label < 19, label + 1, 0))
        assert cls["CategoriesPresent"].ravel().tolist() == sorted(
            {int(k) + 1 for k in np.unique(label) if k < 19}
        )
        region, categories = inst["Segmentation"], inst["Categories"].ravel()
        assert region.max() == len(categories) == len(np.unique(ids[label < 19]))
        np.testing.assert_array_equal(
            np.concatenate([[0], categories])[region], cls["Segmentation"]
        )
    rows = scipy.io.loadmat(out / "train.mat")["dataList"]
    assert rows.shape == (1, 2) and rows[0, 1][0] == f"/gtFine/train/aachen/{name}_gtFine_edge.mat"
    names = scipy.io.loadmat(out / "gt_eval/gt_thin/train.mat")["dataList"]
    assert names.shape == (1, 1) and names[0, 0][0] == f"{name}_leftImg8bit"


def test_mat_structures_are_of_the_type_of_the_published_ones(shared, root, tmp_path):
    run(root, tmp_path / "out", "--split", "train", "--eval", "--mat")
    for kind, name in (("cls", "GTcls"), ("inst", "GTinst")):
        theirs = scipy.io.loadmat(shared / f"samples/sbd/dataset/{kind}/2008_000051.mat")[name]
        (path,) = (tmp_path / f"out/gt_eval/gt_raw/{kind}").glob("*.mat")
        ours = scipy.io.loadmat(path)[name]
        assert ours.shape == theirs.shape and set(ours.dtype.names) == set(theirs.dtype.names)
        cell, their_cell = ours[0, 0]["Boundaries"], theirs[0, 0]["Boundaries"]
        assert cell.shape == (19, 1) and their_cell.shape[1] == 1
        assert (
            type(cell[0, 0]) is type(their_cell[0, 0])
            and cell[0, 0].dtype == their_cell[0, 0].dtype
        )
        field = {"cls": "CategoriesPresent", "inst": "Categories"}[kind]
        assert (
            ours[0, 0][field].shape[1] == 1 and ours[0, 0][field].dtype == theirs[0, 0][field].dtype
        )


def mat_bits(cell):
    return pack(np.stack([one.toarray() != 0 for one in cell.ravel()]))


def test_polygons_are_drawn_where_label_maps_are_missing(root, tmp_path, capsys):
    pytest.importorskip("cityscapesscripts")
    for path in root.rglob("aachen*_gtFine_*Ids.png"):
        path.unlink()
    image = root / f"leftImg8bit/train/aachen/{FRAMES[0][2]}_leftImg8bit.png"
    write_png(image, np.zeros((40, 60, 3), np.uint8))
    objects = [
        {"label": "road", "polygon": [[0, 0], [59, 0], [59, 39], [0, 39]]},
        {"label": "car", "polygon": [[10, 10], [20, 10], [20, 20], [10, 20]]},
        {"label": "car", "polygon": [[21, 10], [30, 10], [30, 20], [21, 20]]},
    ]
    polygons = root / "gtFine/train/aachen" / f"{FRAMES[0][2]}_gtFine_polygons.json"
    polygons.write_text(json.dumps({"imgHeight": 40, "imgWidth": 60, "objects": objects}))
    assert run(root, tmp_path / "out", "--split", "train") == 0
    assert "1 of 1 frames have polygons but no label map" in capsys.readouterr().out
    road, car = unpack(read_bits(edge_file(tmp_path / "out")), 19)[[0, 13]]
    assert (
        car[15, 19:23].all() and not road[15, 19:23].any()
    )  # between the cars, out of reach of the road
    assert road[15, 8:12].all() and car[15, 8:12].all() and not car[15, 13:18].any()
    polygons.write_text(
        json.dumps({"imgHeight": 40, "imgWidth": 60, "objects": [{"label": "moon", "polygon": []}]})
    )
    assert run(root, tmp_path / "out", "--split", "train", "--overwrite") == 2
    assert "cannot be read as polygons of Cityscapes" in capsys.readouterr().err


def test_polygons_without_cityscapesscripts(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cityscapesscripts.helpers.annotation", None)
    for path in root.rglob("aachen*_gtFine_*Ids.png"):
        path.unlink()
    (root / "gtFine/train/aachen" / f"{FRAMES[0][2]}_gtFine_polygons.json").write_text("{}")
    assert run(root, tmp_path / "out") == 2
    assert "pip install cityscapesscripts" in capsys.readouterr().err


def test_scheduler_needs_dask(root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install \"dask\[distributed\]\""):
        run(root, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:1")


def test_dask_cluster(root, tmp_path, golden, capsys):
    distributed = pytest.importorskip("distributed")
    (root / "gtFine/val/lindau" / f"{FRAMES[1][2]}_gtFine_labelIds.png").write_bytes(b"")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
    ) as cluster:
        assert run(root, tmp_path / "out", "--scheduler", cluster.scheduler_address) == 2
    np.testing.assert_array_equal(read_bits(edge_file(tmp_path / "out")), golden["train"])
    said = capsys.readouterr()
    assert "1 made, 0 up to date, 1 failed" in said.out and "the file is empty" in said.err


def test_no_scheduler_there(root, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(pool, "CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        run(root, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9")


def test_labels_are_found_from_a_data_set(root, tmp_path, golden):
    run(root, tmp_path / "out")
    dataset = Cityscapes(root, "train")
    assert edge_label_path(tmp_path / "out", dataset, dataset.records[0]) == edge_file(
        tmp_path / "out"
    )
    (path,) = require_edge_labels(tmp_path / "out", dataset)
    np.testing.assert_array_equal(read_edges(path, 19), golden["train"])
    with pytest.raises(InputError, match=r"holds class \d+; expected 3 classes"):
        read_edges(path, 3)
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match="1 of 1 edge labels of cityscapes train are missing"
    ):
        require_edge_labels(tmp_path / "out", dataset)
    with pytest.raises(InputError, match="has no label map"):
        edge_label_path(tmp_path, dataset, Record("x", None))


def test_more_than_24_classes_take_several_files():
    assert [path.name for path in group_paths(Path("a/x_edge.png"), 24)] == ["x_edge.png"]
    names = [path.name for path in group_paths(Path("a/x_edge.png"), 65)]
    assert names == ["x_edge.png", "x_edge_24.png", "x_edge_48.png"]


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc"
)
def test_memory_of_a_full_size_frame(tmp_path, golden):
    """A worker stays under 500 MB at 2048x1024, with every product."""
    label, instance = (
        cv2.resize(golden[key], (2048, 1024), interpolation=cv2.INTER_NEAREST)
        for key in ("labelIds", "instanceIds")
    )
    write_frame(tmp_path / "cs", *FRAMES[0], label, instance, color=None)
    code = (
        "import sys; from data import cityscapes_gtlabel as s; s.main(s.parse_args(sys.argv[1:]));"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    flags = ["--root", tmp_path / "cs", "--out", tmp_path / "out", "--eval", "--mat", "--visualize"]
    done = subprocess.run(
        [sys.executable, "-c", code, *flags], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[-1]) < 500 * 1024  # kB


def test_a_worker_that_dies_is_a_failure_and_no_crash(tmp_path, capsys):
    stamp = Stamp.of(tmp_path, {"radius": 2})
    stamp.write()

    def make(name, read):
        product = TrainingLabel(tmp_path / f"{name}_edge.png", stamp, Rule(2), 2, False)
        return job.Job(name, (), read, (product,))

    todo = [make(f"deadly {k}", partial(os._exit, 1)) for k in range(1)]
    todo += [make(f"good {k}", partial(some_labels, k)) for k in range(5)]
    outcome = jobs.run_jobs(todo, pool.WorkOptions(workers=2), "edge labels", tmp_path)
    assert outcome.status == 2 and outcome.done == {f"good {k}" for k in range(5)}
    said = capsys.readouterr()
    assert said.err.count("deadly 0: a worker process died") == 1
    assert "5 made, 0 up to date, 1 failed" in said.out


def some_labels(k):
    return GroundTruth(np.full((9, 9), k % 2, np.uint8), None)
