"""utils.inference: from a picture to probabilities, against the formulas written as loops."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from data.base import InputError, read_index, write_png
from utils.inference import dequantize, normalize, pick_device, predict_edges, quantize


class Tint(nn.Module):
    """A net that is easy to redo by hand: class k's logit is channel k of the normalised picture, plus k."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.arange(3.0).view(1, 3, 1, 1))
        self.seen: tuple[int, ...] = ()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen = tuple(image.shape)
        return {"fuse": image + self.shift, "side5": image - self.shift}


@pytest.fixture
def model() -> Tint:
    return Tint().eval()


def by_hand(image: np.ndarray) -> np.ndarray:
    """Probabilities of `Tint`, float64 (3, H, W), pixel by pixel."""
    prob = np.empty((3, *image.shape[:2]))
    for k, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        prob[k] = 1 / (1 + np.exp(-((image[:, :, k] / 255 - mean) / std + k)))
    return prob


def random_image(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def test_normalize_one_picture_and_a_batch(rng):
    images = rng.integers(0, 256, (2, 5, 7, 3), np.uint8)
    batch = normalize(images)
    assert batch.shape == (2, 3, 5, 7)
    assert batch.dtype == torch.float32
    expected = (images[1, 2, 3] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(batch[1, :, 2, 3].numpy(), expected, rtol=1e-5)
    assert torch.equal(normalize(images[1])[0], batch[1])
    assert torch.equal(normalize(torch.from_numpy(images)), batch)


def test_probabilities_at_the_picture_s_size(model, rng):
    image = random_image(rng, 33, 47)
    prob = predict_edges(model, image)
    assert prob.dtype == np.float32
    np.testing.assert_allclose(prob, by_hand(image), atol=1e-6)


def test_output_chooses_the_logits(model, rng):
    image = random_image(rng, 32, 32)
    fuse, side5 = predict_edges(model, image), predict_edges(model, image, output="side5")
    np.testing.assert_allclose(np.log(fuse / (1 - fuse))[2] - np.log(side5 / (1 - side5))[2], 4, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (20, 70), (64, 31)])
def test_small_pictures_are_padded_for_the_net_and_cropped_again(model, rng, size):
    image = random_image(rng, *size)
    np.testing.assert_allclose(predict_edges(model, image), by_hand(image), atol=1e-6)
    assert min(model.seen[2:]) >= 32


@pytest.mark.parametrize(("size", "base_size", "net_size"), [((60, 90), 45, (32, 45)), ((40, 50), 100, (80, 100))])
def test_base_size_resizes_the_picture_and_the_probabilities_back(model, size, base_size, net_size):
    ramp = np.linspace(0, 255, size[1]).astype(np.uint8)
    image = np.repeat(np.repeat(ramp[None, :, None], size[0], 0), 3, 2)  # smooth: resizing and back changes little
    prob = predict_edges(model, image, base_size=base_size)
    assert model.seen[2:] == net_size
    assert prob.shape == (3, *size)
    np.testing.assert_allclose(prob[:, 2:-2, 2:-2], by_hand(image)[:, 2:-2, 2:-2], atol=0.02)


def test_native_keeps_the_size_of_the_net(model, rng):
    image = random_image(rng, 80, 120)
    prob = predict_edges(model, image, base_size=60, native=True)
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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_is_one_line_with_advice(model, rng, monkeypatch, error):
    def forward(_image: torch.Tensor) -> None:
        raise error

    monkeypatch.setattr(model, "forward", forward)
    with pytest.raises(InputError, match=r"48x40 picture does not fit .* --base-size"):
        predict_edges(model, random_image(rng, 40, 48))


def test_other_errors_of_the_net_are_not_hidden(model, rng, monkeypatch):
    def forward(_image: torch.Tensor) -> None:
        raise RuntimeError("sizes of tensors must match")

    monkeypatch.setattr(model, "forward", forward)
    with pytest.raises(RuntimeError, match="must match"):
        predict_edges(model, random_image(rng, 40, 48))


def test_quantize_is_the_published_score(tmp_path, rng):
    prob = np.array([[0, 0.5, 1, 0.25, 1 / 65536, 0.49 / 65536, 0.99999]], np.float32)
    assert quantize(prob).tolist() == [[0, 32768, 65535, 16384, 1, 0, 65535]]
    prob = rng.random((3, 8, 9), np.float32)
    stored = quantize(prob)
    assert stored.tolist() == [[[min(round(float(p) * 65536), 65535) for p in row] for row in plane] for plane in prob]
    write_png(tmp_path / "score.png", stored[1])
    assert np.abs(dequantize(read_index(tmp_path / "score.png")) - prob[1]).max() <= 1 / 65536


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "toaster", "meta"):
        with pytest.raises(InputError, match=f"--device {name}"):
            pick_device(name)
