"""train.py: runs, resumes bit for bit, agrees over ranks, and says clearly what is wrong."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers.training import (
    assert_equal_runs,
    at,
    die,
    flags,
    records,
    run_command,
    start,
    watch,
)
from joblib import Parallel, delayed

import train
from data.errors import InputError, run
from utils.checkpoint import load_model


def test_a_run_leaves_its_files(tiny_camvid: Path, tmp_path: Path) -> None:
    start(*flags(tiny_camvid, tmp_path / "run"))
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"last.pth", "previous.pth", "best.pth", "args.json", "log.jsonl", "curves.png"}
    lines = records(tmp_path / "run")
    assert [(line["kind"], line["epoch"]) for line in lines] == [
        (k, e) for e in range(3) for k in ("train", "val")
    ]
    assert all(0 < line["loss"] < 10 for line in lines)
    assert lines[4]["loss"] < lines[0]["loss"]
    assert json.loads((tmp_path / "run" / "args.json").read_text())["crop_size"] == 32
    for name in ("last.pth", "best.pth"):
        model, info = load_model(tmp_path / "run" / name)
        assert (info.name, info.backbone, info.num_classes, info.dataset) == (
            "dff",
            "resnet18",
            11,
            "camvid",
        )
        assert model(torch.zeros(1, 3, 32, 32))["fuse"].shape == (1, 11, 32, 32)


@pytest.mark.parametrize("optimizer", [(), ("--optimizer", "adamw", "--lr", "0.001")])
def test_a_resumed_run_equals_an_unbroken_one(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: tuple[str, ...],
) -> None:
    start(*flags(tiny_camvid, tmp_path / "whole", "--workers", "1", *optimizer))
    # The second run dies in the middle of its last epoch: each of the two before it asks for a stop
    # five times, after two steps, for two images of validation and at its end.
    watch(monkeypatch, at(11, die))
    with pytest.raises(KeyboardInterrupt):
        start(*flags(tiny_camvid, tmp_path / "broken", *optimizer))
    monkeypatch.undo()
    start(*flags(tiny_camvid, tmp_path / "broken", "--resume", *optimizer))

    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def test_resume_refuses_another_command_and_lists_the_differences(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    start(*flags(tiny_camvid, tmp_path / "run", "--epochs", "1"))
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "2", "--lr", "0.5", "--resume")
    assert run(lambda: start(*argv)) == 2
    message = capsys.readouterr().err
    assert (
        "--epochs was 1, is 2; --lr was 0.01, is 0.5; give --epochs 1 --lr 0.01, or say that it is "
        "meant with --resume-with epochs lr, choose another --run-dir, or start again with"
    ) in message
    assert json.loads((tmp_path / "run" / "args.json").read_text())["lr"] == 0.01, (
        "args.json is still the run's own"
    )
    argv = flags(tiny_camvid, tmp_path / "run", "--epochs", "1", "--optimizer", "adamw", "--resume")
    assert run(lambda: start(*argv, "--resume-with", "optimizer")) == 2
    assert "--optimizer was sgd, is adamw (the momenta are of that" in capsys.readouterr().err
    argv = flags(tiny_camvid, tmp_path / "empty", "--resume")
    assert run(lambda: start(*argv)) == 2
    assert "last.pth: no such weight file" in capsys.readouterr().err


def test_two_ranks_train_as_one(tiny_camvid: Path, tmp_path: Path) -> None:
    """The same global batches, joint batch normalization, averaged gradients: the same run, but for
    rounding."""
    small = ("--epochs", "2", "--val-every", "2")
    start(*flags(tiny_camvid, tmp_path / "one", *small))
    done = run_command(flags(tiny_camvid, tmp_path / "two", *small), ranks=2)
    assert done.returncode == 0, done.stderr
    for one, two in zip(records(tmp_path / "one"), records(tmp_path / "two"), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=2e-3), (one, two)
    first = [records(tmp_path / name)[0]["loss"] for name in ("one", "two")]
    assert first[0] == pytest.approx(first[1], rel=1e-4)


def test_a_non_finite_loss_stops_the_run_and_says_where(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = flags(tiny_camvid, tmp_path / "run", "--lr", "1e30")
    assert run(lambda: start(*argv)) == 2
    message = capsys.readouterr().err
    assert "the loss is nan in step 2 of epoch 1, learning rate" in message
    assert "samples train_00" in message


def test_recipes_set_defaults_that_flags_override() -> None:
    args = train.parse_args(["--recipe", "dff-cityscapes"])
    published = (
        args.epochs,
        args.batch_size,
        args.lr,
        args.crop_size,
        args.scale,
        args.backbone,
        args.pretrained,
    )
    assert published == (200, 8, 0.08, 640, [0.75, 2.0], "resnet101", "imagenet")
    args = train.parse_args(["--lr", "0.1", "--recipe", "dff-sbd"])
    assert (args.epochs, args.batch_size, args.lr, args.crop_size) == (10, 16, 0.1, 352)
    assert not train.parse_args(["--no-mirror"]).mirror


@pytest.mark.parametrize(
    "argv", [["--epochs", "0"], ["--scale", "2", "1"], ["--crop-size", "16"], ["--recipe", "none"]]
)
def test_bad_flags_end_with_status_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        train.parse_args(argv)
    assert stop.value.code == 2


def test_wandb_is_imported_only_on_request(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it fails
    start(*flags(tiny_camvid, tmp_path / "without", "--epochs", "1", "--val-every", "0"))
    assert run(lambda: start(*flags(tiny_camvid, tmp_path / "with", "--wandb"))) == 2
    assert "pip install wandb" in capsys.readouterr().err


def test_missing_label_and_torn_image_are_named(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = shutil.copytree(tiny_camvid, tmp_path / "set")
    (root / "trainannot" / "train_003.png").unlink()
    assert run(lambda: start(*flags(root, tmp_path / "a"))) == 2
    message = capsys.readouterr().err
    assert "1 of 16 files are missing" in message
    assert "train_003.png" in message
    shutil.copy(tiny_camvid / "trainannot" / "train_003.png", root / "trainannot")
    torn = root / "train" / "train_003.png"
    torn.write_bytes(torn.read_bytes()[:-100])
    assert run(lambda: start(*flags(root, tmp_path / "b", "--workers", "1"))) == 2
    message = capsys.readouterr().err
    assert "train_003.png: the file is cut off; replace it" in message
    assert "Traceback" not in message


def test_no_network_names_the_file_to_put_and_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import urllib.error

    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("unreachable")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    from models import build_model

    with pytest.raises(
        FileNotFoundError,
        match=r"download https://\S+resnet18-\w+.pth elsewhere and put it at .*resnet18",
    ):
        build_model("dff", num_classes=2, backbone="resnet18", pretrained="imagenet")


def test_a_pickle_that_could_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"holds a .*, which is not a tensor or a plain value"):
        load_model(tmp_path / "evil.pth", name="dff", backbone="resnet18")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"side1.0.weight": torch.zeros(1)}, "cannot tell the number of classes"),
        ({}, "found no tensors in it"),
        ([1, 2], "found list, expected a dictionary"),
        ({"format": 99}, "checkpoint format 99, this version reads 1"),
    ],
)
def test_files_that_are_no_checkpoints(contents: object, message: str, tmp_path: Path) -> None:
    torch.save(contents, tmp_path / "file.pth")
    with pytest.raises(InputError, match=message):
        load_model(tmp_path / "file.pth", name="dff", backbone="resnet18")


def test_torn_and_missing_checkpoints(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1000)}, tmp_path / "file.pth")
    (tmp_path / "torn.pth").write_bytes((tmp_path / "file.pth").read_bytes()[:900])
    (tmp_path / "text.pth").write_text("hello")
    for name, what in (("torn.pth", "is cut off"), ("text.pth", "is text, not a PyTorch")):
        with pytest.raises(InputError, match=f"{name}: {what}"):
            load_model(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such weight file"):
        load_model(tmp_path / "nothing.pth")


def test_an_official_file_says_what_it_lacks(tmp_path: Path) -> None:
    torch.save({"side5.0.weight": torch.zeros(19, 4, 1, 1)}, tmp_path / "official.pth")
    with pytest.raises(InputError, match="say it with --model and --backbone"):
        load_model(tmp_path / "official.pth")
    with pytest.raises(InputError, match="has 19 classes, but camvid has 11"):
        load_model(tmp_path / "official.pth", name="dff", backbone="resnet50", dataset="camvid")


def test_validation_leaves_joblibs_processes_alone(tiny_camvid: Path, tmp_path: Path) -> None:
    parallel = Parallel(n_jobs=2, backend="loky")
    assert parallel(delayed(abs)(-n) for n in range(4)) == [0, 1, 2, 3]
    start(*flags(tiny_camvid, tmp_path / "run", "--epochs", "1", "--workers", "1"))
    assert parallel(delayed(abs)(-n) for n in range(4)) == [0, 1, 2, 3]
