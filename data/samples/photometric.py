"""Published photometric augmentation: colour jitter, then Gaussian blur.

From Zhu et al., CVPR 2019, and DecoupleSegNets, ECCV 2020. Images are uint8 (H, W, 3), RGB. The
factors mean what they mean in Pillow's enhancers, to within a level of rounding.
"""

from collections.abc import Callable

import cv2
import numpy as np

# Standard deviation of the published blur in pixels, drawn evenly; every crop is blurred.
SIGMA = (0.15, 1.3)


def jitter(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, in a random order.

    The first three by a factor of 1 ± `amount`; hue turns by up to ± `amount` of a circle.
    """
    low, high = max(0.0, 1 - amount), 1 + amount
    steps: list[tuple[Callable[[np.ndarray, float], np.ndarray], float]] = [
        (brightness, rng.uniform(low, high)),
        (contrast, rng.uniform(low, high)),
        (saturation, rng.uniform(low, high)),
        (hue, rng.uniform(-amount, amount)),
    ]
    for number in rng.permutation(len(steps)):
        change, factor = steps[number]
        image = change(image, factor)
    return image


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian of random width, truncated at four standard deviations.

    The border is repeated outwards.
    """
    sigma = rng.uniform(*SIGMA)
    side = 2 * int(4 * sigma + 0.5) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Mix with black: 0 gives black, 1 the image, 2 twice its values."""
    return _mix_with_grey(image, 0, factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Mix with the image's mean grey: 0 gives an even grey, 1 the image."""
    mean = int(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean() + 0.5)
    return _mix_with_grey(image, mean, factor)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Mix with the grey image: 0 gives black and white, 1 the image."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.addWeighted(image, factor, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - factor, 0)


def hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn all hues by this part of a circle, -0.5 to 0.5, in whole steps of 1/255."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    table = ((np.arange(256) + int(turn * 255)) % 256).astype(np.uint8)
    hsv[..., 0] = cv2.LUT(hsv[..., 0], table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def _mix_with_grey(image: np.ndarray, grey: int, factor: float) -> np.ndarray:
    """grey + factor * (image - grey), rounded and clipped to 0..255."""
    table = np.clip(np.rint(grey + factor * (np.arange(256) - grey)), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table)
