"""Label Studio's brush masks: the run lengths of an RGBA image, packed bit by bit.

The coding is that of the JavaScript package `rle-pack`. All numbers have their highest bit first:

    32 bits            the number of words
    5 bits             bits of a word, less 1
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
CHANNELS = 4


class _Bits:
    """A stream of bits. IndexError at its end."""

    def __init__(self, packed: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(packed, np.uint8))
        self._packed = packed
        self._at = 0

    def number(self, size: int) -> int:
        """The next `size` bits as one number."""
        end = self._take(size)
        chunk = int.from_bytes(self._packed[(end - size) // 8 : -(-end // 8)], "big")
        return chunk >> (-end % 8) & ((1 << size) - 1)

    def numbers(self, count: int, size: int) -> np.ndarray:
        """int64 (count,): the next numbers of `size` bits each."""
        end = self._take(count * size)
        rows = self._bits[end - count * size : end].reshape(count, size)
        return rows @ (1 << np.arange(size - 1, -1, -1, dtype=np.int64))

    def _take(self, size: int) -> int:
        self._at += size
        if self._at > len(self._bits):
            raise IndexError
        return self._at


def count_words(packed: bytes) -> int:
    """The number of words that a mask says it has; 0 if it is too short to say so."""
    return int.from_bytes(packed[:4], "big") if 8 * len(packed) >= HEAD_BITS else 0


def decode(packed: bytes) -> np.ndarray:
    """int64 (words,): what was packed. IndexError if the bits end before the words do."""
    bits = _Bits(packed)
    words = np.zeros(bits.number(32), np.int64)
    word_size = bits.number(5) + 1
    length_sizes = [bits.number(4) + 1 for _ in range(4)]
    at = 0
    while at < len(words):
        is_run = bits.number(1)
        length = bits.number(length_sizes[bits.number(2)]) + 1
        if at + length > len(words):
            raise IndexError
        words[at : at + length] = (
            bits.number(word_size) if is_run else bits.numbers(length, word_size)
        )
        at += length
    return words


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
            words = decode(self.packed)
        except IndexError as error:
            raise InputError(f"{self.where}: its rle is cut off; export it again") from error
        return Bitmap(0, 0, words.reshape(*self.size, CHANNELS)[:, :, 3] > 0)
