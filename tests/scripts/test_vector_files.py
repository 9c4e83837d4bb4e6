"""predict.py --vector and --outlines: files of polylines, edges of label maps, read back."""

import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.exports import class_ids, label_map, run_import
from helpers.tiny_nets import EDGE, SEG, registered, save_tiny, tiny_contents

import predict
from data.edges import decode_png, unpack
from data.errors import InputError
from data.image_io import read_image, read_index, write_png
from data.thinning import thin
from utils.checkpoint import save_checkpoint
from utils.inference import load

CLASSES = 11  # CamVid's


@pytest.fixture(autouse=True)
def tiny_nets():
    with registered():
        yield


@pytest.fixture
def image_path(tmp_path: Path, rng) -> Path:
    """Coarse noise, so that label maps have regions."""
    path = tmp_path / "photos" / "sub" / "photo.png"
    coarse = rng.integers(0, 256, (5, 7, 3), np.uint8)
    path.parent.mkdir(parents=True)
    write_png(path, coarse.repeat(8, axis=0).repeat(8, axis=1)[:37, :52])
    return path


@pytest.fixture
def edge_net(tmp_path: Path) -> Path:
    """With thresholds around its answers."""
    path = tmp_path / "edge.pth"
    save_checkpoint(path, tiny_contents(EDGE) | {"thresholds": [0.5] * CLASSES})
    return path


@pytest.fixture
def seg_net(tmp_path: Path) -> Path:
    path = tmp_path / "seg.pth"
    save_tiny(path, SEG)
    return path


def run(*argv: object) -> int:
    return predict.main(predict.parse_args([str(word) for word in (*argv, "--device", "cpu")]))


def bits_of(path: Path) -> np.ndarray:
    return unpack(decode_png(read_image(path)), CLASSES)


def drawn(lines: list[tuple[int, list[list[float]]]], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of (class, points), each a pixel's centre and beside the one before."""
    found = np.zeros(shape, bool)
    for k, points in lines:
        assert all(x % 1 == y % 1 == 0.5 for x, y in points)
        assert all(max(abs(a - c), abs(b - d)) <= 1 for (a, b), (c, d) in pairwise(points))
        for x, y in points:
            found[k, int(y), int(x)] = True
    return found


def lines_in(path: Path, classes: list[str]) -> list[tuple[int, list[list[float]]]]:
    """(class, points) of a file of any of the formats."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".svg":
        return [
            (
                int(group.attrib["data-class"]),
                [[float(value) for value in pair.split(",")] for pair in points.split()],
            )
            for group in ET.fromstring(text)[0]
            for points in [line.attrib["points"] for line in group[1:]]
        ]
    content = json.loads(text)
    if path.suffix == ".json":
        return [(classes.index(shape["label"]), shape["points"]) for shape in content["shapes"]]
    found = []
    for feature in content["features"]:
        shape = feature["geometry"]
        points = shape["coordinates"]
        found.append(
            (feature["properties"]["class"], [points] if shape["type"] == "Point" else points)
        )
    return found


def test_unsimplified_lines_are_the_pixels_of_the_bits(edge_net, image_path, tmp_path):
    out = tmp_path / "out"
    folder = image_path.parents[1]
    words = ("--vector", "geojson,svg", "--vector", "labelme", "--simplify", 0, "--save-bits")
    assert run(folder, "--checkpoint", edge_net, "--out", out, *words) == 0
    bits = bits_of(out / "bits/sub/photo.png")
    assert bits.any()
    names = list(load(edge_net, "cpu").classes)
    for ending in ("geojson", "svg", "json"):
        lines = lines_in(out / f"vector/sub/photo.{ending}", names)
        np.testing.assert_array_equal(drawn(lines, bits.shape), bits)
    sheet = json.loads((out / "vector/sub/photo.json").read_text())
    assert (sheet["imageHeight"], sheet["imageWidth"]) == (37, 52)
    assert (out / "vector/sub" / sheet["imagePath"]).resolve() == image_path.resolve()


def test_files_name_their_image_through_links_too(edge_net, image_path, tmp_path):
    """The link's own name, and a way that the system follows from where the file really is."""
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere/deep")
    link = tmp_path / "links/linked.png"
    link.parent.mkdir()
    link.symlink_to(image_path)
    run(link, "--checkpoint", edge_net, "--out", tmp_path / "out", "--vector", "labelme")
    sheet = json.loads((tmp_path / "out/vector/linked.json").read_text())
    assert sheet["imagePath"] == "../../../links/linked.png"
    read_image(tmp_path / "out/vector" / sheet["imagePath"])


def test_lines_are_simplified_and_have_the_mean_probability(edge_net, image_path, tmp_path):
    words = (image_path, "--checkpoint", edge_net, "--no-overlay", "--vector", "geojson")
    for tolerance in ("0", None):
        more = () if tolerance is None else ("--simplify", tolerance)
        assert run(*words, "--out", tmp_path / str(tolerance), *more) == 0
    full, fewer = (
        json.loads((tmp_path / name / "vector/photo.geojson").read_text())["features"]
        for name in ("0", "None")
    )
    prob = load(edge_net, "cpu")(image_path)
    assert len(full) == len(fewer) > 20
    for line, simple in zip(full, fewer, strict=True):
        assert line["properties"] == simple["properties"]
        points = np.atleast_2d(line["geometry"]["coordinates"])
        x, y = (points - 0.5).astype(int).T
        mean = prob[line["properties"]["class"], y, x].mean()
        assert line["properties"]["score"] == pytest.approx(mean, abs=1e-4)
        assert len(np.atleast_2d(simple["geometry"]["coordinates"])) <= len(points)
    assert len(json.dumps(fewer)) < len(json.dumps(full))


def test_labelme_s_files_are_read_back_by_our_importer(edge_net, image_path, tmp_path):
    """At a line width of 1, the pixels; where classes meet, those of the later one."""
    out = tmp_path / "out"
    words = ("--vector", "labelme", "--simplify", 0, "--save-bits")
    run(image_path, "--checkpoint", edge_net, "--out", out, *words)
    words = (out / "vector", "--images", image_path.parent, "--line-width", 1)
    assert run_import("labelme", *words, "--out", tmp_path / "own") == 0
    ids = class_ids(tmp_path / "own")
    bits = bits_of(out / "bits/photo.png")
    expected = np.zeros(bits.shape[1:], np.uint8)
    for k, name in enumerate(load(edge_net, "cpu").classes):
        if bits[k].any():
            expected[bits[k]] = ids[name][0]
    np.testing.assert_array_equal(label_map(tmp_path / "own", "photo"), expected)


def test_lines_are_thinned_even_where_bands_are_drawn(edge_net, image_path, tmp_path):
    out = tmp_path / "out"
    words = ("--no-thin", "--vector", "geojson", "--simplify", 0)
    run(image_path, "--checkpoint", edge_net, "--out", out, *words)
    prob = load(edge_net, "cpu")(image_path)
    expected = np.stack([thin(plane >= np.float32(0.5)) for plane in prob])
    lines = lines_in(out / "vector/photo.geojson", [])
    np.testing.assert_array_equal(drawn(lines, expected.shape), expected)


def outlines(label: np.ndarray, radius: int) -> np.ndarray:
    """bool (K, H, W) by a plain loop: another id is near, and one of the two is the class."""
    height, width = label.shape
    found = np.zeros((CLASSES, height, width), bool)
    reach = range(-radius, radius + 1)
    near = [(dy, dx) for dy in reach for dx in reach if dy * dy + dx * dx <= radius * radius]
    for y in range(height):
        for x in range(width):
            for dy, dx in near:
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    here, there = label[y, x], label[y + dy, x + dx]
                    if here != there:
                        found[here, y, x] = found[there, y, x] = True
    return found


@pytest.mark.parametrize("thinned", [True, False])
def test_outlines_of_label_maps(seg_net, image_path, tmp_path, thinned, capsys):
    out = tmp_path / "out"
    words = ("--outlines", "--save-bits", "--vector", "svg", "--simplify", 0)
    words += () if thinned else ("--no-thin",)
    assert run(image_path, "--checkpoint", seg_net, "--out", out, *words) == 0
    assert "edges: outlines of the label map, " in capsys.readouterr().out
    label = read_index(out / "labels/photo.png")
    expected = outlines(label, 1 if thinned else 2)
    assert expected.any()
    thin_ones = np.stack([thin(plane) for plane in expected])
    expected = thin_ones if thinned else expected
    np.testing.assert_array_equal(bits_of(out / "bits/photo.png"), expected)
    lines = lines_in(out / "vector/photo.svg", [])
    np.testing.assert_array_equal(drawn(lines, expected.shape), thin_ones)
    predictor = load(seg_net, "cpu")
    np.testing.assert_array_equal(predictor.edges(image_path, thin=thinned), expected)
    drawing = read_image(out / "photo_edges.png")
    shown = drawing[:37, :52] != 255
    np.testing.assert_array_equal(shown.any(axis=2), expected.any(axis=0))
    np.testing.assert_array_equal(predictor.draw(image_path, outlines=True, thin=thinned), drawing)
    assert (out / "photo_colors.png").exists()
    assert (out / "photo_overlay.png").exists()


def test_outlines_of_many_classes(seg_net, rng):
    """Class 30 is in the second group of 24."""
    from utils.inference.outlines import OutlineChoice

    label = rng.choice(np.array([3, 30, 149], np.uint8), (6, 8)).repeat(4, axis=0)
    found = OutlineChoice(150, thin=False).edges(label)
    assert found.shape == (150, 24, 8)
    few = np.searchsorted([3, 30, 149], label).astype(np.uint8)
    np.testing.assert_array_equal(found[[3, 30, 149]], outlines(few, 2)[:3])
    assert found.sum() == found[[3, 30, 149]].sum()


def test_short_outlines_are_left_out(seg_net, image_path):
    predictor = load(seg_net, "cpu")
    every, long = (predictor.edges(image_path, min_length=length) for length in (0, 12))
    assert not (long & ~every).any()
    assert 0 < long.sum() < every.sum()


SEG_WORDS = [
    (("--outlines", "--threshold", 0.3), "--threshold is for edges; the checkpoint holds tiny_seg"),
    (("--outlines", "--nms"), "--nms is for edges"),
    (("--outlines", "--save-prob"), "--save-prob is for edges"),
    (("--vector", "svg"), "--vector is for edges.*: add --outlines"),
    (("--save-bits",), "--save-bits is for edges.*: add --outlines"),
    (("--line-width", 3), "--line-width is for edges"),
    (("--outlines", "--no-thin", "--line-width", 3), "--line-width is of thinned edges: add"),
    (("--outlines", "--no-thin", "--min-length", 3), "--min-length counts .*: add --thin"),
]
EDGE_WORDS = [
    (("--outlines",), "--outlines is for label maps; the checkpoint holds tiny_edge"),
    (("--no-thin", "--line-width", 3), "--line-width is of thinned edges: add --thin"),
    (("--simplify", 2), "--simplify is of polylines: add --vector"),
]


@pytest.mark.parametrize(
    ("net", "words", "message"),
    [("seg", *case) for case in SEG_WORDS] + [("edge", *case) for case in EDGE_WORDS],
)
def test_flags_that_do_not_fit_are_one_line(
    edge_net, seg_net, image_path, tmp_path, net, words, message
):
    out = tmp_path / "out"
    checkpoint = seg_net if net == "seg" else edge_net
    with pytest.raises(InputError, match=message) as caught:
        run(image_path, "--checkpoint", checkpoint, "--out", out, *words)
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize("word", ["dxf", "svg,", "svg,dxf", ""])
def test_formats_that_do_not_exist(word, capsys):
    with pytest.raises(SystemExit):
        predict.parse_args(["a.png", "--checkpoint", "b", "--out", "c", f"--vector={word}"])
    assert re.search(
        "--vector: found '(dxf|)', expected geojson, svg, labelme", capsys.readouterr().err
    )


def test_formats_are_named_once_each_and_taken_back():
    words = ["a.png", "--checkpoint", "b", "--out", "c"]
    assert predict.parse_args(words).vector is None
    args = predict.parse_args([*words, "--vector", "svg", "--vector", "labelme,svg"])
    assert args.vector == ["svg", "labelme", "svg"]
    args = predict.parse_args([*words, "--vector", "svg", "--no-vector"])
    assert args.vector is None


def test_a_line_width_for_drawings(edge_net, image_path, tmp_path):
    words = (image_path, "--checkpoint", edge_net, "--no-overlay", "--vector", "svg")
    for width in (1, 5):
        run(*words, "--out", tmp_path / str(width), "--line-width", width)
    one, five = (read_image(tmp_path / f"{width}/photo_edges.png")[:37, :52] for width in (1, 5))
    assert (one != 255).any(axis=2).sum() < (five != 255).any(axis=2).sum()
    assert 'stroke-width="5"' in (tmp_path / "5/vector/photo.svg").read_text()
    predictor = load(edge_net, "cpu")
    np.testing.assert_array_equal(predictor.draw(image_path, line_width=5)[:37, :52], five)
    with pytest.raises(InputError, match=r"^line width 0.5: expected a number of pixels"):
        predictor.draw(image_path, line_width=0.5)
