"""Each kind of export through the importer, inspect, training of two steps, test and predict."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.document_exports import BOXES, write_exports
from helpers.training import ROOT

import predict
import test
import train
from data.image_io import read_index, write_png
from data.importer.__main__ import main as run_import
from data.importer.args import parse_args as import_args
from data.inspect.__main__ import main as run_inspect
from data.inspect.__main__ import parse_args as inspect_args

SOURCES = {
    "coco": ("annotations.json", "photos", "road car"),
    "labelme": ("labelme", "photos", "car road"),
    "cvat": ("annotations.xml", "photos", "road car"),
    "labelstudio": ("label-studio.json", "photos", "car road"),
    "voc": ("VOC", "VOC/JPEGImages", "car"),
    "ade": ("ADE/annotations", "ADE/images", "road car"),
    "colors": ("color-maps", "photos", "road car"),
    "ids": ("id-maps", "photos", "road car"),
}
MORE = {
    "ade": ("--class-names", "ade-names.txt"),
    "ids": ("--class-names", "names.txt", "--classes", "road", "car"),
    "colors": ("--palette", "palette.json", "--classes", "road", "car"),
}
TINY = "--crop-size 32 --batch-size 2 --epochs 2 --base-size 0 --workers 0 --device cpu"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photographs and an export of each kind of them."""
    rng = np.random.default_rng(0)
    for number in range(6):
        write_png(tmp_path / f"photos/{number}.png", rng.integers(0, 256, (48, 64, 3), np.uint8))
    write_exports(tmp_path, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", SOURCES)
def test_an_export_becomes_a_trained_net(kind: str, place: Path) -> None:
    source, images, expected = SOURCES[kind]
    words = [kind, source, "--images", images, "--out", "mine", *MORE.get(kind, ())]
    assert run_import(import_args([*words, "--splits", "train=0.5", "val=0.25", "test=0.25"])) == 0
    said = json.loads((place / "mine/dataset.json").read_text())
    names = [entry["name"] for entry in said["classes"]]
    assert [name for name in names if name in expected.split()] == expected.split()
    for path in (place / "mine/labels").rglob("*.png"):
        assert_boxes(read_index(path), {e["name"]: e["ids"][0] for e in said["classes"]})

    root = ["--dataset", "folder", "--data-root", "mine"]
    assert run_inspect(inspect_args([*root, "--out", "mine.html", "--workers", "1"])) == 0
    assert names[0] in (place / "mine.html").read_text()
    flags = [*root, "--model", "dff", "--backbone", "resnet18", "--pretrained", "none"]
    assert train.main(train.parse_args([*flags, *TINY.split(), "--run-dir", "run"])) == 0
    split = "test" if "test" in said["splits"] else "val"
    scored = ["--checkpoint", "run/last.pth", "--data-root", "mine", "--split", split]
    test.main(test.parse_args([*scored, "--workers", "0", "--device", "cpu", "--thresholds", "3"]))
    drawn = [images, "--checkpoint", "run/last.pth", "--out", "drawn", "--device", "cpu"]
    assert predict.main(predict.parse_args(drawn)) in (0, None)
    assert len([*Path("drawn").rglob("*_edges.png")]) == 6


def assert_boxes(label: np.ndarray, ids: dict[str, int]) -> None:
    """Every class that the export has lies in its box, the later ones over the earlier ones."""
    expected = np.zeros((48, 64), np.uint8)
    for name, (x, y, width, height) in BOXES:
        if name in ids:
            expected[y : y + height, x : x + width] = ids[name]
    np.testing.assert_array_equal(label, expected)


@pytest.mark.skipif(
    not (ROOT / "../shared/CamVid").is_dir(), reason="needs CamVid, which cannot be published"
)
def test_camvid_through_colours_gives_the_same_ids(place: Path) -> None:
    colors = np.random.default_rng(1).permutation(1 << 24)[:12]
    table = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1).astype(np.uint8)
    annotations = sorted((ROOT / "../shared/CamVid/valannot").glob("*.png"))[::20]
    for path in annotations:
        write_png(place / "maps" / path.name, table[read_index(path)])
        target = place / "camvid" / path.name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(ROOT / "../shared/CamVid/val" / path.name)
    names = {f"id {k}": color for k, color in enumerate(table.tolist())}
    (place / "all.json").write_text(json.dumps(names))
    words = ["colors", "maps", "--images", "camvid", "--out", "mine", "--palette", "all.json"]
    assert run_import(import_args(words)) == 0
    said = json.loads((place / "mine/dataset.json").read_text())
    ids = {entry["ids"][0]: int(entry["name"].split()[1]) for entry in said["classes"]}
    for path in annotations:
        label = read_index(place / "mine/labels" / path.name)
        back = np.vectorize(ids.__getitem__)(label)
        np.testing.assert_array_equal(back, read_index(path))
