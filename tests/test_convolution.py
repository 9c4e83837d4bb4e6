"""Faster convolutions, and normalise-rectify-convolve in less memory, against the plain layers in turn."""

import copy
import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from models import build_model
from models.casenet import upsample
from models.convolution import Convolution, off_grid, on_grid
from models.lean import norm_relu_conv, normalise
from utils.joint_norm import JointBatchNorm

LAYOUTS = [torch.contiguous_format, torch.channels_last]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def assert_same_gradients(
    fast: Callable[[Tensor], Tensor], slow: Callable[[Tensor], Tensor], x: Tensor, parameters: Sequence[Tensor]
) -> None:
    """The same output and gradients as from the plain layers, in double precision."""
    one, other = fast(x), slow(x)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    weights, inputs = torch.randn_like(one), (x, *parameters)
    found, expected = (torch.autograd.grad((y * weights).sum(), inputs) for y in (one, other))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def draw(*shape: int, layout: torch.memory_format = torch.contiguous_format, device: str = "cpu") -> Tensor:
    return torch.randn(*shape, dtype=torch.double, device=device).to(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(8, 6), (5, 7), (9, 4), (1, 1)])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "step"), [(1, 1, 1, 1), (1, 2, 1, 2), (3, 1, 4, 1), (3, 2, 2, 2), (3, 2, 1, 1)]
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_is_a_convolution(
    kernel: int, stride: int, dilation: int, step: int, bias: bool, size: tuple[int, int], layout: torch.memory_format
) -> None:
    padding = dilation * (kernel // 2)
    layer = Convolution(3, 6, kernel, stride, padding=padding, dilation=dilation, bias=bias).double()
    assert layer.step == step
    x = draw(2, 3, *size, layout=layout)
    assert_same_gradients(layer, lambda x: nn.Conv2d.forward(layer, x), x, [*layer.parameters()])
    assert layer(x).is_contiguous(memory_format=layout)


def test_grouped_and_padded_convolutions_stay_what_they_are() -> None:
    for options in ({"groups": 2}, {"padding": 1}, {"padding": 1, "stride": 2}):
        layer = Convolution(4, 6, 1, **options).double()
        x = draw(1, 4, 5, 6)
        assert_same_gradients(layer, lambda x, layer=layer: nn.Conv2d.forward(layer, x), x, [*layer.parameters()])


def test_a_grid_and_its_adjoint() -> None:
    """<on_grid(x), y> = <x, off_grid(y)>."""
    x = draw(2, 3, 7, 8, layout=torch.channels_last)
    sampled = on_grid(x, 3)
    assert torch.equal(sampled, x[:, :, ::3, ::3])
    y = torch.randn_like(sampled)
    whole = off_grid(y, x, 3)
    assert (sampled * y).sum().item() == pytest.approx((x * whole).sum().item(), rel=1e-12)
    assert whole.is_contiguous(memory_format=torch.channels_last)


class Layers:
    """norm, ReLU, conv, twice the same: one to run in turn, one to run lean. `before`: a bias that the input lacks."""

    def __init__(self, kernel: int = 1, stride: int = 1, *, before: bool = False, device: str = "cpu") -> None:
        self.norm = nn.BatchNorm2d(3).to(device, torch.double)
        dilation = stride if kernel == 3 else 1
        padding = dilation * (kernel // 2)
        self.conv = Convolution(3, 5, kernel, stride, padding=padding, dilation=dilation, bias=False).to(
            device, torch.double
        )
        for parameter in self.norm.parameters():
            nn.init.normal_(parameter)
        self.before = torch.randn(3, dtype=torch.double, device=device).requires_grad_() if before else None

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
        gradients = torch.autograd.grad((run(one) * run(other)).sum(), [one, other, *layers.parameters])
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
    norm, conv = nn.BatchNorm2d(4).to(device), Convolution(4, 6, 3, padding=1, bias=False).to(device)
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


def test_a_training_step_of_dff_keeps_less(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("dff", num_classes=19, backbone="resnet50").to(memory_format=torch.channels_last).train()
    image = torch.randn(1, 3, 64, 64).to(memory_format=torch.channels_last)
    lean = kept_bytes(lambda: model(image)["fuse"], [*model.parameters()])
    monkeypatch.setattr("models.lean._is_plain", lambda *_: False)
    assert lean < 0.85 * kept_bytes(lambda: model(image)["fuse"], [*model.parameters()])


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


@pytest.mark.parametrize(("backbone", "layout"), [*itertools.product(["resnet18", "resnet50"], LAYOUTS)])
def test_a_net_in_training_is_its_layers_in_turn(
    backbone: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs, gradients and running statistics of DFF, lean and in turn."""
    torch.manual_seed(0)
    model = build_model("dff", num_classes=3, backbone=backbone).double().to(memory_format=layout).train()
    for parameter in model.parameters():  # biases and shifts start as zeros
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=1, std=0.5)
    image = draw(2, 3, 32, 40, layout=layout).detach()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    results = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr("models.lean._is_plain", lambda *_: False)
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
