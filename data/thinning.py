"""Thinning of binary maps, as `bwmorph(map, 'thin', Inf)` does it, 64 pixels at a time.

A map is kept as bits in a flat uint64 array (`Grid`): each row has `pad` or more zeros on either
side and fills whole words. So a neighbour is a fixed number of bits away, borders need no special
case, and one logical operation treats 64 pixels. The matching of edge metrics works on the same
bits.

Rule: Guo & Hall, "Parallel thinning with two-subiteration algorithms", CACM 1989, their first
algorithm, as restated (G1 to G3) by Lam, Lee & Suen, "Thinning methodologies", TPAMI 1992.
"""

from dataclasses import dataclass

import numpy as np

from data.system.compiled import compiled

WORD = 64


@dataclass(frozen=True, slots=True)
class Grid:
    """Where each pixel of a height x width map lies in a flat array of bits.

    The map has `pad` (>= 1) pixels of zeros around it. Pixel (y, x) is bit
    `origin + y * stride + x`. One word of zeros precedes the first row and one follows the last,
    so that a reader may look one word to either side of any row.
    """

    height: int
    width: int
    pad: int = 1

    @property
    def row_words(self) -> int:
        """Words per row."""
        return -(-(self.width + 2 * self.pad) // WORD)

    @property
    def stride(self) -> int:
        """Bits per row: the distance from a pixel to the one below it."""
        return self.row_words * WORD

    @property
    def rows(self) -> int:
        """Rows with those of the padding."""
        return self.height + 2 * self.pad

    @property
    def words(self) -> int:
        """Length of the array."""
        return self.rows * self.row_words + 2

    @property
    def origin(self) -> int:
        """The bit of pixel (0, 0)."""
        return WORD + self.pad * self.stride + self.pad

    def pack(self, mask: np.ndarray) -> np.ndarray:
        """bool (H, W) -> bits uint64 (words,)."""
        padded = np.zeros((self.rows, self.stride), bool)
        padded[self._inside] = mask
        bits = np.zeros(self.words, "<u8")
        bits[1:-1] = np.packbits(padded, bitorder="little").view("<u8")
        return bits

    def unpack(self, bits: np.ndarray) -> np.ndarray:
        """The inverse of `pack`."""
        flat = np.unpackbits(bits[1:-1].view(np.uint8), bitorder="little")
        return flat.reshape(self.rows, self.stride)[self._inside].astype(bool)

    @property
    def _inside(self) -> tuple[slice, slice]:
        """Rows and columns of the map within its padding."""
        pad = self.pad
        return slice(pad, pad + self.height), slice(pad, pad + self.width)


def thin(mask: np.ndarray) -> np.ndarray:
    """Thin strokes to one pixel: bool (H, W) -> bool (H, W).

    The connections of `mask` stay (8-connected pixels, 4-connected background). Equal to
    `bwmorph(mask, 'thin', Inf)` and to `skimage.morphology.thin(mask)`. What lies outside the map
    counts as zero.
    """
    if mask.ndim != 2:
        raise ValueError(f"thin takes one map (H, W), got an array of shape {mask.shape}")
    grid = Grid(mask.shape[0], mask.shape[1])
    bits = grid.pack(mask)
    thin_bits(bits, grid.row_words)
    return grid.unpack(bits)


@compiled
def thin_bits(bits: np.ndarray, row_words: int) -> None:  # pragma: no cover - compiled
    """Thin, in place, a map that a `Grid` packed with `row_words` words per row.

    The two subiterations alternate until neither changes anything. A row is processed again only
    if it, or a row beside it, has lost a pixel since the same subiteration last processed it.
    """
    rows = bits.size // row_words
    # The step in which a row last lost a pixel; 0 for every row that has pixels at all.
    lost = np.full(rows, -9, np.int64)
    for y in range(1, rows - 1):
        for i in range(1 + y * row_words, 1 + (y + 1) * row_words):
            if bits[i]:
                lost[y] = 0
    # What this row and the row before it lose. A row is deleted one row late, because the rule of
    # the next row must see it as it was.
    doomed = np.zeros((2, row_words), np.uint64)
    step = 1
    last_loss = 0
    while step - last_loss <= 2:
        waiting = False  # the row before is not deleted yet
        for y in range(1, rows):
            active = y < rows - 1 and max(lost[y - 1], lost[y], lost[y + 1]) >= step - 2
            if active:
                active = _find_doomed(
                    bits, 1 + y * row_words, row_words, step % 2 == 1, doomed[y % 2]
                )
            if waiting:
                for i in range(row_words):
                    bits[1 + (y - 1) * row_words + i] &= ~doomed[(y - 1) % 2, i]
                lost[y - 1] = last_loss = step
            waiting = active
        step += 1


@compiled
def _find_doomed(
    bits: np.ndarray, start: int, row_words: int, first: bool, doomed: np.ndarray
) -> bool:  # pragma: no cover - compiled
    """Write the pixels that one subiteration takes from the row at word `start` into `doomed`.

    True if there are any. x1..x8 are the neighbours of a pixel: east, north-east, and so on
    counter-clockwise.
    """
    one = np.uint64(1)
    top = np.uint64(WORD - 1)
    here = bits[start - 1 : start + row_words + 1]
    above = bits[start - row_words - 1 : start + 1]
    below = bits[start + row_words - 1 : start + 2 * row_words + 1]
    some = np.uint64(0)
    for i in range(row_words):
        x1 = (here[i + 1] >> one) | (here[i + 2] << top)
        x2 = (above[i + 1] >> one) | (above[i + 2] << top)
        x3 = above[i + 1]
        x4 = (above[i + 1] << one) | (above[i] >> top)
        x5 = (here[i + 1] << one) | (here[i] >> top)
        x6 = (below[i + 1] << one) | (below[i] >> top)
        x7 = below[i + 1]
        x8 = (below[i + 1] >> one) | (below[i + 2] << top)
        # G1: going round, exactly one step enters the foreground
        # (b_i = not x_{2i-1} and (x_{2i} or x_{2i+1})).
        b1, b2, b3, b4 = ~x1 & (x2 | x3), ~x3 & (x4 | x5), ~x5 & (x6 | x7), ~x7 & (x8 | x1)
        g1 = (b1 ^ b2 ^ b3 ^ b4) & ~((b1 & b2) | (b3 & b4))
        # G2: 2 <= min(n1, n2) <= 3, where n1 and n2 count the pairs of neighbours that have a
        # pixel, paired in the two ways.
        p1, p2, p3, p4 = x1 | x2, x3 | x4, x5 | x6, x7 | x8
        q1, q2, q3, q4 = x2 | x3, x4 | x5, x6 | x7, x8 | x1
        two = ((p1 & p2) | (p3 & p4) | ((p1 | p2) & (p3 | p4))) & (
            (q1 & q2) | (q3 & q4) | ((q1 | q2) & (q3 | q4))
        )
        g2 = two & ~(p1 & p2 & p3 & p4 & q1 & q2 & q3 & q4)
        # G3: the first subiteration spares one side of a stroke, the second the other.
        spared = (x2 | x3 | ~x8) & x1 if first else (x6 | x7 | ~x4) & x5
        gone = here[i + 1] & g1 & g2 & ~spared
        doomed[i] = gone
        some |= gone
    return some != 0
