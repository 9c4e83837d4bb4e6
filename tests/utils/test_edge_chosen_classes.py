"""Some classes alone, folders named by class or of one class, and grey images of other kinds."""

import csv
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from helpers.edge_files import SIZE, write_edge_files
from helpers.evaluation import ROOT, metrics_of, score, status_of_score
from helpers.image_files import bmp
from PIL import Image

from data.edges import encode_png, pack
from data.errors import InputError
from data.image_io import read_index, write_png
from utils.evaluation.class_choice import choose_classes, find_class
from utils.evaluation.edges.predictions import PredictionFolder

FLAGS = ("--task", "edge", "--thresholds", 5, "--workers", 0, "--pictures", 1)
NAMES = ("road", "traffic light", "car")


@pytest.fixture
def folder(tmp_path, rng):
    write_edge_files(tmp_path, rng)
    return tmp_path


def counts_of(folder):
    return np.load(folder / "counts.npz")["counts"]


def stored(prediction):
    return np.stack(list(prediction.read(prediction.names[0])))


# Names and numbers


def test_classes_are_numbers_or_names_in_any_order():
    assert choose_classes(None, NAMES) is None
    assert choose_classes(["car", "0"], NAMES) == (0, 2)
    for text in ("Traffic Light", "traffic_light", "TRAFFIC-light", "1"):
        assert choose_classes([text], NAMES) == (1,)
    # The number of a class may be another's name; a class whose name is its own number is fine.
    assert choose_classes(["0", "2"], ["0", "1", "2"]) == (0, 2)
    with pytest.raises(InputError, match="is the name of class 0 and the number of 'b'"):
        choose_classes(["1"], ["1", "b"])
    with pytest.raises(InputError, match=r"bus: is no class; .* 0 road, 1 traffic light, 2 car$"):
        choose_classes(["road", "bus"], NAMES)
    with pytest.raises(InputError, match="3: is no class"):
        choose_classes(["3"], NAMES)
    with pytest.raises(InputError, match="-1: is no class"):
        choose_classes(["-1"], NAMES)
    with pytest.raises(InputError, match="'road' and '0' are the same class, 'road'"):
        choose_classes(["road", "0"], NAMES)
    assert find_class("traffic light", ["traffic_light", "traffic light"]) == 1
    with pytest.raises(InputError, match="'Traffic light' could be the classes 'traffic_light'"):
        find_class("Traffic light", ["traffic_light", "traffic light"])


def test_chosen_classes_are_those_of_the_whole(folder, capsys):
    """The same counts, means over the chosen, and tables, files and report of these alone."""
    files = ("--predictions", folder / "pred", "--labels", folder / "gt", "--num-classes", 3)
    score(*FLAGS, *files, "--out", folder / "all")
    capsys.readouterr()
    score(*FLAGS, *files, "--classes", "class 3", 1, "--out", folder / "some")
    assert "only the 2 classes class 2, class 3," in capsys.readouterr().out
    assert np.array_equal(counts_of(folder / "some"), counts_of(folder / "all")[:, :, 1:])
    every, some = metrics_of(folder / "all"), metrics_of(folder / "some")
    assert some["protocol"] == every["protocol"] | {"classes": ["class 2", "class 3"]}
    for mode in ("thin", "raw"):
        assert some["scores"][mode]["classes"] == every["scores"][mode]["classes"][1:]
        mean = some["scores"][mode]["mean"]
        assert mean["classes"] == 1  # class 3 has no ground truth
        assert mean["ods"] == some["scores"][mode]["classes"][0]["ods"]["f"]
    with (folder / "some/scores.csv").open() as file:
        assert {row["class"] for row in csv.DictReader(file)} == {"class 2", "class 3"}
    assert "class 1" not in (folder / "some/report.html").read_text()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("3",), "--classes 3: is no class; expected numbers or names of 0 class 1, 1 class 2"),
        (("car",), "--classes car: is no class"),
        (("0", "class_1"), "are the same class, 'class 1'; leave one out"),
        (("",), "argument --classes: is empty"),
    ],
)
def test_wrong_classes_end_with_a_line(folder, given, line, capsys):
    files = ("--predictions", folder / "pred", "--labels", folder / "gt")
    assert status_of_score(*FLAGS, *files, "--classes", *given, "--out", folder / "a") == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not (folder / "a").exists()


def test_chosen_classes_are_of_edges(folder, capsys):
    files = ("--predictions", folder / "pred", "--labels", folder / "gt", "--num-classes", 3)
    assert status_of_score("--task", "seg", *files, "--classes", 1) == 2
    assert "--classes is for edges" in capsys.readouterr().err


# Folders


def test_folders_may_have_the_names_of_the_classes(folder):
    whole = stored(PredictionFolder(folder / "pred"))
    for number, name in enumerate(("ROAD", "traffic_light", "Car"), start=1):
        (folder / f"pred/class_{number:03d}").rename(folder / "pred" / name)
    (folder / "pred/.thumbnails").mkdir()
    prediction = PredictionFolder(folder / "pred", 3, names=NAMES)
    assert np.array_equal(stored(prediction), whole)
    assert prediction.note() is None
    (folder / "pred/Car").rename(folder / "pred/class_003")  # of both kinds
    assert np.array_equal(stored(PredictionFolder(folder / "pred", 3, names=NAMES)), whole)
    (folder / "pred/traffic light").mkdir()
    with pytest.raises(
        InputError, match=r"both .*traffic light and .* are class 2, 'traffic light'"
    ):
        PredictionFolder(folder / "pred", 3, names=NAMES)
    (folder / "pred/traffic light").rename(folder / "pred/trafic light")
    assert PredictionFolder(folder / "pred", 3, names=NAMES).note() is None  # it is empty
    shutil.copy(folder / "pred/ROAD/p0.png", folder / "pred/trafic light")
    with pytest.raises(InputError, match=r"trafic light: is the name of no class; .*road, traffic"):
        PredictionFolder(folder / "pred", 3, names=NAMES)
    two = ("road", "a b", "a-b")
    (folder / "pred/trafic light").rename(folder / "pred/A B")
    with pytest.raises(InputError, match="'A B' could be the classes 'a b' and 'a-b'"):
        PredictionFolder(folder / "pred", 3, names=two)


def test_folders_beside_numbered_ones_are_said(folder):
    (folder / "pred/results").mkdir()
    shutil.copytree(folder / "pred/class_001", folder / "pred/drawings")
    assert "1 folders are of no class, not read: drawings" in (
        PredictionFolder(folder / "pred", 3, names=NAMES).note() or ""
    )


def test_folders_of_the_chosen_classes_suffice(folder):
    """The others need not be there, and are not read where they are."""
    whole = stored(PredictionFolder(folder / "pred"))
    (folder / "pred/class_001/p0.png").write_bytes(b"torn")
    one = PredictionFolder(folder / "pred", 3, classes=["1"])
    assert np.array_equal(stored(one), whole[[1]])
    shutil.rmtree(folder / "pred/class_001")
    two = PredictionFolder(folder / "pred", 3, names=NAMES, classes=["car", "1"])
    assert np.array_equal(stored(two), whole[[1, 2]])
    assert (two.num_classes, two.classes) == (3, (1, 2))
    assert len(two.paths("p0")) == 2
    with pytest.raises(InputError, match=r"2 classes .* has 3; .*alone with --classes 1 2"):
        PredictionFolder(folder / "pred", 3)
    with pytest.raises(InputError, match=r"no folder class_001 or 'road' .*class_002, class_003"):
        PredictionFolder(folder / "pred", 3, names=NAMES, classes=["0", "1"])
    with pytest.raises(InputError, match=r"without a gap; .*--classes"):
        PredictionFolder(folder / "pred", classes=["0"])


def test_images_of_one_class_alone(folder, rng):
    whole = stored(PredictionFolder(folder / "pred"))
    (folder / "pred/class_002").rename(folder / "one")
    alone = PredictionFolder(folder / "one", 3, classes=["1"])
    assert np.array_equal(stored(alone), whole[[1]])
    with pytest.raises(InputError, match=r"1 classes .* has 3; .*with --classes the one class"):
        PredictionFolder(folder / "one", 3)
    with pytest.raises(InputError, match=r"1 classes .* has 3"):
        PredictionFolder(folder / "one", 3, classes=["1", "2"])
    # Edge images of all classes are no grey images, whatever is chosen.
    edges = rng.random((3, *SIZE)) < 0.2
    write_png(folder / "bits/p.png", encode_png(pack(edges)))
    prediction = PredictionFolder(folder / "bits", 3, classes=["2"])
    assert np.array_equal(stored(prediction), edges[[2]])
    scores = rng.random((3, *SIZE))
    (folder / "arrays").mkdir()
    np.save(folder / "arrays/p.npy", scores)
    prediction = PredictionFolder(folder / "arrays", 3, classes=["2", "0"])
    assert np.array_equal(stored(prediction), scores[[0, 2]].astype(np.float32))


def test_one_class_alone_from_files_to_the_scores(folder):
    files = ("--labels", folder / "gt", "--num-classes", 3, "--no-report")
    score(*FLAGS, "--predictions", folder / "pred", *files, "--out", folder / "all")
    (folder / "pred/class_002").rename(folder / "one")
    score(*FLAGS, "--predictions", folder / "one", *files, "--classes", 1, "--out", folder / "a")
    assert np.array_equal(counts_of(folder / "a"), counts_of(folder / "all")[:, :, [1]])


# Images


def save_as(kind, path, grey):
    """A grey image uint8 in one of the ways in which programs save it."""
    rgb = np.repeat(grey[..., None], 3, axis=2)
    if kind == "BMP with a palette":  # which is inverted: index 0 is white
        greys = [(255 - i, 255 - i, 255 - i) for i in range(256)]
        path.with_suffix(".bmp").write_bytes(bmp(255 - grey, 8, greys, down=False))
    elif kind == "PNG of three channels":
        Image.fromarray(rgb).save(path.with_suffix(".png"))
    elif kind.startswith("TIFF"):
        image = Image.fromarray(rgb if "three" in kind else grey)
        image.save(path.with_suffix(".TIF"), compression="tiff_lzw")
    else:
        image = Image.fromarray(rgb if "three" in kind else grey)
        image.save(path.with_suffix(".bmp"))


KINDS = (
    *("BMP", "BMP of three channels", "BMP with a palette", "TIFF", "TIFF of three channels"),
    "PNG of three channels",
)


@pytest.mark.parametrize("kind", KINDS)
def test_grey_images_are_read_however_they_are_saved(tmp_path, rng, kind):
    grey = (rng.random((2, *SIZE)) * 256).astype(np.uint8)
    for k in range(2):
        (tmp_path / f"pred/class_{k + 1}").mkdir(parents=True)
        save_as(kind, tmp_path / f"pred/class_{k + 1}/p", grey[k])
    prediction = PredictionFolder(tmp_path / "pred", 2)
    assert prediction.sizes("p") == {SIZE}
    assert np.array_equal(stored(prediction), grey)
    # And in the folder itself, of one class.
    (tmp_path / "one").mkdir()
    save_as(kind, tmp_path / "one/black", np.zeros(SIZE, np.uint8))
    save_as(kind, tmp_path / "one/p", grey[0])
    for alone in (
        PredictionFolder(tmp_path / "one"),
        PredictionFolder(tmp_path / "one", 1),
        PredictionFolder(tmp_path / "one", 20, classes=["7"]),
    ):
        assert alone.layout == "grey images"
        assert np.array_equal(next(alone.read("p")), grey[0])


def test_sixteen_bits_of_three_channels(tmp_path, rng):
    grey = (rng.random(SIZE) * 65536).astype(np.uint16)
    (tmp_path / "class_1").mkdir()
    for name in ("p.png", "q.tif"):
        cv2.imwrite(str(tmp_path / "class_1" / name), np.repeat(grey[..., None], 3, axis=2))
    prediction = PredictionFolder(tmp_path, 1)
    for name in ("p", "q"):
        assert np.array_equal(next(prediction.read(name)), grey)
    cv2.imwrite(str(tmp_path / "class_1/q.tif"), grey)
    assert np.array_equal(next(prediction.read("q")), grey)


def test_channels_that_differ_are_named(tmp_path, rng):
    color = (rng.random((*SIZE, 3)) * 256).astype(np.uint8)
    for name in ("p.png", "q.bmp", "r.tif"):
        path = tmp_path / "class_001" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(color).save(path)
        with pytest.raises(InputError, match=rf"{name}: has 3 channels; .* but these differ"):
            next(PredictionFolder(tmp_path, 1).read(path.stem))
    write_png(tmp_path / "class_001/q.png", color[..., 0])
    with pytest.raises(InputError, match=r"both .*q\.bmp and .*q\.png are q"):
        PredictionFolder(tmp_path, 1)


def test_kinds_of_files_give_the_same_scores(folder):
    """PNGs of 8 bits, the same as BMPs, and as RGB in folders named by the classes of CamVid."""
    for kind in ("png", "bmp", "rgb"):
        for k in range(3):
            for name in ("p0", "p1", "p2", "p3"):
                grey = (read_index(folder / f"pred/class_{k + 1:03d}/{name}.png") >> 8).astype(
                    np.uint8
                )
                path = folder / kind / f"class_{k + 1:03d}"
                path.mkdir(parents=True, exist_ok=True)
                image = np.repeat(grey[..., None], 3, axis=2) if kind == "rgb" else grey
                Image.fromarray(image).save(path / f"{name}.{'bmp' if kind == 'bmp' else 'png'}")
        flags = ("--predictions", folder / kind, "--labels", folder / "gt", "--no-report")
        score(*FLAGS, *flags, "--out", folder / f"{kind}-scores")
    assert np.array_equal(counts_of(folder / "png-scores"), counts_of(folder / "bmp-scores"))
    assert np.array_equal(counts_of(folder / "png-scores"), counts_of(folder / "rgb-scores"))


def test_reading_predictions_works_without_torch():
    """Worker processes unpickle a PredictionFolder."""
    code = "import sys, utils.evaluation.edges.predictions; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
