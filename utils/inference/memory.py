"""Images that are too large for a network, refused before they are decoded.

On a CPU a process that takes more memory than there is gets killed without a word, so what an image
will take is estimated. On a GPU an allocation that fails is an error like others, which
`memory_errors` turns into one line; there only the image itself is looked at.
"""

import math
from pathlib import Path

from data.errors import InputError
from data.system.memory import require_memory
from models.backbones import is_timm
from utils.checkpoint import ModelInfo
from utils.inference.options import InferenceOptions

# Peak memory of a forward pass on a CPU above the loaded net, in bytes for each pixel of the image:
# (of any number of classes, of each class). Measured are the peaks of the resident set at 512x512,
# one run in one thread (2026-11-26, PyTorch 2.14, AMD EPYC), with 19 classes unless K is given:
#
#                                  folded  folded, bf16  definition
#   DFF-ResNet-18, K = 3              447           260         896
#   DFF-ResNet-18                     605           342        1777
#   DFF-ResNet-50, K = 3              689           499        1804
#   DFF-ResNet-101                    758           572
#   DFF-ResNet-50                     768           515        2218    (768x1024: 577, 374, 2063)
#   the same at 512x1024              587           453
#   CASENet-ResNet-50                 845           545        1636    (512x1024: 642, 395)
#   DeepLabV3+-ResNet-50              568           485        1351
#   decoupled, ResNet-18              573           427         999
#   decoupled, ResNet-50              753           516        1222    (768x1024: 651, 356, 1076)
#   PSPNet-ResNet-50                  595           427        1127
#   FCN-ResNet-18                     469           292         791
#   GFFNet-ResNet-50                 1425           829        1321    (its head has no lean form)
#
#   of timm's backbones (timm 1.0.31), by the same rule:
#   DFF-ConvNeXt-T                   1655           820        1352    (the head's plain form)
#   DFF-ViT-S/16                     1333
#   DFF-ResNet-50 of timm            1558
#   DeepLabV3+-ResNet-50 of timm     1125
#   DeepLabV3+-ConvNeXt-T             864                       860
#
# With DFF's head, both tasks in one run, DeepLabV3+-ResNet-18 took 724 folded and 1772 in its
# definition: the larger one of either task, and the other's result, which is held meanwhile.
#
# The rows below are the largest of their kind; no larger backbones of timm were measured, nor were
# their decoupled nets. Not measured in its folded form is WiderResNet-38,
# which has what the definition took, 2114.
EDGE, SEG = "edge", "seg"
BASIC, BOTTLENECK, WIDER, TIMM = "basic", "bottleneck", "wider", "timm"
FOLDED, FOLDED_HALF, DEFINITION = "folded", "folded in 16 bits", "definition"
PASS_BYTES: dict[tuple[str, str], dict[str, tuple[float, float]]] = {
    (EDGE, BASIC): {FOLDED: (420, 10), FOLDED_HALF: (245, 5), DEFINITION: (730, 55)},
    (EDGE, BOTTLENECK): {FOLDED: (660, 10), FOLDED_HALF: (515, 3), DEFINITION: (1726, 26)},
    (SEG, BASIC): {FOLDED: (500, 4), FOLDED_HALF: (390, 2), DEFINITION: (925, 4)},
    (SEG, BOTTLENECK): {FOLDED: (680, 4), FOLDED_HALF: (480, 2), DEFINITION: (1280, 4)},
    ("gffnet", BOTTLENECK): {FOLDED: (1350, 4), FOLDED_HALF: (795, 2), DEFINITION: (1280, 4)},
    (EDGE, TIMM): {FOLDED: (620, 55), FOLDED_HALF: (300, 28), DEFINITION: (620, 55)},
    (SEG, TIMM): {FOLDED: (1060, 4), FOLDED_HALF: (1060, 4), DEFINITION: (1060, 4)},
    (SEG, WIDER): {FOLDED: (2040, 4), FOLDED_HALF: (2040, 4), DEFINITION: (2040, 4)},
}
MARGIN = 1.1
BACKBONES = {"resnet18": BASIC, "resnet34": BASIC, "wider_resnet38": WIDER}
# Other engines as multiples of the definition's bytes, which for DFF-ResNet-50 at 512x1024 are 2218
# for each pixel: ONNX Runtime took 3870 with its arena, OpenVINO 2174. `compile` was not measured.
ENGINES = {"onnx": 1.75, "openvino": 1.0, "compile": 1.0}
FLOAT = 4
IMAGE_BYTES = 12  # of each pixel of an image, as it is read and as it is resized or drawn


def require_fitting(
    size: tuple[int, int],
    path: str | Path | None,
    info: ModelInfo,
    options: InferenceOptions,
    device: str,
    *,
    engine: str = "torch",
    fast: bool = True,
) -> None:
    """InputError if an image may not go through a net.

    Args:
        size: (H, W) of the image.
        path: of its file; None: it is an array.
        info: of the net.
        options: how it would go through; with `max_pixels` the forward pass is not estimated.
        device: the kind of device that computes.
        engine: the name of what computes.
        fast: of engine "torch": the net is folded.
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
        needed += bytes_of_pass(size, info, options, engine=engine, fast=fast)
        advice = "cut it up with --window N, or " if options.window is None else ""
        require_memory(needed, what, f"{advice}give a smaller --base-size")


def bytes_on_host(size: tuple[int, int], info: ModelInfo, options: InferenceOptions) -> float:
    """Memory of the image, as it is and as it is resized, and of the scores at its size."""
    height, width = size
    pixels = height * width
    image = IMAGE_BYTES * (pixels + _net_pixels(size, options) * max(1.0, *options.scales) ** 2)
    scores = FLOAT * info.num_classes * pixels
    return image + scores


def bytes_of_pass(
    size: tuple[int, int],
    info: ModelInfo,
    options: InferenceOptions,
    *,
    engine: str = "torch",
    fast: bool = True,
) -> float:
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
    each = pass_bytes(info, engine=engine, fast=fast, half=options.half)
    return each * in_pass * min(options.batch_size, windows) + summed


def pass_bytes(
    info: ModelInfo, *, engine: str = "torch", fast: bool = True, half: bool = False
) -> float:
    """Bytes of a forward pass for each pixel, with a margin of a tenth.

    Args:
        info: of the net.
        engine: what computes; of "torch": `fast` and `half` count.
        fast: the net is folded.
        half: it is in 16 bits.
    """
    kind = TIMM if is_timm(info.backbone) else BACKBONES.get(info.backbone, BOTTLENECK)
    if info.name == "gffnet" and kind in (BASIC, TIMM):
        kind = BOTTLENECK  # its head takes the most, whatever the blocks are
    by_task = PASS_BYTES.get((info.task, kind), PASS_BYTES[info.task, BOTTLENECK])
    rows = PASS_BYTES.get((info.name, kind), by_task)
    form = DEFINITION
    if engine == "torch" and fast:
        form = FOLDED_HALF if half else FOLDED
    constant, of_class = rows[form]
    if info.has_edge_head:
        of_edges = PASS_BYTES.get((EDGE, kind), PASS_BYTES[EDGE, BOTTLENECK])[form]
        constant, of_class = max(constant, of_edges[0]), max(of_class, of_edges[1]) + FLOAT
    return MARGIN * ENGINES.get(engine, 1.0) * (constant + of_class * info.num_classes)


def _net_pixels(size: tuple[int, int], options: InferenceOptions) -> float:
    """The pixels of an image after `base_size`."""
    shrink = options.base_size / max(size) if options.base_size else 1.0
    return size[0] * size[1] * shrink**2
