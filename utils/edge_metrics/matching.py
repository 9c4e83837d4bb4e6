"""Maximum-cardinality matching of predicted with true edge pixels, at most a radius apart.

Definition: Martin, Fowlkes & Malik, "Learning to detect natural image boundaries using local
brightness, color, and texture cues", TPAMI 2004. Their benchmark solves a minimum-cost assignment
with an outlier cost so large that the number of pairs comes first; that number is what we count,
exactly.

This file is longer than others for a reason: numba's cache on disk notices a change only in a
function's own file, and it does not notice another order of a named tuple's fields. So the compiled
functions that call each other, and the tuples that they take, stay together.
"""

from typing import NamedTuple

import numpy as np

from data.system.compiled import compiled
from data.thinning import WORD, Grid

# Both maps are bits packed by `data.thinning.Grid`, padded by the radius. The graph is never built:
# the neighbours of a pixel are a few words of the other map. From each unmatched pixel (root) a
# breadth-first search looks for an augmenting path: to a neighbour, from there to its partner, and
# so on to an unmatched pixel of the other side. What makes it fast:
# - While all roots are on one side, a root from which no such path leads will never have one,
#   however many other roots are matched meanwhile or join the graph (Berge 1957, Kuhn 1955). So
#   each root is searched from once.
# - The pixels that a failed search has seen lead nowhere, so later searches leave them out
#   ("dead").
# - Nearly all paths are short. Once the successful searches have seen PATIENCE times as many pixels
#   as there are, the roots that are left ("hard") are matched together in phases, many paths per
#   search (after Hopcroft & Karp 1973, but measured from the far end).

ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE = np.uint64(1)
NONE = 0  # in place of a pixel
PATIENCE = 3  # 1 to 10 are equally fast, 0 and endless patience are slower
ENDLESS = 1 << 32  # a patience that never runs out: no root is hard


class Side(NamedTuple):
    """The pixels of one of the two maps.

    A pixel is the number of its bit in the grid; 0 is never a pixel and stands for none.

    free: bits uint64, the unmatched pixels. taken: bits, the matched ones that are not dead. mate:
    int32 per bit, the partner.
    """

    free: np.ndarray
    taken: np.ndarray
    mate: np.ndarray

    @classmethod
    def of(cls, bits: np.ndarray) -> "Side":
        """All pixels of `bits`, unmatched."""
        return cls(bits.copy(), np.zeros_like(bits), np.zeros(bits.size * WORD, np.int32))


class Scratch(NamedTuple):
    """Memory for searches, int32 per bit, allocated once for all thresholds.

    parent: the pixel of the roots' side from which a pixel was reached. steps, first_steps: see
    `_measure`. queue, seen, hard: lists of pixels.
    """

    parent: np.ndarray
    steps: np.ndarray
    first_steps: np.ndarray
    queue: np.ndarray
    seen: np.ndarray
    hard: np.ndarray

    @classmethod
    def on(cls, grid: Grid) -> "Scratch":
        """For maps of one size; the contents are undefined."""
        return cls(*(np.empty(grid.words * WORD, np.int32) for _ in cls._fields))


@compiled
def popcount(word):  # pragma: no cover - compiled
    """Number of ones in a uint64, in the form that LLVM turns into one instruction."""
    word -= (word >> ONE) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def count(bits):  # pragma: no cover - compiled
    """Number of bits that are set."""
    total = 0
    for word in bits:
        total += popcount(word)
    return total


@compiled
def lowest(word):  # pragma: no cover - compiled
    """Index of the lowest one in a uint64 that is not zero."""
    return popcount((word & (~word + ONE)) - ONE)


@compiled
def flip(bits, at):  # pragma: no cover - compiled
    """Turn bit `at` over."""
    bits[at >> 6] ^= ONE << np.uint64(at & 63)


@compiled
def has(bits, at):  # pragma: no cover - compiled
    """Is bit `at` set?"""
    return (bits[at >> 6] >> np.uint64(at & 63)) & ONE != 0


@compiled
def set_bits(bits, positions):  # pragma: no cover - compiled
    """Set the bits with these numbers."""
    for at in positions:
        bits[at >> 6] |= ONE << np.uint64(at & 63)


@compiled
def window(word, first, last):  # pragma: no cover - compiled
    """A mask of the bits of word number `word` that lie between bits `first` and `last`."""
    mask = ALL
    if word == first >> 6:
        mask &= ALL << np.uint64(first & 63)
    if word == last >> 6:
        mask &= ALL >> np.uint64(63 - (last & 63))
    return mask


@compiled
def dilate(bits, runs):  # pragma: no cover - compiled
    """Bits of all pixels in reach of a pixel of `bits`."""
    out = np.zeros_like(bits)
    for centre_word in range(bits.size):
        left = bits[centre_word]
        while left:
            centre = (centre_word << 6) + lowest(left)
            left &= left - ONE
            for k in range(len(runs)):
                first, last = centre + runs[k, 0], centre + runs[k, 1]
                for word in range(first >> 6, (last >> 6) + 1):
                    out[word] |= window(word, first, last)
    return out


@compiled
def near(bits, centre, runs):  # pragma: no cover - compiled
    """A pixel of `bits` in the disk around `centre`, in the nearest row that has one; 0: none."""
    for k in range(len(runs)):
        first, last = centre + runs[k, 0], centre + runs[k, 1]
        for word in range(first >> 6, (last >> 6) + 1):
            if bits[word]:
                found = bits[word] & window(word, first, last)
                if found:
                    return (word << 6) + lowest(found)
    return 0


@compiled
def match_smaller(runs, one, two, scratch):  # pragma: no cover - compiled
    """Make any matching maximum, from the side with fewer free pixels; return the pairs added."""
    if count(one.free) > count(two.free):
        one, two = two, one
    roots = np.empty(count(one.free), np.int32)
    n_roots = 0
    for word in range(one.free.size):
        left = one.free[word]
        while left:
            roots[n_roots] = (word << 6) + lowest(left)
            left &= left - ONE
            n_roots += 1
    return match_roots(roots, runs, one, two, scratch, False)


@compiled
def add_pixels(pixels, reachable, runs, mine, theirs, scratch):  # pragma: no cover - compiled
    """Add those of `pixels` that are in `reachable` (bits) to the graph, on the side `mine`.

    Returns how many pairs the maximum gains.
    """
    roots = np.empty(pixels.size, np.int32)
    n_roots = 0
    for at in pixels:
        if has(reachable, at):
            flip(mine.free, at)
            roots[n_roots] = at
            n_roots += 1
    return match_roots(roots[:n_roots], runs, mine, theirs, scratch, True)


@compiled
def replace_pixels(before, after, runs, mine, theirs, scratch):  # pragma: no cover - compiled
    """Change the pixels of `mine` from the bits `before` to `after`.

    Returns by how many pairs the maximum changes.

    Pairs of pixels that stay are kept. Both sides may then have free pixels that could be matched,
    so the search starts from the smaller one.
    """
    lost = 0
    for word in range(before.size):
        gone = before[word] & ~after[word]
        while gone:
            at = (word << 6) + lowest(gone)
            gone &= gone - ONE
            partner = mine.mate[at]
            if partner:
                flip(theirs.taken, partner)
                flip(theirs.free, partner)
                flip(mine.taken, at)
                theirs.mate[partner] = mine.mate[at] = 0
                lost += 1
            else:
                flip(mine.free, at)
        mine.free[word] |= after[word] & ~before[word]
    return match_smaller(runs, mine, theirs, scratch) - lost


@compiled
def match_roots(
    roots, runs, mine, theirs, scratch, keep_dead, patience=PATIENCE
):  # pragma: no cover - compiled
    """Match `roots` (pixels of `mine`, skipped if matched) as far as possible.

    Returns how many pairs that adds.

    The matching is then maximum, if no augmenting path leads from the other free pixels of `mine`.
    keep_dead: leave the dead pixels out of `theirs.taken`; right as long as no pixel leaves the
    graph and none joins on their side. With ENDLESS patience a root is matched if and only if it
    can be matched together with all those before it that were.
    """
    gained, n_dead, n_hard = 0, 0, 0
    spent = 0
    enough = patience * (count(theirs.free) + count(theirs.taken))
    for root in roots:
        if mine.mate[root]:
            continue
        tip, end, n_seen = root, near(theirs.free, root, runs), n_dead
        if end == NONE and spent >= enough:
            scratch.hard[n_hard] = root
            n_hard += 1
            continue
        if end == NONE:
            tip, end, n_seen = _search(root, runs, theirs, scratch, n_dead)
        if end == NONE:
            n_dead = (
                n_seen  # all that a failed search has seen is dead and stays out of `theirs.taken`
            )
            continue
        for i in range(n_dead, n_seen):
            flip(theirs.taken, scratch.seen[i])
        spent += n_seen - n_dead
        _flip_path(root, tip, end, mine, theirs, scratch)
        gained += 1
    while n_hard:
        n_dead = _measure(n_hard, runs, mine, theirs, scratch, n_dead)
        left = _descend_all(n_hard, runs, mine, theirs, scratch, n_dead)
        gained += left[0]
        n_hard = left[1]
    if not keep_dead:
        for i in range(n_dead):
            flip(theirs.taken, scratch.seen[i])
    return gained


@compiled
def _search(root, runs, theirs, scratch, n_seen):  # pragma: no cover - compiled
    """Find the shortest augmenting path from `root`, breadth first.

    Returns (its last pixel but one, its last, number of `seen`). The last is NONE if there is no
    path. A pixel of the other side that is reached is removed from `theirs.taken`, so that it is
    reached once, and listed in `seen`.
    """
    scratch.queue[0] = root
    head, tail = 0, 1
    while head < tail:
        at = scratch.queue[head]
        head += 1
        for k in range(len(runs)):
            first, last = at + runs[k, 0], at + runs[k, 1]
            for word in range(first >> 6, (last >> 6) + 1):
                if theirs.taken[word] == 0:
                    continue
                found = theirs.taken[word] & window(word, first, last)
                while found:
                    other = (word << 6) + lowest(found)
                    found &= found - ONE
                    flip(theirs.taken, other)
                    scratch.parent[other] = at
                    scratch.seen[n_seen] = other
                    n_seen += 1
                    tip = np.int64(theirs.mate[other])
                    end = near(theirs.free, tip, runs)
                    if end:
                        return tip, end, n_seen
                    scratch.queue[tail] = tip
                    tail += 1
    return root, NONE, n_seen


@compiled
def _flip_path(root, tip, end, mine, theirs, scratch):  # pragma: no cover - compiled
    """Match along an augmenting path, back from its free pixel `end` to the root.

    Each pixel of `mine` is paired with the one ahead of it and gives up its partner behind, so
    there is one pair more.
    """
    flip(theirs.free, end)
    flip(theirs.taken, end)
    flip(mine.free, root)
    flip(mine.taken, root)
    while True:
        behind = mine.mate[tip]
        mine.mate[tip], theirs.mate[end] = end, tip
        if tip == root:
            return
        end, tip = behind, scratch.parent[behind]


@compiled
def _measure(n_hard, runs, mine, theirs, scratch, n_dead):  # pragma: no cover - compiled
    """Measure how many steps each pixel is from a free one.

    Breadth first from the free pixels of `theirs` to the roots. Fills `steps` of the taken pixels
    of `theirs`, and `first_steps` of the roots; 0 for those that no path leads from (or, once all
    roots are reached, that were not visited). If a root is not reached, such pixels are dead.
    Returns the number of dead in `seen`.
    """
    for i in range(n_hard):
        flip(mine.taken, scratch.hard[i])  # during this search, roots are found like matched pixels
        scratch.first_steps[scratch.hard[i]] = 0
    n_free = 0
    for word in range(theirs.free.size):
        left = theirs.free[word] | theirs.taken[word]
        while left:
            at = (word << 6) + lowest(left)
            left &= left - ONE
            scratch.steps[at] = 0
            if has(theirs.free, at):
                scratch.queue[n_free] = at
                n_free += 1
    head, tail, n_reached = 0, n_free, 0
    while head < tail and n_reached < n_hard:
        at = scratch.queue[head]
        head += 1
        for k in range(len(runs)):
            first, last = at + runs[k, 0], at + runs[k, 1]
            for word in range(first >> 6, (last >> 6) + 1):
                if mine.taken[word] == 0:
                    continue
                found = mine.taken[word] & window(word, first, last)
                mine.taken[word] &= ~found
                while found:
                    tip = (word << 6) + lowest(found)
                    found &= found - ONE
                    behind = mine.mate[tip]
                    if behind:
                        scratch.steps[behind] = scratch.steps[at] + 1
                        scratch.queue[tail] = behind
                        tail += 1
                    else:
                        scratch.first_steps[tip] = scratch.steps[at] + 1
                        n_reached += 1
    # What the search removed goes back, the roots that were reached apart: they are free, not
    # taken.
    for i in range(n_free, tail):
        flip(mine.taken, theirs.mate[scratch.queue[i]])
    if n_reached == n_hard:
        return n_dead
    for i in range(n_hard):
        if scratch.first_steps[scratch.hard[i]] == 0:
            flip(mine.taken, scratch.hard[i])
    for word in range(theirs.taken.size):
        left = theirs.taken[word]
        while left:
            at = (word << 6) + lowest(left)
            left &= left - ONE
            if scratch.steps[at] == 0:
                flip(theirs.taken, at)
                scratch.seen[n_dead] = at
                n_dead += 1
    return n_dead


@compiled
def _descend_all(n_hard, runs, mine, theirs, scratch, n_dead):  # pragma: no cover - compiled
    """Match each hard root along a path of falling `steps` to a free pixel; no two paths meet.

    Returns (number of paths matched, number of roots to try again). A root that no path leads from
    is dropped.
    """
    gained, left, n_seen = 0, 0, n_dead
    for i in range(n_hard):
        root = scratch.hard[i]
        if scratch.first_steps[root]:
            tip, end, n_seen = _descend(root, runs, theirs, scratch, n_seen)
            if end == NONE:
                scratch.hard[left] = root
                left += 1
            else:
                _flip_path(root, tip, end, mine, theirs, scratch)
                scratch.steps[end] = 0  # taken now, and not measured
                gained += 1
    for i in range(n_dead, n_seen):
        flip(theirs.taken, scratch.seen[i])
    return gained, left


@compiled
def _descend(root, runs, theirs, scratch, n_seen):  # pragma: no cover - compiled
    """Depth first, each pixel one step nearer than the last; returns as `_search` does."""
    scratch.queue[0] = root
    depth, steps = 0, scratch.first_steps[root]
    while depth >= 0:
        at = np.int64(scratch.queue[depth])
        if depth + 1 == steps:
            end = near(theirs.free, at, runs)
            if end:
                return at, end, n_seen
            depth -= 1
            continue
        other = _near_at(steps - depth - 1, theirs.taken, at, runs, scratch)
        if other:
            flip(theirs.taken, other)
            scratch.parent[other] = at
            scratch.seen[n_seen] = other
            n_seen += 1
            depth += 1
            scratch.queue[depth] = theirs.mate[other]
        else:
            depth -= 1
    return root, NONE, n_seen


@compiled
def _near_at(steps, bits, centre, runs, scratch):  # pragma: no cover - compiled
    """`near` among the pixels that were measured to be `steps` away from a free one."""
    for k in range(len(runs)):
        first, last = centre + runs[k, 0], centre + runs[k, 1]
        for word in range(first >> 6, (last >> 6) + 1):
            found = bits[word]
            if found:
                found &= window(word, first, last)
            while found:
                at = (word << 6) + lowest(found)
                if scratch.steps[at] == steps:
                    return at
                found &= found - ONE
    return 0
