"""Semantic edges of a label map, as one uint32 per pixel: bit k set = edge of class k.

Of more than 32 classes, as groups of 24 (`data.edges.bits`).
"""

from data.edges.bits import (
    MAX_CLASSES,
    PNG_CLASSES,
    class_edges,
    decode_png,
    encode_png,
    pack,
    present_bits,
    present_classes,
    to_groups,
    unpack,
)
from data.edges.derived import boundary_probability, hard_edges, scale_between, soft_edges
from data.edges.evaluation import evaluation_edges, resize_nearest, thin_classes
from data.edges.rule import class_groups, label_to_edges

__all__ = [
    "MAX_CLASSES",
    "PNG_CLASSES",
    "boundary_probability",
    "class_edges",
    "class_groups",
    "decode_png",
    "encode_png",
    "evaluation_edges",
    "hard_edges",
    "label_to_edges",
    "pack",
    "present_bits",
    "present_classes",
    "resize_nearest",
    "scale_between",
    "soft_edges",
    "thin_classes",
    "to_groups",
    "unpack",
]
