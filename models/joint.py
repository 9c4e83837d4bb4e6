"""Both tasks in one net: a segmentation net with a head for semantic edges on its backbone.

The semantic boundary conditioned backbone (SBCB: Ishikawa and Aoki, Sensors 2023): CASENet's or
DFF's head reads the stages that the segmentation reads, and its loss shapes them; without the head
the net is what it was. So checkpoints of the net load into the one with the head, and back.
"""

import copy
from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from models.casenet import CASENetHead
from models.contract import Backbone
from models.dff import DFFHead
from models.layers import conv_bn_relu, initialise_heads

EDGE_HEADS: dict[str, type[CASENetHead] | type[DFFHead]] = {"casenet": CASENetHead, "dff": DFFHead}
EDGE_HEAD_CHOICES = ("none", *EDGE_HEADS)
EDGE_OUTPUTS = ("side5", "fuse")
IMAGE_CHANNELS = 3
STEM_CHANNELS = 32


class JointNet(nn.Module):
    """A segmentation net that may have an edge head: the base class of all of them.

    A net calls `add_edge_head` in its constructor, and adds `edge_outputs` to its outputs.
    """

    # Parameters of a net with an edge head that one without does not have.
    edge_prefixes = ("edge_head.", "edge_stem.")
    outputs: tuple[str, ...]
    classifier: tuple[str, ...]
    backbone: Backbone
    edge_head: CASENetHead | DFFHead | None
    edge_stem: nn.Module | None

    def add_edge_head(self, name: str, num_classes: int) -> None:
        """name: of EDGE_HEAD_CHOICES; ValueError for another. Says so in outputs and classifier."""
        if name not in EDGE_HEAD_CHOICES:
            raise ValueError(f"no edge head {name!r}; there are {', '.join(EDGE_HEAD_CHOICES)}")
        self.edge_head = self.edge_stem = None
        if name == "none":
            return
        channels, strides = self.backbone.channels, self.backbone.strides
        if channels[0] == IMAGE_CHANNELS:  # a backbone without a stage before its layers
            self.edge_stem = full_size_stem()
            channels = (STEM_CHANNELS, *channels[1:])
        self.edge_head = EDGE_HEADS[name](channels, strides, num_classes)
        self.outputs = (*self.outputs, *EDGE_OUTPUTS)
        of_head = tuple(f"edge_head.{prefix}" for prefix in self.edge_head.classifier)
        self.classifier = (*self.classifier, *of_head)

    def without_edge_head(self) -> Self:
        """The same net, parameters and hooks included, as if it had been built without the head."""
        if self.edge_head is None:
            return self
        net = copy.copy(self)
        net._modules = self._modules | {"edge_head": None, "edge_stem": None}
        net.outputs = tuple(name for name in self.outputs if name not in EDGE_OUTPUTS)
        net.classifier = tuple(
            prefix for prefix in self.classifier if not prefix.startswith(self.edge_prefixes)
        )
        return net

    def edge_outputs(self, stages: Sequence[Tensor], size: Sequence[int]) -> dict[str, Tensor]:
        """x1..x5 of images of `size` (H, W) -> {"side5", "fuse": (N, K, H, W)}; {} if no head."""
        if self.edge_head is None:
            return {}
        if self.edge_stem is not None:
            stages = [self.edge_stem(stages[0]), *stages[1:]]
        return self.edge_head.edges(stages, size)


def full_size_stem() -> nn.Sequential:
    """Two 3x3 convolutions at the image's size, where a backbone begins with a coarser stage.

    (N, 3, H, W) -> (N, 32, H, W).
    """
    stem = nn.Sequential(
        *conv_bn_relu(IMAGE_CHANNELS, STEM_CHANNELS, 3),
        *conv_bn_relu(STEM_CHANNELS, STEM_CHANNELS, 3),
    )
    initialise_heads(stem)
    return stem
