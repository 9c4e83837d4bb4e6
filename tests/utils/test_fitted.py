"""Defaults fitted to the data: what must hold for any data, who overrides whom, and resuming."""

import json
import shlex
import shutil
import urllib.error
from itertools import pairwise, product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.training import records, start

import train
from data.errors import InputError, run
from data.image_io import write_png
from models import MODELS
from utils.training.args import train_parser
from utils.training.recipes import RECIPES
from utils.training.recipes.choose import as_flags, describe, sizes_in_words
from utils.training.recipes.facts import answers, find_facts, find_pretrained
from utils.training.recipes.fitted import Facts, cpu_minutes, fit, steps_in_all
from utils.training.setup import split_of

SIZES = {
    "tiny": [(32, 32)],
    "camera": [(360, 480)],
    "phone": [(3000, 4000), (4000, 3000)],
    "huge": [(8000, 6000)],
    "strip": [(40, 8000)],
    "mixed": [(32, 40), (100, 100), (480, 640), (6000, 8000), (64, 1024)],
}
COUNTS = (1, 2, 3, 7, 28, 367, 2975, 100_000)


def facts_of(sizes: str, images: int, **more: object) -> Facts:
    found = SIZES[sizes] * (20 // len(SIZES[sizes]))
    return Facts(**({"task": "edge", "images": images, "sizes": tuple(found)} | more))


def fitted_args(facts: Facts, model: str, *words: str) -> tuple[object, object]:
    """(the flags with what was fitted to the facts, what was fitted)."""
    args = train.parse_args(["--dataset", "folder", "--model", model, *words])
    fitted = fit(facts, vars(args), args.fitted)
    for name in fitted.chosen:
        setattr(args, name, fitted.values[name])
    return args, fitted


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("model", ["dff", "deeplabv3plus", "fcn"])
def test_what_is_fitted_holds_for_any_data(sizes: str, device: str, model: str) -> None:
    task = MODELS[model].task
    for images, classes, world in product(COUNTS, (1, 4, 150), (1, 2)):
        facts = facts_of(
            sizes, images, task=task, classes=classes, device=device, world=world, val_images=5
        )
        args, fitted = fitted_args(facts, model, "--backbone", "resnet50")
        # By another way than the code's: how many images are smaller than the crop?
        shorts = [
            min(size) * (args.base_size / max(size) if args.base_size else 1)
            for size in facts.sizes
        ]
        assert args.crop_size == 32 or np.mean(np.array(shorts) < args.crop_size - 0.5) <= 0.1
        assert args.crop_size % 16 == 0
        assert args.base_size <= max(max(size) for size in facts.sizes)
        if device == "cuda" and max(map(max, facts.sizes)) <= 2048:
            assert args.base_size == 0, "as on disk"
        assert args.batch_size % world == 0
        assert args.batch_size <= max(images, world)
        steps = args.epochs * (images // args.batch_size)
        if images >= args.batch_size:
            assert steps == steps_in_all(facts, vars(args))
            assert 90 <= steps <= 130_000
            assert args.epochs == 1 or steps <= 110_000
        assert 1 <= args.val_every <= args.epochs
        assert 0.002 <= args.lr <= 0.08
        assert args.workers <= facts.cores
        flags = as_flags({name: fitted.values[name] for name in fitted.chosen})
        again = train.parse_args(
            shlex.split(f"--dataset folder --model {model} --backbone resnet50 {flags}")
        )
        assert {**vars(again), "fitted": args.fitted} == vars(args), "pasted, it says the same"
        assert again.fitted == sorted(set(args.fitted) - set(fitted.chosen))
        if task == "seg":
            assert args.class_uniform_pct == (0.5 if images // 2 >= classes else 0)


def test_forty_images_of_a_camera_take_five_minutes_on_two_cores() -> None:
    args, fitted = fitted_args(facts_of("camera", 28), "dff", "--backbone", "resnet18")
    assert (args.base_size, args.crop_size, args.batch_size, args.lr) == (240, 160, 4, 0.02)
    assert 4 < cpu_minutes(facts_of("camera", 28), fitted.values) < 6
    # An edge head takes a little longer.
    args, fitted = fitted_args(facts_of("camera", 28), "fcn", "--backbone", "resnet18")
    minutes = [
        cpu_minutes(facts_of("camera", 28), fitted.values | {"edge_head": head})
        for head in ("none", "casenet", "dff")
    ]
    assert minutes[0] < minutes[1] < minutes[2] < 1.2 * minutes[0]
    args, _ = fitted_args(facts_of("camera", 100_000), "dff", "--backbone", "resnet18")
    assert args.epochs == 1
    # As long as there are more images, there are more steps, and fewer epochs.
    found = [
        vars(fitted_args(facts_of("camera", n), "dff")[0])["epochs"] for n in (28, 300, 3000, 30000)
    ]
    assert all(a > b for a, b in pairwise(found))


def test_a_gpu_takes_published_sizes_where_its_memory_allows() -> None:
    city = Facts("edge", 2975, ((1024, 2048),) * 20, device="cuda", gpu_gib=80.0)
    args, fitted = fitted_args(city, "dff", "--backbone", "resnet101")
    assert (args.base_size, args.crop_size) == (0, 640)
    assert "scale" not in fitted.chosen
    assert args.scale == [0.75, 2.0]
    small = Facts("edge", 2975, ((1024, 2048),) * 20, device="cuda", gpu_gib=8.0)
    args, _ = fitted_args(small, "dff", "--backbone", "resnet101")
    assert args.crop_size < 640
    assert args.batch_size * args.crop_size**2 <= 8.0 * 150_000 / 3.7


def test_what_is_given_is_kept_and_the_rest_follows() -> None:
    facts = facts_of("phone", 28, task="seg", classes=5)
    words = ["--base-size", "1024", "--batch-size", "2", "--lr", "0.3", "--no-gblur"]
    args, fitted = fitted_args(facts, "fcn", *words)
    assert (args.base_size, args.batch_size, args.lr) == (1024, 2, 0.3)
    assert not {"base_size", "batch_size", "lr", "gblur"} & set(fitted.chosen)
    assert args.epochs * 14 >= 322 * 2
    args, _ = fitted_args(facts, "fcn", "--accumulate", "2", "--images-per-loss", "3")
    assert args.batch_size == 6
    args, _ = fitted_args(facts, "fcn", "--lr-schedule", "scl-poly", "--rlx-off-epoch", "79")
    assert args.epochs >= 80


def test_a_recipe_is_above_what_is_fitted_and_below_flags() -> None:
    args = train.parse_args(["--recipe", "dff-camvid-small", "--fit-defaults"])
    assert not {"lr", "epochs", "crop_size"} & set(args.fitted)
    assert "save_every" in args.fitted
    assert train.parse_args(["--recipe", "dff-camvid-small"]).fitted == []
    args = train.parse_args(["--recipe", "dff-folder", "--epochs", "3"])
    assert (args.dataset, args.model, args.backbone) == ("folder", "dff", "resnet18")
    assert "lr" in args.fitted
    assert "epochs" not in args.fitted
    assert train.parse_args(["--recipe", "dff-folder", "--no-fit-defaults"]).fitted == []
    assert {name for name in RECIPES if "-folder" in name} == {
        "dff-folder",
        "casenet-folder",
        "deeplabv3plus-folder",
        "deeplabv3plus-folder-decouple",
    }


def test_every_flag_that_is_fitted_is_one_of_the_parser() -> None:
    names = {action.dest for action in train_parser()._actions}
    for model in ("dff", "fcn"):
        assert set(train.parse_args(["--dataset", "folder", "--model", model]).fitted) <= names


def test_the_rate_is_lower_from_a_trained_net() -> None:
    for model, factor in (("dff", 4), ("deeplabv3plus", 4), ("deeplabv3plus_decouple", 2)):
        facts = facts_of("camera", 28, task=MODELS[model].task)
        first, _ = fitted_args(facts, model)
        args, fitted = fitted_args(facts, model, "--init-from", "x.pth")
        assert args.lr == pytest.approx(first.lr / factor)
        assert any("lower" in reason for reason in fitted.reasons)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([(360, 480)] * 9, "all 480x360"),
        ([(360, 480)] * 9 + [(5, 6)], "mostly 480x360"),
        ([(360, 480), (20, 10), (900, 30)], "10x20 to 480x360"),
    ],
)
def test_sizes_in_words(sizes: list[tuple[int, int]], words: str) -> None:
    assert sizes_in_words(sizes) == words


def test_the_recipe_is_said_with_its_reasons() -> None:
    facts = facts_of("camera", 28, val_images=4)
    _, fitted = fitted_args(facts, "dff", "--backbone", "resnet18")
    recipe, reasons = describe(facts, fitted)
    assert recipe.startswith("recipe chosen for 28 images, all 480x360, on a CPU: --base-size 240 ")
    assert "about 5 minutes on two idle cores; --epochs " in reasons


# --- ImageNet weights, or none ---


def test_without_a_network_a_run_starts_from_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    for task in ("edge", "seg"):
        found, why = find_pretrained("resnet18", task)
        assert found == "none"
        assert "no ImageNet weights of resnet18" in why
    assert not answers("https://example.invalid/")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(b"cut off")
    found, why = find_pretrained("resnet18", "edge")
    assert found == "none"
    assert "resnet18-f37072fd.pth" in why, "a damaged file is named"


def test_weights_in_the_cache_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    for name in ("resnet18-f37072fd.pth", "resnet18-imagenet.pth"):
        torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "checkpoints" / name)
    assert find_pretrained("resnet18", "edge") == ("imagenet", "")
    assert find_pretrained("resnet18", "seg") == ("imagenet", "")


# --- runs ---


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """Ten images of 48x40 with two classes and background: 6 train, 2 val, 2 test."""
    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for number in range(10):
        label = np.zeros((40, 48), np.uint8)
        cv2.circle(label, (int(rng.integers(48)), int(rng.integers(40))), 12, 1, -1)
        cv2.circle(label, (int(rng.integers(48)), int(rng.integers(40))), 8, 2, -1)
        split = "train" if number < 6 else "val" if number < 8 else "test"
        write_png(root / "images" / split / f"{number}.png", np.stack([label * 90] * 3, axis=2))
        write_png(root / "labels" / split / f"{number}.png", label)
    content = {
        "classes": [{"name": "ball", "ids": [1]}, {"name": "dot", "ids": [2]}],
        "background": {"name": "rest", "ids": [0]},
        "splits": {split: split for split in ("train", "val", "test")},
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def words(root: Path, *more: str) -> list[str]:
    net = "--dataset folder --backbone resnet18 --pretrained none --device cpu --crop-size 32"
    return [*net.split(), "--data-root", str(root), "--run-dir", str(root / "run"), *more]


def saved_args(root: Path) -> dict:
    return json.loads((root / "run" / "args.json").read_text())


def test_facts_are_of_the_images(own_data: Path) -> None:
    args = train.parse_args(words(own_data, "--model", "fcn"))
    facts = find_facts(
        split_of(args, "train"), 2, task="seg", device="cpu", world=1, pretrained="none"
    )
    assert (facts.images, facts.sizes, facts.classes) == (6, ((40, 48),) * 6, 3)


def test_a_run_resumes_with_the_values_that_it_began_with(
    own_data: Path, capsys: pytest.CaptureFixture
) -> None:
    # One epoch is left: the fitted number of epochs would take too long here.
    argv = words(own_data, "--model", "dff", "--epochs", "1", "--val-every", "0")
    assert start(*argv) == 0
    first = saved_args(own_data)
    assert "recipe chosen for 6 images, all 48x40, on a CPU: " in capsys.readouterr().out
    assert {"batch_size", "lr", "base_size"} <= set(first["fitted"])
    assert first["batch_size"] == 4
    assert "epochs" not in first["fitted"]

    # More and larger images, which alone would get another base size.
    for number in range(10, 14):
        for folder in ("images", "labels"):
            shape = (300, 400, 3) if folder == "images" else (300, 400)
            write_png(own_data / folder / "train" / f"{number}.png", np.ones(shape, np.uint8))
    more = words(own_data, "--model", "dff", "--epochs", "2", "--val-every", "0")
    assert start(*more, "--resume-with", "epochs") == 0
    output = capsys.readouterr().out
    assert "recipe of the run that is resumed: " in output
    assert "had 1 when the checkpoint was written" in output
    again = saved_args(own_data)
    same = set(first) - {"epochs", "resume_with", "workers"}
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    assert [line["epoch"] for line in records(own_data / "run")] == [0, 1]

    # A flag that says otherwise is another command, as ever.
    assert run(lambda: start(*more, "--lr", "0.5")) == 2
    assert "--lr was 0.02, is 0.5" in capsys.readouterr().err
    # From scratch, it is fitted to what there is now.
    assert start(*more, "--no-resume") == 0
    assert saved_args(own_data)["base_size"] == 240


def test_the_pasted_recipe_is_the_same_run(own_data: Path, capsys: pytest.CaptureFixture) -> None:
    argv = words(own_data, "--model", "fcn", "--epochs", "1", "--val-every", "0")
    assert start(*argv) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("recipe chosen")]
    pasted = shlex.split(line.partition("on a CPU: ")[2])
    assert start(*argv, *pasted) == 0
    assert "this run is complete" in capsys.readouterr().out


def test_a_split_without_images_is_not_validated(
    own_data: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree(own_data / "images" / "val")
    shutil.rmtree(own_data / "labels" / "val")
    assert start(*words(own_data, "--model", "dff", "--epochs", "1")) == 0
    assert "note: nothing is validated, and last.pth is the result" in capsys.readouterr().out
    assert saved_args(own_data)["val_every"] == 0
    argv = words(own_data, "--model", "dff", "--epochs", "1", "--val-every", "1", "--no-resume")
    with pytest.raises(InputError, match="'val' has no images"):
        start(*argv)


def test_one_image_is_enough_for_nets_that_can(own_data: Path) -> None:
    for number in range(1, 6):
        for folder in ("images", "labels"):
            (own_data / folder / "train" / f"{number}.png").unlink()
    with pytest.raises(InputError, match="1 image, and deeplabv3plus needs two"):
        start(*words(own_data, "--model", "deeplabv3plus"))
    argv = words(own_data, "--model", "dff", "--epochs", "1", "--val-every", "0")
    assert start(*argv) == 0
    assert saved_args(own_data)["batch_size"] == 1
