"""Targets of decoupled nets: the classes within one pixel of each pixel, and a map of edges.

The multi-hot classes are what the boundary-relaxed loss reads (Zhu et al., CVPR 2019). The edges
are those of DecoupleSegNets (Li et al., ECCV 2020), taken from the relaxed maps.

Workers send one bit per class and pixel, 32 to a word; `unpack_relaxed` opens them on the device.
Word w of a pixel holds bit k % 32 of every k with k // 32 = w; k < K is class k, k = K is void.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from data.errors import InputError
from data.image_io import IGNORE

WORD = 32
MOST_CLASSES = IGNORE - 1


def relaxed_target(
    label: np.ndarray,
    num_classes: int,
    *,
    border: int = 1,
    strict_classes: tuple[int, ...] = (),
    radius: float = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """(bits uint32 (words, H, W), edge uint8 (1, H, W)) of a crop's label.

    See `relax` for border and strict_classes, `relaxed_edges` for radius.
    """
    bits = relax(label, num_classes, border=border, strict_classes=strict_classes)
    return bits, relaxed_edges(bits, num_classes, radius=radius)[None]


def relax(
    label: np.ndarray, num_classes: int, *, border: int = 1, strict_classes: tuple[int, ...] = ()
) -> np.ndarray:
    """Multi-hot classes as bits, uint32 (words, H, W), words = ceil((K + 1) / 32).

    Bit k is set where any pixel of the square of side 2 border + 1 has class k. Outside the image
    all is void, so the image's outermost pixels always have the void bit.

    Args:
        label: uint8 (H, W), train ids, 255 = void.
        num_classes: K, 1 to 254.
        border: pixels; 0 makes one-hot maps.
        strict_classes: these are set at their own pixels only.
    """
    own = _one_hot(label, num_classes)
    relaxed = np.stack(
        [_spread(word, border, _bits_of((num_classes,), index)) for index, word in enumerate(own)]
    )
    for index, word in enumerate(relaxed):
        strict = _bits_of(strict_classes, index)
        if strict:
            word &= ~strict
            word |= own[index] & strict
    return relaxed


def relaxed_edges(bits: np.ndarray, num_classes: int, *, radius: float = 2) -> np.ndarray:
    """uint32 (words, H, W) -> uint8 (H, W), 1 where a class is present and absent within `radius`.

    Void is no class, but where it meets one is an edge. No class is present outside the image, so
    its outermost `radius` pixels are an edge wherever a class reaches them.

    The published rule thresholds the distance to each class's boundary at `radius`. This is the
    same for all classes at once: the sets of classes in the disk are not all equal. A disk is
    connected, so then they differ between two neighbours in it, and it is enough to look for such
    neighbours. (At radius sqrt(5) and above the published code also marks the top left corner, for
    the classes that the image lacks; this does not.)
    """
    if radius < 1:
        raise ValueError(f"the radius is {radius}; expected at least 1 pixel")
    pad = int(radius)
    height, width = bits.shape[1:]
    # across[y, x]: pixel (y, x) differs from (y, x + 1); down[y, x]: from (y + 1, x).
    across = np.zeros((height + 2 * pad, width + 2 * pad), np.uint8)
    down = np.zeros_like(across)
    void = _bits_of((num_classes,), len(bits) - 1)
    for index, word in enumerate(bits):
        classes = word & ~void if index == len(bits) - 1 else word
        # OpenCV pads no uint32.
        padded = cv2.copyMakeBorder(
            classes.view(np.int32), pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0
        )
        across[:, :-1] |= padded[:, 1:] != padded[:, :-1]
        down[:-1] |= padded[1:] != padded[:-1]
    disk = _disk(radius)
    # A change counts where both of its pixels lie in the disk.
    both_across = np.bitwise_and(disk[:, :-1], disk[:, 1:])
    both_down = np.bitwise_and(disk[:-1], disk[1:])
    edges = np.bitwise_or(
        cv2.dilate(across, both_across, anchor=(pad, pad)),
        cv2.dilate(down, both_down, anchor=(pad, pad)),
    )
    return np.ascontiguousarray(edges[pad : pad + height, pad : pad + width])


def unpack_relaxed(bits: Tensor, num_classes: int) -> Tensor:
    """int32 (N, words, H, W) of bits -> uint8 (N, K + 1, H, W), on the device of `bits`.

    The last channel is void.
    """
    count = num_classes + 1
    words = []
    for index in range(bits.shape[1]):
        in_word = min(WORD, count - index * WORD)
        shifts = torch.arange(in_word, device=bits.device, dtype=torch.int32)
        words.append(((bits[:, index : index + 1] >> shifts.view(1, -1, 1, 1)) & 1).to(torch.uint8))
    return words[0] if len(words) == 1 else torch.cat(words, dim=1)


def _one_hot(label: np.ndarray, num_classes: int) -> np.ndarray:
    """uint8 (H, W) -> uint32 (words, H, W)."""
    if not 1 <= num_classes <= MOST_CLASSES:
        raise InputError(
            f"relaxed targets of {num_classes} classes were asked for; expected 1 to {MOST_CLASSES}"
        )
    if label.dtype != np.uint8 or label.ndim != 2:
        raise ValueError(f"the label is {label.dtype} {label.shape}; expected uint8 (H, W)")
    words = num_classes // WORD + 1
    table = np.zeros((words, IGNORE + 1), np.uint32)
    for k in range(num_classes):
        table[k // WORD, k] = _bits_of((k,), k // WORD)
    table[-1, IGNORE] = _bits_of((num_classes,), words - 1)
    in_table = np.asarray(table.any(axis=0))[label]
    if not in_table.all():
        wrong = int(label[~in_table][0])
        raise InputError(
            f"label id {wrong} is out of range; expected 0..{num_classes - 1} or {IGNORE}"
        )
    return np.stack([row.take(label) for row in table])


def _bits_of(ids: tuple[int, ...], word: int) -> np.uint32:
    """The bits of those ids that are in word number `word`."""
    return np.uint32(sum(1 << k % WORD for k in set(ids) if k // WORD == word))


def _spread(word: np.ndarray, border: int, outside: np.uint32) -> np.ndarray:
    """uint32 (H, W) -> the OR over each square of side 2 border + 1.

    `outside` is the value beyond the image. Rows first and then columns: 2 side operations
    instead of side * side.
    """
    height, width = word.shape
    side = 2 * border + 1
    padded = np.full((height + 2 * border, width + 2 * border), outside)
    padded[border : border + height, border : border + width] = word
    rows = padded[:height].copy()
    for shift in range(1, side):
        rows |= padded[shift : shift + height]
    square = rows[:, :width].copy()
    for shift in range(1, side):
        square |= rows[:, shift : shift + width]
    return square


def _disk(radius: float) -> np.ndarray:
    """uint8 (2r + 1, 2r + 1), 1 where dx^2 + dy^2 <= radius^2."""
    offsets = np.arange(-int(radius), int(radius) + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius * radius).astype(np.uint8)
