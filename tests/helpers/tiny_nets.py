"""Three nets of a few parameters, so that the scripts run in milliseconds: `registered()`.

The scripts build, check, save, load and run them like any other net; their scores mean nothing.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from data import dataset_class
from models import MODELS, OPTIONS, Entry
from models.contract import Backbone
from models.joint import JointNet
from utils.checkpoint import ModelInfo, save_checkpoint

EDGE, SEG, JOINT = "tiny_edge", "tiny_seg", "tiny_joint"


class TinyBackbone(Backbone):
    """Five maps at full size."""

    channels = (3, 3, 3, 3, 4)
    strides = (1, 1, 1, 1, 1)
    multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return image, image, image, image, self.norm(self.conv(image))


class TinyEdge(nn.Module):
    """An edge net."""

    outputs = ("side5", "fuse")
    classifier = ("side5.", "fuse.")

    def __init__(self, num_classes: int, backbone: str) -> None:
        super().__init__()
        self.backbone = TinyBackbone()
        self.side5 = nn.Conv2d(4, num_classes, 1)
        self.fuse = nn.Conv2d(4, num_classes, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        *_, maps = self.backbone(image)
        return {"side5": self.side5(maps), "fuse": self.fuse(maps)}


class TinySeg(nn.Module):
    """A segmentation net."""

    outputs = ("seg",)
    classifier = ("seg.",)

    def __init__(self, num_classes: int, backbone: str) -> None:
        super().__init__()
        self.backbone = TinyBackbone()
        self.seg = nn.Conv2d(4, num_classes, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        *_, maps = self.backbone(image)
        return {"seg": self.seg(maps)}


class TinyJoint(JointNet):
    """A segmentation net that may have an edge head."""

    outputs = ("seg",)
    classifier = ("final.6.",)

    def __init__(self, num_classes: int, backbone: str, *, edge_head: str = "none") -> None:
        super().__init__()
        self.backbone = TinyBackbone()
        self.final = nn.ModuleDict({"6": nn.Conv2d(4, num_classes, 1)})
        self.add_edge_head(edge_head, num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        stages = self.backbone(image)
        return {"seg": self.final["6"](stages[4]), **self.edge_outputs(stages, image.shape[-2:])}


ENTRIES = {
    EDGE: Entry(TinyEdge, "edge", ("resnet18",)),
    SEG: Entry(TinySeg, "seg", ("resnet18",)),
    JOINT: Entry(TinyJoint, "seg", ("resnet18",)),
}


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Within the block, the scripts know the nets."""
    options = {JOINT: ("edge_head",)}
    with mock.patch.dict(MODELS, ENTRIES), mock.patch.dict(OPTIONS, options):
        yield


def tiny_contents(name: str = EDGE, dataset: str = "camvid") -> dict:
    """A checkpoint's contents: random weights, the same ones each time."""
    source = dataset_class(dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = ENTRIES[name].build(len(source.classes), "resnet18")
    info = ModelInfo(
        name,
        "resnet18",
        len(source.classes),
        ENTRIES[name].task,
        tuple(source.classes),
        source.palette,
        0,
        dataset,
    )
    return {"model": info.to_plain(), "weights": model.state_dict()}


def save_tiny(path: Path, name: str = EDGE) -> None:
    """Write the checkpoint of a tiny net."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, tiny_contents(name))
