"""train.py on segmentation nets with an edge head: both scores, files, resuming, flags."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.tiny_nets import JOINT, SEG, registered
from helpers.training import assert_equal_runs, at, die, records, run_command, start, watch
from PIL import Image

import train
from data import build_dataset
from data.errors import run
from data.gtlabel import __main__ as gtlabel
from data.samples.edge import EdgeLabels
from utils.checkpoint import load_model, read_checkpoint, save_checkpoint
from utils.distributed.environment import Ranks
from utils.training.setup import build_setup, evaluation_form
from utils.training.validate_edges import EdgeScoring
from utils.training.validate_seg import SegScoring
from utils.training.validation import ImageValidation, ValidationScores


@pytest.fixture(autouse=True)
def tiny_nets() -> Iterator[None]:
    with registered():
        yield


def flags(root: Path, folder: Path, *more: str, model: str = JOINT, head: str = "dff") -> list[str]:
    """A run of seconds: eight images, one of them in each group of the loss."""
    net = f"--model {model} --backbone resnet18 --pretrained none --edge-head {head}"
    small = "--crop-size 40 --batch-size 4 --workers 0 --class-uniform-tile 24 --device cpu"
    return [
        *f"--dataset camvid --data-root {root} {net} {small} --run-dir {folder}".split(),
        *["--epochs", "2", "--val-samples", "2", "--val-thresholds", "3", "--lr", "0.003"],
        *more,
    ]


def validations(folder: Path) -> list[dict]:
    return [line for line in records(folder) if line["kind"] == "val"]


def test_both_tasks_are_validated_in_one_pass_with_the_scores_of_each(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    start(*flags(tiny_camvid, tmp_path, "--side5-weight", "0.5", "--workers", "1", "--epochs", "1"))
    line = validations(tmp_path)[-1]
    said = capsys.readouterr().out
    assert f"mIoU {100 * line['miou']:.2f}, MF {100 * line['mf']:.2f}" in said
    losses = f"{line['loss']:.4f} (seg) and {line['edge_loss']:.4f} (edge)"
    assert f"validation loss {losses}, " in said
    assert f"{JOINT} with edge head dff over resnet18 on cpu: batch" in said
    trained = [entry for entry in records(tmp_path) if entry["kind"] == "train"][-1]
    total = trained["seg"] + 0.5 * trained["side5"] + trained["fuse"]
    assert trained["loss"] == pytest.approx(total)

    model, info = load_model(tmp_path / "last.pth")
    assert info.edge_head == "dff"
    dataset = build_dataset("camvid", tiny_camvid, "val")
    setup = build_setup(
        args := train.parse_args(flags(tiny_camvid, tmp_path, "--side5-weight", "0.5")),
        build_dataset("camvid", tiny_camvid, "train"),
        Ranks(),
    )
    assert args.edge_head == "dff"
    edges = EdgeScoring(EdgeLabels.of(dataset), setup.objective.of_edges(), thresholds=3)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    both = setup.validation(model, device="cpu", ranks=Ranks())
    assert len(calls) == 2  # images
    how = {"base_size": 0, "samples": 2, "prepare": evaluation_form(args)}
    alone = [
        ImageValidation(dataset, each, **how)(model, device="cpu", ranks=Ranks())
        for each in (SegScoring(dataset), edges)
    ]
    assert both == replace(alone[0], thresholds=alone[1].thresholds, others=(alone[1],))
    assert both.values == {"miou": alone[0].value, "mf": alone[1].value}
    assert both.values == pytest.approx({"miou": line["miou"], "mf": line["mf"]})
    assert both.losses == pytest.approx({"loss": line["loss"], "edge_loss": line["edge_loss"]})
    assert info.thresholds == alone[1].thresholds


def test_best_follows_the_mean_iou_and_the_log_has_both(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a stopped run finds the score in the log."""
    values = iter([(0.3, 0.4), (0.2, 0.9), (0.1, 0.95)])

    def validate(*_: object, **__: object) -> ValidationScores:
        miou, mf = next(values)
        edges = ValidationScores(2.0, "mf", mf)
        return ValidationScores(1.0, "miou", miou, (0.5,) * 11, (edges,))

    monkeypatch.setattr(
        train, "build_setup", lambda *given: replace(build_setup(*given), validation=validate)
    )
    start(*flags(tiny_camvid, tmp_path))
    assert [(e["loss"], e["edge_loss"], e["miou"], e["mf"]) for e in validations(tmp_path)] == [
        (1.0, 2.0, 0.3, 0.4),
        (1.0, 2.0, 0.2, 0.9),
    ]
    best, last = (read_checkpoint(tmp_path / name)["weights"] for name in ("best.pth", "last.pth"))
    assert not all(torch.equal(best[key], last[key]) for key in best)
    # The next start takes the score of the second epoch from the log: of mIoU, not of MF.
    state = read_checkpoint(tmp_path / "last.pth")
    save_checkpoint(tmp_path / "last.pth", state | {"args": state["args"] | {"epochs": 3}})
    start(*flags(tiny_camvid, tmp_path, "--epochs", "3"))
    assert read_checkpoint(tmp_path / "last.pth")["best"] == 0.3
    with Image.open(tmp_path / "curves.png") as curves:
        assert curves.size[1] > 3 * 3.2 * 120 - 40  # seven plots, three in a row


def test_without_edges_there_is_no_mf(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    edges = ValidationScores(2.0, "mf", float("nan"))
    scores = ValidationScores(1.0, "miou", 0.25, None, (edges,))
    monkeypatch.setattr(
        train,
        "build_setup",
        lambda *given: replace(build_setup(*given), validation=lambda *_, **__: scores),
    )
    start(*flags(tiny_camvid, tmp_path, "--epochs", "1"))
    assert "mIoU 25.00, no MF: no class has edges" in capsys.readouterr().out
    assert validations(tmp_path)[0]["mf"] is None
    assert (tmp_path / "best.pth").exists()


@pytest.mark.parametrize(
    "more",
    [
        ("--ema", "0.5", "--amp", "bf16", "--accumulate", "2"),
        ("--freeze-bn", "--optimizer", "adamw", "--no-fast"),
    ],
    ids=" ".join,
)
def test_a_resumed_run_equals_an_unbroken_one(
    more: tuple[str, ...], tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(*flags(tiny_camvid, tmp_path / "whole", *more))
    watch(monkeypatch, at(6, die))  # after two steps, two images and their end: within epoch 2
    with pytest.raises(KeyboardInterrupt):
        start(*flags(tiny_camvid, tmp_path / "broken", *more))
    monkeypatch.undo()
    with registered():
        start(*flags(tiny_camvid, tmp_path / "broken", *more, "--resume"))
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")
    assert validations(tmp_path / "whole")[-1].keys() >= {"miou", "mf", "edge_loss"}
    if "--freeze-bn" in more:
        weights = read_checkpoint(tmp_path / "whole/last.pth")["weights"]
        means = [v for k, v in weights.items() if k.endswith("running_mean")]
        assert means
        assert not any(mean.any() for mean in means)


def test_another_head_is_no_resumption(tiny_camvid: Path, tmp_path: Path, capsys) -> None:
    argv = flags(tiny_camvid, tmp_path, "--epochs", "1", "--val-every", "0")
    start(*argv)
    for other in ("none", "casenet"):
        assert run(lambda head=other: start(*argv, "--edge-head", head)) == 2
        error = capsys.readouterr().err
        assert f"--edge-head was dff, is {other} (the weights are of that net)" in error
        assert "\n" not in error.strip()
    # A checkpoint of before there were heads.
    state = read_checkpoint(tmp_path / "last.pth")
    old = {key: value for key, value in state["args"].items() if key != "edge_head"}
    save_checkpoint(tmp_path / "last.pth", state | {"args": old})
    assert run(lambda: start(*argv)) == 2
    assert "--edge-head was none, is dff" in capsys.readouterr().err


def test_edges_from_files_train_the_head_and_its_validation_has_their_loss(
    tiny_camvid: Path, tmp_path: Path, capsys
) -> None:
    """At scale 1 the files hold what the labels give: the runs are the same."""
    for split in ("train", "val"):
        argv = f"--dataset camvid --root {tiny_camvid} --split {split} --out {tmp_path / 'edges'}"
        assert gtlabel.main(gtlabel.parse_args(argv.split())) == 0
    plain = ("--scale", "1", "1", "--epochs", "1", "--crop-size", "64")
    start(*flags(tiny_camvid, tmp_path / "labels", *plain))
    start(*flags(tiny_camvid, tmp_path / "files", *plain, "--edge-labels", str(tmp_path / "edges")))
    of_labels, of_files = records(tmp_path / "labels"), records(tmp_path / "files")
    for key in ("seg", "side5", "fuse"):
        assert of_files[0][key] == pytest.approx(of_labels[0][key], rel=1e-6)
    for key in ("loss", "edge_loss", "miou", "mf"):
        assert of_files[1][key] == pytest.approx(of_labels[1][key], rel=1e-6)
    (tmp_path / "edges" / "train" / "train_003.png").unlink(missing_ok=True)
    for path in (tmp_path / "edges").rglob("*train_003*"):
        path.unlink()
    argv = flags(tiny_camvid, tmp_path / "no", "--edge-labels", str(tmp_path / "edges"))
    assert run(lambda: start(*argv)) == 2
    assert "train_003" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--model", SEG, "--edge-labels", "x"],
            "--edge-labels is for edge nets and edge heads; tiny_seg is none; see --edge-head",
        ),
        (["--model", "fcn", "--no-instance"], "--instance is for edge nets and edge heads; fcn is"),
        (["--model", "dff", "--edge-head", "casenet"], "dff is an edge head itself"),
        (["--model", "fcn", "--edge-head", "hed"], "invalid choice: 'hed'"),
    ],
)
def test_flags_of_edges_need_an_edge_head(argv: list[str], words: str, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        train.parse_args([*argv, "--backbone", "resnet18"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    head = ["--edge-labels", "x", "--no-instance", "--side5-weight", "2", "--fuse-weight", "3"]
    args = train.parse_args(
        ["--model", "fcn", "--backbone", "resnet18", "--edge-head", "dff", *head]
    )
    assert (args.edge_labels, args.instance, args.side5_weight) == ("x", False, 2)


@pytest.mark.slow
def test_a_decoupled_net_goes_on_from_a_joint_base_on_two_ranks(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    """Real nets; the first step of two ranks is that of one."""
    base = tmp_path / "base"
    small = ("--crop-size", "56", "--epochs", "1", "--images-per-loss", "2")
    start(*flags(tiny_camvid, base, *small, model="deeplabv3plus"))
    second = (*small, "--init-from", str(base / "last.pth"), "--batch-size", "8")
    argv = flags(tiny_camvid, tmp_path / "one", *second, model="deeplabv3plus_decouple")
    start(*argv)
    argv = flags(tiny_camvid, tmp_path / "two", *second, model="deeplabv3plus_decouple")
    done = run_command(argv, ranks=2)
    assert done.returncode == 0, done.stderr
    assert "edge_head" not in done.stdout  # it is the base's
    one, two = records(tmp_path / "one"), records(tmp_path / "two")
    for term in ("seg", "body", "edge", "edge_attention", "side5", "fuse"):
        assert one[0][term] == pytest.approx(two[0][term], rel=1e-4)
    assert json.loads((tmp_path / "two" / "args.json").read_text())["edge_head"] == "dff"
    assert two[1].keys() >= {"loss", "edge_loss", "miou", "mf"}
