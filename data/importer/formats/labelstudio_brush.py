"""Label Studio's brush masks: the run lengths of an RGBA image, packed bit by bit.

The coding is that of the JavaScript package `rle-pack`. All numbers have their highest bit first:

    32 bits            the number of words
    5 bits             bits of a word, less 1: here always 7
    4 times 4 bits     bits of a length, of each of four kinds, less 1
    then, until there are enough words:
    1 bit              1: one word follows, which is repeated; 0: that many words follow
    2 bits             the kind of the length
    as the kind says   the length, less 1
    ...                the word or words

The words are the bytes red, green, blue, alpha of each pixel, row by row.
"""

from dataclasses import dataclass

import numpy as np

from data.errors import InputError
from data.importer.shapes import Bitmap, Mask, Size

HEAD_BITS = 32 + 5 + 4 * 4
WORD_BITS = 8
WINDOW = 64  # bits that are looked at together: the head of a chunk and a word have at most 27
CHANNELS = 4


def count_words(packed: bytes) -> int:
    """The number of words that a mask says it has; 0 if it is too short to say so."""
    return int.from_bytes(packed[:4], "big") if 8 * len(packed) >= HEAD_BITS else 0


def decode(packed: bytes) -> bytes:
    """What was packed. ValueError if the bits end before the words do, or words are no bytes."""
    total = count_words(packed)
    if _bits(packed, 32, 5) + 1 != WORD_BITS:
        raise ValueError("its words are no bytes")
    sizes = [_bits(packed, 37 + 4 * kind, 4) + 1 for kind in range(4)]
    at, end = HEAD_BITS, 8 * len(packed)
    words = bytearray()
    while len(words) < total:
        window = _bits(packed, at, WINDOW)
        is_run, size = window >> 63, sizes[window >> 61 & 3]
        length = (window >> (61 - size) & ((1 << size) - 1)) + 1
        at += 3 + size
        if is_run:
            words += (window >> (53 - size) & 255).to_bytes() * length
            at += WORD_BITS
        else:
            words += _bits(packed, at, WORD_BITS * length).to_bytes(length)
            at += WORD_BITS * length
        if at > end:
            raise ValueError("it is cut off")
    if len(words) > total:
        raise ValueError("it has more words than it says")
    return bytes(words)


def _bits(packed: bytes, at: int, size: int) -> int:
    """The `size` bits from bit `at` on as one number; 0 for those beyond the end."""
    first, last = at // 8, (at + size + 7) // 8
    chunk = int.from_bytes(packed[first:last]) << 8 * max(0, last - max(first, len(packed)))
    return chunk >> (8 * last - at - size) & ((1 << size) - 1)


@dataclass(frozen=True)
class Brush:
    """A mask as it is stored. A `Shape`.

    Args:
        packed: the bytes of `rle`.
        size: (H, W) of the image that it was drawn on.
        where: the place in the annotation file, for messages.
    """

    packed: bytes
    size: Size
    where: str

    def mask(self, size: Size) -> Mask:
        """The pixels whose alpha is not 0, which is what Label Studio shows."""
        return self._bitmap().mask(size)

    def is_outside(self, size: Size) -> bool:
        """Whether a pixel that is set lies outside the image."""
        return self.size != size and self._bitmap().is_outside(size)

    def _bitmap(self) -> Bitmap:
        try:
            words = np.frombuffer(decode(self.packed), np.uint8)
        except ValueError as error:
            raise InputError(f"{self.where}: its rle is wrong: {error}; export it again") from error
        return Bitmap(0, 0, words.reshape(*self.size, CHANNELS)[:, :, 3] > 0)
