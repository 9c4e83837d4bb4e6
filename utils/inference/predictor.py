"""From an image to scores per class: the one way that validation, test.py and predict.py share, for both tasks.

Averaging is that of the published evaluation (GSCNN's and DecoupleSegNets' `eval.py`): logits, not probabilities, are averaged over the
windows that overlap in a pixel, then over an image and its mirror image, then over scales. Windows have `window` pixels, at scales above 1
that times the scale; their step is ceil(window * (1 - overlap)), and the last one is moved back to the border. Images are scaled by
Pillow's bilinear filter, to whole pixels rounded down; logits are scaled back bilinearly, in whole-image inference with aligned corners.
The published code counts overlaps along the wrong axes, which weighs scales unevenly from row to row and changes nothing at one scale. Here
each window counts as one; `quirks` counts as published.

Memory: one map of scores at the output's size, one at the size of the scale in hand, and what a batch of windows takes.

For edges nothing is published (DFF's multi-scale evaluator is unfinished): there, probabilities are averaged.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from data.errors import InputError
from data.samples.transforms import normalize, resize_long_side
from utils.inference.sliding_window import cover

MIN_SIDE = 32  # the smallest side that every net takes (models.build_model's contract)
ModeValue = int | float | bool | tuple[float, ...] | None
SCORE_STEPS = (
    65536  # a stored score s of a 16-bit PNG means s / 65536, as DFF published its predictions
)


@dataclass(frozen=True)
class Modes:
    """How an image goes through the net.

    base_size: long side in pixels to which it is resized first, 0 = as it is. window: side of the sliding window in
    pixels; None: the whole image at once. overlap: share of a window that the next one covers again. scales: factors
    of the image's size. mirror: also the mirror image. batch_size: windows (or an image and its mirror image) that
    go through the net at once. half: 16-bit floats in the net (float16 on GPUs, bfloat16 on CPUs). quirks: weigh
    windows as the published code does (see above).
    """

    base_size: int = 0
    window: int | None = None
    overlap: float = 1 / 3
    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False
    batch_size: int = 1
    half: bool = False
    quirks: bool = False

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale <= 16 for scale in self.scales):
            raise InputError(
                f"scales {list(self.scales)}: expected one or more factors above 0, such as 0.5 1 2"
            )
        if not 0 <= self.overlap < 1:
            raise InputError(
                f"overlap {self.overlap}: expected a share of the window, from 0 to below 1"
            )
        if self.window is not None and self.window < MIN_SIDE:
            raise InputError(f"window {self.window}: expected {MIN_SIDE} pixels or more")
        if self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size}: expected 1 or more")


def predict_edges(
    model: nn.Module,
    image: np.ndarray,
    *,
    device: torch.device | str | None = None,
    output: str = "fuse",
    native: bool = False,
    **modes: ModeValue,
) -> np.ndarray:
    """Probability of an edge of each class: float32 (K, H, W), at the image's own size unless `native`.

    model: in eval mode, moved to `device` (None: it stays where it is). image: uint8 (H, W, 3), RGB, of any size. modes: see `Modes`.
    output: which logits, "fuse" or "side5". With `base_size`, the probabilities are resized back bilinearly (averaged when they shrink), or
    left at the net's size if `native`. A side below 32 pixels is padded by repeating the border, which draws no edge, and cropped again.
    """
    prob = _Runner(model, device, output, Modes(**modes), probability=True)(image)
    return (prob if native else resize_scores(prob[None], image.shape[:2])[0]).cpu().numpy()


def predict_scores(
    model: nn.Module,
    image: np.ndarray,
    *,
    device: torch.device | str | None = None,
    output: str = "seg",
    **modes: ModeValue,
) -> np.ndarray:
    """Mean logits of each class at the image's own size: float32 (K, H, W). Arguments as in `predict_edges`; modes: see `Modes`."""
    return _seg_scores(model, image, device, output, modes).cpu().numpy()


def predict_labels(
    model: nn.Module,
    image: np.ndarray,
    *,
    device: torch.device | str | None = None,
    output: str = "seg",
    **modes: ModeValue,
) -> np.ndarray:
    """The class with the highest mean logit at each pixel: uint8 (H, W), train ids. Arguments as in `predict_scores`."""
    return (
        _seg_scores(model, image, device, output, modes).argmax(dim=0).to(torch.uint8).cpu().numpy()
    )


@torch.inference_mode()
def _seg_scores(
    model: nn.Module,
    image: np.ndarray,
    device: torch.device | str | None,
    output: str,
    modes: dict[str, ModeValue],
) -> Tensor:
    """Mean logits float32 (K, H, W) on `device`, at the image's own size."""
    scores = _Runner(model, device, output, Modes(**modes), probability=False)(image)
    if scores.shape[1:] == image.shape[:2]:
        return scores
    resized = torch.empty((len(scores), *image.shape[:2]), device=scores.device)
    for k in range(len(scores)):  # one class at a time, so that no second map of that size is held
        resized[k] = resize_scores(scores[k, None, None], image.shape[:2])[0, 0]
    return resized


class _Runner:
    """A net and all that is chosen about a run. probability: average sigmoids, not logits."""

    def __init__(
        self,
        model: nn.Module,
        device: torch.device | str | None,
        output: str,
        modes: Modes,
        *,
        probability: bool,
    ) -> None:
        if model.training:
            raise ValueError(
                "inference wants model.eval(): batch norm must use its running statistics"
            )
        if device is None:
            device = next(
                (parameter.device for parameter in model.parameters()), torch.device("cpu")
            )
        self.device, self.output, self.modes, self.probability = (
            torch.device(device),
            output,
            modes,
            probability,
        )
        self.model = model.to(self.device)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> Tensor:
        """Mean scores float32 (K, h, w), at the size of the resized after `base_size`: one map, to which each scale is added."""
        resized = resize_long_side(image, self.modes.base_size)
        size = resized.shape[:2]
        aligned = self.modes.window is None and not self.probability
        total = None
        with memory_errors(self.device, resized):
            for scale in self.modes.scales:
                scores = self.at_scale(_scaled(resized, scale), scale)
                if not torch.isfinite(scores.sum()):  # one bad number spoils the sum
                    raise InputError(
                        "the net's output is not finite: the checkpoint is damaged or its training diverged"
                    )
                if total is None and scores.shape[1:] == size:
                    total = scores
                    continue
                total = (
                    torch.zeros((len(scores), *size), device=self.device)
                    if total is None
                    else total
                )
                for k in range(len(total)):  # one class at a time, as above
                    score = scores[k, None, None]
                    total[k] += F.interpolate(
                        score, size=size, mode="bilinear", align_corners=aligned
                    )[0, 0]
                del scores, score  # before the next scale makes its own
            return total.div_(len(self.modes.scales)) if len(self.modes.scales) > 1 else total

    def at_scale(self, image: np.ndarray, scale: float) -> Tensor:
        """Mean scores (K, h, w) of a scaled image (h, w, 3) over its windows and its mirror image, summed up in one map."""
        size = image.shape[:2]
        side = None if self.modes.window is None else int(self.modes.window * max(1.0, scale))
        windows = cover(size, side, self.modes.overlap)
        views = (image, image[:, ::-1]) if self.modes.mirror else (image,)
        places = windows.places(len(views))
        total = None
        for first in range(0, len(places), self.modes.batch_size):
            batch = places[first : first + self.modes.batch_size]
            crops = [
                views[v][top : top + windows.height, left : left + windows.width]
                for v, top, left in batch
            ]
            scores = self.forward(crops)
            if len(places) == 1:
                return scores[0]
            total = (
                torch.zeros((scores.shape[1], *size), device=self.device)
                if total is None
                else total
            )
            for place, (view, top, left) in enumerate(batch):
                score = scores[place]
                share = (
                    windows.published_share(len(score), top)
                    if self.modes.quirks
                    else windows.share(top, left)
                )
                share = torch.from_numpy(share / len(views)).to(self.device)
                if view:
                    left, score, share = (
                        size[1] - left - windows.width,
                        score.flip(-1),
                        share.flip(-1),
                    )
                total[:, top : top + windows.height, left : left + windows.width].addcmul_(
                    score, share
                )
            del scores, score  # before the next batch makes its own
        return total

    def forward(self, crops: list[np.ndarray]) -> Tensor:
        """Scores float32 (N, K, h, w) of crops uint8 (h, w, 3) of one size."""
        height, width = crops[0].shape[:2]
        net_input = normalize(
            torch.from_numpy(np.stack([_pad(crop) for crop in crops])).to(self.device)
        )
        dtype = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=dtype, enabled=self.modes.half):
            scores = self.model(net_input)[self.output]
        scores = scores[:, :, :height, :width].float()
        return scores.sigmoid() if self.probability else scores


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    size = [max(1, int(side * scale)) for side in image.shape[1::-1]]
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def resize_scores(prob: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, K, h, w) -> (N, K, H, W) for `size` = (H, W): bilinear, pixel areas averaged when it shrinks."""
    if prob.shape[-2:] == size:
        return prob
    return F.interpolate(prob, size=size, mode="bilinear", antialias=True)


def quantize(prob: np.ndarray) -> np.ndarray:
    """Probabilities 0..1 -> uint16 as stored in a 16-bit PNG: stored / 65536 is the score, so 1.0 becomes 65535."""
    return np.minimum(np.rint(prob * np.float32(SCORE_STEPS)), SCORE_STEPS - 1).astype(np.uint16)


def dequantize(stored: np.ndarray) -> np.ndarray:
    """uint16 scores -> float32 probabilities, exactly stored / 65536."""
    return stored.astype(np.float32) / np.float32(SCORE_STEPS)


@contextlib.contextmanager
def memory_errors(device: torch.device | str, image: np.ndarray) -> Iterator[None]:
    """Turn "out of memory", which PyTorch reports in a page of advice, into one line that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(
            error, MemoryError | torch.OutOfMemoryError
        ) and "allocate memory" not in str(error):
            raise
        if torch.device(device).type == "cuda":
            torch.cuda.empty_cache()
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise InputError(
            f"a {size} image does not fit into the memory of {device}; shrink it with --base-size, "
            "cut it up with --window, or use --device cpu"
        ) from error


def _pad(image: np.ndarray) -> np.ndarray:
    """Repeat the last row and column until both sides have MIN_SIDE pixels; contiguous."""
    below, right = (max(0, MIN_SIDE - side) for side in image.shape[:2])
    if below or right:
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(image)
