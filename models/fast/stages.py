"""A backbone stage by stage, for evaluation: no map is held longer than it is needed.

`backbone(image)` returns all five maps, so the first, which is the largest by far, lives until the
last one is there.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models.resnet import ResNet
from models.wider_resnet import WiderResNet

POOL_ROWS = 32  # of a pooled map, made at a time


def has_stages(backbone: nn.Module) -> bool:
    """Whether `iterate_stages` knows the backbone."""
    return type(backbone) in (ResNet, WiderResNet)


def iterate_stages(backbone: nn.Module, image: Tensor) -> Iterator[Tensor]:
    """x1..x5 of `backbone(image)`, one after the other; a caller drops what it does not need.

    Every stage begins with a new map, so the ones that a caller keeps stay as they are.
    """
    x = image
    for layers in _stages(backbone):
        for layer in layers:
            x = max_pool(layer, x) if isinstance(layer, nn.MaxPool2d) else layer(x)
        yield x


def _stages(backbone: nn.Module) -> tuple[list[nn.Module], ...]:
    """The layers and blocks of the five stages, in the order of `forward`."""
    if type(backbone) is ResNet:
        return (
            [backbone.conv1, backbone.bn1, backbone.relu],
            [backbone.maxpool, *backbone.layer1],
            [*backbone.layer2],
            [*backbone.layer3],
            [*backbone.layer4],
        )
    assert type(backbone) is WiderResNet
    return (
        [*backbone.mod1],
        [backbone.pool, *backbone.mod2],
        [backbone.pool, *backbone.mod3],
        [*backbone.mod4, *backbone.mod5],
        [*backbone.mod6, *backbone.mod7],
    )


def max_pool(pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    """pool(x) of kernel 3, stride 2 and padding 1 in strips, (N, C, H, W) -> (N, C, H/2, W/2).

    PyTorch's operator also makes the maxima's indices: of a float32 map, twice the result's memory.
    """
    rows, columns = ((side + 1) // 2 for side in x.shape[2:])
    out = torch.empty(
        (len(x), x.shape[1], rows, columns),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    for first in range(0, rows, POOL_ROWS):
        last = min(first + POOL_ROWS, rows)
        # A row more above, which is dropped: it is the one that reads padding in place of pixels.
        above = 1 if first else 0
        strip = x[:, :, 2 * (first - above) : 2 * last]
        out[:, :, first:last] = pool(strip)[:, :, above:]
    return out
