import errno
import json
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from data.errors import InputError, run
from utils.curves import __main__ as command
from utils.training import curves, logger
from utils.training.logger import Logger, read_log


def lines(folder):
    return (folder / "log.jsonl").read_text().splitlines()


def test_lines_of_the_main_rank_alone(tmp_path):
    for is_main in (True, False):
        with Logger(tmp_path, is_main=is_main) as log:
            log.write("val", epoch=3, miou=0.25)
    assert [json.loads(line) for line in lines(tmp_path)] == [
        {"kind": "val", "epoch": 3, "miou": 0.25}
    ]


def test_a_resumed_run_keeps_starts_and_drops_later_epochs_and_a_torn_line(tmp_path):
    with Logger(tmp_path, is_main=True) as log:
        for epoch in range(3):
            log.write("start", epoch=epoch)
            log.write("train", epoch=epoch, loss=1.0)
        with log.path.open("a") as file:
            file.write('{"kind": "train", "ep')
        log.keep_until(1)
    kept = [(entry["kind"], entry["epoch"]) for entry in read_log(log.path)]
    assert kept == [("start", 0), ("train", 0), ("start", 1), ("start", 2)]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"kind": "train", "epoch": 0}\n{"kind": "tr\n{"kind": "train", "epoch": 2}\n')
    with pytest.raises(InputError, match=r"log\.jsonl:2: is no JSON"):
        read_log(path)


def test_a_full_disk_leaves_no_torn_line(tmp_path, monkeypatch):
    log = Logger(tmp_path, is_main=True)
    log.write("train", epoch=0)
    whole, write = lines(tmp_path), logger.os.write
    room = iter([7])

    def nearly_full(file, text):
        if (left := next(room, 0)) == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, text[:left])

    monkeypatch.setattr(logger.os, "write", nearly_full)
    with pytest.raises(OSError, match="No space left"):
        log.write("train", epoch=1)
    assert lines(tmp_path) == whole


@pytest.mark.parametrize(
    ("flag", "package"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")]
)
def test_a_missing_service_is_one_line(tmp_path, monkeypatch, flag, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"--{flag} needs the package {flag}: pip install {flag}"):
        Logger(tmp_path, is_main=True, **{flag: True})
    assert not (tmp_path / "log.jsonl").exists()


def test_wandb_offline_goes_on_in_the_same_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is optional")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    ids = []
    for epoch in range(2):
        with Logger(tmp_path, is_main=True, wandb=True, config={"lr": 0.1}) as log:
            log.write("start", epoch=epoch, step=5 * epoch, host="here")
            log.write("train", epoch=epoch, step=5 * epoch + 5, loss=1.5, lr=0.1)
            ids.append(log.services[0].service.run.id)
            assert log.services[0].service.run.summary["train/loss"] == 1.5
    assert ids[0] == ids[1] == (tmp_path / "wandb-id").read_text().strip()
    assert len(lines(tmp_path)) == 4
    assert list((tmp_path / "wandb").glob(f"offline-run-*-{ids[0]}"))


def test_tensorboard_gets_every_number_at_its_step(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is optional")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Logger(tmp_path, is_main=True, tensorboard=True) as log:
        log.write("train", epoch=0, step=12, loss=1.5, names="a")
        log.write("val", epoch=0, step=12, miou=0.25)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"train/epoch", "train/loss", "val/epoch", "val/miou"}
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(12, 1.5)]


def write_log(path, entries, tail=""):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + tail)
    return path


def has_color(image, color):
    return bool((image[..., :3] == color).all(axis=-1).any())


def test_curves_are_drawn_and_torn_or_missing_values_passed_over(tmp_path):
    entries = [
        {"kind": "train", "epoch": e, "step": 9 * e, "loss": 2 / (e + 1), "lr": 0.1}
        for e in range(5)
    ]
    entries += [
        {"kind": "val", "epoch": 4, "loss": 0.7},
        {"kind": "train", "epoch": 5},
        {"kind": "start", "lr": 0.1},
    ]
    log = write_log(tmp_path / "log.jsonl", entries, tail='{"kind": "train", "epo')
    curves.plot_curves(log, tmp_path / "curves.png")
    without_mf = np.asarray(Image.open(tmp_path / "curves.png"))
    assert all(has_color(without_mf, tuple(bytes.fromhex(color[1:]))) for color in curves.COLORS)
    log = write_log(
        tmp_path / "log.jsonl", [*entries, {"kind": "val", "epoch": 4, "loss": 0.7, "mf": 0.3}]
    )
    assert (
        command.main(command.parse_args([str(tmp_path), "--out", str(tmp_path / "more.png")]))
        is None
    )
    assert (
        np.asarray(Image.open(tmp_path / "more.png")).shape[1] > without_mf.shape[1]
    )  # one plot more


NOT_DRAWN = [
    {"kind": "train", "epoch": 1, "loss": 1e308},
    {"kind": "train", "epoch": 1, "loss": 10**400},
    {"kind": "train", "epoch": 10**400, "loss": 1.0},
    {"kind": "train", "epoch": None, "loss": 1.0},
    {"kind": "train", "epoch": 1, "loss": None},
    {"kind": "train", "epoch": "one", "loss": 1.0},
    {"kind": "train", "epoch": [1], "loss": 1.0},
    {"kind": "train", "epoch": True, "loss": True},
    {"kind": "train", "loss": 1.0},
]


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_drawn_is_passed_over(tmp_path, monkeypatch):
    whole = [{"kind": "train", "epoch": e, "loss": 1.0} for e in (0, 2)]
    images = []
    for entries in (whole, [*whole, *NOT_DRAWN]):
        monkeypatch.setattr(curves, "read_log", lambda _, entries=entries: entries)
        curves.plot_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")
        images.append(np.asarray(Image.open(tmp_path / "curves.png")))
    np.testing.assert_array_equal(*images)


def draw(*argv):
    return run(lambda: command.main(command.parse_args([*map(str, argv)])))


def test_the_curves_never_replace_the_log_or_a_checkpoint(tmp_path, capsys):
    log = write_log(tmp_path / "log.jsonl", [{"kind": "train", "epoch": 0, "loss": 1.0}])
    before = log.read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(log)
    hard = tmp_path / "hard.PNG"
    hard.hardlink_to(log)
    weights = tmp_path / "last.pth"
    weights.write_bytes(b"weights")
    for out, reason in (
        (log, "ends in .png"),
        (link, "is the log itself"),
        (hard, "is the log itself"),
        (weights, "ends in .png"),
    ):
        assert draw(log, "--out", out) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert reason in line
        assert str(out) in line
    assert log.read_bytes() == before
    assert weights.read_bytes() == b"weights"


@pytest.mark.parametrize("kind", ["nothing", "no log", "pipe", "checkpoint", "folder"])
def test_what_is_no_log_is_one_line(tmp_path, capsys, kind):
    path = tmp_path / "log.jsonl"
    if kind == "no log":
        path = tmp_path
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "checkpoint":
        path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 20)
    elif kind == "folder":
        path.mkdir()
        path = tmp_path
    assert draw(path, "--out", tmp_path / "curves.png") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "log.jsonl") in line
    assert not (tmp_path / "curves.png").exists()


def test_curves_without_matplotlib_are_one_line(tmp_path, monkeypatch, capsys):
    log = write_log(tmp_path / "log.jsonl", [{"kind": "train", "epoch": 0, "loss": 1.0}])
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert draw(log) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_the_user_s_settings_of_matplotlib_change_nothing(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [{"kind": "train", "epoch": 0, "loss": 1.0}])
    assert draw(log, "--out", tmp_path / "plain.png") == 0
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red"}):
        assert draw(log, "--out", tmp_path / "own.png") == 0
        assert matplotlib.rcParams["text.usetex"]
    images = [np.asarray(Image.open(tmp_path / name)) for name in ("plain.png", "own.png")]
    np.testing.assert_array_equal(*images)


def test_a_wrong_backend_of_matplotlib_is_one_line(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [{"kind": "train", "epoch": 0, "loss": 1.0}])
    done = subprocess.run(
        [sys.executable, "-m", "utils.curves", log],
        env=os.environ | {"MPLBACKEND": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "see the variable MPLBACKEND" in line


def test_a_log_without_values_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"log\.jsonl"):
        curves.plot_curves(
            write_log(tmp_path / "log.jsonl", [{"kind": "start"}]), tmp_path / "curves.png"
        )
    assert not (tmp_path / "curves.png").exists()
