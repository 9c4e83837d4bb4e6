"""Images that occur twice: the same pixels, or nearly the same to the eye.

Near-duplicates are found by ImageHash's `phash`, 64 bits of the signs of the image's lowest
frequencies: scaled and recompressed copies differ in a few of them, other images in about half.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

NEAR_BITS = 6  # of 64 that near-duplicates may differ in
HASH_SIDE = 256  # pixels that an image is reduced to before it is hashed
MIN_CONTRAST = 3.0  # standard deviation of grey values; below, the bits are those of noise
BLOCK = 1 << 22  # pairs that are compared at once
NEEDS = "pip install ImageHash"


class Twins(NamedTuple):
    """Two images, by number, and in how many of 64 bits they differ."""

    first: int
    second: int
    bits: int


def can_hash() -> bool:
    """Whether ImageHash is installed."""
    try:
        import imagehash  # noqa: F401
    except ImportError:
        return False
    return True


def perceptual_hash(image: np.ndarray) -> int | None:
    """64 bits of uint8 (H, W, 3); None for an image of one colour, which resembles all others."""
    import imagehash

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = HASH_SIDE / max(grey.shape)
    if scale < 1:
        size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    if grey.std() < MIN_CONTRAST:
        return None
    bits = np.packbits(imagehash.phash(Image.fromarray(grey)).hash)
    return int.from_bytes(bits.tobytes(), "big")


def content_digest(image: np.ndarray) -> bytes:
    """Stands for the pixels of an image, whatever file format they are in."""
    digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
    digest.update(str(image.shape).encode())
    return digest.digest()


def same_content(digests: Sequence[bytes | None]) -> list[list[int]]:
    """The groups of two and more images with the same pixels, by number."""
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for number, digest in enumerate(digests):
        if digest is not None:
            groups[digest].append(number)
    return [numbers for numbers in groups.values() if len(numbers) > 1]


def near_twins(
    hashes: Sequence[int | None], splits: Sequence[str], limit: int = NEAR_BITS
) -> list[Twins]:
    """For each image the nearest one of each earlier split, where at most `limit` bits differ.

    All pairs are compared, in blocks: 20,000 images take a few seconds.
    """
    known = np.array([number for number, code in enumerate(hashes) if code is not None], np.int64)
    codes = np.array([code for code in hashes if code is not None], np.uint64)
    names = list(dict.fromkeys(splits))
    place = {name: k for k, name in enumerate(names)}
    pairs = zip(splits, hashes, strict=True)
    of_split = np.array([place[split] for split, code in pairs if code is not None], np.int64)
    found: list[Twins] = []
    for later in range(1, len(names)):
        for earlier in range(later):
            first, second = (np.flatnonzero(of_split == k) for k in (earlier, later))
            for i, j, bits in _nearest(codes[first], codes[second], limit):
                found.append(Twins(int(known[first[i]]), int(known[second[j]]), bits))
    return sorted(found, key=lambda twins: twins.bits)


def _nearest(first: np.ndarray, second: np.ndarray, limit: int) -> list[tuple[int, int, int]]:
    """(i, j, bits) for each j of `second` whose nearest i of `first` is within the limit."""
    found: list[tuple[int, int, int]] = []
    if not first.size:
        return found
    rows = max(1, BLOCK // first.size)
    for start in range(0, second.size, rows):
        part = second[start : start + rows]
        bits = np.bitwise_count(part[:, None] ^ first[None])
        nearest = bits.argmin(axis=1)
        least = bits[np.arange(part.size), nearest]
        for j in np.flatnonzero(least <= limit).tolist():
            found.append((int(nearest[j]), start + j, int(least[j])))
    return found
