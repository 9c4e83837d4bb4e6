"""Images that are too large for a network, refused before they are decoded.

On a CPU a process that takes more memory than there is gets killed without a word, so what an image
will take is estimated. On a GPU an allocation that fails is an error like others, which
`memory_errors` turns into one line; there only the image itself is looked at.
"""

import math
from pathlib import Path

from data.errors import InputError
from data.system.memory import require_memory
from utils.checkpoint import ModelInfo
from utils.inference.options import InferenceOptions

# Peak memory of a forward pass on a CPU, in bytes for each pixel of the image: the peak of the
# resident set at 512x512 (PyTorch 2.14, one thread, faster forms). Measured and, in brackets, what
# `pass_bytes` says. Edges: DFF-ResNet-18 568 with 3 classes (600) and 1354 with 19 (1310),
# DFF-ResNet-50 1644 (1650) and 1887 (1940), DFF-ResNet-101 1950, CASENet-ResNet-50 1555 with 19.
# Segmentation, 19 classes: FCN-ResNet-18 588 (676), with ResNet-50 (1346) PSPNet 1220, DeepLabV3+
# 983, GFFNet 1269, decoupled DeepLabV3+ 1107; DeepLabV3+ with WiderResNet-38 2114 (2076).
BASIC_BLOCKS = ("resnet18", "resnet34")
WIDER_BYTES = 2000
BASIC_BYTES, BOTTLENECK_EDGE_BYTES, BOTTLENECK_SEG_BYTES = 600, 1650, 1270
# The heads of edge nets: what is left of the backbone by then, and twelve maps for each class.
LEFT_SHARE = 0.6
HEAD_BYTES = 50
FLOAT = 4
IMAGE_BYTES = 12  # of each pixel of an image, as it is read and as it is resized or drawn


def require_fitting(
    size: tuple[int, int],
    path: str | Path | None,
    info: ModelInfo,
    options: InferenceOptions,
    device: str,
) -> None:
    """InputError if an image may not go through a net.

    Args:
        size: (H, W) of the image.
        path: of its file; None: it is an array.
        info: of the net.
        options: how it would go through; with `max_pixels` the forward pass is not estimated.
        device: the kind of device that computes.
    """
    height, width = size
    what = f"{path}: the image" if path else "the image"
    if options.max_pixels is not None and height * width > options.max_pixels:
        raise InputError(
            f"{what} is {width}x{height}, {height * width:,} pixels, more than --max-pixels "
            f"{options.max_pixels:,}; make it smaller, or give a larger number"
        )
    what = f"{what} is {width}x{height}, which"
    enlarged = options.base_size > max(size)
    needed = bytes_on_host(size, info, options)
    require_memory(needed, what, "give a smaller --base-size" if enlarged else "make it smaller")
    if device == "cpu" and options.max_pixels is None:
        needed += bytes_of_pass(size, info, options)
        advice = "cut it up with --window N, or " if options.window is None else ""
        require_memory(needed, what, f"{advice}give a smaller --base-size")


def bytes_on_host(size: tuple[int, int], info: ModelInfo, options: InferenceOptions) -> float:
    """Memory of the image, as it is and as it is resized, and of the scores at its size."""
    height, width = size
    pixels = height * width
    image = IMAGE_BYTES * (pixels + _net_pixels(size, options) * max(1.0, *options.scales) ** 2)
    scores = FLOAT * info.num_classes * pixels
    return image + scores


def bytes_of_pass(size: tuple[int, int], info: ModelInfo, options: InferenceOptions) -> float:
    """Memory of the largest forward pass and of the scores that are added up meanwhile."""
    largest = max(1.0, *options.scales)
    net = _net_pixels(size, options) * largest**2
    views = 2 if options.mirror else 1
    windows: float = views
    in_pass = net
    if options.window is not None:
        in_pass = min(net, (options.window * largest) ** 2)
        windows = views * max(1, math.ceil(net / in_pass))
    summed = FLOAT * info.num_classes * net * (0 if windows == 1 else 1)
    if len(options.scales) > 1:
        summed += FLOAT * info.num_classes * _net_pixels(size, options)
    return pass_bytes(info) * in_pass * min(options.batch_size, windows) + summed


def pass_bytes(
    info: ModelInfo, *, engine: str = "torch", fast: bool = True, half: bool = False
) -> float:
    """Bytes of a forward pass for each pixel."""
    edges = info.task == "edge"
    own = BOTTLENECK_EDGE_BYTES if edges else BOTTLENECK_SEG_BYTES
    if info.backbone in BASIC_BLOCKS:
        own = BASIC_BYTES
    elif info.backbone == "wider_resnet38":
        own = WIDER_BYTES
    if edges:
        return max(own, LEFT_SHARE * own + HEAD_BYTES * info.num_classes)
    return own + FLOAT * info.num_classes


def _net_pixels(size: tuple[int, int], options: InferenceOptions) -> float:
    """The pixels of an image after `base_size`."""
    shrink = options.base_size / max(size) if options.base_size else 1.0
    return size[0] * size[1] * shrink**2
