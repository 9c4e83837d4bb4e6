"""The fast forms of single layers, and of layers in a row, against PyTorch's own."""

import copy
import gc
import weakref

import pytest
import torch
from helpers.layers import LAYOUTS, assert_same_gradients, draw, kept_bytes, randomise
from torch import Tensor, nn

from models.fast import optimize_for_training
from models.fast.convolution import FastConv2d, geometry_of, off_grid, on_grid
from models.fast.norm_relu_conv import batch_norm, norm_relu_conv
from models.fast.sequential import FastSequential
from models.fast.upsample import FastConvTranspose2d, upsample_convolve
from models.layers import bilinear_upsample
from models.resnet import BasicBlock, Bottleneck
from models.wider_resnet import PreActivationBlock, Stage

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]


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
    plain = nn.Conv2d(3, 6, kernel, stride, padding, dilation, bias=bias).double()
    fast = FastConv2d(3, 6, kernel, stride, padding, dilation, bias=bias).double()
    fast.weight, fast.bias = plain.weight, plain.bias
    assert geometry_of(fast).step == step
    x = draw(2, 3, *size, layout=layout)
    assert_same_gradients(fast, plain, x, [*plain.parameters()])
    assert fast(x).is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    "options",
    [
        *({"groups": 2}, {"padding": 1}, {"padding": 1, "stride": 2}, {"stride": (2, 1)}),
        *({"padding": "same"}, {"padding": 2, "padding_mode": "circular"}),
    ],
)
def test_grouped_padded_and_uneven_convolutions_stay_what_they_are(options: dict) -> None:
    plain = nn.Conv2d(4, 6, 1, **options).double()
    fast = optimize_for_training(copy.deepcopy(plain))
    fast.weight, fast.bias = plain.weight, plain.bias
    assert type(fast) is FastConv2d
    assert_same_gradients(fast, plain, draw(1, 4, 5, 6), [*plain.parameters()])


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
    plain = bilinear_upsample(channels, factor).double()
    nn.init.normal_(plain.weight)
    fast = optimize_for_training(copy.deepcopy(plain))
    fast.weight = plain.weight
    x = draw(images, channels, 5, 7, layout=layout)
    assert_same_gradients(fast, plain, x, [plain.weight])
    assert fast(x).is_contiguous()
    conv = nn.Conv2d(channels, 2 * channels, 1, bias=False).double()
    assert_same_gradients(
        lambda x: upsample_convolve(x, fast, conv),
        lambda x: conv(plain(x)),
        x,
        [plain.weight, conv.weight],
    )


@pytest.mark.parametrize(
    "options",
    [{"bias": True}, {"groups": 2}, {"output_padding": 1}, {"padding": 0}, {"dilation": 2}],
)
def test_other_transposed_convolutions_stay_what_they_are(options: dict) -> None:
    plain = nn.ConvTranspose2d(2, 4, 4, **{"stride": 2, "padding": 1, "bias": False} | options)
    fast = optimize_for_training(copy.deepcopy(plain.double()))
    assert type(fast) is FastConvTranspose2d
    x = draw(1, 2, 5, 6)
    assert torch.equal(fast(x), plain(x))
    size = [11, 13]
    up = nn.ConvTranspose2d(2, 4, 4, stride=2, padding=1, bias=False).double()
    assert torch.equal(optimize_for_training(copy.deepcopy(up))(x, size), up(x, size))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_norm_relu_conv_is_its_layers_in_turn(
    kernel: int, stride: int, pending: bool, bias: bool, layout: torch.memory_format, device: str
) -> None:
    dilation = stride if kernel == 3 else 1
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(3, 5, kernel, stride, padding, dilation, bias=bias).to(device, torch.double)
    norm = randomise(nn.BatchNorm2d(3)).to(device, torch.double)
    fast_norm = copy.deepcopy(norm)
    fast_norm.weight, fast_norm.bias = norm.weight, norm.bias
    pending_bias = draw(3, device=device) if pending else None

    def plain(x: Tensor) -> Tensor:
        shifted = x if pending_bias is None else x + pending_bias[:, None, None]
        return conv(norm(shifted).relu())

    def fast(x: Tensor) -> Tensor:
        return norm_relu_conv(x, fast_norm, conv, pending_bias=pending_bias)

    x = draw(2, 3, 9, 6, layout=layout, device=device)
    assert_same_gradients(fast, plain, x, [*norm.parameters(), *conv.parameters()])
    torch.testing.assert_close([*fast_norm.buffers()], [*norm.buffers()])
    if pending_bias is not None:
        (gradient,) = torch.autograd.grad(fast(x).sum(), pending_bias)
        assert not gradient.any()  # and not None: weight decay goes by gradients


def test_two_forwards_before_a_backward() -> None:
    norm, conv = randomise(nn.BatchNorm2d(3)).double(), nn.Conv2d(3, 5, 3, padding=1).double()
    one, other = draw(2, 3, 5, 5), draw(2, 3, 5, 5)
    inputs = [one, other, *norm.parameters(), *conv.parameters()]
    plain = nn.Sequential(norm, nn.ReLU(), conv)
    fast = optimize_for_training(nn.Sequential(norm, nn.ReLU(), conv))
    found, expected = (
        torch.autograd.grad((run(one) * run(other)).sum(), inputs) for run in (fast, plain)
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_normalising_without_the_bias_that_it_takes_away() -> None:
    norm, pending_bias, x = nn.BatchNorm2d(3).double(), draw(3), draw(2, 3, 4, 5)
    other_norm = copy.deepcopy(norm)
    found = batch_norm(x, norm, pending_bias)
    expected = other_norm(x + pending_bias[:, None, None])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close([*norm.buffers()], [*other_norm.buffers()])
    weights = torch.randn_like(x)
    one = torch.autograd.grad((found * weights).sum(), [x, pending_bias, *norm.parameters()])
    other = torch.autograd.grad(
        (expected * weights).sum(), [x, pending_bias, *other_norm.parameters()]
    )
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_what_the_convolution_reads_is_not_kept() -> None:
    row = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(True), nn.Conv2d(3, 5, 3, padding=1)).double()
    x = draw(2, 3, 32, 32)
    size = x.untyped_storage().nbytes()
    assert kept_bytes(lambda: [row(x)], row) > 2 * size
    assert size <= kept_bytes(lambda: [optimize_for_training(row)(x)], row) < 1.1 * size


def layer(kind: type[BasicBlock] | type[Bottleneck] = Bottleneck) -> nn.Sequential:
    """Four narrow blocks, the first with a shortcut and a stride; in double precision."""
    torch.manual_seed(0)
    blocks = [kind(8, 4, 2, 2)]
    blocks += [kind(4 * kind.expansion, 4, 1, 2) for _ in range(3)]
    return randomise(nn.Sequential(*blocks)).double().train()


def wide_row() -> nn.Sequential:
    """Narrow blocks as WiderResNet has them: with and without a projection, with dropout."""
    torch.manual_seed(0)
    wide, deep = Stage(2, (6, 8), stride=2), Stage(1, (4, 6, 12), dilation=2, dropout=0.3)
    blocks = [PreActivationBlock(8, wide, 2), PreActivationBlock(8, wide, 1)]
    blocks += [PreActivationBlock(8, deep, 1), PreActivationBlock(12, deep, 1)]
    return randomise(nn.Sequential(*blocks)).double().train()


@pytest.mark.parametrize("make", [lambda: layer(BasicBlock), layer, wide_row])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_are_their_layers_in_turn(make, layout: torch.memory_format) -> None:
    plain, x = make(), draw(2, 8, 9, 10, layout=layout)
    fast = optimize_for_training(copy.deepcopy(plain))
    assert type(fast) is FastSequential
    torch.manual_seed(1)
    one = fast(x)
    torch.manual_seed(1)
    other = plain(x)
    assert one.is_contiguous(memory_format=layout)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(one)
    inputs = [x, *fast.parameters()]
    found = torch.autograd.grad((one * weights).sum(), inputs, retain_graph=True)
    again = torch.autograd.grad((one * weights).sum(), inputs)
    expected = torch.autograd.grad((other * weights).sum(), [x, *plain.parameters()])
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found, again, rtol=0, atol=0)
    torch.testing.assert_close([*fast.buffers()], [*plain.buffers()])


def test_a_frozen_block_among_others_and_an_input_without_gradient() -> None:
    plain, x = layer(), draw(2, 8, 9, 10).detach()
    plain[2].bn2.eval()  # its block runs as defined, and the next one keeps its input
    plain[0].conv1.weight.requires_grad_(False)
    fast = optimize_for_training(copy.deepcopy(plain))
    for row in (plain, fast):
        row(x).square().sum().backward()
    assert fast[0].conv1.weight.grad is None
    found = {key: value.grad for key, value in fast.named_parameters() if value.grad is not None}
    expected = {
        key: value.grad for key, value in plain.named_parameters() if value.grad is not None
    }
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("device", DEVICES)
def test_blocks_in_16_bits(device: str) -> None:
    """Under autocast: the types of the definition, and as near to single precision as it is."""
    plain = layer().to(device, torch.float32)
    fast = optimize_for_training(copy.deepcopy(plain))
    x = torch.randn(2, 8, 16, 16, device=device).requires_grad_()
    results = []
    for row, half in ((copy.deepcopy(plain), False), (plain, True), (fast, True)):
        with torch.autocast(device, torch.bfloat16, enabled=half):
            out = row(x)
        assert out.dtype == (torch.bfloat16 if half else torch.float32)
        gradients = torch.autograd.grad(out.float().square().mean(), [x, *row.parameters()])
        results.append([out, *gradients])
    for exact, expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        errors = [(value.float() - exact).norm() for value in (found, expected)]
        assert errors[0] <= 1.5 * errors[1] + 0.02 * exact.norm()


def test_of_a_layers_blocks_one_input_and_one_output_are_kept() -> None:
    row, x = optimize_for_training(layer()), draw(2, 8, 32, 32)
    found = kept_bytes(lambda: [row(x)], row)
    whole, half = 2 * 32 * 32 * 8, 2 * 16 * 16 * 8  # bytes of one channel
    first = 4 * whole + 4 * half + 16 * half + 16 * half  # y1, y2, y3 and the shortcut's y
    blocks = first + 3 * (4 + 4 + 16) * half
    assert blocks + 8 * whole + 16 * half <= found < 1.05 * (blocks + 8 * whole + 16 * half)


def test_what_was_kept_goes_with_the_result() -> None:
    """Without a backward pass and without the garbage collector: nothing refers to itself."""

    class Kept:
        def __init__(self, value: Tensor) -> None:
            self.value = value

    alive: weakref.WeakSet[Kept] = weakref.WeakSet()

    def keep(value: Tensor) -> Kept:
        kept = Kept(value.detach())  # a result itself would refer to its own history
        alive.add(kept)
        return kept

    row, x = optimize_for_training(layer()), draw(1, 8, 8, 8)
    gc.collect()
    gc.disable()
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.value):
            out = row(x)
        assert len(alive) > 50
        del out
        assert not alive
    finally:
        gc.enable()
