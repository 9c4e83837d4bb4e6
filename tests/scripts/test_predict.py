"""predict.py from the command line to the files, with a DFF of random weights and tiny images."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.ranks import run_ranks
from PIL import Image

import predict
from data import errors as cli
from data.edges import decode_png, unpack
from data.errors import InputError
from data.image_io import read_image, read_index, write_png
from models import build_model
from utils.checkpoint import ModelInfo, load_model, save_checkpoint
from utils.evaluation.edges.predictions import PredictionFolder
from utils.inference.loading import load
from utils.inference.predictor import Predictor
from utils.inference.scores import quantize
from utils.prediction import outputs as outputs_module
from utils.prediction.image_files import find_images, output_names, require_other_folder
from utils.prediction.outputs import OutputChoice, output_files

NUMBERS = (
    "--threshold",
    "--base-size",
    "--window",
    "--overlap",
    "--scales",
    "--batch-size",
    "--max-pixels",
    "--max-frames",
)
WRONG_NUMBERS = ("-1", "nan", "inf", "1e308", "text", "1000000000000", "")
ROOT = Path(__file__).resolve().parents[2]
PALETTE = np.array([(128, 64, 128), (244, 35, 232), (70, 70, 70)], np.uint8)
INFO = ModelInfo("dff", "resnet18", 3, "edge", ("road", "pavement", "building"), PALETTE, 0, "")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pth"
    model = build_model("dff", num_classes=3, backbone="resnet18")
    save_checkpoint(path, {"model": INFO.to_plain(), "weights": model.state_dict()})
    return path


@pytest.fixture
def images(tmp_path, rng) -> Path:
    folder = tmp_path / "images"
    for name in ("one.png", "sub/two.jpg", "sub/deeper/three.bmp"):
        save(folder / name, rng.integers(0, 256, (33, 41, 3), np.uint8))
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image either")
    return folder


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def run(*flags: object) -> int:
    return predict.main(predict.parse_args([str(flag) for flag in flags]))


def outputs(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_a_folder_is_mirrored(checkpoint, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(images, "--checkpoint", checkpoint, "--out", out) == 0
    names = ("one", "sub/deeper/three", "sub/two")
    assert outputs(out) == sorted(
        f"{name}_{kind}.png" for name in names for kind in ("edges", "overlay")
    )
    assert f"3 of 3 images predicted: see {out}" in capsys.readouterr().out
    assert read_image(out / "one_overlay.png").shape == (33, 41, 3)
    edges = read_image(out / "one_edges.png")  # the legend is below and may be wider
    assert edges.shape[0] > 33
    assert edges.shape[1] >= 41


def test_saved_probabilities_and_bits_are_the_network_s(checkpoint, images, tmp_path):
    out = tmp_path / "out"
    flags = ("--save-prob", "--save-bits", "--threshold", "0.45", "--no-overlay", "--no-recursive")
    assert run(images, "--checkpoint", checkpoint, "--out", out, *flags) == 0
    classes = [f"prob/class_{k:03d}/one.png" for k in (1, 2, 3)]
    assert outputs(out) == ["bits/one.png", "one_edges.png", *classes]
    prob = load(checkpoint, "cpu")(read_image(images / "one.png"))
    stored = np.stack([read_index(out / name) for name in classes])
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, quantize(prob))
    bits = decode_png(read_image(out / "bits" / "one.png"))
    assert bits.any()
    np.testing.assert_array_equal(unpack(bits, 3), prob >= np.float32(0.45))
    read_back = np.stack(
        list(PredictionFolder(out / "prob").read("one"))
    )  # what test.py --predictions sees
    np.testing.assert_array_equal(read_back, stored)


def test_base_size_comes_from_the_checkpoint_unless_it_is_given(checkpoint, images, tmp_path):
    contents = torch.load(checkpoint, weights_only=True)
    contents["model"] = replace(INFO, base_size=64).to_plain()
    save_checkpoint(tmp_path / "sized.pth", contents)
    image = read_image(images / "one.png")
    for flags, base_size in (((), 64), (("--base-size", 0), 0), (("--base-size", 50), 50)):
        out = tmp_path / f"out{base_size}"
        run(
            images / "one.png",
            "--checkpoint",
            tmp_path / "sized.pth",
            "--out",
            out,
            "--save-prob",
            *flags,
        )
        expected = quantize(load(checkpoint, "cpu", base_size=base_size)(image))
        np.testing.assert_array_equal(
            read_index(out / "prob" / "class_002" / "one.png"), expected[1]
        )


def test_unreadable_files_are_listed_and_the_rest_is_done(checkpoint, images, tmp_path, capsys):
    (images / "empty.png").touch()
    (images / "text.jpg").write_text("not an image")
    torn = (images / "one.png").read_bytes()
    (images / "torn.png").write_bytes(torn[: len(torn) // 2])
    missing = tmp_path / "missing.png"
    out = tmp_path / "out"
    assert run(images, missing, "--checkpoint", checkpoint, "--out", out, "--no-overlay") == 2
    said = capsys.readouterr()
    assert "3 of 6 images predicted" in said.out
    lines = said.err.splitlines()
    assert [line for line in lines if "empty.png: the file is empty" in line]
    assert [line for line in lines if "text.jpg: is no image that can be read" in line]
    assert [line for line in lines if "torn.png: the file is cut off" in line]
    assert f"failed: {missing}: no such file" in lines
    assert len(outputs(out)) == 3


def test_a_full_disk_stops_the_run_and_the_file_is_named(
    checkpoint, images, tmp_path, monkeypatch, capsys
):
    def full(path: Path, *_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(outputs_module, "write_png", full)
    flags = (images, "--checkpoint", checkpoint, "--out", tmp_path / "out")
    assert cli.run(lambda: run(*flags)) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {tmp_path}/out/one_edges.png: No space left on device\n"
    assert said.out == "net: dff over resnet18\n"


def test_a_file_that_cannot_be_written_ends_no_other(
    checkpoint, images, tmp_path, monkeypatch, capsys
):
    """Where it can be seen before: folders and names that are too long; and where it cannot."""
    out = tmp_path / "out"
    pixels = np.zeros((32, 32, 3), np.uint8)
    long = "x" * 246
    shutil.copy(save(tmp_path / "long.png", pixels), images / f"{long}.png")  # 250 letters
    (out / "sub" / "two_overlay.png").mkdir(parents=True)
    write_png = outputs_module.write_png

    def refuse_three(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.name.startswith("three"):
            raise PermissionError(13, "Permission denied", str(path))
        write_png(path, *args, **kwargs)

    monkeypatch.setattr(outputs_module, "write_png", refuse_three)
    assert run(images, "--checkpoint", checkpoint, "--out", out, "--overwrite") == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"1 of 4 images predicted: see {out}"
    assert sorted(said.err.splitlines()) == sorted(
        [
            f"failed: {images}/{long}.png: {out}/{long}_overlay.png: File name too long",
            f"failed: {images}/sub/two.jpg: {out}/sub/two_overlay.png: Is a directory",
            f"failed: {images}/sub/deeper/three.bmp: {out}/sub/deeper/three_edges.png: "
            "Permission denied",
        ]
    )
    assert outputs(out) == ["one_edges.png", "one_overlay.png"]


def test_names_as_long_as_the_file_system_takes(checkpoint, tmp_path):
    """The temporary name beside the output is longer, and shortened."""
    name = "é" * 121  # 242 bytes, with _overlay.png 254
    save(tmp_path / "in.png", np.zeros((32, 32, 3), np.uint8)).rename(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    assert run(tmp_path / f"{name}.png", "--checkpoint", checkpoint, "--out", out) == 0
    assert outputs(out) == [f"{name}_edges.png", f"{name}_overlay.png"]


def test_inputs_that_may_not_be_looked_at_are_listed(
    checkpoint, images, tmp_path, monkeypatch, capsys
):
    """(The tests may run as root, who may look at everything.)"""
    stat, scandir = Path.stat, os.scandir

    def refuse(path: Path, **kwargs: Any) -> os.stat_result:
        if path.name == "secret.png":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **kwargs)

    def refuse_folder(path: Path) -> Any:
        if path.name == "deeper":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    wrong = [tmp_path / name for name in ("secret.png", "pipe.png", "loop.png", "w" * 300)]
    assert run(images, *wrong, "--checkpoint", checkpoint, "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "2 of 2 images predicted" in said.out
    assert said.err.splitlines() == [
        f"failed: {images}/sub/deeper: Permission denied",
        f"failed: {wrong[0]}: Permission denied",
        f"failed: {wrong[1]}: is a named pipe, a socket or a device; expected a file",
        f"failed: {wrong[2]}: Too many levels of symbolic links",
        f"failed: {wrong[3]}: File name too long",
    ]


def test_links_hidden_folders_and_names_that_are_no_utf8(checkpoint, images, tmp_path, capsys):
    pixels = np.zeros((32, 32, 3), np.uint8)
    save(tmp_path / "elsewhere" / "linked.PNG", pixels)
    save(images / ".hidden" / "no.png", pixels)
    (images / "seq").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(images)
    strange = os.fsdecode(b"stra\xdfe")
    shutil.copy(images / "one.png", images / f"{strange}.png")
    (images / os.fsdecode(b"brok\xe9n.png")).write_bytes(b"x")
    out = tmp_path / "out"
    status = cli.run(lambda: run(images, "--checkpoint", checkpoint, "--out", out, "--no-overlay"))
    said = capsys.readouterr()
    assert status == 2
    assert "5 of 6 images predicted" in said.out
    assert f"failed: {images}/brok" in said.err
    names = ("one", strange, "seq/linked", "sub/deeper/three", "sub/two")
    assert outputs(out) == sorted(f"{name}_edges.png" for name in names)


def test_two_spellings_of_one_name_are_refused(checkpoint, tmp_path):
    """macOS and Linux spell "é" in two ways, and some file systems take both for one name."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    for name in ("caf\u00e9.png", "cafe\u0301.png"):
        save(tmp_path / "in" / name, pixels)
    flags = (tmp_path / "in", "--checkpoint", checkpoint, "--out", tmp_path / "out")
    with pytest.raises(InputError, match="would both be written as"):
        run(*flags)
    assert not (tmp_path / "out").exists()


def test_outputs_of_two_images_never_meet(seg_checkpoint, tmp_path):
    """The label map of x_colors.png would be the drawing of labels/x.png."""
    for name in ("x_colors.png", "labels/x.png"):
        save(tmp_path / "in" / name, np.zeros((32, 32, 3), np.uint8))
    flags = (tmp_path / "in", "--checkpoint", seg_checkpoint, "--out", tmp_path / "out")
    with pytest.raises(InputError, match=r"would both be written as .*labels/x_colors\.png"):
        run(*flags)


def test_a_checkpoint_is_never_replaced(checkpoint, images, tmp_path):
    (tmp_path / "one_edges.png").symlink_to(checkpoint)
    flags = (images / "one.png", "--checkpoint", checkpoint, "--out", tmp_path, "--overwrite")
    with pytest.raises(InputError, match="would replace the checkpoint"):
        run(*flags)


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_output_folder_that_cannot_be_is_refused_before_the_work(
    checkpoint, images, tmp_path, out, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(predict, "predict_images", None)
    with pytest.raises(InputError, match=f"--out {tmp_path / out}: cannot be written to"):
        run(images / "one.png", "--checkpoint", checkpoint, "--out", tmp_path / out)


def test_exif_turns_nothing_unless_asked_and_is_told(checkpoint, images, tmp_path, capsys):
    """Data sets take pixels as stored, so a label map and a prediction of one file lie alike."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("p.jpg", "q.png"):
        Image.open(images / "one.png").save(images / name, exif=exif)
    flags = ("--checkpoint", checkpoint, "--no-recursive", "--out")
    assert run(images, *flags, tmp_path / "stored") == 0
    assert capsys.readouterr().err == (
        "note: 2 images carry an EXIF orientation; they are predicted as stored, --upright turns "
        "them\n"
    )
    assert run(images, *flags, tmp_path / "turned", "--upright") == 0
    assert not capsys.readouterr().err
    for folder, shape in (("stored", (33, 41)), ("turned", (41, 33))):
        assert read_image(tmp_path / folder / "q_overlay.png").shape[:2] == shape
    assert run(images / "q.png", *flags, tmp_path / "one") == 0
    assert "note: 1 image carries an EXIF orientation; it is" in capsys.readouterr().err


def test_an_image_that_is_too_large_is_refused_before_it_is_decoded(
    checkpoint, images, tmp_path, monkeypatch, capsys
):
    Image.new("1", (30000, 20000)).save(images / "huge.png")  # 75 kB
    flags = (images, "--checkpoint", checkpoint, "--out")
    monkeypatch.setattr("data.system.memory.available_memory", lambda: 30 * 10**9)
    assert run(*flags, tmp_path / "memory") == 2
    said = capsys.readouterr()
    assert "3 of 4 images predicted" in said.out
    assert re.fullmatch(
        rf"failed: {images}/huge\.png: the image is 30000x20000, which takes about \d+\.\d GB of "
        r"memory, and 30\.0 GB are free; "
        r"cut it up with --window N, or give a smaller --base-size\n",
        said.err,
    )
    assert run(*flags, tmp_path / "bound", "--max-pixels", 1352) == 2
    said = capsys.readouterr()
    assert "0 of 4 images predicted" in said.out
    assert "one.png: the image is 41x33, 1,353 pixels, more than --max-pixels 1,352" in said.err
    assert run(images / "one.png", *flags[1:], tmp_path / "enough", "--max-pixels", 1353) == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        cv2.error("Insufficient memory (Failed to allocate 9 bytes)"),
        torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"),
    ],
)
def test_an_image_that_does_not_fit_ends_no_other(
    checkpoint, images, tmp_path, monkeypatch, capsys, error
):
    forward = Predictor._forward

    def fail_once(*args: Any, **kwargs: Any) -> torch.Tensor:
        monkeypatch.setattr(Predictor, "_forward", forward)
        raise error

    monkeypatch.setattr(Predictor, "_forward", fail_once)
    assert run(images, "--checkpoint", checkpoint, "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "2 of 3 images predicted" in said.out
    assert said.err == (
        f"failed: {images}/one.png: a 41x33 image does not fit into the memory of cpu; cut it up "
        "with --window N or shrink it with --base-size\n"
    )


def test_faults_of_ours_are_no_failures_of_an_image(checkpoint, images, tmp_path, monkeypatch):
    def fault(*_args: object, **_kwargs: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(outputs_module, "write_png", fault)
    with pytest.raises(KeyError, match="ours"):
        run(images, "--checkpoint", checkpoint, "--out", tmp_path / "out")


def test_nothing_is_replaced_unless_asked(checkpoint, images, tmp_path):
    out = tmp_path / "out"
    flags = (images / "one.png", "--checkpoint", checkpoint, "--out", out)
    assert run(*flags) == 0
    before = (out / "one_edges.png").read_bytes()
    (out / "one_edges.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"one_edges\.png is there already; give --overwrite"):
        run(*flags)
    assert (out / "one_edges.png").read_bytes() == b"mine"
    assert run(*flags, "--overwrite") == 0
    assert (out / "one_edges.png").read_bytes() == before


def test_an_input_is_never_replaced(checkpoint, images):
    save(images / "one_edges.png", np.zeros((32, 32, 3), np.uint8))
    inputs = (images / "one.png", images / "one_edges.png")
    with pytest.raises(InputError, match="would replace an input"):
        run(*inputs, "--checkpoint", checkpoint, "--out", images, "--overwrite")


def test_names_of_several_inputs(tmp_path, rng):
    image = rng.integers(0, 256, (32, 32, 3), np.uint8)
    a, b = tmp_path / "a", tmp_path / "b"
    for path in (a / "x.png", a / "x.jpg", a / "y.v2.png", b / "x.png", tmp_path / "z.png"):
        save(path, image)
    found, _ = find_images(
        [a, b, tmp_path / "z.png", a / "x.png"], tmp_path / "out", True
    )  # a/x.png is in a already
    expected = {
        a / "x.png": "a/x.png",
        a / "x.jpg": "a/x.jpg",
        a / "y.v2.png": "a/y.v2",
        b / "x.png": "b/x",
    }
    assert output_names(found) == {**expected, tmp_path / "z.png": "z"}
    found, _ = find_images([a], tmp_path / "out", True)
    assert sorted(output_names(found).values()) == ["x.jpg", "x.png", "y.v2"]
    found, _ = find_images([a / "x.png", b / "x.png"], tmp_path / "out", True)
    with pytest.raises(InputError, match=r"a/x\.png and .*b/x\.png would both be written"):
        output_names(found)


def test_the_output_folder_is_not_searched(images):
    save(images / "out" / "one_edges.png", np.zeros((32, 32, 3), np.uint8))
    found, failures = find_images([images], images / "out", True)
    assert [path.name for path in found] == ["one.png", "three.bmp", "two.jpg"]
    assert not failures
    found, _ = find_images(
        [images / "sub"], images, True
    )  # --out above the input is no reason to skip it
    assert len(found) == 2
    with pytest.raises(InputError, match="is the folder of the images"):
        require_other_folder([images / "sub", images], images / "sub" / "..")


def test_nothing_found(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no image in this folder .*; .*none\.png: no such file"):
        find_images([tmp_path / "empty", tmp_path / "none.png"], tmp_path / "out", True)


def test_every_kind_of_image_becomes_8_bit_rgb(tmp_path):
    rgb = np.zeros((32, 40, 3), np.uint8)
    rgb[:] = (200, 100, 30)
    drawn = Image.fromarray(rgb)
    drawn.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    drawn.convert("RGBA").save(tmp_path / "rgba.png")
    drawn.quantize(8).save(tmp_path / "palette.png")
    cv2.imwrite(str(tmp_path / "deep.png"), rgb[:, :, ::-1].astype(np.uint16) * 257)
    write_png(tmp_path / "grey.png", rgb[:, :, 0])
    for path in tmp_path.iterdir():
        image = read_image(path)
        assert image.dtype == np.uint8
        expected = (200, 200, 200) if path.name == "grey.png" else (200, 100, 30)
        np.testing.assert_allclose(image[16, 20], expected, atol=2, err_msg=path.name)


def test_a_file_that_does_not_say_what_it_is_needs_the_flags(checkpoint, images, tmp_path):
    weights = torch.load(checkpoint, weights_only=True)["weights"]
    torch.save({"state_dict": weights}, tmp_path / "published.pth.tar")
    flags = (
        images / "one.png",
        "--checkpoint",
        tmp_path / "published.pth.tar",
        "--out",
        tmp_path / "out",
    )
    with pytest.raises(InputError, match="--model and --backbone"):
        run(*flags)
    assert run(*flags, "--model", "dff", "--backbone", "resnet18") == 0


@pytest.fixture(scope="module")
def seg_checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("seg") / "best.pth"
    model = build_model("fcn", num_classes=3, backbone="resnet18")
    info = replace(INFO, name="fcn", task="seg")
    save_checkpoint(path, {"model": info.to_plain(), "weights": model.state_dict()})
    return path


def test_a_segmentation_network_leaves_labels_and_colours(seg_checkpoint, images, tmp_path):
    flags = (
        "--window",
        32,
        "--scales",
        "0.5",
        "1",
        "--mirror",
        "--batch-size",
        3,
        "--device",
        "cpu",
    )
    assert run(images, "--checkpoint", seg_checkpoint, "--out", tmp_path / "out", *flags) == 0
    names = ("one", "sub/deeper/three", "sub/two")
    expected = [f"labels/{name}.png" for name in names]
    expected += [f"{name}_{kind}.png" for name in names for kind in ("colors", "overlay")]
    assert outputs(tmp_path / "out") == sorted(expected)
    image = read_image(images / "one.png")
    labels = read_index(tmp_path / "out/labels/one.png")
    assert labels.dtype == np.uint8
    predictor = load(seg_checkpoint, "cpu", window=32, scales=(0.5, 1.0), mirror=True, batch_size=3)
    wanted = predictor(image)
    assert np.array_equal(labels, wanted)
    drawn = read_image(tmp_path / "out/one_colors.png")
    assert np.array_equal(drawn[:33, :41], PALETTE[labels])
    assert drawn.shape[0] > 33  # the legend
    overlay = read_image(tmp_path / "out/one_overlay.png").astype(int)
    assert np.abs(overlay - (image / 2 + PALETTE[labels] / 2)).max() <= 1
    with pytest.raises(InputError, match="--save-prob is for edges"):
        run(images, "--checkpoint", seg_checkpoint, "--out", tmp_path / "more", "--save-prob")


def test_more_classes_than_an_edge_png_holds(tmp_path):
    with pytest.raises(InputError, match="24 classes"):
        output_files(tmp_path, "x", replace(INFO, num_classes=65), OutputChoice(bits=True))


@pytest.mark.parametrize(
    "flags",
    [
        *((flag, value) for flag in NUMBERS for value in WRONG_NUMBERS),
        ("--threshold", "1.5"),
        ("--base-size", "1.5"),
        ("--window", "31"),
        ("--overlap", "1"),
        ("--scales", "0"),
        ("--scales", "1 0"),
        ("--scales", "17"),
        ("--batch-size", "0"),
        ("--max-pixels", "0"),
        ("--model", "x"),
        ("--out", ""),
        ("--checkpoint", ""),
    ],
)
def test_wrong_values_of_flags(flags, capsys):
    name, values = flags
    with pytest.raises(SystemExit) as ended:
        predict.parse_args(
            ["x.png", "--checkpoint", "c", "--out", "o", name, *(values.split() or [""])]
        )
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: argument {name}: ")


def test_an_empty_input_is_no_folder(capsys):
    """Path("") is the current folder."""
    with pytest.raises(SystemExit):
        predict.parse_args(["", "--checkpoint", "c", "--out", "o"])
    assert "argument INPUT: is empty" in capsys.readouterr().err


def test_the_command_ends_with_one_line_and_status_2(tmp_path):
    command = [
        sys.executable,
        "predict.py",
        str(tmp_path / "none.png"),
        "--checkpoint",
        "none.pth",
        "--out",
        str(tmp_path),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [f"error: {tmp_path / 'none.png'}: no such file"]


def test_an_interrupt_while_modules_are_imported_is_one_line(tmp_path):
    """Even where the module that is being imported catches everything."""
    (tmp_path / "tqdm.py").write_text(
        "import time\nprint('ready', flush=True)\n"
        "try:\n    time.sleep(30)\nexcept BaseException:\n    time.sleep(30)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "predict.py", "x.png", "--checkpoint", "c.pth", "--out", tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, "interrupted\n")


@pytest.mark.slow
def test_ranks_share_the_images(checkpoint, images, tmp_path):
    """With more ranks than images: each image once, the files of one process, one report."""
    (images / "broken.png").write_bytes(b"no image")
    given = [
        str(images),
        "--checkpoint",
        str(checkpoint),
        "--device",
        "cpu",
        "--save-prob",
        "--out",
    ]
    assert predict.main(predict.parse_args([*given, str(tmp_path / "one")])) == 2
    done = run_ranks("predict.py", [*given, str(tmp_path / "many")], 5)
    assert done.returncode != 0
    assert done.stderr.count(f"failed: {images / 'broken.png'}") == 1
    assert done.stdout.count("images predicted") == 1
    one, other = (
        {p.relative_to(tmp_path / d): p.read_bytes() for p in (tmp_path / d).rglob("*.png")}
        for d in ("one", "many")
    )
    assert len({path.name for path in one}) > 3
    assert {Path(*path.parts): contents for path, contents in one.items()} == other


def test_options_that_an_official_file_does_not_say(tmp_path, capsys):
    model = build_model("gffnet", num_classes=3, backbone="resnet18", fusion="simultaneous")
    path = tmp_path / "official.pth"
    torch.save(model.state_dict(), path)
    given = {"name": "gffnet", "backbone": "resnet18"}
    image = torch.randn(1, 3, 64, 64)
    options_of_the_net: list[dict[str, bool | str]] = [{}, {"fusion": "simultaneous"}]
    found = [
        load_model(path, **given, options=options)[0](image)["seg"]
        for options in options_of_the_net
    ]
    assert torch.equal(found[1], model.eval()(image)["seg"])
    assert not torch.equal(*found)
    argv = [
        "x.png",
        "--checkpoint",
        str(path),
        "--model",
        "gffnet",
        "--backbone",
        "resnet18",
        "--out",
        str(tmp_path / "o"),
    ]
    write_png(tmp_path / "x.png", np.zeros((32, 32, 3), np.uint8))
    argv[0] = str(tmp_path / "x.png")
    assert cli.run(lambda: run(*argv, "--no-align-corners")) == 2
    assert "holds gffnet, which knows no --align-corners; leave it out" in capsys.readouterr().err
