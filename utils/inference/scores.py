"""Maps of scores: resizing them, and the 16-bit digits in which they are stored and counted."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# A stored score s of a 16-bit PNG means s / 65536, as DFF published its predictions.
SCORE_STEPS = 65536


def resize_scores(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, K, h, w) -> (N, K, H, W) for `size` = (H, W): bilinear, by area when it shrinks."""
    if scores.shape[-2:] == size:
        return scores
    return F.interpolate(scores, size=size, mode="bilinear", antialias=True)


def resize_by_class(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """`resize_scores` of one image, (K, h, w) -> (K, H, W), one class at a time.

    Interpolating all classes at once keeps a second map of all of them while it works along the
    first axis.
    """
    if scores.shape[1:] == size:
        return scores
    resized = torch.empty((len(scores), *size), device=scores.device)
    for k in range(len(scores)):
        resized[k] = resize_scores(scores[k, None, None], size)[0, 0]
    return resized


def quantize(prob: np.ndarray) -> np.ndarray:
    """Probabilities 0..1 -> uint16 as stored in a 16-bit PNG.

    stored / 65536 is the score, so 1.0 becomes 65535.
    """
    return np.minimum(np.rint(prob * np.float32(SCORE_STEPS)), SCORE_STEPS - 1).astype(np.uint16)


def dequantize(stored: np.ndarray) -> np.ndarray:
    """uint16 scores -> float32 probabilities, exactly stored / 65536."""
    return stored.astype(np.float32) / np.float32(SCORE_STEPS)
