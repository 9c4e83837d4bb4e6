"""From the name of a backbone to one with five stages: ours, or any of timm's (`timm:NAME`).

Ours are the published ones. The edge nets want their first stage at the image's full size, the
segmentation nets start at half of it.
"""

import re

from models.contract import Backbone
from models.resnet import DEPTHS, edge_resnet, seg_resnet
from models.wider_resnet import WiderResNet

RESNETS = tuple(DEPTHS)
ALL_BACKBONES = (*RESNETS, "wider_resnet38")
TIMM = "timm:"
# Names of the package alone: no address of a hub, and no path.
TIMM_NAME = re.compile(r"timm:[A-Za-z0-9_]{1,80}(\.[A-Za-z0-9_]{1,80})?")


def is_timm(backbone: str) -> bool:
    """Whether the name is of a backbone that the package timm builds: timm:NAME or NAME.TAG."""
    return TIMM_NAME.fullmatch(backbone) is not None


def edge_backbone(backbone: str) -> Backbone:
    """The backbone of an edge net; its first stage has the image's size."""
    if is_timm(backbone):
        return _timm(backbone, full_size=True)
    return edge_resnet(backbone)


def seg_backbone(backbone: str) -> Backbone:
    """The backbone of a segmentation net."""
    if is_timm(backbone):
        return _timm(backbone, full_size=False)
    return WiderResNet() if backbone == "wider_resnet38" else seg_resnet(backbone)


def _timm(backbone: str, *, full_size: bool) -> Backbone:
    from models.timm_backbone import TimmBackbone  # an optional extra

    return TimmBackbone(backbone.removeprefix(TIMM), full_size=full_size)
