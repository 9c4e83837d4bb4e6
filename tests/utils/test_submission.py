"""Label maps for Cityscapes' server: written, checked, zipped, and scored by its own script."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation import save_random_network, status_of_score

from data import build_dataset
from data.cityscapes import LABELS, Cityscapes, to_train_ids
from data.errors import InputError
from data.image_io import read_index, write_png
from data.scenes.dataset import Plan, make_scenes
from utils.evaluation.segmentation.submission import (
    check_submission,
    label_id_table,
    require_submittable,
    write_label_ids,
    zip_submission,
)
from utils.inference.loading import load
from utils.seg_metrics import class_iou, confusion


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "scenes"
    make_scenes(root, Plan(0, 1, 3, 3, 128, 64))
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.pth"
    return save_random_network(path, "fcn", "seg", Cityscapes, trained_on="scenes")


def test_label_ids_are_the_inverse_of_train_ids():
    table = label_id_table()
    assert [to_train_ids(table[[[k]]], "x")[0, 0] for k in range(19)] == list(range(19))
    assert {LABELS[i].train_id for i in table[:19]} == set(range(19))
    assert table[255] == 0


def test_a_submission_is_written_checked_and_zipped(checkpoint, scenes, tmp_path, capsys):
    source = ("--checkpoint", checkpoint, "--data-root", scenes)
    flags = (*source, "--submit", tmp_path / "sub", "--device", "cpu")
    assert status_of_score(*flags) == 0
    assert "3 label maps, valid by the server's rules" in capsys.readouterr().out
    dataset = build_dataset("scenes", scenes, "test")
    names = sorted(f"{record.name}.png" for record in dataset.records)
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == names
    with zipfile.ZipFile(tmp_path / "sub.zip") as archive:
        assert sorted(archive.namelist()) == names
        assert archive.testzip() is None
        assert archive.read(names[0]) == (tmp_path / "sub" / names[0]).read_bytes()
    expected = load(checkpoint, "cpu")(dataset[0].image)
    found = read_index(tmp_path / f"sub/{dataset.records[0].name}.png")
    assert np.array_equal(to_train_ids(found, "x"), expected)
    assert not (tmp_path / "best-scores").exists()
    assert status_of_score(*flags) == 2
    assert "is not empty; give another folder" in capsys.readouterr().err


def test_what_the_server_would_refuse_is_named(tmp_path):
    sizes = {f"ulm_000000_00000{i}": (4, 6) for i in range(4)}
    folder = tmp_path / "sub"
    for name in sizes:
        write_label_ids(folder, name, np.full((4, 6), 10, np.uint8))
    check_submission(folder, sizes)

    def problem(words: str) -> None:
        with pytest.raises(InputError, match=words):
            check_submission(folder, sizes)

    first = folder / "ulm_000000_000000.png"
    good = first.read_bytes()
    first.unlink()
    problem("no file for ulm_000000_000000")
    write_png(first, np.full((4, 5), 7, np.uint8))
    problem("is 5x4, not 6x4")
    write_png(first, np.full((4, 6), 18, np.uint8))
    problem("holds 18, which the server does not score")
    write_png(first, np.full((4, 6), 7, np.uint16))
    problem("has 16 bits")
    first.write_bytes(good)
    (folder / "more").mkdir()
    (folder / "more/ulm_000000_000000_leftImg8bit.png").write_bytes(good)
    problem("2 files for ulm_000000_000000")
    (folder / "more/ulm_000000_000000_leftImg8bit.png").rename(
        folder / "more/ulm_000009_000000.png"
    )
    problem("ulm_000009_000000.png is of no test image")
    (folder / "more/ulm_000009_000000.png").unlink()
    check_submission(folder, sizes)
    assert zip_submission(folder, list(sizes)) == tmp_path / "sub.zip"


def test_only_whole_splits_of_cityscapes_are_submitted(scenes, tmp_path, tiny_camvid):
    (tmp_path / "cityscapes").mkdir()
    for kind in ("leftImg8bit", "gtFine"):
        (tmp_path / "cityscapes" / kind).symlink_to(scenes / kind)
    part = build_dataset("cityscapes", tmp_path / "cityscapes", "test")
    with pytest.raises(InputError, match="has 3 test images, the server expects 1525"):
        require_submittable(part, tmp_path / "sub")
    with pytest.raises(InputError, match="the data set is camvid"):
        require_submittable(build_dataset("camvid", tiny_camvid, "test"), tmp_path / "sub")
    (tmp_path / "sub.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"sub\.zip is there already"):
        require_submittable(build_dataset("scenes", scenes, "test"), tmp_path / "sub")


def test_edges_are_not_submitted(scenes, tmp_path, capsys):
    edge = tmp_path / "edge.pth"
    save_random_network(edge, "casenet", "edge", Cityscapes, trained_on="scenes")
    flags = ("--checkpoint", edge, "--data-root", scenes, "--submit", tmp_path / "sub")
    assert status_of_score(*flags) == 2
    assert re.search(r"network for edges; --submit \w+ label maps", capsys.readouterr().err)


OFFICIAL = """
import glob, json, sys
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
args = official.args
args.evalInstLevelScore = args.evalPixelAccuracy = args.JSONOutput = False
args.quiet = True
args.predictionPath, args.predictionWalk = sys.argv[2], None
truths = sorted(glob.glob(sys.argv[1] + "/*/*_gtFine_labelIds.png"))
predictions = [official.getPrediction(args, truth) for truth in truths]
results = official.evaluateImgLists(predictions, truths, args)
print(json.dumps([results["classScores"], results["averageScoreClasses"]]))
"""


def test_scores_agree_with_the_official_script(rng, scenes, tmp_path):
    """On drawn frames and predictions in the server's format, some of no scored class."""
    pytest.importorskip(
        "cityscapesscripts", reason="an extra of the tests: pip install cityscapesscripts"
    )
    dataset = build_dataset("scenes", scenes, "val")
    total = np.zeros((19, 20), np.int64)
    for record in dataset.records:
        truth, _ = dataset.read_ground_truth(record)
        pred = np.where(truth < 19, truth, 0).astype(np.uint8)
        pred = np.roll(pred, 3, axis=1)
        pred[:20, :40] = rng.integers(0, 19)
        path = write_label_ids(tmp_path / "sub", record.name, pred)
        ids = read_index(path)
        ids[40:44, 10:60] = 9  # parking: no class of the 19
        write_png(path, ids)
        total += confusion(to_train_ids(ids, path), truth, 19, void=True)
    command = [sys.executable, "-c", OFFICIAL, str(scenes / "gtFine/val"), str(tmp_path / "sub")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    scores, average = json.loads(done.stdout.splitlines()[-1])
    ours = class_iou(total)
    for k, name in enumerate(Cityscapes.classes):
        assert ours[k] == pytest.approx(scores[name], abs=1e-12, nan_ok=True), name
    assert np.nanmean(ours) == pytest.approx(average, abs=1e-12)
