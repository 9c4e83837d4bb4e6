"""train.py on segmentation nets: targets, both stages, resuming, two ranks, best.pth, errors."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.training import assert_equal_runs, at, die, records, run_command, start, watch
from torch import nn

import train
from data import DATASETS, build_dataset
from data.base import Sample
from data.errors import InputError, run
from data.image_io import IGNORE
from data.samples.class_uniform import CropKey
from data.samples.relaxed import relaxed_target
from data.samples.seg import Relaxation, SegTraining, crop_label
from data.samples.transforms import Augmentation, Window, extract_crop
from models import build_model
from models.losses import body_edge_loss, ohem_cross_entropy
from utils.checkpoint import load_model, load_start, read_checkpoint
from utils.distributed.environment import Ranks
from utils.training.objective import LOSSES, Objective
from utils.training.recipes import RECIPES, SECOND_STAGES
from utils.training.setup import build_setup, seg_setup, split_of
from utils.training.trainer import freeze_batch_norm
from utils.training.validate_seg import SegScoring
from utils.training.validation import ImageValidation, ValidationScores


def flags(root: Path, folder: Path, *more: str, model: str = "deeplabv3plus") -> list[str]:
    """A run of seconds: eight images, half of the crops on classes."""
    net = f"--model {model} --backbone resnet18 --pretrained none"
    small = "--crop-size 56 --batch-size 4 --workers 0 --class-uniform-tile 24 --device cpu"
    return [
        *f"--dataset camvid --data-root {root} {net} {small} --run-dir {folder}".split(),
        *["--epochs", "3", "--val-samples", "2", "--images-per-loss", "2"],
        *more,
    ]


class Drawn:
    """Three images with blobs of four classes and void, one smaller than the crop."""

    name, split, num_classes = "drawn", "train", 4
    sizes = ((60, 91), (40, 33), (75, 50))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        label = np.full(self.sizes[index], IGNORE, np.uint8)
        for _ in range(8):
            centre = (int(rng.integers(label.shape[1])), int(rng.integers(label.shape[0])))
            cv2.circle(label, centre, int(rng.integers(5, 20)), int(rng.integers(4)), -1)
        return Sample(
            rng.integers(0, 256, (*label.shape, 3), np.uint8), label, None, f"drawn{index}"
        )


PLAIN = Augmentation(0, 48, (1.0, 1.0), mirror=False)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_label_lies_below_its_crop(mirror: bool) -> None:
    sample = Drawn()[1]  # 40x33, in a crop of 48
    crop = extract_crop(sample.image, (sample.label,), Window((40, 33), 0, 0, mirror), 48)
    expected = np.full((48, 48), IGNORE, np.uint8)
    expected[:40, :33] = sample.label
    np.testing.assert_array_equal(crop_label(crop), expected[:, ::-1] if mirror else expected)


def test_items_hold_the_targets_of_their_label() -> None:
    items = SegTraining(Drawn(), PLAIN, 3, Relaxation(border=1, strict_classes=(2,), off_epoch=5))
    for epoch, border in ((0, 1), (5, 1), (6, 0)):
        item = items[epoch, 0]
        label = item["label"].numpy()
        bits, edge = relaxed_target(label, 4, border=border, strict_classes=(2,))
        np.testing.assert_array_equal(item["bits"].numpy().view(np.uint32), bits)
        np.testing.assert_array_equal(item["edge"].numpy(), edge)
        whole = Drawn()[0]
        top, left = next(
            (y, x)
            for y in range(13)
            for x in range(44)
            if (whole.label[y : y + 48, x : x + 48] == label).all()
        )
        np.testing.assert_array_equal(
            item["image"].numpy(), whole.image[top : top + 48, left : left + 48]
        )
    assert set(SegTraining(Drawn(), PLAIN, 3)[0, 0]) == {"image", "label", "name"}


def test_items_depend_on_seed_epoch_index_and_place_alone() -> None:
    def image(seed: int, *key: object) -> torch.Tensor:
        augmentation = Augmentation(0, 32, (0.5, 2.0), color=0.25, blur=True)
        return SegTraining(Drawn(), augmentation, seed)[key]["image"]

    first = image(1, 2, 0)
    assert torch.equal(first, image(1, 2, 0))
    assert torch.equal(first, image(1, *CropKey(2, 0)))
    for other in (image(2, 2, 0), image(1, 3, 0), image(1, 2, 2), image(1, *CropKey(2, 0, 7))):
        assert not torch.equal(first, other)


def test_coarse_samples_follow_the_data_set() -> None:
    items = SegTraining(Drawn(), PLAIN, 0, coarse=Drawn())
    assert len(items) == 3
    assert items[0, 4]["name"] == "drawn1"


def test_a_run_of_both_stages(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The base run's files and scores; then the decoupled net starts from it and lists its new
    parameters."""
    start(*flags(tiny_camvid, tmp_path / "base"))
    names = {path.name for path in (tmp_path / "base").iterdir()}
    assert names == {"last.pth", "previous.pth", "best.pth", "args.json", "log.jsonl", "curves.png"}
    lines = records(tmp_path / "base")
    assert [(line["kind"], line["epoch"]) for line in lines] == [
        (k, e) for e in range(3) for k in ("train", "val")
    ]
    assert [line["lr"] for line in lines[::2]] == pytest.approx([0.01 * 2 / 3, 0.01 / 3, 0])
    assert lines[4]["loss"] < lines[0]["loss"]
    assert "mIoU" in capsys.readouterr().out

    base, info = load_model(tmp_path / "base" / "best.pth")
    assert (info.name, info.task, info.num_classes, info.options) == (
        "deeplabv3plus",
        "seg",
        11,
        {},
    )
    images = build_dataset("camvid", tiny_camvid, "val")
    validation = ImageValidation(images, SegScoring(images), base_size=0, samples=2)
    scores = validation(base, device="cpu", ranks=Ranks())
    assert scores.value == max(line["miou"] for line in lines[1::2])
    # The last epoch is saved before its validation.
    before = max(line["miou"] for line in lines[1:4:2])
    assert read_checkpoint(tmp_path / "base/last.pth")["best"] == before

    more = (
        "--init-from",
        str(tmp_path / "base" / "best.pth"),
        "--epochs",
        "1",
        "--no-align-corners",
        "--no-quirks",
    )
    start(*flags(tiny_camvid, tmp_path / "second", *more, model="deeplabv3plus_decouple"))
    output = capsys.readouterr().out.splitlines()[0]
    model = build_model("deeplabv3plus_decouple", num_classes=11, backbone="resnet18")
    new = {key for key in model.state_dict() if not key.endswith("num_batches_tracked")} - set(
        base.state_dict()
    )
    assert set(output.partition("initial values: ")[2].split(", ")) == new
    assert f"{len(new)} parameters keep their initial values" in output
    train_line = records(tmp_path / "second")[0]
    terms = ("seg", "body", "edge", "edge_attention")
    assert train_line["loss"] == pytest.approx(sum(train_line[term] for term in terms))
    _, info = load_model(tmp_path / "second" / "last.pth")
    assert info.options == {"align_corners": False}
    # A decoupled file fills a decoupled net whole, so nothing is new.
    assert load_start(model, tmp_path / "second" / "last.pth") == []


def test_mean_iou_in_training_is_that_of_a_plain_loop(tiny_camvid: Path) -> None:
    torch.manual_seed(0)
    model, images = (
        build_model("fcn", num_classes=11, backbone="resnet18"),
        build_dataset("camvid", tiny_camvid, "val"),
    )
    assert model.training
    validation = ImageValidation(images, SegScoring(images), base_size=48)
    scores = validation(model, device="cpu", ranks=Ranks())
    assert model.training
    model.eval()
    hits, union = np.zeros(11), np.zeros(11)
    for number in range(len(images)):
        sample = images[number]
        small = cv2.resize(sample.image, (48, 36), interpolation=cv2.INTER_AREA)
        with torch.inference_mode():
            logits = model(train_image(small))["seg"]
            logits = nn.functional.interpolate(
                logits, size=(48, 64), mode="bilinear", antialias=True
            )
        answer, counted = logits[0].argmax(0).numpy(), sample.label != IGNORE
        for k in range(11):
            hits[k] += ((answer == k) & (sample.label == k)).sum()
            union[k] += (((answer == k) & counted) | (sample.label == k)).sum()
    assert scores.value == pytest.approx(np.mean(hits[union > 0] / union[union > 0]), abs=1e-12)


def train_image(image: np.ndarray) -> torch.Tensor:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return torch.from_numpy(
        ((image / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
    )


def test_best_follows_the_mean_iou(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """best.pth has the weights of the second epoch, whose score is the highest."""
    values, states = iter([0.1, 0.3, 0.2]), []

    def validate(model: nn.Module, **_: object) -> ValidationScores:
        states.append({key: value.clone() for key, value in model.state_dict().items()})
        return ValidationScores(1.0, "miou", next(values))

    monkeypatch.setattr(
        train, "build_setup", lambda *given: replace(build_setup(*given), validation=validate)
    )
    start(*flags(tiny_camvid, tmp_path / "run", model="fcn"))
    best = read_checkpoint(tmp_path / "run" / "best.pth")["weights"]
    equal = [all(torch.equal(value, best[key]) for key, value in s.items()) for s in states]
    assert equal == [False, True, False]
    assert read_checkpoint(tmp_path / "run" / "last.pth")["best"] == 0.3


@pytest.mark.parametrize("model", ["pspnet", "fcn_decouple"])
def test_a_resumed_run_equals_an_unbroken_one(
    model: str, tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout (pspnet), class-uniform epochs and all augmentation; one run has a worker."""
    more = ("--epochs", "2", "--val-every", "2")
    start(*flags(tiny_camvid, tmp_path / "whole", *more, "--workers", "1", model=model))
    watch(monkeypatch, at(3, die))  # after the first step of the last epoch
    with pytest.raises(KeyboardInterrupt):
        start(*flags(tiny_camvid, tmp_path / "broken", *more, model=model))
    monkeypatch.undo()
    torch.manual_seed(99)
    start(*flags(tiny_camvid, tmp_path / "broken", *more, "--resume", model=model))
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_two_ranks_train_as_one(tiny_camvid: Path, tmp_path: Path) -> None:
    """The same run, but for rounding: the same class-uniform batches, joint batch normalization,
    losses over the same groups of images."""
    root = shutil.copytree(
        tiny_camvid, tmp_path / "set", ignore=shutil.ignore_patterns("class_centroids")
    )
    small = ("--epochs", "2", "--batch-size", "8", "--lr", "0.002", "--val-every", "2")
    done = run_command(flags(root, tmp_path / "two", *small, model="fcn_decouple"), ranks=2)
    assert done.returncode == 0, done.stderr
    start(*flags(root, tmp_path / "one", *small, model="fcn_decouple"))
    one, two = records(tmp_path / "one"), records(tmp_path / "two")
    assert (
        [line["kind"] for line in one]
        == [line["kind"] for line in two]
        == ["train", "train", "val"]
    )
    for term in (
        "seg",
        "body",
        "edge",
        "edge_attention",
    ):  # of one step each, the first from equal weights
        assert one[0][term] == pytest.approx(two[0][term], rel=1e-5)
        assert one[1][term] == pytest.approx(two[1][term], rel=2e-2)
    done = run_command(
        flags(root, tmp_path / "bad", "--images-per-loss", "4", model="fcn"), ranks=2
    )
    assert done.returncode != 0
    assert "--images-per-loss 4 must divide the 2 images of a rank" in done.stderr


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_losses_are_means_over_groups_of_images(size: int) -> None:
    torch.manual_seed(0)
    items = [SegTraining(Drawn(), PLAIN, 0, Relaxation())[0, index] for index in (0, 1, 2, 0)]
    batch = {
        key: torch.stack([item[key] for item in items])
        for key in ("image", "label", "bits", "edge")
    }
    outputs = {
        "seg": torch.randn(4, 4, 48, 48),
        "body": torch.randn(4, 4, 48, 48),
        "edge": torch.randn(4, 1, 48, 48),
    }
    groups = {0: [range(4)], 1: [[0], [1], [2], [3]], 2: [[0, 1], [2, 3]], 3: [[0, 1, 2], [3]]}[
        size
    ]

    def terms(name: str) -> dict[str, torch.Tensor]:
        loss = LOSSES["seg"][name]
        objective = Objective(loss, 4, {}, lambda *_: 0.0, images_per_loss=size)
        return objective.batch_terms(outputs, batch)

    expected = [ohem_cross_entropy(outputs["seg"][g], batch["label"][g]) for g in map(list, groups)]
    assert terms("ohem")["seg"] == pytest.approx(float(sum(expected) / len(expected)))
    multihot = torch.stack([one_bit(batch["bits"], k) for k in range(5)], dim=1)
    parts = [
        body_edge_loss(
            {n: v[g] for n, v in outputs.items()},
            {"multihot": multihot[g], "edge": batch["edge"][g]},
        )
        for g in map(list, groups)
    ]
    for name, value in terms("body-edge").items():
        assert value == pytest.approx(float(sum(part[name] for part in parts) / len(parts)))


def one_bit(bits: torch.Tensor, k: int) -> torch.Tensor:
    return torch.from_numpy(
        (bits[:, 0].numpy().view(np.uint32) >> np.uint32(k) & 1).astype(np.uint8)
    )


@pytest.mark.parametrize("loss", ["ce", "image-weighted", "relaxed"])
def test_every_loss_of_a_base_net_trains(loss: str, tiny_camvid: Path, tmp_path: Path) -> None:
    more = (
        "--loss",
        loss,
        "--epochs",
        "2",
        "--val-every",
        "0",
        "--class-uniform-pct",
        "0",
        "--no-quirks",
    )
    start(*flags(tiny_camvid, tmp_path / "run", *more, model="fcn"))
    first, last = records(tmp_path / "run")
    assert 0 < last["loss"] < first["loss"]
    assert (first["lr"], last["lr"]) == (0.01, 0.005)


def test_frozen_batch_normalisation_keeps_its_statistics(tiny_camvid: Path, tmp_path: Path) -> None:
    model = build_model("fcn", num_classes=11, backbone="resnet18")
    model.train()
    freeze_batch_norm(model)
    assert all(module.training != isinstance(module, nn.BatchNorm2d) for module in model.modules())
    start(
        *flags(
            tiny_camvid,
            tmp_path / "run",
            "--freeze-bn",
            "--epochs",
            "2",
            "--val-every",
            "1",
            model="fcn",
        )
    )
    weights = read_checkpoint(tmp_path / "run" / "last.pth")["weights"]
    assert all((value == 0).all() for key, value in weights.items() if key.endswith("running_mean"))
    assert not (weights["context.1.weight"] == 1).all()


def test_coarse_labels_boost_their_classes(tiny_camvid: Path, tmp_path: Path) -> None:
    """The val split stands in for the coarse one: only crops around the boosted classes come up."""
    argv = flags(
        tiny_camvid,
        tmp_path,
        "--coarse-boost-classes",
        "2",
        "5",
        "--coarse-split",
        "val",
        "--max-cu-epoch",
        "1",
    )
    args = train.parse_args([*argv, "--class-uniform-pct", "1"])
    train_set = split_of(args, "train")
    train_set.records = train_set.records[:1] * 32
    boosted = set(range(11)) - set(train_set[0].label.ravel().tolist())
    args.coarse_boost_classes = sorted(boosted)
    setup = seg_setup(args, train_set, Ranks())
    seen = {}
    for epoch in range(3):
        setup.sampler.start_at(epoch)
        draws = [draw for batch in setup.sampler for draw in batch]
        seen[epoch] = [draw for draw in draws if draw.sample >= len(train_set)]
        for draw in seen[epoch]:
            item = setup.items[draw]
            assert item["name"].startswith("val_")
            assert boosted & set(item["label"].unique().tolist())
    assert len(seen[0]) == len(seen[1]) >= 2
    assert not seen[2]


def test_recipes_are_the_published_settings() -> None:
    args = train.parse_args(["--recipe", "deeplabv3plus-r50-cityscapes"])
    shared = (
        args.crop_size,
        args.scale,
        args.color_aug,
        args.gblur,
        args.poly_exp,
        args.weight_decay,
        args.batch_size,
    )
    assert shared == (832, [0.5, 2.0], 0.25, True, 1.0, 1e-4, 8)
    assert (args.epochs, args.lr, args.loss, args.class_uniform_pct) == (80, 0.01, "ohem", 0.0)
    second = ["--recipe", "deeplabv3plus-r50-cityscapes-decouple", "--init-from", "base.pth"]
    args = train.parse_args(second)
    assert (args.epochs, args.lr, args.class_uniform_pct, args.class_uniform_tile) == (
        175,
        0.005,
        0.5,
        1024,
    )
    assert train.parse_args([*second, "--lr", "0.1"]).lr == 0.1
    args = train.parse_args(
        ["--recipe", "deeplabv3plus-wrn38-cityscapes-decouple", "--init-from", "base.pth"]
    )
    assert (args.coarse_boost_classes, args.data_option, args.crop_size) == (
        [14, 15, 16, 3, 12, 17, 4],
        ["cv=2"],
        896,
    )
    args = train.parse_args(["--model", "gffnet"])
    assert (args.epochs, args.lr, args.crop_size, args.gblur) == (80, 0.01, 832, True)
    assert (train.parse_args([]).lr, train.parse_args([]).gblur) == (0.08, False)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_parses_and_names_flags_only(name: str) -> None:
    if RECIPES[name]["dataset"] not in DATASETS:
        pytest.skip(f"no reader of {RECIPES[name]['dataset']} yet")
    args = vars(train.parse_args(["--recipe", name, "--init-from", "base.pth"]))
    for flag, value in RECIPES[name].items():
        assert args[flag] == value


def error_of(argv: list[str], capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as stop:
        train.parse_args(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--model", "dff", "--att-weight", "2"],
            "--att-weight is for segmentation nets; dff is none",
        ),
        (
            ["--model", "fcn", "--fuse-weight", "2"],
            "--fuse-weight is for edge nets and edge heads; fcn is none; see --edge-head",
        ),
        (
            ["--model", "dff", "--edge-head", "dff"],
            "--edge-head dff is for segmentation nets; dff is an edge head itself",
        ),
        (["--model", "fcn", "--backbone", "wider_resnet38"], "fcn has resnet18"),
        (["--model", "fcn", "--lr-schedule", "scl-poly"], "say with --rlx-off-epoch"),
        (["--model", "fcn", "--class-uniform-pct", "1.5"], "expected a number from 0 to 1"),
        (["--model", "unet"], "invalid choice: 'unet'"),
        (["--model", "dff", "--loss", "ce"], "--loss ce: dff has reweighted"),
        (["--model", "fcn_decouple", "--loss", "ce"], "--loss ce: fcn_decouple has body-edge"),
        (
            ["--model", "fcn", "--loss", "body-edge"],
            "--loss body-edge: fcn has ohem, ce, image-weighted, relaxed",
        ),
        *(
            (["--recipe", name], "give the trained net that it starts from with --init-from")
            for name in SECOND_STAGES[:1]
        ),
    ],
)
def test_bad_flags_say_what_is_wrong(
    argv: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert message in error_of(argv, capsys)


def test_bad_input_ends_with_one_line(
    tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    start(*flags(tiny_camvid, tmp_path / "fcn", "--epochs", "1", "--val-every", "0", model="fcn"))
    more = ("--init-from", str(tmp_path / "fcn" / "last.pth"))
    assert (
        run(lambda: start(*flags(tiny_camvid, tmp_path / "a", *more, model="pspnet_decouple"))) == 2
    )
    assert "this run trains pspnet_decouple over resnet18" in capsys.readouterr().err
    assert run(lambda: start(*flags(tiny_camvid, tmp_path / "b", "--lr", "1e30", model="fcn"))) == 2
    assert "the loss is nan in step 2 of epoch 1" in capsys.readouterr().err
    assert (
        run(
            lambda: start(
                *flags(tiny_camvid, tmp_path / "c", "--images-per-loss", "3", model="fcn")
            )
        )
        == 2
    )
    assert "--images-per-loss 3 must divide the 4 images of a rank" in capsys.readouterr().err
    one = ("--batch-size", "1", "--images-per-loss", "1")
    assert run(lambda: start(*flags(tiny_camvid, tmp_path / "d", *one, model="pspnet"))) == 2
    assert (
        "pspnet pools whole images, whose batch normalisation needs two or more"
        in capsys.readouterr().err
    )
    with pytest.raises(InputError, match="has no label map to train on"):
        SegTraining(Unlabelled(), PLAIN, 0)[0, 0]


class Unlabelled(Drawn):
    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return Sample(sample.image, None, None, sample.name)


def test_the_log_says_what_was_trained(tiny_camvid: Path, tmp_path: Path) -> None:
    start(
        *flags(tiny_camvid, tmp_path / "run", "--epochs", "1", "--val-every", "0", model="gffnet")
    )
    args = json.loads((tmp_path / "run" / "args.json").read_text())
    assert (args["quirks"], args["fusion"], args["class_uniform_pct"]) == (True, "sequential", 0.5)
    _, info = load_model(tmp_path / "run" / "last.pth")
    assert info.options == {"fusion": "sequential"}
