"""Scores of an image, averaged over windows, the mirror image and scales.

As in the published evaluation (`eval.py` of GSCNN and DecoupleSegNets), logits and not
probabilities are averaged over the windows that overlap in a pixel, then over an image and its
mirror image, then over scales. Pillow's bilinear filter scales the image; logits are scaled back
bilinearly, in whole-image inference with aligned corners. For edges nothing is published (DFF's
multi-scale evaluator is unfinished): there, probabilities are averaged.

Memory: one map of scores at the output's size, one at the size of the current scale, and what a
batch of windows takes.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from utils.inference.options import InferenceOptions
from utils.inference.sliding_window import Windows, cover_image

Scores = dict[str, Tensor]  # by output of the network
# N crops uint8 (h, w, 3) of one size -> their scores float32 (N, K, h, w), on the network's device.
Forward = Callable[[list[np.ndarray]], Scores]


def mean_scores(
    forward: Forward,
    image: np.ndarray,
    options: InferenceOptions,
    *,
    align_corners: Mapping[str, bool],
) -> Scores:
    """Mean scores of an image, at its size: float32 (K, h, w) of each output.

    Args:
        forward: the network, from crops to scores of one or several outputs.
        image: uint8 (h, w, 3), already at `options.base_size`.
        options: windows, scales and mirror image.
        align_corners: how the scores of a scaled image are resized back to (h, w), by output.
    """
    size = image.shape[:2]
    totals: Scores = {}
    for scale in options.scales:
        found = _scores_at_scale(forward, _scaled(image, scale), scale, options)
        while found:  # a map is dropped once it is added, before the next scale makes its own
            name, scores = found.popitem()
            if name not in totals and scores.shape[1:] == size:
                totals[name] = scores
                continue
            if name not in totals:
                totals[name] = scores.new_zeros((len(scores), *size))
            _add_resized(totals[name], scores, align_corners[name])
            del scores
    if len(options.scales) > 1:
        for total in totals.values():
            total.div_(len(options.scales))
    return totals


def _add_resized(total: Tensor, scores: Tensor, align_corners: bool) -> None:
    """Add scores (K, h', w') to (K, h, w) in place, by class: no second map of all is held."""
    size = total.shape[1:]
    for k in range(len(total)):
        total[k] += F.interpolate(
            scores[k, None, None], size=size, mode="bilinear", align_corners=align_corners
        )[0, 0]


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """The image at `scale` of its size, sides rounded down as published."""
    if scale == 1:
        return image
    height, width = (max(1, int(side * scale)) for side in image.shape[:2])
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _scores_at_scale(
    forward: Forward, image: np.ndarray, scale: float, options: InferenceOptions
) -> Scores:
    """Mean scores (K, h, w) of an image scaled by `scale`, over windows and the mirror image."""
    size = image.shape[:2]
    # Windows grow with the image at scales above 1, but do not shrink below it: as published.
    side = None if options.window is None else int(options.window * max(1.0, scale))
    windows = cover_image(size, side, options.overlap)
    views = (image, image[:, ::-1]) if options.mirror else (image,)
    places = windows.places(len(views))
    totals: Scores = {}
    for first in range(0, len(places), options.batch_size):
        batch = places[first : first + options.batch_size]
        crops = [
            views[view][top : top + windows.height, left : left + windows.width]
            for view, top, left in batch
        ]
        found = forward(crops)
        if len(places) == 1:
            return {name: scores[0] for name, scores in found.items()}
        while found:  # a map is dropped once it is added, before the next batch makes its own
            name, scores = found.popitem()
            if name not in totals:
                totals[name] = scores.new_zeros((scores.shape[1], *size))
            for number, (view, top, left) in enumerate(batch):
                share = _share(windows, top, left, scores.shape[1], options.quirks) / len(views)
                _add_window(totals[name], scores[number], share, top, left, mirrored=view == 1)
            del scores
    return totals


def _share(windows: Windows, top: int, left: int, num_classes: int, quirks: bool) -> np.ndarray:
    """Weight of a window's scores, float32, broadcasts to (num_classes, height, width)."""
    return windows.published_share(num_classes, top) if quirks else windows.share(top, left)


def _add_window(
    total: Tensor, scores: Tensor, share: np.ndarray, top: int, left: int, *, mirrored: bool
) -> None:
    """Add share * scores of the window at (top, left), in the mirror image if `mirrored`."""
    weight = torch.from_numpy(share).to(total.device)
    height, width = scores.shape[1:]
    if mirrored:  # its window from `left` on lies in the image as far from the right border
        left = total.shape[2] - left - width
        scores = scores.flip(-1)
        weight = weight.flip(-1)
    total[:, top : top + height, left : left + width].addcmul_(scores, weight)
