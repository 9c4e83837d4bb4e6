"""predict.py --edges: the files of both tasks, of one run of a net with an edge head."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import predict
from data.edges import decode_png, unpack
from data.errors import Terminated, run
from data.image_io import read_image, read_index, write_png
from models import build_model
from models.joint import JointNet
from utils.checkpoint import ModelInfo, save_checkpoint
from utils.inference.loading import load
from utils.inference.predictor import Predictor

PALETTE = np.array([(128, 64, 128), (244, 35, 232), (70, 70, 70)], np.uint8)
CLASSES = ("road", "pavement", "building")
INFO = ModelInfo(
    "fcn", "resnet18", 3, "seg", CLASSES, PALETTE, 0, "", options={"edge_head": "casenet"}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """joint.pth, seg.pth, edge.pth, and images/a.png, b.png."""
    place = tmp_path_factory.mktemp("joint")
    torch.manual_seed(0)
    of_edges = replace(INFO, name="casenet", task="edge", options={})
    for name, info in (
        ("joint", INFO),
        ("seg", replace(INFO, options={})),
        ("edge", of_edges),
    ):
        model = build_model(info.name, num_classes=3, backbone="resnet18", **info.options)
        weights = model.state_dict()
        save_checkpoint(place / f"{name}.pth", {"model": info.to_plain(), "weights": weights})
    random = np.random.default_rng(0)
    for name, size in (("a", (40, 57)), ("b", (64, 48))):
        write_png(place / "images" / f"{name}.png", random.integers(0, 256, (*size, 3), np.uint8))
    return place


def run_predict(folder: Path, out: Path, flags: str = "", checkpoint: str = "joint.pth") -> int:
    words = [folder / "images", "--checkpoint", folder / checkpoint, "--out", out, *flags.split()]
    return run(lambda: predict.main(predict.parse_args(list(map(str, words)))))


def files_in(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


OF_SEG = {"a_colors.png", "a_overlay.png", "labels/a.png"}
OF_EDGES = {"a_edges.png", "a_edges_overlay.png"}


def only_a(names: set[str]) -> set[str]:
    return {name for name in names if Path(name).name.startswith("a")}


def test_both_tasks_of_one_run(folder: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    runs: Counter[str] = Counter()
    forward = JointNet.without_edge_head
    monkeypatch.setattr(
        JointNet, "without_edge_head", lambda net: runs.update(["seg"]) or forward(net)
    )
    flags = "--edges --threshold 0.45 --save-prob npz --save-bits --vector geojson,svg"
    assert run_predict(folder, tmp_path, f"{flags} --side-by-side") == 0
    said = capfd.readouterr().out
    assert said.startswith("net: fcn with edge head casenet over resnet18\n")
    assert "edges: threshold 0.45, not thinned" in said
    more = {"a_side_by_side.png", "a_edges_side_by_side.png", "prob/a.npz", "bits/a.png"}
    more |= {"vector/a.geojson", "vector/a.svg"}
    assert only_a(files_in(tmp_path)) == OF_SEG | OF_EDGES | more
    assert not runs  # the segmentation was not run by itself
    predictor = load(folder / "joint.pth", "cpu")
    for name in ("a", "b"):
        image = read_image(folder / "images" / f"{name}.png")
        labels, prob = predictor.both(image)
        np.testing.assert_array_equal(read_index(tmp_path / "labels" / f"{name}.png"), labels)
        saved = np.load(tmp_path / "prob" / f"{name}.npz")["prob"]
        np.testing.assert_allclose(saved, prob, atol=1 / 65536)
        bits = decode_png(read_image(tmp_path / "bits" / f"{name}.png"))
        np.testing.assert_array_equal(unpack(bits, 3), prob >= np.float32(0.45))
        # The drawings of the two tasks are no copies of each other.
        overlays = [
            read_image(tmp_path / f"{name}_{kind}.png") for kind in ("overlay", "edges_overlay")
        ]
        assert overlays[0].shape == overlays[1].shape == image.shape
        assert not np.array_equal(*overlays)
    assert json.loads((tmp_path / "vector/a.geojson").read_text())["type"] == "FeatureCollection"


def test_without_the_flag_it_is_a_segmentation(folder: Path, tmp_path: Path) -> None:
    assert run_predict(folder, tmp_path) == 0
    assert only_a(files_in(tmp_path)) == OF_SEG


def test_no_overlay_and_what_is_there_already(folder: Path, tmp_path: Path, capfd) -> None:
    assert run_predict(folder, tmp_path, "--edges --no-overlay") == 0
    assert only_a(files_in(tmp_path)) == {"a_colors.png", "labels/a.png", "a_edges.png"}
    assert run_predict(folder, tmp_path, "--edges --no-overlay") == 2
    assert "is there already; give --overwrite, --skip-existing" in capfd.readouterr().err
    (tmp_path / "b_edges.png").unlink()
    assert run_predict(folder, tmp_path, "--edges --no-overlay --skip-existing") == 0
    assert "1 of 2 images predicted, 1 was there already" in capfd.readouterr().out
    assert (tmp_path / "b_edges.png").is_file()


def test_thresholds_of_the_checkpoint(folder: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    """As training leaves them: a net of both tasks may have them, too."""
    own = replace(INFO, thresholds=(0.3, None, 0.5))
    monkeypatch.setattr("utils.inference.engines.opening.load_model", with_info(own))
    assert run_predict(folder, tmp_path, "--edges --no-overlay") == 0
    line = "edges: thresholds each class's own, 0.30 to 0.50, thinned"
    assert line in capfd.readouterr().out


def interrupted_at_the_second(monkeypatch, error: type[BaseException]) -> None:
    both, seen = Predictor.both, []

    def ends(self: Predictor, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(1)
        if len(seen) == 2:
            raise error
        return both(self, image)

    monkeypatch.setattr(Predictor, "both", ends)


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [(KeyboardInterrupt, 130, "interrupted"), (Terminated, 143, "terminated")],
)
def test_an_interrupted_run_says_how_to_go_on(
    error, status: int, word: str, folder: Path, tmp_path: Path, capfd
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupted_at_the_second(patch, error)
        assert run_predict(folder, tmp_path, "--edges") == status
    line = f"{word}; 1 of 2 images are done: --skip-existing goes on"
    assert line in capfd.readouterr().err.splitlines()
    with pytest.MonkeyPatch.context() as patch:
        interrupted_at_the_second(patch, error)
        # Those of the run before would count as done.
        assert run_predict(folder, tmp_path, "--edges --overwrite") == status
    assert word in capfd.readouterr().err.splitlines()
    (tmp_path / "b_edges.png").unlink(missing_ok=True)
    assert run_predict(folder, tmp_path, "--edges --skip-existing") == 0
    assert "1 of 2 images predicted, 1 was there already" in capfd.readouterr().out


def with_info(info: ModelInfo):
    from utils.checkpoint import load_model

    return lambda *args, **options: (load_model(*args, **options)[0], info)


def test_the_page_has_both(folder: Path, tmp_path: Path) -> None:
    assert run_predict(folder, tmp_path, "--edges --page --threshold 0.4") == 0
    text = (tmp_path / "index.html").read_text()
    assert '"both":true' in text
    assert "fcn with edge head casenet over resnet18 · 2 images" in text
    data = json.loads(next((tmp_path / "page").iterdir()).read_text().split(",", 2)[2][:-2])
    assert {"labels", "areas", "classes", "prob", "drawn"} <= data.keys()
    assert run_predict(folder, tmp_path / "plain", "--page") == 0
    assert '"both":false' in (tmp_path / "plain/index.html").read_text()


@pytest.mark.parametrize(
    ("flags", "checkpoint", "line"),
    [
        (
            "--edges",
            "seg.pth",
            "--edges: the checkpoint holds fcn without an edge head; add --outl",
        ),
        ("--edges --outlines", "joint.pth", "--edges and --outlines both write NAME_edges.png"),
        ("--threshold 0.5", "joint.pth", "--threshold is for edges; the checkpoint holds fcn: add"),
        ("--threshold 0", "joint.pth", "--threshold is for edges; the checkpoint holds fcn: add"),
        (
            "--temperature 1",
            "joint.pth",
            "--temperature is for edges; the checkpoint holds fcn: ad",
        ),
        ("--outlines --temperature 2", "joint.pth", "--temperature is for edges; the checkpoint"),
        ("--outlines --nms", "joint.pth", "--nms is for edges; the checkpoint holds fcn: add --ed"),
        ("--thin", "joint.pth", "--thin is for edges; the checkpoint holds fcn: add --edges"),
        ("--line-width 2", "joint.pth", "--line-width is for edges; the checkpoint holds fcn: add"),
        ("--min-length 2", "joint.pth", "--min-length is for edges; the checkpoint holds fcn: add"),
        (
            "--save-prob",
            "joint.pth",
            "--save-prob is for edges; the checkpoint holds fcn: add --ed",
        ),
        (
            "--save-bits",
            "joint.pth",
            "--save-bits is for edges; the checkpoint holds fcn: add --ed",
        ),
        ("--vector svg", "seg.pth", "--vector is for edges; the checkpoint holds fcn: add --outli"),
        ("--edges --outlines", "edge.pth", "--outlines is for label maps"),
    ],
)
def test_what_cannot_be_is_one_line(
    flags: str, checkpoint: str, line: str, folder: Path, tmp_path: Path, capfd
) -> None:
    assert run_predict(folder, tmp_path / "out", flags, checkpoint) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {line}")
    assert not (tmp_path / "out").exists()


def test_an_edge_net_writes_edges_with_and_without_the_flag(folder: Path, tmp_path: Path) -> None:
    for name, flags in (("with", "--edges"), ("without", "")):
        assert run_predict(folder, tmp_path / name, flags, "edge.pth") == 0
    assert files_in(tmp_path / "with") == files_in(tmp_path / "without")
    assert only_a(files_in(tmp_path / "with")) == {"a_edges.png", "a_overlay.png"}


def test_outlines_of_a_joint_net(folder: Path, tmp_path: Path) -> None:
    assert run_predict(folder, tmp_path, "--outlines --no-overlay") == 0
    assert only_a(files_in(tmp_path)) == {"a_colors.png", "labels/a.png", "a_edges.png"}
