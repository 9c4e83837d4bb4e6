"""What build_model promises and checks: names, outputs, attributes."""

import pytest
import torch
from torch import Tensor, nn

from data.errors import InputError
from models import MODELS, Entry, build_model
from models.contract import ContractError
from models.dff import DFF
from models.segnets import SegNet
from utils.checkpoint import create_model


class OneOutput(DFF):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"fuse": super().forward(image)["fuse"]}


class OtherName(DFF):
    outputs = ("fuse",)


class NoClassifier(nn.Module):
    outputs = ("side5", "fuse")

    def __init__(self, num_classes: int, backbone: str) -> None:
        super().__init__()
        self.backbone = nn.Identity()


class WrongClassifier(DFF):
    classifier = ("side6.",)


class Uncropped(DFF):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        outputs = super().forward(image)
        return {name: logits[..., :-1] for name, logits in outputs.items()}


class OneChannel(DFF):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {name: logits[:, :1] for name, logits in super().forward(image).items()}


class ATuple(DFF):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return tuple(super().forward(image).values())


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (OneOutput, "^mynet returned fuse; expected side5, fuse$"),
        (OtherName, "^mynet states fuse; expected side5, fuse$"),
        (NoClassifier, "^mynet has no attribute 'classifier'"),
        (WrongClassifier, "^mynet: no parameter begins with 'side6.'"),
        (Uncropped, r"^mynet returned side5 \(C, H, W\) = \(3, 64, 63\); expected \(3, 64, 64\)$"),
        (OneChannel, r"^mynet returned side5 \(C, H, W\) = \(1, 64, 64\); expected \(3, 64, 64\)$"),
        (ATuple, "^mynet returned a tuple; expected a dict of side5, fuse$"),
    ],
)
def test_a_net_that_breaks_its_contract_is_one_line(
    net: type[nn.Module], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "mynet", Entry(net, "edge", ("resnet18",)))
    with pytest.raises(ContractError, match=message):
        build_model("mynet", num_classes=3, backbone="resnet18")


def test_the_scripts_report_it_as_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "mynet", Entry(OneOutput, "edge", ("resnet18",)))
    with pytest.raises(InputError, match=r"^mynet returned fuse; expected side5, fuse$"):
        create_model("mynet", num_classes=3, backbone="resnet18")


def test_a_net_of_the_other_task(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry(lambda k, b: SegNet(k, b, context="fcn"), "edge", ("resnet18",))
    monkeypatch.setitem(MODELS, "mynet", entry)
    with pytest.raises(ContractError, match=r"^mynet states seg; expected side5, fuse$"):
        build_model("mynet", num_classes=3, backbone="resnet18")


@pytest.mark.parametrize("name", MODELS)
def test_the_check_leaves_no_trace(name: str) -> None:
    """Weights are those of the constructor alone, buffers are fresh, the generator is as it was."""
    torch.manual_seed(0)
    expected = MODELS[name].build(3, "resnet18")
    after = torch.get_rng_state()
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, backbone="resnet18")
    assert torch.equal(torch.get_rng_state(), after)
    state = model.state_dict()
    assert list(state) == list(expected.state_dict())
    assert all(torch.equal(state[key], value) for key, value in expected.state_dict().items())
    assert all(module.training for module in model.modules())


class Counting(DFF):
    """A net that writes to its buffers in evaluation, too, and has a frozen part."""

    def __init__(self, num_classes: int, backbone: str) -> None:
        super().__init__(num_classes, backbone)
        self.register_buffer("calls", torch.zeros(()))
        self.frozen = nn.Dropout().eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        self.train()
        return super().forward(image)


def test_the_check_leaves_no_trace_in_a_net_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "mynet", Entry(Counting, "edge", ("resnet18",)))
    model = build_model("mynet", num_classes=3, backbone="resnet18")
    assert isinstance(model, Counting)
    assert model.calls == 0
    assert [name for name, module in model.named_modules() if not module.training] == ["frozen"]
    assert all(not m.running_mean.any() for m in model.modules() if type(m) is nn.BatchNorm2d)


@pytest.mark.parametrize("num_classes", [0, -1, "3", 2.0, None])
def test_a_number_of_classes_that_is_none(num_classes: object) -> None:
    with pytest.raises(ValueError, match=r"num_classes .*: expected a whole number from 1"):
        build_model("fcn", num_classes=num_classes, backbone="resnet18")  # pyright: ignore
