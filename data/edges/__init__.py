"""Semantic edges of a label map, as one uint32 per pixel: bit k set = edge of class k."""

from data.edges.bits import (
    MAX_CLASSES,
    PNG_CLASSES,
    decode_png,
    encode_png,
    pack,
    present_bits,
    unpack,
)
from data.edges.evaluation import evaluation_edges, resize_nearest, thin_classes
from data.edges.rule import class_groups, label_to_edges

__all__ = [
    "MAX_CLASSES",
    "PNG_CLASSES",
    "class_groups",
    "decode_png",
    "encode_png",
    "evaluation_edges",
    "label_to_edges",
    "pack",
    "present_bits",
    "resize_nearest",
    "thin_classes",
    "unpack",
]
