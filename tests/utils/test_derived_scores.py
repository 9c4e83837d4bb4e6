"""test.py on the edges of a segmentation: perfect labels, nets against label maps, mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.evaluation import metrics_of, score, status_of_score, write_predictions
from helpers.folder import folder_at
from helpers.segmented import counted_runs, save_tiny_seg, write_label_maps
from helpers.tiny_nets import registered

from data import build_dataset
from data.cityscapes import LABELS
from data.gtlabel import __main__ as gtlabel
from data.image_io import read_index, write_png
from data.scenes.dataset import Plan, make_scenes
from utils.checkpoint import save_checkpoint
from utils.evaluation.edges.partial import ResumableCounter

CLASSES = ("c0", "c1", "c2", "c3")
FEW = ("--thresholds", 9, "--workers", 0, "--pictures", 1)
QUICK = (*FEW, "--no-report")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes at an odd size."""
    root = tmp_path_factory.mktemp("folder")
    return folder_at(root, 4, np.random.default_rng(0), size=(45, 59), counts=(1, 3, 1))


@pytest.fixture(scope="module")
def perfect(root, tmp_path_factory) -> Path:
    dataset = build_dataset("folder", root, "val")
    return write_label_maps(tmp_path_factory.mktemp("perfect"), dataset)


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    return save_tiny_seg(tmp_path_factory.mktemp("net") / "seg.pth", CLASSES)


def truth_of(root: Path) -> tuple[object, ...]:
    return ("--dataset", "folder", "--data-root", root)


def labels_of(folder: Path) -> tuple[object, ...]:
    return ("--task", "edge", "--predictions", folder, "--prediction-kind", "labels")


def counts_of(folder: Path) -> np.ndarray:
    return np.load(folder / "counts.npz")["counts"]


def assert_perfect(out: Path, modes: tuple[str, ...] = ("thin", "raw")) -> None:
    """Every class that occurs has F 1, at no threshold, and no AP."""
    metrics = metrics_of(out)
    assert tuple(metrics["scores"]) == modes
    for mode in modes:
        scores = metrics["scores"][mode]
        assert scores["mean"]["ods"] == scores["mean"]["ois"] == 1
        assert scores["mean"]["ap"] is None
        for each in scores["classes"]:
            if each["status"] != "no ground truth":
                assert each["ods"] == {"threshold": None, "recall": 1, "precision": 1, "f": 1}
                assert each["ap"] is None


@pytest.mark.parametrize("scale", [1, 0.5, 0.3])
def test_perfect_labels_score_100(root, perfect, tmp_path, scale):
    score(*labels_of(perfect), *truth_of(root), "--eval-scale", scale, "--out", tmp_path, *QUICK)
    assert_perfect(tmp_path)
    source = metrics_of(tmp_path)["source"]
    assert source["variant"] == "hard"
    assert "label map" in source["edges"]


def test_perfect_labels_score_100_by_the_protocol_of_2011(root, perfect, tmp_path):
    """Absent classes skipped, false positives inside objects not counted."""
    flags = (*truth_of(root), "--protocol", "sbd2011", "--out", tmp_path)
    score(*labels_of(perfect), *flags, *QUICK)
    assert_perfect(tmp_path, ("thin",))


def test_with_a_margin_only_thinning_of_cropped_lines_differs(root, perfect, tmp_path):
    """Both are cropped; the prediction is thinned after that, which the truth is not."""
    score(*labels_of(perfect), *truth_of(root), "--margin", 5, "--out", tmp_path, *QUICK)
    scores = metrics_of(tmp_path)["scores"]
    assert scores["raw"]["mean"]["ods"] == 1
    for each in scores["thin"]["classes"]:
        assert each["ods"]["precision"] == 1
        assert each["ods"]["recall"] > 0.98


@pytest.mark.parametrize("scale", [1, 0.5])
def test_perfect_labels_score_100_against_the_files_of_the_label_script(
    root, perfect, tmp_path, scale
):
    """The files say at which scale they were made, which their odd size alone does not."""
    made = ("--dataset", "folder", "--root", root, "--split", "val", "--out", tmp_path / "gt")
    argv = [*made, "--eval", "--scale", scale]
    gtlabel.main(gtlabel.parse_args([str(each) for each in argv]))
    files = ("--labels", tmp_path / "gt", "--num-classes", 4, "--out", tmp_path / "out")
    score(*labels_of(perfect), *files, *QUICK)
    assert_perfect(tmp_path / "out")


def test_instances_are_what_label_maps_lack(tmp_path):
    """Without the edges between objects perfect labels score 100; with them, less."""
    root = folder_at(tmp_path / "d", 2, np.random.default_rng(1), counts=(1, 2, 1), objects=True)
    pred = write_label_maps(tmp_path / "pred", build_dataset("folder", root, "val"))
    flags = (*labels_of(pred), *truth_of(root), *QUICK)
    score(*flags, "--no-instance", "--out", tmp_path / "cls")
    assert_perfect(tmp_path / "cls")
    score(*flags, "--out", tmp_path / "inst")
    assert metrics_of(tmp_path / "inst")["scores"]["raw"]["mean"]["ods"] < 0.99


def test_a_net_gives_hard_and_soft_edges_in_one_pass(net, root, tmp_path, capsys):
    """The hard ones are those of the label maps that predict.py writes."""
    flags = (*truth_of(root), "--eval-scale", 0.5, *FEW)
    with registered(), counted_runs() as runs:
        score(
            "--task",
            "edge",
            "--checkpoint",
            net,
            *flags,
            "--out",
            tmp_path / "net",
            "--pictures",
            0,
        )
        assert runs == [("seg",)] * 3
        shown = capsys.readouterr().out
        images = (root / "images/val", "--checkpoint", net, "--out", tmp_path / "pred")
        write_predictions(*images)
    names = {"counts.npz", "curves.csv", "metrics.json", "report.html", "scores.csv"}
    assert {path.name for path in (tmp_path / "net").iterdir()} == {"hard", "soft"}
    for variant in ("hard", "soft"):
        assert {path.name for path in (tmp_path / "net" / variant).iterdir()} == names
        source = metrics_of(tmp_path / "net" / variant)["source"]
        assert source["variant"] == variant
        assert "rule of the ground truth" in source["edges"]
    score(*labels_of(tmp_path / "pred"), *flags, "--out", tmp_path / "files")
    hard = counts_of(tmp_path / "net/hard")
    assert np.array_equal(hard, counts_of(tmp_path / "files"))
    assert (hard[..., 3] == hard[..., :1, 3]).all()  # the same at all thresholds
    soft = metrics_of(tmp_path / "net/soft")["scores"]["thin"]
    assert soft["mean"]["ap"] > 0
    rows = [line.split() for line in shown.splitlines() if line.startswith(("hard  ", "soft  "))]
    assert [row[0] for row in rows] == ["hard", "soft"]
    assert rows[0].count("-") == 2  # the AP of both modes


def test_one_rule_alone_lies_in_out_itself(net, root, tmp_path):
    with registered():
        score("--checkpoint", net, *truth_of(root), "--derived", "soft", "--out", tmp_path, *QUICK)
    assert metrics_of(tmp_path)["source"]["variant"] == "soft"
    assert metrics_of(tmp_path)["task"] == "edge"


def test_soft_edges_of_a_sure_net_are_the_hard_ones(net, root, tmp_path):
    """Logits times a million: probabilities of 0 and 1, so that both rules agree."""
    content = torch.load(net, weights_only=True)
    for name in ("seg.weight", "seg.bias"):
        content["weights"][name] *= 1e6
    save_checkpoint(tmp_path / "sure.pth", content)
    flags = (*truth_of(root), "--task", "edge", "--eval-scale", 0.5, "--out", tmp_path / "out")
    with registered():
        score("--checkpoint", tmp_path / "sure.pth", *flags, *QUICK)
    assert np.array_equal(counts_of(tmp_path / "out/hard"), counts_of(tmp_path / "out/soft"))


def test_an_interrupted_run_of_derived_edges_resumes(net, root, tmp_path, monkeypatch, capsys):
    """The counts of hard and soft edges are never taken for each other's, nor for a file's."""
    counted = ResumableCounter.count
    done: list[int] = []

    def fails_at_the_third(self, index, scores=None):
        done.append(index)
        if len(done) == 3:
            raise KeyboardInterrupt
        return counted(self, index, scores)

    flags = ("--checkpoint", net, "--task", "edge", *truth_of(root), *QUICK)
    with registered():
        monkeypatch.setattr(ResumableCounter, "count", fails_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            score(*flags, "--out", tmp_path / "out")
        monkeypatch.setattr(ResumableCounter, "count", counted)
        score(*flags, "--derived", "soft", "--out", tmp_path / "out")
        assert "resuming" not in capsys.readouterr().out
        score(*flags, "--out", tmp_path / "whole")
        done.clear()
        monkeypatch.setattr(ResumableCounter, "count", fails_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            score(*flags, "--out", tmp_path / "out")
        monkeypatch.setattr(ResumableCounter, "count", counted)
        with counted_runs() as runs:
            score(*flags, "--out", tmp_path / "out")
    assert "resuming: 2 images" in capsys.readouterr().out
    assert len(runs) == 1
    for variant in ("hard", "soft"):
        assert np.array_equal(
            counts_of(tmp_path / "out" / variant), counts_of(tmp_path / "whole" / variant)
        )


def test_workers_make_the_same_edges(net, root, tmp_path):
    flags = ("--checkpoint", net, "--task", "edge", *truth_of(root), "--thresholds", 9)
    with registered():
        for workers in (0, 2):
            out = ("--out", tmp_path / str(workers), "--no-report", "--workers", workers)
            score(*flags, *out)
    for variant in ("hard", "soft"):
        assert np.array_equal(
            counts_of(tmp_path / "0" / variant), counts_of(tmp_path / "2" / variant)
        )


def test_a_background_is_no_class_of_edges(tmp_path):
    """A net for segmentation has it as its last class, and so have label maps."""
    root = folder_at(tmp_path / "d", 3, np.random.default_rng(2), size=(37, 41))
    entries = json.loads((root / "dataset.json").read_text())
    rows = [{**row, "ids": [k]} for k, row in enumerate(entries["classes"])]
    entries |= {"classes": rows[:2], "background": {"name": "rest", "ids": [2]}}
    (root / "dataset.json").write_text(json.dumps(entries))
    names = ("c0", "c1", "rest")
    checkpoint = save_tiny_seg(tmp_path / "seg.pth", names)
    flags = (*truth_of(root), *QUICK)
    pred = write_label_maps(tmp_path / "pred", build_dataset("folder", root, "val", task="seg"))
    assert any(2 in read_index(path) for path in pred.rglob("*.png"))
    score(*labels_of(pred), *flags, "--out", tmp_path / "files")
    assert_perfect(tmp_path / "files")
    with registered():
        score("--checkpoint", checkpoint, "--task", "edge", *flags, "--out", tmp_path / "net")
    for variant in ("hard", "soft"):
        found = metrics_of(tmp_path / "net" / variant)["scores"]["raw"]["classes"]
        assert [each["name"] for each in found] == ["c0", "c1"]


def test_label_maps_in_colours_and_of_16_bits(root, perfect, tmp_path):
    """By the palette of the data set; black is none, unless a class has it."""
    dataset = build_dataset("folder", root, "val")
    colored = write_label_maps(tmp_path / "colored", dataset, dataset.palette)
    for path in sorted(perfect.rglob("*.png")):
        deep = tmp_path / "deep" / path.relative_to(perfect)
        write_png(deep, read_index(path).astype(np.uint16))
    for folder in (colored, tmp_path / "deep"):
        out = tmp_path / f"{folder.name}-out"
        score(*labels_of(folder), *truth_of(root), "--out", out, *QUICK)
        assert_perfect(out)
        seg = ("--task", "seg", "--predictions", folder, *truth_of(root), "--no-report")
        score(*seg, "--workers", 0, "--out", tmp_path / f"{folder.name}-seg")
        assert metrics_of(tmp_path / f"{folder.name}-seg")["scores"]["miou"] == 1


def test_colours_of_a_folder_whose_labels_are_in_colours(tmp_path):
    """A class may have several, and so may none."""
    root = tmp_path / "d"
    (root / "images").mkdir(parents=True)
    label = np.zeros((20, 30, 3), np.uint8)
    label[4:12, 5:20] = (255, 0, 0)
    label[4:12, 12:20] = (250, 0, 0)
    label[14:, :] = (0, 0, 255)
    label[14:, 20:] = (1, 2, 3)
    write_png(root / "images/a.png", np.zeros((20, 30, 3), np.uint8))
    write_png(root / "labels/a.png", label)
    classes = [
        {"name": "red", "color": [255, 0, 0], "colors": [[255, 0, 0], [250, 0, 0]]},
        {"name": "blue", "color": [0, 0, 255]},
    ]
    entries = {"classes": classes, "labels": "colors", "none_colors": [[1, 2, 3]]}
    (root / "dataset.json").write_text(json.dumps(entries | {"splits": {"val": "."}}))
    score(*labels_of(root / "labels"), *truth_of(root), "--out", tmp_path / "out", *QUICK)
    assert_perfect(tmp_path / "out")


def test_label_ids_of_cityscapes(tmp_path):
    """By their names or by the flag, and in the published colours: all as the train ids."""
    root = tmp_path / "scenes"
    make_scenes(root, Plan(0, 1, 1, 1, 128, 64))
    dataset = build_dataset("scenes", root, "val")
    (record,) = dataset.records
    ids = read_index(record.label_path())
    color_of = np.zeros((256, 3), np.uint8)
    for label in LABELS:
        color_of[label.id] = label.color
    name = record.name.rpartition("/")[2]
    write_label_maps(tmp_path / "train", dataset)
    write_png(tmp_path / f"named/{name}_pred_labelIds.png", ids)
    write_png(tmp_path / f"flag/{name}.png", ids)
    write_png(tmp_path / f"colours/{name}.png", color_of[ids])
    data = ("--dataset", "scenes", "--data-root", root, "--no-instance", "--no-thin", *QUICK)
    for folder, flag in (("train", ()), ("named", ()), ("flag", ("--label-ids",)), ("colours", ())):
        score(*labels_of(tmp_path / folder), *data, *flag, "--out", tmp_path / f"{folder}-out")
        found = counts_of(tmp_path / f"{folder}-out")
        assert np.array_equal(found, counts_of(tmp_path / "train-out"))
    # All true edges are there. There are more, at what lies out of the region of interest (255 in
    # the predictions), whose border the ground truth ignores.
    assert (found[..., 0] == found[..., 1]).all()
    assert found[..., 2].sum() < found[..., 3].sum()


def test_mistakes_are_one_line(net, root, perfect, tmp_path, capsys):
    truth = truth_of(root)
    first = sorted(perfect.rglob("*.png"))[0].relative_to(perfect)

    def changed(name: str, pixels: np.ndarray, only: bool = False) -> Path:
        """The perfect labels, one of them other pixels; or that one only."""
        folder = tmp_path / name
        for path in () if only else perfect.rglob("*.png"):
            write_png(folder / path.relative_to(perfect), read_index(path))
        write_png(folder / first, pixels)
        return folder

    small = changed("small", np.zeros((45, 58), np.uint8))
    strange = changed("strange", np.full((45, 59, 3), (9, 8, 7), np.uint8))
    beyond = changed("beyond", np.full((45, 59), 4, np.uint8))
    few = changed("few", np.zeros((45, 59), np.uint8), only=True)
    colored = write_label_maps(
        tmp_path / "colored",
        build_dataset("folder", root, "val"),
        build_dataset("folder", root, "val").palette,
    )
    write_png(tmp_path / "edges/gt.png", np.zeros((45, 59, 3), np.uint8))
    plain = ("--task", "edge", "--predictions")
    (tmp_path / "none").mkdir()
    cases = [
        ((*plain, perfect, *truth), "their edges with --prediction-kind labels"),
        ((*plain, colored, *truth), "with --prediction-kind labels"),
        ((*labels_of(small), *truth), "1 mis-sized, as listed above"),
        ((*labels_of(few), *truth), "2 files are missing"),
        ((*labels_of(strange), *truth), "pixels have the colour of no class, or of two: [9, 8, 7]"),
        ((*labels_of(beyond), *truth), "label ids 4 are out of range; expected 0..3 or 255"),
        ((*labels_of(tmp_path / "none"), *truth), "found no predictions; expected label maps"),
        ((*labels_of(tmp_path / "gone"), *truth), "no such folder of predictions"),
        (
            (*labels_of(perfect), "--labels", tmp_path / "edges"),
            "label maps do not say how many classes there are",
        ),
        ((*labels_of(perfect), *truth, "--derived", "soft"), "class probabilities of a network"),
        ((*plain, perfect, *truth, "--derived", "hard"), "add --prediction-kind labels"),
        (
            ("--checkpoint", net, *truth, "--prediction-kind", "labels"),
            "--prediction-kind labels is for files",
        ),
        (
            ("--checkpoint", net, *truth, "--task", "seg", "--derived", "hard"),
            "--derived is for the edge task",
        ),
        *(
            (("--checkpoint", net, *truth, *given), f"{given[0]} is for edges")
            for given in (("--crisp",), ("--max-dist", "3px"), ("--fit-temperature",))
        ),
        (
            (*("--checkpoint", net, *truth, "--task", "edge"), "--fit-temperature"),
            "made of the probabilities of classes",
        ),
    ]
    with registered():
        for flags, words in cases:
            assert status_of_score(*flags, "--out", tmp_path / "out", *QUICK) == 2, words
            last = capsys.readouterr().err.splitlines()[-1]
            assert last.startswith("error: "), last
            assert words in last
            assert "--label-ids" not in last  # these are not Cityscapes' classes
    assert not (tmp_path / "out/metrics.json").exists()


def test_a_label_map_smaller_than_its_ground_truth_is_refused(perfect, tmp_path, capsys):
    """Files of edges say nothing of images, so only their shape can be compared."""
    for name in sorted(perfect.rglob("*.png")):
        large = np.zeros((90, 118, 3), np.uint8)
        write_png(tmp_path / "gt" / name.relative_to(perfect), large)
    files = ("--labels", tmp_path / "gt", "--num-classes", 4, "--out", tmp_path / "out")
    assert status_of_score(*labels_of(perfect), *files, *QUICK) == 2
    assert "must have the same shape, and not be smaller" in capsys.readouterr().err


def test_chosen_classes_are_those_among_all(net, perfect, root, tmp_path):
    """Of derived edges, from a net and from files."""
    truth = (*truth_of(root), *QUICK)
    sources = {"net": ("--checkpoint", net, "--task", "edge"), "files": labels_of(perfect)}
    with registered():
        for name, source in sources.items():
            score(*source, *truth, "--out", tmp_path / name / "all")
            score(*source, *truth, "--classes", "c3", 1, "--out", tmp_path / name / "some")
    for folder in ("net/{}/hard", "net/{}/soft", "files/{}"):
        every, some = (counts_of(tmp_path / folder.format(which)) for which in ("all", "some"))
        assert np.array_equal(some, every[:, :, [1, 3]])
