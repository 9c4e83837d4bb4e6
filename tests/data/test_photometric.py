"""Colour jitter and blur, against Pillow and scikit-image, which the published code calls."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from skimage.filters import gaussian

from data.samples import photometric
from data.samples.transforms import MEAN_COLOR, Augmentation, Window, extract_crop, jitter_and_blur


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """Smooth colours of all hues, with some noise."""
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((80, 60), Image.BICUBIC)) // 2 + rng.integers(
        0, 128, (60, 80, 3), np.uint8
    )


@pytest.mark.parametrize("factor", [0.0, 0.75, 1.0, 1.25, 2.0])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (photometric.brightness, ImageEnhance.Brightness),
        (photometric.contrast, ImageEnhance.Contrast),
        (photometric.saturation, ImageEnhance.Color),
    ],
)
def test_factors_mean_what_they_mean_in_pillow(
    ours, theirs, factor: float, image: np.ndarray
) -> None:
    expected = np.asarray(theirs(Image.fromarray(image)).enhance(factor)).astype(int)
    difference = np.abs(ours(image, factor).astype(int) - expected)
    assert difference.max() <= 2
    if factor == 1:
        assert not difference.any()


@pytest.mark.parametrize("turn", [-0.25, -0.1, 0.0, 0.2])
def test_hue_turns_as_in_pillow(turn: float, image: np.ndarray) -> None:
    """Both go through eight bits of hue and back, rounding differently on the way."""
    hue, saturation, value = Image.fromarray(image).convert("HSV").split()
    turned = Image.fromarray(
        ((np.asarray(hue).astype(int) + int(turn * 255)) % 256).astype(np.uint8)
    )
    expected = np.asarray(Image.merge("HSV", (turned, saturation, value)).convert("RGB")).astype(
        int
    )
    difference = np.abs(photometric.hue(image, turn).astype(int) - expected)
    assert difference.mean() < 1.5
    assert difference.max() <= 12


def test_blur_is_scikit_images(image: np.ndarray) -> None:
    sigma = np.random.default_rng(5).uniform(*photometric.SIGMA)
    expected = gaussian(image, sigma=sigma, channel_axis=-1) * 255
    assert np.abs(photometric.blur(image, np.random.default_rng(5)) - expected).max() <= 1.5


def test_jitter_is_a_function_of_its_generator(image: np.ndarray) -> None:
    def jittered(seed: int) -> np.ndarray:
        return photometric.jitter(image, 0.25, np.random.default_rng(seed))

    np.testing.assert_array_equal(jittered(1), jittered(1))
    assert len({jittered(seed).tobytes() for seed in range(10)}) == 10


@pytest.mark.parametrize("mirror", [False, True])
def test_padding_keeps_its_colour_and_the_image_changes(mirror: bool, image: np.ndarray) -> None:
    crop = extract_crop(image, (), Window((60, 80), 0, 20, mirror), 70)
    before = crop.image.copy()
    jitter_and_blur(crop, Augmentation(0, 70, color=0.25, blur=True), np.random.default_rng(0))
    inside = np.zeros((70, 70), bool)
    inside[:60, :60] = True
    inside = inside[:, ::-1] if mirror else inside
    assert (crop.image[~inside] == MEAN_COLOR).all()
    assert (crop.image[inside] != before[inside]).mean() > 0.5


def test_without_colour_and_blur_nothing_changes(image: np.ndarray) -> None:
    crop = extract_crop(image, (), Window((60, 80), 0, 0, False), 48)
    before = crop.image.copy()
    state = np.random.default_rng(0)
    jitter_and_blur(crop, Augmentation(0, 48), state)
    np.testing.assert_array_equal(crop.image, before)
    assert state.bit_generator.state == np.random.default_rng(0).bit_generator.state
