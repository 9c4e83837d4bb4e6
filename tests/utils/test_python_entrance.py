"""utils.inference.load: what it returns, against the network run by hand and predict.py's files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import predict
from data.camvid import CamVid
from data.errors import InputError
from data.image_io import read_image, read_index, write_png
from models import build_model
from utils.checkpoint import CheckpointError, ModelInfo, load_model, save_checkpoint
from utils.inference import InferenceOptions, Predictor, load
from utils.inference.scores import quantize
from utils.inference.words import in_keywords

ROOT = Path(__file__).resolve().parents[2]
BASE_SIZE = 48  # of both checkpoints; the images of tiny_camvid are 64x48, so the nets see 48x36
EXIF_ORIENTATION = 0x0112


def save_network(path: Path, name: str, task: str) -> Path:
    torch.manual_seed(0)
    model = build_model(name, num_classes=11, backbone="resnet18")
    info = ModelInfo(
        name, "resnet18", 11, task, CamVid.classes, CamVid.palette, BASE_SIZE, "camvid"
    )
    save_checkpoint(path, {"model": info.to_plain(), "weights": model.state_dict()})
    return path


@pytest.fixture(scope="module")
def edge_checkpoint(tmp_path_factory) -> Path:
    return save_network(tmp_path_factory.mktemp("edge") / "best.pth", "dff", "edge")


@pytest.fixture(scope="module")
def seg_checkpoint(tmp_path_factory) -> Path:
    return save_network(tmp_path_factory.mktemp("seg") / "best.pth", "fcn", "seg")


@pytest.fixture
def image_path(tiny_camvid) -> Path:
    return tiny_camvid / "test" / "test_001.png"


@torch.inference_mode()
def logits_by_hand(checkpoint: Path, image: np.ndarray, output: str) -> torch.Tensor:
    """The network's logits (1, K, 36, 48) for an image that is resized and normalised here."""
    small = cv2.resize(image, (48, 36), interpolation=cv2.INTER_AREA)
    normal = (small / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    net_input = torch.from_numpy(normal.transpose(2, 0, 1)[None]).float()
    model, _ = load_model(checkpoint)
    return model(net_input)[output]


def resized_back(scores: torch.Tensor) -> np.ndarray:
    return F.interpolate(scores, size=(48, 64), mode="bilinear", antialias=True)[0].numpy()


def test_edges_of_a_path_and_of_an_array(edge_checkpoint, image_path):
    predictor = load(edge_checkpoint, "cpu")
    image = read_image(image_path)
    prob = predictor(image)
    assert prob.dtype == np.float32
    assert prob.shape == (11, 48, 64)
    expected = resized_back(logits_by_hand(edge_checkpoint, image, "fuse").sigmoid())
    np.testing.assert_allclose(prob, expected, atol=1e-4)
    for path in (image_path, str(image_path)):
        np.testing.assert_array_equal(predictor(path), prob)


def test_class_ids_of_a_path_and_of_an_array(seg_checkpoint, image_path):
    predictor = load(seg_checkpoint, "cpu")
    image = read_image(image_path)
    labels = predictor(image)
    assert labels.dtype == np.uint8
    assert labels.shape == (48, 64)
    expected = resized_back(logits_by_hand(seg_checkpoint, image, "seg"))
    np.testing.assert_allclose(predictor.scores(image), expected, atol=1e-3)
    assert (labels == expected.argmax(axis=0)).mean() > 0.99  # all but ties within rounding
    np.testing.assert_array_equal(predictor(image_path), labels)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_what_a_predictor_says_of_itself(edge_checkpoint, device):
    predictor = load(edge_checkpoint, device)
    assert isinstance(predictor, Predictor)
    assert predictor.task == "edge"
    assert predictor.classes == CamVid.classes
    np.testing.assert_array_equal(predictor.palette, CamVid.palette)
    assert predictor.device == torch.device("cpu")


def predict_files(checkpoint: Path, image_path: Path, out: Path, *flags: str) -> None:
    argv = [str(image_path), "--checkpoint", str(checkpoint), "--out", str(out)]
    assert predict.main(predict.parse_args([*argv, "--device", "cpu", *flags])) == 0


def test_edges_are_those_that_predict_writes(edge_checkpoint, image_path, tmp_path):
    predict_files(edge_checkpoint, image_path, tmp_path, "--save-prob", "--threshold", "0.45")
    predictor = load(edge_checkpoint, "cpu")
    prob = predictor(image_path)
    for k in (0, 10):
        stored = read_index(tmp_path / f"prob/class_{k + 1:03d}/test_001.png")
        np.testing.assert_array_equal(stored, quantize(prob[k]))
    drawn = predictor.draw(image_path, threshold=0.45)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, read_image(tmp_path / "test_001_edges.png"))
    np.testing.assert_array_equal(drawn, predictor.draw(read_image(image_path), threshold=0.45))


def test_class_ids_are_those_that_predict_writes(seg_checkpoint, image_path, tmp_path):
    flags = ("--window", "32", "--scales", "0.5", "1", "--mirror", "--base-size", "0")
    predict_files(seg_checkpoint, image_path, tmp_path, *flags)
    predictor = load(seg_checkpoint, "cpu", window=32, scales=[0.5, 1], mirror=True, base_size=0)
    labels = predictor(image_path)
    np.testing.assert_array_equal(labels, read_index(tmp_path / "labels/test_001.png"))
    assert not np.array_equal(labels, load(seg_checkpoint, "cpu")(image_path))
    drawn = predictor.draw(image_path)
    np.testing.assert_array_equal(drawn, read_image(tmp_path / "test_001_colors.png"))
    np.testing.assert_array_equal(drawn[:48, :64], CamVid.palette[labels])


def test_options_default_to_the_checkpoint_s(edge_checkpoint, image_path):
    assert load(edge_checkpoint, "cpu").options == InferenceOptions(base_size=BASE_SIZE)
    none = load(edge_checkpoint, "cpu", base_size=None, window=None)
    assert none.options.base_size == BASE_SIZE
    whole = load(edge_checkpoint, "cpu", base_size=0)
    assert whole.options == InferenceOptions(base_size=0)
    assert not np.array_equal(whole(image_path), none(image_path))
    assert none.scores(image_path, native=True).shape == (11, 36, 48)


@pytest.mark.parametrize("fast", [None, True, False])
def test_definitions_and_faster_forms_agree(edge_checkpoint, image_path, fast):
    """None: the faster forms on a CPU."""
    predictor = load(edge_checkpoint, "cpu", fast=fast)
    model, _ = load_model(edge_checkpoint)
    kinds = {type(module) for module in model.modules()}
    assert ({type(module) for module in predictor.model.modules()} == kinds) is (fast is False)
    expected = load(edge_checkpoint, "cpu", fast=False)(image_path)
    np.testing.assert_allclose(predictor(image_path), expected, atol=1e-5)


def test_photographs_are_taken_as_stored_unless_they_are_turned(
    edge_checkpoint, image_path, tmp_path
):
    """As data sets are read, whose labels are drawn on the stored pixels."""
    stored = Image.fromarray(read_image(image_path))
    exif = stored.getexif()
    exif[EXIF_ORIENTATION] = 6  # to be turned by a quarter, clockwise
    stored.save(tmp_path / "photo.png", exif=exif)
    predictor = load(edge_checkpoint, "cpu")
    np.testing.assert_array_equal(predictor(tmp_path / "photo.png"), predictor(image_path))
    turned = np.ascontiguousarray(np.rot90(np.asarray(stored), -1))
    np.testing.assert_array_equal(predictor.read(tmp_path / "photo.png", upright=True), turned)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((48, 64), np.uint8), r"found uint8 \(48, 64\)"),
        (np.zeros((48, 64, 3), np.float32), r"found float32 \(48, 64, 3\)"),
        (np.zeros((48, 64, 4), np.uint8), r"found uint8 \(48, 64, 4\)"),
        (np.zeros((0, 64, 3), np.uint8), r"found uint8 \(0, 64, 3\)"),
        (np.zeros((48, 64, 3), bool), r"found bool \(48, 64, 3\)"),
        (np.zeros((1, 48, 64, 3), np.uint8), r"found uint8 \(1, 48, 64, 3\)"),
        (torch.zeros((48, 64, 3), dtype=torch.uint8), "found Tensor"),
        (None, "found NoneType"),
    ],
)
def test_a_wrong_image_is_named(seg_checkpoint, image, found):
    predictor = load(seg_checkpoint, "cpu")
    for call in (predictor, predictor.scores, predictor.draw):
        with pytest.raises(ValueError, match=rf"{found}, expected .*uint8 \(H, W, 3\), RGB"):
            call(image)


def test_a_file_that_is_no_image(seg_checkpoint, tmp_path):
    predictor = load(seg_checkpoint, "cpu")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"text\.png: is no image that can be read"):
        predictor(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError):
        predictor(tmp_path / "missing.png")


def test_paths_that_are_no_file(seg_checkpoint, tmp_path):
    predictor = load(seg_checkpoint, "cpu")
    for call in (predictor, predictor.scores, predictor.draw, predictor.read):
        with pytest.raises(InputError, match="image: found an empty path, expected that of an"):
            call("")
        with pytest.raises(InputError, match="is a folder; expected an image"):
            call(tmp_path)


def test_arrays_in_any_layout_and_of_any_size(seg_checkpoint, rng):
    predictor = load(seg_checkpoint, "cpu")
    image = rng.integers(0, 256, (60, 80, 3), np.uint8)
    for view in (
        image[::-1, ::-1],
        image[:, ::2],
        image.transpose(1, 0, 2),
        np.asfortranarray(image),
    ):
        view.flags.writeable = False
        np.testing.assert_array_equal(predictor(view), predictor(np.ascontiguousarray(view)))
    huge = np.broadcast_to(np.zeros(3, np.uint8), (1 << 16, 1 << 15, 3))
    with pytest.raises(InputError, match=r"expected at most 1,073,741,824 pixels"):
        predictor(huge)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), "0.5", [0.5] * 10 + [2]])
def test_thresholds(edge_checkpoint, image_path, threshold):
    with pytest.raises(InputError, match=r"threshold .*: expected a probability, 0 to 1"):
        load(edge_checkpoint, "cpu").draw(image_path, threshold=threshold)


def test_a_bound_of_pixels(edge_checkpoint, image_path):
    assert load(edge_checkpoint, "cpu", max_pixels=64 * 48)(image_path).shape == (11, 48, 64)
    predictor = load(edge_checkpoint, "cpu", max_pixels=64 * 48 - 1)
    words = r"is 64x48, 3,072 pixels, more than max_pixels 3,071; make it smaller"
    for image in (image_path, read_image(image_path)):
        with pytest.raises(InputError, match=words):
            predictor(image)


def test_errors_name_keywords_in_python_and_flags_on_the_command_line():
    assert in_keywords("give --window N, --base-size, or --no-fast") == (
        "give window=N, base_size, or fast=False"
    )
    for text in ("/data/--odd/a--b.png: is cut off", "a--window", "-- not a flag"):
        assert in_keywords(text) == text


def test_an_unknown_option_lists_the_options(edge_checkpoint):
    with pytest.raises(TypeError, match=r"no option 'scale'; it has model, .*scales") as error:
        load(edge_checkpoint, "cpu", scale=2)
    for option in ("backbone", "dataset", "fusion", "base_size", "window", "half", "quirks"):
        assert option in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 16}, "window 16: expected 32"),
        ({"scales": []}, "scales"),
        ({"scales": 1.0}, "scales 1.0: expected one or more factors"),
        ({"scales": "1"}, "scales '1': expected one or more factors"),
        ({"window": 33.5}, "window 33.5: expected 32"),
        ({"base_size": float("nan")}, "base size nan: expected"),
        ({"batch_size": "2"}, "batch size '2': expected 1 or more"),
        ({"mirror": "no"}, "mirror 'no': expected True or False"),
        ({"device": "toaster"}, "toaster"),
        ({"model": "casenet"}, "holds dff, but model says casenet"),
        ({"dataset": "nonsense"}, "unknown data set 'nonsense'"),
        ({"dataset": "cityscapes"}, "has 11 classes, but cityscapes has 19"),
        ({"fusion": "simultaneous"}, "holds dff, which knows no fusion"),
    ],
)
def test_wrong_values_are_input_errors(edge_checkpoint, options, words):
    with pytest.raises(InputError, match=words) as error:
        load(edge_checkpoint, **options)
    assert "\n" not in str(error.value)


def test_numbers_of_numpy_are_numbers(edge_checkpoint):
    options = load(edge_checkpoint, scales=np.float32([0.5, 1]), window=np.int64(64)).options
    assert options.scales == (0.5, 1)
    assert options.window == 64


def test_an_output_that_the_network_lacks(edge_checkpoint, image_path):
    with pytest.raises(ValueError, match=r"^no output 'seg'; the network has side5, fuse$"):
        load(edge_checkpoint).scores(image_path, output="seg")


def test_checkpoints_that_cannot_be_read(tmp_path):
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.pth: ") as error:
        load(tmp_path / "text.pth")
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"missing\.pth: no such weight file"):
        load(tmp_path / "missing.pth")


def test_a_file_that_does_not_say_what_it_holds(edge_checkpoint, image_path, tmp_path):
    weights = torch.load(edge_checkpoint, weights_only=True)["weights"]
    torch.save({"state_dict": weights}, tmp_path / "published.pth.tar")
    with pytest.raises(CheckpointError, match="say it with model and backbone"):
        load(tmp_path / "published.pth.tar")
    said: dict[str, Any] = {"model": "dff", "backbone": "resnet18", "base_size": BASE_SIZE}
    predictor = load(tmp_path / "published.pth.tar", "cpu", **said)
    assert predictor.classes == tuple(f"class {k}" for k in range(1, 12))
    expected = load(edge_checkpoint, "cpu")
    np.testing.assert_array_equal(predictor(image_path), expected(image_path))
    named = load(tmp_path / "published.pth.tar", "cpu", **said, dataset="camvid")
    assert named.classes == CamVid.classes
    np.testing.assert_array_equal(named.palette, CamVid.palette)


def test_an_option_of_the_net_reaches_it(tmp_path, rng):
    torch.manual_seed(0)
    model = build_model("gffnet", num_classes=3, backbone="resnet18", fusion="simultaneous")
    torch.save(model.state_dict(), tmp_path / "official.pth")
    said: dict[str, Any] = {"model": "gffnet", "backbone": "resnet18"}
    write_png(tmp_path / "image.png", rng.integers(0, 256, (32, 40, 3), np.uint8))
    assert load(tmp_path / "official.pth", "cpu", **said).info.options == {}
    predictor = load(tmp_path / "official.pth", "cpu", **said, fusion="simultaneous")
    assert predictor.info.options == {"fusion": "simultaneous"}
    with torch.inference_mode():
        normal = read_image(tmp_path / "image.png") / 255 - [0.485, 0.456, 0.406]
        net_input = torch.from_numpy((normal / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[None])
        expected = model.eval()(net_input.float())["seg"][0].numpy()
    np.testing.assert_allclose(predictor.scores(tmp_path / "image.png"), expected, atol=1e-3)


def test_importing_the_package_is_cheap():
    """PyTorch takes a second, Numba compiles, Matplotlib looks for fonts: all can wait."""
    code = (
        "import sys, utils.inference; "
        "print(sorted({'torch', 'numba', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
