"""From the canvas to an image: texture, lens, light, noise, and Cityscapes' black frame."""

import cv2
import numpy as np

from data.scenes.canvas import BY_NAME, Canvas
from data.scenes.choices import SceneRandom

# How strongly fine and coarse texture show on a class, in grey levels; 10 where nothing is said.
TEXTURE = {
    "sky": (1, 8),
    "vegetation": (46, 34),
    "terrain": (34, 30),
    "road": (12, 22),
    "sidewalk": (14, 18),
    "building": (9, 16),
    "wall": (16, 14),
}
BORDER = BY_NAME["rectification border"].id
OUT_OF_ROI = BY_NAME["out of roi"].id


def expose(rng: SceneRandom, canvas: Canvas) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn a drawn canvas into (image, label, instance) of half its size.

    Texture and lens, then reduction by two, light and noise, then the frame of Cityscapes'
    rectified images.
    """
    height, width = canvas.label.shape
    image = canvas.image.astype(np.int16)
    for scale, which in ((1, 0), (2, 0), (8, 1), (32, 1)):
        strength = np.full(256, 10, np.int16)
        for name, amounts in TEXTURE.items():
            strength[BY_NAME[name].id] = amounts[which]
        image += (_cloud(rng, width, height, scale) * strength[canvas.label] >> 8)[:, :, None]
    # Each pixel is the mean of four; a label has no mean, so it is that of the lower right one.
    image = image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]
    image = _light(rng, np.clip(image >> 2, 0, 255).astype(np.int32))
    label, instance = canvas.label[1::2, 1::2].copy(), canvas.instance[1::2, 1::2].copy()
    return _frame(image, label, instance)


def _cloud(rng: SceneRandom, width: int, height: int, scale: int) -> np.ndarray:
    """Smooth random int16 (height, width) of -128..127 with spots of about `scale` pixels."""
    coarse = rng.generator.integers(
        0, 256, (height // scale + 2, width // scale + 2), dtype=np.uint8
    )
    # Only the EXACT form of this resize gives the same bits on every processor.
    size = (coarse.shape[1] * scale, coarse.shape[0] * scale)
    fine = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR_EXACT)[:height, :width]
    return fine.astype(np.int16) - 128


def _light(rng: SceneRandom, image: np.ndarray) -> np.ndarray:
    """Exposure, colour cast, brightness that falls off to one side, blur and sensor noise.

    int (H, W, 3) -> uint8 (H, W, 3).
    """
    height, width = image.shape[:2]
    across, down = rng.whole(-50, 50), rng.whole(-30, 30)
    slope = across * np.arange(width)[None] // width + down * np.arange(height)[:, None] // height
    exposure = rng.whole(200, 300)
    cast = np.array([rng.whole(-14, 14) for _ in range(3)])
    image = image * (exposure + slope[:, :, None] + cast) >> 8
    if rng.chance(0.5):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        rows = padded[:-2] + 6 * padded[1:-1] + padded[2:]
        image = (rows[:, :-2] + 6 * rows[:, 1:-1] + rows[:, 2:]) >> 6
    grain = [rng.generator.integers(-6, 7, image.shape, dtype=np.int16) for _ in range(2)]
    return np.clip(image + (grain[0] + grain[1]) * rng.whole(3, 10) // 10, 0, 255).astype(np.uint8)


def _frame(
    image: np.ndarray, label: np.ndarray, instance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mark the frame, in place: a black border left and above, out of roi right and below."""
    rim = max(1, label.shape[0] // 80)
    for ids in (label, instance):
        ids[-rim:] = OUT_OF_ROI
        ids[:, -rim:] = OUT_OF_ROI
        ids[: rim // 2 + 1] = BORDER
        ids[:, :rim] = BORDER
    image[label == BORDER] = 0
    return image, label, instance
