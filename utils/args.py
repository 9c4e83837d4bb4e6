"""Types of flags that name parts of a net, for all command lines that have them."""

import argparse

from models import ALL_BACKBONES
from models.backbones import is_timm


def backbone(given: str) -> str:
    """A type for `--backbone`: one of ours, or timm:NAME. Whether timm has it, timm says later."""
    if given in ALL_BACKBONES or is_timm(given):
        return given
    known = ", ".join(ALL_BACKBONES)
    raise argparse.ArgumentTypeError(f"{given[:60]!r}: expected {known} or timm:NAME")
