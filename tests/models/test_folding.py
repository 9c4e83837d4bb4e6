"""Every net in its folded form against its definition, in evaluation."""

import copy
import itertools

import pytest
import torch
from helpers.layers import randomise
from torch import Tensor, nn

from models import MODELS, build_model
from models.fast import forward_for, optimize_for_inference, optimize_for_training
from models.fast.edge_heads import STRIP, StripUpsample, from_blocks, to_blocks
from models.fast.folding import left_over
from models.fast.fused import FusedConv2d
from models.fast.stages import POOL_ROWS, iterate_stages, max_pool
from models.layers import bilinear_upsample, conv1x1

# More than one strip of rows, and an odd rest; the smallest image.
SIZES = ((8 * STRIP + 9, 35), (32, 32))
CASES = [
    (name, backbone, size)
    for name, backbone, size in itertools.product(MODELS, ("resnet18", "resnet50"), SIZES)
    # What the size asks of the heads, the deeper backbone does not change.
    if backbone == "resnet18" or size == SIZES[1]
]


def folded_pair(name: str, backbone: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = randomise(build_model(name, num_classes=5, backbone=backbone)).to(dtype).eval()
    for key, parameter in plain.named_parameters():
        if "flow_make" in key:
            parameter.data *= 0.1  # random flows would sample far outside the map
    return plain, optimize_for_inference(plain)


def outputs(net: nn.Module, image: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        return net(image)


def errors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """The largest error of each output, relative to its largest number."""
    assert found.keys() == expected.keys()
    assert all(found[name].shape == value.shape for name, value in expected.items())
    return {
        name: ((found[name].to(value.dtype) - value).abs().max() / value.abs().max()).item()
        for name, value in expected.items()
    }


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert max(errors(found, expected).values()) <= tolerance, errors(found, expected)


@pytest.mark.parametrize(("name", "backbone", "size"), CASES)
def test_a_folded_net_is_its_definition(name: str, backbone: str, size: tuple[int, int]) -> None:
    plain, folded = folded_pair(name, backbone, torch.float32)
    before = {key: value.clone() for key, value in plain.state_dict().items()}
    image = torch.randn(2, 3, *size)
    exact = outputs(copy.deepcopy(plain).double(), image.double())
    # Random flows of the decoupled nets sample far away, where the definition is as far off.
    own = errors(outputs(plain, image), exact)
    for layout in (torch.channels_last, torch.contiguous_format):
        found = errors(outputs(folded, image.to(memory_format=layout)), exact)
        assert all(found[key] <= max(1e-4, 3 * own[key]) for key in found), (found, own)
    torch.testing.assert_close(plain.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_folding_is_exact_in_double_precision(name: str) -> None:
    """Where oneDNN has no operators, the same folded weights run through PyTorch's."""
    plain, folded = folded_pair(name, "resnet18", torch.float64)
    image = torch.randn(1, 3, 49, 50, dtype=torch.float64)
    assert_equal(outputs(folded, image), outputs(plain, image), 1e-12)


@pytest.mark.parametrize("name", ["dff", "casenet", "deeplabv3plus_decouple"])
def test_sixteen_bits(name: str) -> None:
    """bfloat16 has 8 binary digits: about 1 %, after many layers."""
    plain, folded = folded_pair(name, "resnet18", torch.float32)
    image = torch.randn(1, 3, 64, 80)
    found = outputs(folded.to(torch.bfloat16), image.to(torch.bfloat16))
    assert all(value.dtype == torch.bfloat16 for value in found.values())
    assert_equal(found, outputs(plain, image), 0.08)


def test_every_normalisation_with_a_convolution_in_front_is_folded() -> None:
    """What is left belongs to pre-activation: it reads a sum, or several maps side by side."""
    for name in MODELS:
        folded = folded_pair(name, "resnet18", torch.float32)[1]
        left = left_over(folded)
        assert all(key.startswith("dense.") and key.endswith("norm1") for key in left), name
        assert not any(type(module) is nn.Conv2d for module in folded.modules()), name
        assert any(isinstance(module, FusedConv2d) and module.relu for module in folded.modules())


def test_a_net_in_its_training_forms_is_folded_too() -> None:
    """As validation does it, from the weights of the moment."""
    plain, folded = folded_pair("dff", "resnet18", torch.float32)
    training = optimize_for_training(copy.deepcopy(plain)).train()
    again = optimize_for_inference(training)
    assert training.training and not again.training
    assert [type(m) for m in again.modules()] == [type(m) for m in folded.modules()]
    image = torch.randn(1, 3, 40, 48)
    assert_equal(outputs(again, image), outputs(folded, image), 1e-6)


class OtherNorm(nn.BatchNorm2d):
    """Stands for a kind that may mean something else in evaluation."""


@pytest.mark.parametrize("name", ["dff", "casenet", "deeplabv3plus"])
@pytest.mark.parametrize("plain_in_evaluation", [False, True])
def test_another_kind_of_normalisation(name: str, plain_in_evaluation: bool) -> None:
    """It is called, or folded if it says that it is the plain one in evaluation."""
    plain, _ = folded_pair(name, "resnet18", torch.float32)
    for module in plain.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = OtherNorm
            module.plain_in_evaluation = plain_in_evaluation
    folded = optimize_for_inference(plain)
    image = torch.randn(1, 3, 40, 48)
    assert_equal(outputs(folded, image), outputs(plain, image), 1e-4)
    assert bool(left_over(folded)) != plain_in_evaluation


def test_gradients_are_those_of_the_definition() -> None:
    """A folded net that is asked for gradients of its input runs the definitions."""
    plain, folded = folded_pair("dff", "resnet18", torch.float32)
    images = [torch.linspace(-1, 1, 3 * 40 * 32).view(1, 3, 40, 32).requires_grad_() for _ in "ab"]
    for net, image in zip((plain, folded), images, strict=True):
        net(image)["fuse"].square().mean().backward()
    expected, found = (image.grad for image in images)
    assert expected is not None and found is not None
    assert (found - expected).norm() <= 1e-4 * expected.norm()


def test_blocks_are_put_back_into_their_places() -> None:
    image = torch.randn(2, 3, 32, 48)
    out = torch.zeros_like(image)
    for first, rows in ((0, 3), (3, 1)):
        blocks = to_blocks(image, first, rows)
        assert blocks.shape == (4, 2, rows, 6, 16, 3)
        from_blocks(blocks, out, first)
    torch.testing.assert_close(out, image, rtol=0, atol=0)


def test_strips_of_the_up_sampling_are_the_layers() -> None:
    up, conv = bilinear_upsample(3, 8), conv1x1(3, 5)
    nn.init.normal_(up.weight)
    x = torch.randn(2, 3, 4, 6)
    framed = nn.functional.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    for module, expected in ((StripUpsample(up), up(x)), (StripUpsample(up, conv), conv(up(x)))):
        out = torch.zeros_like(expected)
        for first, rows in ((0, 1), (1, 3)):
            from_blocks(module(framed, first, rows), out, first)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "output", "left_out"),
    [
        ("dff", "side5", "refine"),
        ("dff", "fuse", None),
        ("casenet", "fuse", None),
        ("casenet", "side5", None),
        ("pspnet_decouple", "seg", "decouple.body"),
        ("fcn_decouple", "body", "decouple.seg"),
        ("fcn_decouple", "edge", "decouple.seg"),
    ],
)
def test_outputs_that_are_not_wanted_are_not_computed(
    name: str, output: str, left_out: str | None
) -> None:
    _, folded = folded_pair(name, "resnet18", torch.float32)
    ran: list[str] = []
    for key, module in folded.named_modules():
        module.register_forward_hook(lambda *_, key=key: ran.append(key))
    image = torch.randn(1, 3, 72, 51)
    with torch.inference_mode():
        found = forward_for(folded, image, (output,))
        assert left_out is None or left_out not in ran
        every = folded(image)
    assert set(found) == {output}
    torch.testing.assert_close(found[output], every[output], rtol=1e-5, atol=1e-5)
    assert left_out is None or left_out in ran  # of all outputs


def test_a_definition_and_an_unknown_output_run_as_they_are() -> None:
    plain, folded = folded_pair("casenet", "resnet18", torch.float32)
    with torch.inference_mode():
        image = torch.randn(1, 3, 32, 32)
        assert set(forward_for(plain, image, ("fuse",))) == {"side5", "fuse"}
        assert set(forward_for(folded, image, ("seg",))) == {"side5", "fuse"}


@pytest.mark.parametrize("height", [2 * POOL_ROWS + 1, 4 * POOL_ROWS, 4 * POOL_ROWS + 3, 7])
def test_pooling_in_strips(height: int) -> None:
    x = torch.randn(2, 3, height, 9) - 2  # below the zeros of a padding that is not there
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    torch.testing.assert_close(max_pool(pool, x), pool(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["casenet", "deeplabv3plus"])
def test_stages_are_those_of_the_backbone(name: str) -> None:
    backbone = folded_pair(name, "resnet50", torch.float32)[1].backbone
    image = torch.randn(1, 3, 40, 48)
    with torch.inference_mode():
        for found, expected in zip(iterate_stages(backbone, image), backbone(image), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
