"""Folded nets with an edge head against their definitions; heads run only when they are wanted."""

import copy

import pytest
import torch
from helpers.layers import randomise
from torch import Tensor, nn

from models import build_model
from models.casenet import CASENetHead
from models.fast import forward_for, optimize_for_inference, optimize_for_training
from models.fast.edge_heads import STRIP, StripHead
from models.joint import JointNet

NAMES = ("deeplabv3plus", "fcn_decouple", "gffnet")
HEADS = ("casenet", "dff")
# More than one strip of rows, sides that no stride divides; the smallest image.
SIZES = ((8 * STRIP + 9, 35), (32, 32))


def joint_net(name: str, edge_head: str) -> JointNet:
    torch.manual_seed(0)
    net = build_model(name, num_classes=3, backbone="resnet18", edge_head=edge_head)
    for key, parameter in randomise(net).named_parameters():
        if "flow_make" in key:
            parameter.data *= 0.1  # random flows would sample far outside the map
    assert isinstance(net, JointNet)
    return net.eval()


def logits_of(net: nn.Module, image: Tensor, *wanted: str) -> dict[str, Tensor]:
    with torch.inference_mode():
        return forward_for(net, image, wanted) if wanted else net(image)


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    error = (found.double() - expected.double()).abs().max() / expected.abs().max()
    assert error <= tolerance, error


@pytest.mark.parametrize("edge_head", HEADS)
@pytest.mark.parametrize("name", NAMES)
def test_folded_nets_are_their_definitions(name: str, edge_head: str) -> None:
    net = joint_net(name, edge_head)
    folded = optimize_for_inference(net)
    assert isinstance(folded.edge_head, StripHead)
    ran: list[str] = []
    for key, module in folded.named_modules():
        module.register_forward_hook(lambda *_, key=key: ran.append(key))
    for size in SIZES:
        image = torch.randn(2, 3, *size)
        expected = logits_of(net, image)
        for wanted in (net.outputs, ("seg", "fuse"), ("fuse",), ("side5",), ("seg",)):
            ran.clear()
            found = logits_of(folded, image, *wanted)
            for output in wanted:
                assert_close(found[output], expected[output], 1e-4)
            assert ("edge_head.side1" in ran) == bool({"side5", "fuse"} & {*wanted})
            # The lean forms, and no more than what is wanted.
            assert "edge_head.weight_learner" not in ran and "edge_head.fuse" not in ran
            if name != "gffnet":
                assert set(found) == set(wanted)
                assert ("context" in ran) == ("seg" in wanted)


@pytest.mark.parametrize("name", NAMES)
def test_16_bits(name: str) -> None:
    """As far from the definition as the definition in 16 bits is, within a factor."""
    net = joint_net(name, "dff")
    image = torch.randn(1, 3, 65, 47)
    expected = logits_of(net, image)
    half = logits_of(copy.deepcopy(net).to(torch.bfloat16), image.to(torch.bfloat16))
    found = logits_of(
        optimize_for_inference(net).to(torch.bfloat16), image.to(torch.bfloat16), "seg", "fuse"
    )
    for output in ("seg", "fuse"):
        own = (half[output].double() - expected[output]).abs().mean() / expected[
            output
        ].abs().mean()
        error = (found[output].double() - expected[output]).abs().mean()
        assert error / expected[output].abs().mean() <= 1.5 * own + 0.01


@pytest.mark.parametrize("name", NAMES)
def test_the_definition_of_a_part(name: str) -> None:
    """Without its head it is the net that is built without one, of the same parameters."""
    net = joint_net(name, "casenet")
    part, plain = net.without_edge_head(), build_model(name, num_classes=3, backbone="resnet18")
    assert (part.outputs, part.classifier) == (plain.outputs, plain.classifier)
    assert part.state_dict().keys() == plain.state_dict().keys()
    for key, value in part.state_dict().items():
        assert value.data_ptr() == net.state_dict()[key].data_ptr()
    assert net.edge_head is not None and "fuse" in net.outputs  # it stays as it is
    image = torch.randn(1, 3, 40, 33)
    assert set(logits_of(part, image)) == set(plain.outputs)
    torch.testing.assert_close(logits_of(part, image)["seg"], logits_of(net, image)["seg"])
    assert plain.without_edge_head() is plain
    assert set(logits_of(net, image, "seg")) == set(plain.outputs)


def test_a_head_at_other_strides_runs_as_it_is() -> None:
    """A transposed convolution that does not up-sample by 8 is none of the strips'."""
    net = joint_net("fcn", "casenet")
    channels, strides = net.backbone.channels, (*net.backbone.strides[:4], 16)
    net.edge_head = CASENetHead(channels, strides, 3).eval()
    folded = optimize_for_inference(net)
    assert not isinstance(folded.edge_head, StripHead)
    image = torch.randn(1, 3, 40, 64)
    assert_close(logits_of(folded, image, "seg")["seg"], logits_of(net, image)["seg"], 1e-4)


def test_a_net_in_training_forms_is_folded_too() -> None:
    net = joint_net("fcn", "dff")
    image = torch.randn(1, 3, 40, 64)
    expected = logits_of(net, image)
    folded = optimize_for_inference(optimize_for_training(net))
    found = logits_of(folded, image, "seg", "fuse")
    for output in ("seg", "fuse"):
        assert_close(found[output], expected[output], 1e-4)
