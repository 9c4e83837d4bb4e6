"""How edges of many classes are stored: a bit per class in a uint32, and in the pixels of a PNG.

Any number of classes: "groups", a list of uint32 (H, W) of 24 classes each. Bit k of group g is
class 24 g + k.
"""

from collections.abc import Sequence

import numpy as np

MAX_CLASSES = 32  # bits of a uint32
PNG_CLASSES = 24  # bits of an RGB pixel


def encode_png(bits: np.ndarray) -> np.ndarray:
    """uint32 (H, W) -> uint8 (H, W, 3), RGB: bit k of R << 16 | G << 8 | B is class k.

    So classes 0..7 are in B, 8..15 in G, 16..23 in R.
    """
    if (bits >> np.uint32(PNG_CLASSES)).any():
        raise ValueError(
            f"bits above {PNG_CLASSES - 1} are set; an RGB pixel holds {PNG_CLASSES} classes, "
            "write groups"
        )
    little_endian = np.ascontiguousarray(bits.astype("<u4", copy=False))
    return little_endian.view(np.uint8).reshape(*bits.shape, 4)[..., 2::-1]


def decode_png(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3), RGB -> uint32 (H, W). The inverse of `encode_png`."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"found an array of {image.dtype} {image.shape}; expected uint8 (H, W, 3)")
    little_endian = np.zeros((*image.shape[:2], 4), np.uint8)
    little_endian[..., :3] = image[..., ::-1]
    return little_endian.view("<u4")[..., 0].astype(np.uint32, copy=False)


def unpack(bits: np.ndarray, num_classes: int) -> np.ndarray:
    """uint32 (H, W) -> bool (K, H, W)."""
    edges = np.empty((num_classes, *bits.shape), bool)
    for k in range(num_classes):
        np.not_equal(bits & np.uint32(1 << k), 0, out=edges[k])
    return edges


def pack(edges: np.ndarray) -> np.ndarray:
    """bool (K, H, W) -> uint32 (H, W). The inverse of `unpack`."""
    if len(edges) > MAX_CLASSES:
        raise ValueError(f"found {len(edges)} classes; a uint32 holds {MAX_CLASSES}")
    bits = np.zeros(edges.shape[1:], np.uint32)
    for k, edge in enumerate(edges):
        bits |= edge.astype(np.uint32) << np.uint32(k)
    return bits


def present_bits(bits: np.ndarray) -> list[int]:
    """The bits that are set in any pixel of uint32 (H, W), in order."""
    union = int(np.bitwise_or.reduce(bits, axis=None))
    return [k for k in range(union.bit_length()) if union >> k & 1]


def to_groups(bits: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """uint32 of up to 32 classes -> groups. The bits are not copied where one group holds all."""
    if num_classes <= PNG_CLASSES:
        return [bits]
    return [bits & np.uint32((1 << PNG_CLASSES) - 1), bits >> np.uint32(PNG_CLASSES)]


def class_edges(groups: Sequence[np.ndarray], k: int) -> np.ndarray:
    """The edges of class k, bool, of the shape of a group."""
    return groups[k // PNG_CLASSES] >> np.uint32(k % PNG_CLASSES) & np.uint32(1) != 0


def present_classes(groups: Sequence[np.ndarray]) -> list[int]:
    """The classes with an edge pixel, in order."""
    return [g * PNG_CLASSES + k for g, bits in enumerate(groups) for k in present_bits(bits)]
