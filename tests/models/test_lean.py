"""Training in less memory against the plain layers in turn."""

import copy
import gc
import itertools
import weakref
from collections.abc import Callable, Sequence

import pytest
import torch
from helpers.layers import LAYOUTS, assert_same_gradients, draw
from torch import Tensor, nn

from models import build_model
from models.fast.convolution import Convolution
from models.fast.norm_relu_conv import norm_relu_conv, normalise
from models.resnet import DEPTHS, _make_layer
from utils.distributed.sync_batchnorm import JointBatchNorm

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]


class Layers:
    """norm, ReLU, conv, twice the same: one to run in turn, one to run lean. `before`: a bias that the input lacks."""

    def __init__(
        self, kernel: int = 1, stride: int = 1, *, before: bool = False, device: str = "cpu"
    ) -> None:
        self.norm = nn.BatchNorm2d(3).to(device, torch.double)
        dilation = stride if kernel == 3 else 1
        padding = dilation * (kernel // 2)
        self.conv = Convolution(
            3, 5, kernel, stride, padding=padding, dilation=dilation, bias=False
        ).to(device, torch.double)
        for parameter in self.norm.parameters():
            nn.init.normal_(parameter)
        self.before = (
            torch.randn(3, dtype=torch.double, device=device).requires_grad_() if before else None
        )

    @property
    def parameters(self) -> list[Tensor]:
        return [*self.norm.parameters(), *self.conv.parameters()]

    def in_turn(self, x: Tensor) -> Tensor:
        shifted = x if self.before is None else x + self.before[:, None, None]
        return nn.Conv2d.forward(self.conv, self.norm(shifted).relu())

    def lean(self, x: Tensor) -> Tensor:
        return norm_relu_conv(x, self.norm, self.conv, self.before)

    def running(self) -> list[Tensor]:
        """A copy of what normalisation remembers; it starts anew."""
        found = [value.clone() for value in self.norm.buffers()]
        self.norm.reset_running_stats()
        return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("before", [False, True])
def test_lean_layers_are_the_layers_in_turn(
    kernel: int, stride: int, before: bool, layout: torch.memory_format, device: str
) -> None:
    layers = Layers(kernel, stride, before=before, device=device)
    x = draw(2, 3, 9, 6, layout=layout, device=device)
    assert_same_gradients(layers.lean, layers.in_turn, x, layers.parameters)
    layers.running()
    layers.lean(x)
    found = layers.running()
    layers.in_turn(x)
    torch.testing.assert_close(found, layers.running())
    if before:
        (gradient,) = torch.autograd.grad(layers.lean(x).sum(), layers.before)
        assert not gradient.any()  # and not None: weight decay goes by gradients


def test_two_forwards_before_a_backward() -> None:
    layers = Layers(3, before=True)
    one, other = draw(2, 3, 5, 5), draw(2, 3, 5, 5)
    for run in (layers.lean, layers.in_turn):
        gradients = torch.autograd.grad(
            (run(one) * run(other)).sum(), [one, other, *layers.parameters]
        )
        if run == layers.lean:
            found = gradients
    torch.testing.assert_close(found, gradients, rtol=1e-10, atol=1e-10)


def test_normalising_without_the_bias_that_it_takes_away() -> None:
    norm, before, x = nn.BatchNorm2d(3).double(), draw(3), draw(2, 3, 4, 5)
    other_norm = copy.deepcopy(norm)
    found, expected = normalise(x, norm, before), other_norm(x + before[:, None, None])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close([*norm.buffers()], [*other_norm.buffers()])
    weights = torch.randn_like(x)
    one = torch.autograd.grad((found * weights).sum(), [x, before, *norm.parameters()])
    other = torch.autograd.grad((expected * weights).sum(), [x, before, *other_norm.parameters()])
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", ["evaluation", "no gradients", "joint"])
def test_where_the_layers_run_in_turn(case: str) -> None:
    layers, x = Layers(3, before=True), draw(2, 3, 5, 5)
    if case == "evaluation":
        layers.norm.eval()
    if case == "joint":  # in evaluation it needs no other rank
        layers.norm.__class__ = JointBatchNorm
        layers.norm.eval()
    with torch.set_grad_enabled(case != "no gradients"):
        torch.testing.assert_close(layers.lean(x), layers.in_turn(x))
    if case != "no gradients":
        assert_same_gradients(layers.lean, layers.in_turn, x, [*layers.parameters, layers.before])


@pytest.mark.parametrize("device", DEVICES)
def test_lean_layers_in_16_bits(device: str) -> None:
    norm, conv = (
        nn.BatchNorm2d(4).to(device),
        Convolution(4, 6, 3, padding=1, bias=False).to(device),
    )
    x = torch.randn(2, 4, 16, 16, device=device).bfloat16().requires_grad_()
    with torch.autocast(device, torch.bfloat16):
        found, expected = norm_relu_conv(x, norm, conv), conv(norm(x).relu())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected)
    inputs = [x, *norm.parameters(), *conv.parameters()]
    one, other = (torch.autograd.grad(y.float().square().sum(), inputs) for y in (found, expected))
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).float().norm() < 0.02 * b.float().norm()


def kept_bytes(run: Callable[[], Tensor], parameters: Sequence[Tensor]) -> int:
    """Of the tensors, parameters apart, that the backward pass of what `run` returns holds."""
    known, kept = {value.untyped_storage().data_ptr() for value in parameters}, {}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage  # held, so that no other gets its address
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        result = run()
    assert result.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def test_what_the_convolution_reads_is_not_kept() -> None:
    layers, x = Layers(3), draw(2, 3, 32, 32)
    size = x.untyped_storage().nbytes()
    assert kept_bytes(lambda: layers.in_turn(x), layers.parameters) > 2 * size
    assert size <= kept_bytes(lambda: layers.lean(x), layers.parameters) < 1.1 * size


def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lean from now on."""
    for module in ("norm_relu_conv", "residual"):
        monkeypatch.setattr(f"models.fast.{module}.is_plain", lambda *_: False)


def test_a_training_step_of_dff_keeps_less(monkeypatch: pytest.MonkeyPatch) -> None:
    model = (
        build_model("dff", num_classes=19, backbone="resnet50")
        .to(memory_format=torch.channels_last)
        .train()
    )
    image = torch.randn(1, 3, 64, 64).to(memory_format=torch.channels_last)
    lean = kept_bytes(lambda: model(image)["fuse"], [*model.parameters()])
    in_turn(monkeypatch)
    assert lean < 0.75 * kept_bytes(lambda: model(image)["fuse"], [*model.parameters()])


@pytest.mark.parametrize(
    ("backbone", "layout"), [*itertools.product(["resnet18", "resnet50"], LAYOUTS)]
)
def test_a_net_in_training_is_its_layers_in_turn(
    backbone: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs, gradients and running statistics of DFF, lean and in turn."""
    torch.manual_seed(0)
    model = (
        build_model("dff", num_classes=3, backbone=backbone)
        .double()
        .to(memory_format=layout)
        .train()
    )
    for parameter in model.parameters():  # biases and shifts start as zeros
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=1, std=0.5)
    image = draw(2, 3, 32, 40, layout=layout).detach()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    results = []
    for plain in (False, True):
        if plain:
            in_turn(monkeypatch)
        model.load_state_dict(start)
        model.zero_grad()
        outputs = model(image)
        sum(value.square().sum() for value in outputs.values()).backward()
        gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
        state = {key: value.clone() for key, value in model.state_dict().items()}
        results.append((outputs, gradients, state))
    (outputs, gradients, state), (expected, plain_gradients, plain_state) = results
    torch.testing.assert_close(outputs, expected, rtol=1e-8, atol=1e-8)
    scale = max(value.abs().max().item() for value in plain_gradients.values())
    torch.testing.assert_close(gradients, plain_gradients, rtol=1e-7, atol=1e-12 * scale)
    torch.testing.assert_close(state, plain_state, rtol=1e-9, atol=1e-9)


def layer_of_blocks(kind: str = "resnet50") -> nn.Sequential:
    """The third layer, narrow: six blocks (resnet18: two), the first with a shortcut and a stride; in double precision."""
    torch.manual_seed(0)
    layer = _make_layer(DEPTHS[kind], 2, 8, 4, 2, 2).double().train()
    for parameter in layer.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=1, std=0.5)
    return layer


@pytest.mark.parametrize("kind", ["resnet18", "resnet50"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_are_their_layers_in_turn(
    kind: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = layer_of_blocks(kind), draw(2, 8, 9, 10, layout=layout)
    plain = copy.deepcopy(layer)
    one = layer(x)
    assert one.is_contiguous(memory_format=layout)
    weights = torch.randn_like(one)
    found = torch.autograd.grad((one * weights).sum(), [x, *layer.parameters()], retain_graph=True)
    again = torch.autograd.grad((one * weights).sum(), [x, *layer.parameters()])
    in_turn(monkeypatch)
    other = plain(x)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    expected = torch.autograd.grad((other * weights).sum(), [x, *plain.parameters()])
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found, again, rtol=0, atol=0)
    torch.testing.assert_close([*layer.buffers()], [*plain.buffers()])


def test_a_frozen_block_among_others_and_an_input_without_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, x = layer_of_blocks(), draw(2, 8, 9, 10).detach()
    layer[2].bn2.eval()  # its block runs in turn, and the next one keeps its input
    layer[0].conv1.weight.requires_grad_(False)
    layer(x).square().sum().backward()
    found = {name: value.grad for name, value in layer.named_parameters()}
    assert found.pop("0.conv1.weight") is None
    layer.zero_grad()
    in_turn(monkeypatch)
    layer(x).square().sum().backward()
    expected = {
        name: value.grad for name, value in layer.named_parameters() if value.grad is not None
    }
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_blocks_in_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = layer_of_blocks().float(), torch.randn(2, 8, 16, 16).bfloat16().requires_grad_()
    results = []
    for plain in (False, True):
        if plain:
            in_turn(monkeypatch)
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(x)
        assert out.dtype == torch.bfloat16
        results.append(
            (out, torch.autograd.grad(out.float().square().mean(), [x, *layer.parameters()]))
        )
    (out, found), (expected_out, expected) = results
    torch.testing.assert_close(out, expected_out)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).float().norm() < 0.1 * b.float().norm()


def test_of_a_layers_blocks_one_input_and_one_output_are_kept() -> None:
    layer, x = layer_of_blocks(), draw(2, 8, 32, 32)
    found = kept_bytes(lambda: layer(x), [*layer.parameters(), *layer.buffers()])
    whole, half = 2 * 32 * 32 * 8, 2 * 16 * 16 * 8  # bytes of one channel
    blocks = (4 * whole + 4 * half + 16 * half + 16 * half) + 5 * (
        4 + 4 + 16
    ) * half  # y1, y2, y3 [, shortcut's y] of each
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

    layer, x = layer_of_blocks(), draw(1, 8, 8, 8)
    gc.collect()
    gc.disable()
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.value):
            out = layer(x)
        assert len(alive) > 50
        del out
        assert not alive
    finally:
        gc.enable()
