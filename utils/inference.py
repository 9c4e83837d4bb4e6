"""From a picture to edge probabilities per class: the one way that validation, test.py and predict.py share."""

import contextlib
from collections.abc import Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.base import InputError
from data.transforms import MEAN, STD, resize_long_side

MIN_SIDE = 32  # the smallest side that every net takes (models.build_model's contract)
SCORE_STEPS = 65536  # a stored score s of a 16-bit PNG means s / 65536, as DFF published its predictions


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto": a GPU if there is one, else the CPU. InputError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name}: no such kind of device; use auto, cpu, cuda or cuda:1") from error
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise InputError(f"--device {name}: PyTorch finds {gpus} CUDA devices here; use --device cpu or auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"--device {name}: PyTorch finds no Metal device here; use --device cpu or auto")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"--device {name}: only auto, cpu, cuda and mps are supported")
    return device


def normalize(image: np.ndarray | Tensor) -> Tensor:
    """uint8 (H, W, 3) or (N, H, W, 3), RGB -> float32 (N, 3, H, W), what the nets take; on the tensor's own device."""
    image = torch.as_tensor(image)
    batch = (image[None] if image.ndim == 3 else image).permute(0, 3, 1, 2)
    mean, std = (torch.as_tensor(v, dtype=torch.float32, device=batch.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return batch.to(torch.float32, memory_format=torch.contiguous_format).div_(255).sub_(mean).div_(std)


def predict_edges(
    model: nn.Module,
    image: np.ndarray,
    *,
    device: torch.device | str | None = None,
    base_size: int = 0,
    output: str = "fuse",
    native: bool = False,
) -> np.ndarray:
    """Probability of an edge of each class: float32 (K, H, W), at the picture's own size unless `native`.

    model: in eval mode, moved to `device` (None: it stays where it is). image: uint8 (H, W, 3), RGB, of any size.
    base_size: long side in pixels to which the picture is resized for the net, 0 = as it is; the probabilities are
    resized back bilinearly (averaged when they shrink), or left at the net's size if `native`. output: which logits,
    "fuse" or "side5". A side below 32 pixels is padded by repeating the border, which draws no edge, and cropped again.
    """
    if model.training:
        raise ValueError("predict_edges wants model.eval(): batch norm must use its running statistics")
    if device is None:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    picture = resize_long_side(image, base_size)
    height, width = picture.shape[:2]
    with torch.inference_mode(), memory_errors(device, picture):
        net_input = normalize(torch.from_numpy(_pad(picture)).to(device))
        prob = torch.sigmoid(model.to(device)(net_input)[output].float())[:, :, :height, :width]
        if not torch.isfinite(prob).all():
            raise InputError("the net's output is not finite: the checkpoint is damaged or its training diverged")
        return (prob if native else resize_scores(prob, image.shape[:2]))[0].cpu().numpy()


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
def memory_errors(device: torch.device | str, picture: np.ndarray) -> Iterator[None]:
    """Turn "out of memory", which PyTorch reports in a page of advice, into one line that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        if torch.device(device).type == "cuda":
            torch.cuda.empty_cache()
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        raise InputError(
            f"a {size} picture does not fit into the memory of {device}; shrink it with --base-size or use --device cpu"
        ) from error


def _pad(image: np.ndarray) -> np.ndarray:
    """Repeat the last row and column until both sides have MIN_SIDE pixels; contiguous."""
    below, right = (max(0, MIN_SIDE - side) for side in image.shape[:2])
    if below or right:
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(image)
