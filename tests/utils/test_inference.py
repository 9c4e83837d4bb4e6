"""utils.inference: from an image to scores, against the formulas written as loops."""

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.errors import InputError
from data.image_io import read_index, write_png
from data.samples.transforms import normalize
from utils.checkpoint import ModelInfo
from utils.inference.device import pick_device
from utils.inference.memory import bytes_of_pass, bytes_on_host
from utils.inference.options import InferenceOptions
from utils.inference.predictor import Predictor
from utils.inference.scores import dequantize, quantize


class Tint(nn.Module):
    """A net that is easy to redo by hand: logit k is channel k of the normalised image, plus k."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.arange(3.0).view(1, 3, 1, 1))
        self.seen: tuple[int, ...] = ()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen = tuple(image.shape)
        return {"fuse": image + self.shift, "side5": image - self.shift}


class Failing(nn.Module):
    """A net whose forward pass raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, _image: torch.Tensor) -> dict[str, torch.Tensor]:
        raise self.error


@pytest.fixture
def model() -> Tint:
    return Tint().eval()


def predictor_of(model: nn.Module, task: str, **options: Any) -> Predictor:
    palette = np.zeros((3, 3), np.uint8)
    info = ModelInfo("tint", "none", 3, task, ("a", "b", "c"), palette, 0, "")
    run = InferenceOptions(**options)
    # The model itself, since some record what they see; not the copy that has faster forms.
    return Predictor(model, info, device=torch.device("cpu"), options=run, fast=False)


def predict_edges(model: nn.Module, image: np.ndarray, **options: Any) -> np.ndarray:
    return predictor_of(model, "edge", **options)(image)


def predict_scores(model: nn.Module, image: np.ndarray, **options: Any) -> np.ndarray:
    return predictor_of(model, "seg", **options).scores(image)


def predict_labels(model: nn.Module, image: np.ndarray, **options: Any) -> np.ndarray:
    return predictor_of(model, "seg", **options)(image)


def by_hand(image: np.ndarray) -> np.ndarray:
    """Probabilities of `Tint`, float64 (3, H, W), pixel by pixel."""
    prob = np.empty((3, *image.shape[:2]))
    for k, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        prob[k] = 1 / (1 + np.exp(-((image[:, :, k] / 255 - mean) / std + k)))
    return prob


def random_image(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def test_normalize_one_image_and_a_batch(rng):
    images = rng.integers(0, 256, (2, 5, 7, 3), np.uint8)
    batch = normalize(images)
    assert batch.shape == (2, 3, 5, 7)
    assert batch.dtype == torch.float32
    expected = (images[1, 2, 3] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(batch[1, :, 2, 3].numpy(), expected, rtol=1e-5)
    assert torch.equal(normalize(images[1])[0], batch[1])
    assert torch.equal(normalize(torch.from_numpy(images)), batch)


def test_probabilities_at_the_image_s_size(model, rng):
    image = random_image(rng, 33, 47)
    prob = predict_edges(model, image)
    assert prob.dtype == np.float32
    np.testing.assert_allclose(prob, by_hand(image), atol=1e-6)


def test_output_chooses_the_logits(model, rng):
    image = random_image(rng, 32, 32)
    predictor = predictor_of(model, "edge")
    fuse, side5 = predictor(image), predictor.scores(image, output="side5")
    np.testing.assert_allclose(
        np.log(fuse / (1 - fuse))[2] - np.log(side5 / (1 - side5))[2], 4, atol=1e-3
    )


@pytest.mark.parametrize("size", [(1, 1), (20, 70), (64, 31)])
def test_small_images_are_padded_for_the_net_and_cropped_again(model, rng, size):
    image = random_image(rng, *size)
    np.testing.assert_allclose(predict_edges(model, image), by_hand(image), atol=1e-6)
    assert min(model.seen[2:]) >= 32


@pytest.mark.parametrize(
    ("size", "base_size", "net_size"), [((60, 90), 45, (32, 45)), ((40, 50), 100, (80, 100))]
)
def test_base_size_resizes_the_image_and_the_probabilities_back(model, size, base_size, net_size):
    ramp = np.linspace(0, 255, size[1]).astype(np.uint8)
    image = np.repeat(
        np.repeat(ramp[None, :, None], size[0], 0), 3, 2
    )  # smooth: resizing and back changes little
    prob = predict_edges(model, image, base_size=base_size)
    assert model.seen[2:] == net_size
    assert prob.shape == (3, *size)
    np.testing.assert_allclose(prob[:, 2:-2, 2:-2], by_hand(image)[:, 2:-2, 2:-2], atol=0.02)


def test_native_keeps_the_size_of_the_net(model, rng):
    image = random_image(rng, 80, 120)
    prob = predictor_of(model, "edge", base_size=60).scores(image, native=True)
    small = cv2.resize(image, (60, 40), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(prob, by_hand(small), atol=1e-6)


def test_a_transposed_view_is_accepted(model, rng):
    image = random_image(rng, 40, 50)
    turned, straight = predict_edges(model, image.transpose(1, 0, 2)), predict_edges(model, image)
    np.testing.assert_allclose(turned, straight.transpose(0, 2, 1), atol=1e-6)


def test_a_model_in_training_mode_is_our_own_mistake(model, rng):
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        predict_edges(model.train(), random_image(rng, 32, 32))


def test_an_output_that_is_not_finite_is_no_result(model, rng):
    model.shift.data[0, 1] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        predict_edges(model, random_image(rng, 32, 32))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_infinite_logits_are_no_result(model, rng, value):
    """Their sigmoid is finite, so they are looked at before it."""
    model.shift.data[0, 1] = value
    words = "the net's output 'fuse' is not finite: the checkpoint is damaged"
    for options in ({}, {"window": 32, "scales": (0.5, 1.0)}):
        with pytest.raises(InputError, match=words):
            predict_edges(model, random_image(rng, 40, 50), **options)


def test_what_a_predictor_is_made_of(model):
    info = predictor_of(model, "edge").info
    assert Predictor(model, info, device="cpu").device == torch.device("cpu")
    with pytest.raises(ValueError, match=r"model: found dict, expected a torch\.nn\.Module"):
        Predictor({}, info, device="cpu")  # pyright: ignore
    with pytest.raises(ValueError, match="info: found str, expected a ModelInfo"):
        Predictor(model, "dff", device="cpu")  # pyright: ignore
    with pytest.raises(InputError, match="device toaster: no such kind"):
        Predictor(model, info, device="toaster")
    with pytest.raises(ValueError, match="options: found dict, expected InferenceOptions"):
        Predictor(model, info, options={"window": 64})  # pyright: ignore
    with pytest.raises(InputError, match="fast 'no': expected True or False"):
        Predictor(model, info, fast="no")  # pyright: ignore


def test_a_net_that_is_not_what_its_predictor_says(model, rng):
    image = random_image(rng, 40, 50)
    info = predictor_of(model, "edge").info
    with pytest.raises(ValueError, match="output 'fuse' has 3 classes, info says 2"):
        Predictor(model, replace(info, num_classes=2), device="cpu", fast=False)(image)
    with pytest.raises(ValueError, match="returns a Tensor, expected a dictionary"):
        Predictor(nn.Identity().eval(), info, device="cpu", fast=False)(image)


def test_a_model_that_goes_back_into_training_mode(model, rng):
    predictor = predictor_of(model, "edge")
    model.train()
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        predictor(random_image(rng, 40, 50))


def estimate(height: int, width: int, num_classes: int = 19, **options: Any) -> float:
    info = replace(
        predictor_of(Tint().eval(), options.pop("task", "edge")).info,
        backbone=options.pop("backbone", "resnet50"),
        num_classes=num_classes,
    )
    chosen = InferenceOptions(**options)
    size = (height, width)
    return bytes_of_pass(size, info, chosen) + bytes_on_host(size, info, chosen)


def test_memory_grows_as_what_goes_through_the_net():
    whole = estimate(1024, 2048)
    # Measured for a pass: 768 bytes a pixel of DFF-ResNet-50 with 19 classes, 845 of CASENet.
    assert 845 < whole / 2**21 < 1200
    assert 500 < estimate(512, 512, 3, backbone="resnet18") / 2**18 < 700
    assert 900 < estimate(512, 512, task="seg") / 2**18 < 1500
    assert estimate(2048, 2048) == pytest.approx(2 * whole)
    # The image and its scores keep their size: 12 + 4 * 19 bytes a pixel.
    kept = 0.75 * 88 * 2**21
    assert estimate(1024, 2048, base_size=1024) == pytest.approx(whole / 4 + kept, rel=0.05)
    assert estimate(1024, 2048, scales=(0.5, 1.0, 2.0)) == pytest.approx(4 * whole, rel=0.15)
    assert estimate(1024, 2048, mirror=True, batch_size=2) == pytest.approx(2 * whole, rel=0.15)
    assert estimate(1024, 2048, mirror=True) < 1.2 * whole
    # A window bounds the pass; image and scores stay.
    windowed = estimate(20000, 20000, window=832)
    assert windowed < 4e8 * (4 * 19 * 2 + 24) + 2e3 * 832**2
    assert windowed < estimate(20000, 20000) / 5


@pytest.mark.parametrize(
    "options", [{}, {"window": 32}, {"base_size": 10**6, "window": 32}, {"base_size": 10**5}]
)
def test_too_little_memory_is_said_in_keywords(model, rng, monkeypatch, options):
    monkeypatch.setattr("data.system.memory.available_memory", lambda: 10**5)
    image = random_image(rng, 200, 300)
    with pytest.raises(InputError, match=r"the image is 300x200, which takes about .*; ") as error:
        predict_edges(model, image, **options)
    advice = str(error.value).partition("; ")[2]
    assert advice == ("give a smaller base_size" if options.get("base_size") else "make it smaller")


@pytest.mark.parametrize("window", [None, 64])
def test_too_little_memory_for_the_net_is_said_in_keywords(model, rng, monkeypatch, window):
    monkeypatch.setattr("data.system.memory.available_memory", lambda: 4 * 10**6)
    with pytest.raises(InputError, match=r"the image is 300x200, which takes about .*; ") as error:
        predict_edges(model, random_image(rng, 200, 300), window=window)
    advice = str(error.value).partition("; ")[2]
    assert advice == ("" if window else "cut it up with window=N, or ") + "give a smaller base_size"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_is_one_line_with_advice(rng, error):
    with pytest.raises(InputError, match=r"48x40 image does not fit .* window=N .* base_size"):
        predict_edges(Failing(error).eval(), random_image(rng, 40, 48))


def test_other_errors_of_the_net_are_not_hidden(rng):
    model = Failing(RuntimeError("sizes of tensors must match")).eval()
    with pytest.raises(RuntimeError, match="must match"):
        predict_edges(model, random_image(rng, 40, 48))


def test_quantize_is_the_published_score(tmp_path, rng):
    prob = np.array([[0, 0.5, 1, 0.25, 1 / 65536, 0.49 / 65536, 0.99999]], np.float32)
    assert quantize(prob).tolist() == [[0, 32768, 65535, 16384, 1, 0, 65535]]
    prob = rng.random((3, 8, 9), np.float32)
    stored = quantize(prob)
    assert stored.tolist() == [
        [[min(round(float(p) * 65536), 65535) for p in row] for row in plane] for plane in prob
    ]
    write_png(tmp_path / "score.png", stored[1])
    assert np.abs(dequantize(read_index(tmp_path / "score.png")) - prob[1]).max() <= 1 / 65536


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "toaster", "meta"):
        with pytest.raises(InputError, match=f"--device {name}"):
            pick_device(name)


class Ramp(nn.Module):
    """A net that sees where in its input a pixel lies, so that windows matter.

    logits = scaled channels + column / 20 - row / 30.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([[[[1.0]], [[-0.5]], [[2.0]]]]))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen.append(tuple(image.shape))
        rows, columns = (torch.arange(side, dtype=torch.float32) for side in image.shape[2:])
        logits = image * self.scale + columns / 20 - rows[:, None] / 30
        return {"seg": logits, "fuse": logits}


def windows_by_hand(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    """Windows along an axis as published: step by step, the last one moved back to the border."""
    step, start, found = math.ceil(side * (1 - overlap)), 0, []
    while True:
        if start + side >= length:
            return [*found, (max(0, length - side), length)]
        found.append((start, start + side))
        start += step


def averaged_by_hand(
    image: np.ndarray,
    *,
    window: int | None,
    scales: tuple[float, ...],
    mirror: bool,
    overlap: float = 1 / 3,
    edges: bool = False,
    quirks: bool = False,
) -> np.ndarray:
    """Mean scores of `Ramp`, float64 (3, H, W), window by window, without PyTorch."""
    height, width = image.shape[:2]
    per_scale = []
    for scale in scales:
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        scaled = (
            image
            if scale == 1
            else np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        )
        h, w = scaled.shape[:2]
        side = None if window is None else int(window * max(scale, 1))
        views = []
        for flipped in (False, True) if mirror else (False,):
            seen = np.fliplr(scaled) if flipped else scaled
            total, count = np.zeros((3, h, w)), np.zeros((3, h, w))
            for top, bottom in [(0, h)] if side is None else windows_by_hand(h, side, overlap):
                for left, right in [(0, w)] if side is None else windows_by_hand(w, side, overlap):
                    crop = seen[top:bottom, left:right]
                    rows, columns = np.mgrid[: bottom - top, : right - left]
                    normal = (crop / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
                    logits = (normal * [1, -0.5, 2]).transpose(2, 0, 1) + columns / 20 - rows / 30
                    total[:, top:bottom, left:right] += (
                        1 / (1 + np.exp(-logits)) if edges else logits
                    )
                    count[
                        (slice(top, bottom), slice(left, right))
                        if quirks
                        else np.s_[:, top:bottom, left:right]
                    ] += 1
            mean = total / count
            views.append(mean[:, :, ::-1] if flipped else mean)
        aligned = window is None and not edges
        per_scale.append(
            [resized_by_hand(plane, (height, width), aligned) for plane in np.mean(views, axis=0)]
        )
    return np.mean(per_scale, axis=0)


def resized_by_hand(plane: np.ndarray, size: tuple[int, int], aligned: bool) -> np.ndarray:
    """Bilinear, axis by axis; `aligned` puts the first and last pixels onto each other."""
    for axis in (0, 1):
        old, new = plane.shape[axis], size[axis]
        at = (
            np.linspace(0, old - 1, new)
            if aligned
            else ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
        )
        plane = np.apply_along_axis(
            lambda line, at=at: np.interp(at, np.arange(len(line)), line), axis, plane
        )
    return plane


# Landscape, one pixel more than a window and than two, portrait, smaller than the window, one row.
SIZES = [(64, 97), (33, 54), (101, 40), (20, 25), (1, 90)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("window", "scales", "mirror"),
    [
        (32, (1.0,), False),
        (32, (1.0,), True),
        (32, (0.5, 1.0, 1.5), True),
        (None, (1.0, 1.25, 2.0), True),
    ],
)
def test_windows_scales_and_mirror_equal_a_plain_loop(rng, size, window, scales, mirror):
    image = random_image(rng, *size)
    model = Ramp().eval()
    options = {"window": window, "scales": scales, "mirror": mirror}
    expected = averaged_by_hand(image, **options)
    scores = predict_scores(model, image, **options)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=2e-5)
    labels = predict_labels(model, image, **options)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, scores.argmax(axis=0))
    edges = predict_edges(model, image, **options)
    np.testing.assert_allclose(edges, averaged_by_hand(image, **options, edges=True), atol=2e-5)


@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_batches_of_windows_give_the_same_numbers(rng, batch_size):
    image = random_image(rng, 70, 85)
    options = {"window": 32, "mirror": True, "scales": (0.5, 1.0), "overlap": 0.5}
    one, model = predict_scores(Ramp().eval(), image, **options), Ramp().eval()
    np.testing.assert_array_equal(
        predict_scores(model, image, **options, batch_size=batch_size), one
    )
    assert max(shape[0] for shape in model.seen) <= batch_size
    assert model.seen[0][0] == min(
        batch_size, 2 * 2 * 2
    )  # at half size: 2x2 windows, and those of the mirror image


def test_published_windows_of_a_cityscapes_image(rng):
    """832 pixels that overlap by a third: at 0, 555, 1110 and 1216 across, at 0 and 192 down."""
    assert windows_by_hand(2048, 832, 1 / 3) == [(0, 832), (555, 1387), (1110, 1942), (1216, 2048)]
    model = Ramp().eval()
    predict_labels(model, random_image(rng, 64, 128), window=52, batch_size=8)  # a sixteenth of it
    assert model.seen == [(8, 3, 52, 52)]


@pytest.mark.parametrize("size", [(64, 97), (34, 80)])
def test_quirks_count_windows_as_published(rng, size):
    """`counts[rows, columns] += 1` in an array (class, row, column).

    At one scale that only multiplies each row's logits.
    """
    image, model = random_image(rng, *size), Ramp().eval()
    options: dict[str, Any] = {"window": 32, "scales": (0.5, 1.0, 1.5), "mirror": True}
    published = predict_scores(model, image, **options, quirks=True)
    np.testing.assert_allclose(
        published, averaged_by_hand(image, **options, quirks=True), atol=5e-5
    )
    assert np.abs(published - predict_scores(model, image, **options)).max() > 0.1
    with pytest.raises(InputError, match="portraits"):
        predict_labels(model, random_image(rng, 80, 40), window=32, quirks=True)


def test_base_size_comes_before_the_scales(rng):
    ramp = np.linspace(0, 255, 90).astype(np.uint8)
    image = np.repeat(np.repeat(ramp[None, :, None], 60, 0), 3, 2)
    model = Ramp().eval()
    scores = predict_scores(model, image, base_size=45, scales=(1.0, 2.0))
    assert [shape[2:] for shape in model.seen] == [(32, 45), (60, 90)]  # 30 rows are padded to 32
    assert scores.shape == (3, 60, 90)


def test_half_precision_stays_near(rng):
    image = random_image(rng, 40, 50)
    net = nn.Conv2d(3, 3, 3, padding=1)

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.dtype = torch.float32

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(image)
            self.dtype = logits.dtype
            return {"seg": logits}

    model = Small().eval()
    whole = predict_scores(model, image)
    assert model.dtype == torch.float32
    half = predict_scores(model, image, half=True)
    assert model.dtype == torch.bfloat16
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, whole, atol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scales": ()}, "scales"),
        ({"scales": (1.0, 0.0)}, "scales"),
        ({"overlap": 1.0}, "overlap"),
        ({"window": 16}, "window 16: expected 32"),
        ({"batch_size": 0}, "batch size"),
        ({"base_size": -1}, "base size"),
        ({"max_pixels": 0}, "max pixels 0: expected 1 or more"),
        ({"max_pixels": 1.5}, "max pixels 1.5"),
        ({"scales": (10**5000,)}, "scales .above 1000000000.: expected one"),
        ({"window": 10**5000}, "window above 1000000000: expected"),
        ({"base_size": 10**5000}, "base size above 1000000000: expected"),
        ({"base_size": -(10**5000)}, "base size below 0: expected"),
        ({"batch_size": 10**5000}, "batch size above 1000000000: expected"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(InputError, match=words):
        InferenceOptions(**options)
