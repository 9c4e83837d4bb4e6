"""test.py on nets with an edge head: both tasks of one pass are those of each alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.evaluation import (
    metrics_of,
    save_random_network,
    score,
    score_command,
    status_of_score,
)
from helpers.folder import folder_at
from helpers.segmented import counted_runs, save_tiny_seg
from helpers.tiny_nets import registered

from data.camvid import CamVid
from data.cityscapes import Cityscapes
from data.scenes.dataset import Plan, make_scenes
from utils.checkpoint import load_model, save_checkpoint
from utils.evaluation.edges.partial import ResumableCounter

CLASSES = ("c0", "c1", "c2", "c3")
FEW = ("--thresholds", 9, "--workers", 0)
QUICK = (*FEW, "--no-report")
IMAGES = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folder")
    return folder_at(root, 4, np.random.default_rng(0), size=(33, 47), counts=(1, IMAGES, 1))


@pytest.fixture(scope="module")
def joint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("net") / "joint.pth"
    return save_tiny_seg(path, CLASSES, edge_head="casenet")


@pytest.fixture
def flags(joint, root) -> tuple[object, ...]:
    return ("--checkpoint", joint, "--data-root", root)


def counts_of(folder: Path) -> np.ndarray:
    return np.load(folder / "counts.npz")["counts"]


def seg_scores_of(folder: Path) -> object:
    return metrics_of(folder)["scores"]


def without_head(joint: Path, path: Path) -> Path:
    """The checkpoint of the net alone."""
    content = torch.load(joint, weights_only=True)
    content["model"]["options"] = {}
    weights = content["weights"].items()
    content["weights"] = {name: w for name, w in weights if not name.startswith("edge_")}
    save_checkpoint(path, content)
    return path


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_both_tasks_of_one_pass_are_those_of_each_alone(flags, tmp_path, workers, capsys):
    quick = (*QUICK, "--workers", workers)
    with registered():
        with counted_runs() as runs:
            score(*flags, *quick, "--out", tmp_path / "both")
        assert runs == [("seg", "fuse")] * IMAGES
        shown = capsys.readouterr().out
        for task, outputs in (("seg", ("seg",)), ("edge", ("fuse",))):
            with counted_runs() as runs:
                score(*flags, *quick, "--task", task, "--out", tmp_path / task)
            assert runs == [outputs] * IMAGES
    assert seg_scores_of(tmp_path / "both/seg") == seg_scores_of(tmp_path / "seg")
    assert np.array_equal(counts_of(tmp_path / "both/edge"), counts_of(tmp_path / "edge"))
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"seg", "edge"}
    assert f"scores: {tmp_path / 'both/seg'}" in shown
    assert f"scores: {tmp_path / 'both/edge'}" in shown
    origin = metrics_of(tmp_path / "both/edge")["source"]
    assert origin["variant"] == "head"
    assert "edge head" in origin["edges"]


def test_each_task_is_complete(flags, tmp_path):
    with registered():
        score(*flags, *FEW, "--pictures", 1, "--out", tmp_path)
    assert files_of(tmp_path / "seg") == [
        *("confusion.csv", "counts.npz", "metrics.json", "report.html", "scores.csv"),
    ]
    assert files_of(tmp_path / "edge") == [
        *("counts.npz", "curves.csv", "metrics.json", "report.html", "scores.csv"),
    ]
    assert "Worst images" in (tmp_path / "edge/report.html").read_text()
    assert "Worst images" in (tmp_path / "seg/report.html").read_text()


def test_derived_edges_beside_those_of_the_head_in_one_pass(flags, joint, root, tmp_path):
    """With the label maps of the same pass; without the head, the derived ones are the same."""
    derived = ("--derived", "hard", "soft", *QUICK)
    with registered():
        with counted_runs() as runs:
            score(*flags, *derived, "--out", tmp_path / "all")
        assert runs == [("seg", "fuse")] * IMAGES
        score(*flags, *derived, "--task", "edge", "--out", tmp_path / "edge")
        plain = ("--checkpoint", without_head(joint, tmp_path / "plain.pth"), "--data-root", root)
        score(*plain, *derived, "--out", tmp_path / "plain")
        score(*flags, *QUICK, "--task", "seg", "--out", tmp_path / "seg")
        score(*flags, *QUICK, "--task", "edge", "--out", tmp_path / "head")
    assert {path.name for path in (tmp_path / "all/edge").iterdir()} == {"head", "hard", "soft"}
    for variant in ("head", "hard", "soft"):
        found = counts_of(tmp_path / "all/edge" / variant)
        assert np.array_equal(found, counts_of(tmp_path / "edge" / variant))
        if variant != "head":
            assert np.array_equal(found, counts_of(tmp_path / "plain" / variant))
    assert np.array_equal(counts_of(tmp_path / "head"), counts_of(tmp_path / "edge/head"))
    assert seg_scores_of(tmp_path / "all/seg") == seg_scores_of(tmp_path / "seg")


def test_several_tolerances_of_both_tasks(flags, tmp_path):
    with registered():
        score(*flags, *QUICK, "--max-dist", 0.02, "2px", "--out", tmp_path)
    assert {path.name for path in (tmp_path / "edge").iterdir()} == {
        *("max-dist-0.02", "max-dist-2px"),
    }
    assert metrics_of(tmp_path / "seg")["task"] == "seg"


def test_an_interrupted_run_of_both_tasks_is_completed(flags, tmp_path, monkeypatch, capsys):
    """Edges go on where they were; of the images that have them, the net makes label maps alone."""
    count = ResumableCounter.count
    done: list[int] = []

    def fails_at_the_last(self, index, scores=None):
        done.append(index)
        if len(done) == IMAGES:
            raise KeyboardInterrupt
        return count(self, index, scores)

    with registered():
        score(*flags, *QUICK, "--out", tmp_path / "whole")
        monkeypatch.setattr(ResumableCounter, "count", fails_at_the_last)
        with pytest.raises(KeyboardInterrupt):
            score(*flags, *QUICK, "--out", tmp_path / "broken")
        monkeypatch.setattr(ResumableCounter, "count", count)
        assert not (tmp_path / "broken/seg/metrics.json").exists()
        capsys.readouterr()
        with counted_runs() as runs:
            score(*flags, *QUICK, "--out", tmp_path / "broken")
    assert "resuming: 2 images" in capsys.readouterr().out
    assert runs == [("seg", "fuse"), ("seg",), ("seg",)]
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")
    assert seg_scores_of(tmp_path / "broken/seg") == seg_scores_of(tmp_path / "whole/seg")
    found, expected = (counts_of(tmp_path / run / "edge") for run in ("broken", "whole"))
    assert np.array_equal(found, expected)


def test_mistakes_are_one_line(flags, tmp_path, capsys):
    (tmp_path / "gt").mkdir()
    (tmp_path / "file").mkdir()
    (tmp_path / "file/seg").touch()
    labels = ("--dataset", "folder", "--labels", tmp_path / "gt")
    cases = [
        ((*flags, *labels, "--out", tmp_path / "a"), "add --task edge or --task seg"),
        ((*flags, "--out", tmp_path / "file"), "is a file; expected a folder"),
    ]
    with registered():
        for given, words in cases:
            assert status_of_score(*given, *QUICK) == 2
            last = capsys.readouterr().err.splitlines()[-1]
            assert last.startswith("error: "), last
            assert words in last


class SegGraph:
    """A net with an edge head of which only the output seg was exported."""

    name, device, outputs, fast = "onnx", torch.device("cpu"), ("seg",), False

    def __call__(self, crops: np.ndarray, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        assert outputs == ("seg",)
        return {"seg": torch.from_numpy(crops).permute(0, 3, 1, 2)[:, [0, 1, 2, 0]].float()}


def test_outlines_are_not_scored_in_place_of_a_head_that_was_not_exported(
    flags, tmp_path, monkeypatch, capsys
):
    def opened(checkpoint, *_, **__):
        return SegGraph(), load_model(checkpoint)[1], "engine: onnx"

    monkeypatch.setattr("utils.inference.loading.open_net", opened)
    quick = (*flags, *QUICK, "--out", tmp_path / "out")
    with registered():
        assert status_of_score(*quick, "--task", "edge") == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "joint.pth: its net has the edge head casenet, but the graph has the outputs" in line
        assert "export it again with --outputs seg fuse, or add --derived hard soft" in line
        derived = ("--task", "edge", "--derived", "hard")
        assert status_of_score(*quick, *derived, "--temperature", 2) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "--temperature is for edges; " in line and "export it again with --out" in line
        assert status_of_score(*quick, "--fit-temperature") == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "label maps are all that the graph gives; export it again with --outputs" in line
        score(*quick, *derived)
        assert metrics_of(tmp_path / "out")["source"]["edges"].startswith("edges of the predicted")
        capsys.readouterr()
        # Without a task, what the graph gives.
        score(*quick)
        assert capsys.readouterr().out.startswith(
            "net: tiny_joint with edge head casenet over resnet18 (exported without the head)\n"
        )
    assert metrics_of(tmp_path / "out")["task"] == "seg"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("--task seg --temperature 2", "--temperature is for edges, and label maps are scored"),
        ("--task seg --margin 3", "--margin is for edges, and label maps are scored; add --task e"),
        ("--task seg --thin", "--thin is for edges, and label maps are scored; add --task edge"),
        ("--task seg --protocol seal", "--protocol is for edges, and label maps are scored"),
        ("--task edge --bounds 1", "--bounds is for label maps, and edges are scored; leave it"),
        ("--task edge --boundary-iou 1", "--boundary-iou is for label maps, and edges are scored"),
        ("--submit x --temperature 2", "--temperature is for edges, and label maps are written"),
        ("--submit x --derived hard", "--derived is for scores, and --submit writes label maps"),
        ("--submit x --bounds 2", "--bounds is for scores, and --submit writes label maps"),
    ],
)
def test_flags_of_the_task_that_is_not_scored_are_refused(given, line, flags, tmp_path, capsys):
    with registered():
        assert status_of_score(*flags, "--out", tmp_path / "out", *given.split()) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {line}")


def test_a_temperature_s_file_is_named(flags, tmp_path, capsys):
    with registered():
        score(*flags, *QUICK, "--fit-temperature", "--out", tmp_path / "out")
    path = tmp_path / "out/edge/temperature.json"
    assert path.is_file()
    assert capsys.readouterr().out.splitlines()[-1] == f"temperature: {path}"


def test_edges_are_not_derived_from_an_edge_net(tiny_camvid, tmp_path, capsys):
    edge = save_random_network(
        tmp_path / "e.pth", "casenet", "edge", CamVid, trained_on="camvid", base_size=48
    )
    given = ("--checkpoint", edge, "--data-root", tiny_camvid, "--device", "cpu", *QUICK)
    assert status_of_score(*given, "--derived", "hard", "--out", tmp_path / "out") == 2
    assert "a network for edges; --derived wants one for segm" in capsys.readouterr().err
    assert status_of_score(*given, "--task", "seg", "--out", tmp_path / "out") == 2
    assert "is for the task edge, but --task says seg" in capsys.readouterr().err


def test_label_maps_of_a_net_with_an_edge_head_are_submitted(tmp_path, capsys):
    make_scenes(tmp_path / "scenes", Plan(0, 1, 1, 1, 64, 64))
    path = save_random_network(
        tmp_path / "j.pth", "fcn", "seg", Cityscapes, trained_on="scenes", edge_head="dff"
    )
    given = ("--checkpoint", path, "--data-root", tmp_path / "scenes", "--device", "cpu")
    assert status_of_score(*given, "--submit", tmp_path / "sub") == 0
    assert "1 label maps, valid by the server's rules" in capsys.readouterr().out


@pytest.mark.slow
def test_two_ranks_give_what_one_gives(tiny_camvid, tmp_path):
    path = save_random_network(
        *(tmp_path / "j.pth", "fcn", "seg", CamVid),
        trained_on="camvid",
        base_size=48,
        edge_head="casenet",
    )
    given = ("--checkpoint", path, "--data-root", tiny_camvid, "--device", "cpu", *QUICK)
    derived = ("--derived", "hard", "soft", "--max-dist", 0.02)
    score(*given, *derived, "--out", tmp_path / "one")
    done = score_command(*given, *derived, "--workers", 1, "--out", tmp_path / "two", ranks=2)
    assert done.returncode == 0, done.stderr
    assert seg_scores_of(tmp_path / "one/seg") == seg_scores_of(tmp_path / "two/seg")
    for variant in ("head", "hard", "soft"):
        found, expected = (counts_of(tmp_path / run / "edge" / variant) for run in ("two", "one"))
        assert np.array_equal(found, expected)
