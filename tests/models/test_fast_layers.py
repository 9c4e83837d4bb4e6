"""Faster convolutions and up-sampling against the plain layers."""

import pytest
import torch
from helpers.layers import LAYOUTS, assert_same_gradients, draw
from torch import nn

from models.casenet import upsample
from models.fast.convolution import Convolution, off_grid, on_grid


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(8, 6), (5, 7), (9, 4), (1, 1)])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "step"),
    [(1, 1, 1, 1), (1, 2, 1, 2), (3, 1, 4, 1), (3, 2, 2, 2), (3, 2, 1, 1)],
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_is_a_convolution(
    kernel: int,
    stride: int,
    dilation: int,
    step: int,
    bias: bool,
    size: tuple[int, int],
    layout: torch.memory_format,
) -> None:
    padding = dilation * (kernel // 2)
    layer = Convolution(
        3, 6, kernel, stride, padding=padding, dilation=dilation, bias=bias
    ).double()
    assert layer.step == step
    x = draw(2, 3, *size, layout=layout)
    assert_same_gradients(layer, lambda x: nn.Conv2d.forward(layer, x), x, [*layer.parameters()])
    assert layer(x).is_contiguous(memory_format=layout)


def test_grouped_padded_and_uneven_convolutions_stay_what_they_are() -> None:
    for options in ({"groups": 2}, {"padding": 1}, {"padding": 1, "stride": 2}, {"stride": (2, 1)}):
        layer = Convolution(4, 6, 1, **options).double()
        x = draw(1, 4, 5, 6)
        assert_same_gradients(
            layer, lambda x, layer=layer: nn.Conv2d.forward(layer, x), x, [*layer.parameters()]
        )


def test_a_grid_and_its_adjoint() -> None:
    """<on_grid(x), y> = <x, off_grid(y)>."""
    x = draw(2, 3, 7, 8, layout=torch.channels_last)
    sampled = on_grid(x, 3)
    assert torch.equal(sampled, x[:, :, ::3, ::3])
    y = torch.randn_like(sampled)
    whole = off_grid(y, x, 3)
    assert (sampled * y).sum().item() == pytest.approx((x * whole).sum().item(), rel=1e-12)
    assert whole.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("factor", "channels", "images"), [(2, 1, 1), (4, 3, 2), (8, 5, 3)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_up_sampling_is_a_transposed_convolution(
    factor: int, channels: int, images: int, layout: torch.memory_format
) -> None:
    layer = upsample(channels, factor).double()
    nn.init.normal_(layer.weight)
    x = draw(images, channels, 5, 7, layout=layout)
    assert_same_gradients(layer, lambda x: nn.ConvTranspose2d.forward(layer, x), x, [layer.weight])
    assert layer(x).is_contiguous()
    conv = nn.Conv2d(channels, 2 * channels, 1).double()
    plain = nn.ConvTranspose2d.forward
    assert_same_gradients(
        lambda x: layer.then(x, conv),
        lambda x: conv(plain(layer, x)) - conv.bias[:, None, None],
        x,
        [layer.weight, conv.weight],
    )
