"""Lines one pixel wide to polylines: the branches of the graph of their pixels.

Ours, as `skan` 0.13.1 raises where a map has nothing but isolated pixels, drops them in silence
elsewhere, and takes a second and 110 MB of packages (pandas, networkx, ...) to be imported.
"""

import numpy as np

from data.system.compiled import compiled

# (dy, dx), clockwise from the east: step d leads back by step (d + 4) % 8, odd ones are diagonal.
STEPS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


def trace(lines: np.ndarray) -> list[np.ndarray]:
    """The polylines of a map of thin lines, bool (H, W): each intp (n, 2) of pixels (y, x).

    Pixels that touch are linked, but for those that touch at a corner and have a common neighbour
    at a side: three pixels around a corner are no triangle. A polyline leads from an end or a
    junction (a pixel without exactly two links) to the next. A loop ends at the pixel at which it
    starts, an isolated pixel is a polyline of one. So each link is in one polyline and each pixel
    in one, or, junctions, in several.

    In the order of their first pixels, row by row; loops without a junction come last.
    """
    padded = np.pad(lines, 1)
    stride = padded.shape[1]
    pixels = np.flatnonzero(padded)
    links = _links(padded.ravel(), pixels, stride)
    points, ends = _walk(pixels, links, np.bitwise_count(links), _offsets(stride))
    places = np.stack([points // stride - 1, points % stride - 1], axis=1)
    return np.split(places, ends[:-1]) if len(ends) else []


def _offsets(stride: int) -> np.ndarray:
    """The steps in a flat map whose rows have `stride` pixels."""
    return np.array([dy * stride + dx for dy, dx in STEPS])


def _links(flat: np.ndarray, pixels: np.ndarray, stride: int) -> np.ndarray:
    """uint8 of the size of the map: bit d of a pixel that is set is its link by step d."""
    near = [flat[pixels + offset] for offset in _offsets(stride)]
    links = np.zeros(flat.size, np.uint8)
    for d, there in enumerate(near):
        linked = there & ~near[d - 1] & ~near[(d + 1) % 8] if d % 2 else there
        links[pixels] |= linked.astype(np.uint8) << d
    return links


@compiled
def _walk(
    pixels: np.ndarray, links: np.ndarray, degrees: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    """The pixels of all polylines, one after the other, and where each ends.

    Links are removed as they are walked. degrees: the number of links of each pixel before.
    """
    most = 0  # each link gives at most two pixels: those of a polyline of its own
    for pixel in pixels:
        most += max(degrees[pixel], 1)
    points = np.empty(most, np.int64)
    ends = np.empty(most, np.int64)
    count = 0
    found = 0
    for loops in range(2):
        for start in pixels:
            if not loops and degrees[start] == 2:
                continue
            isolated = not loops and degrees[start] == 0
            while links[start] or isolated:
                points[count] = start
                count += 1
                here = start
                while links[here] and (here == start or degrees[here] == 2):
                    d = 0
                    while not links[here] >> d & 1:
                        d += 1
                    links[here] &= ~(1 << d)
                    here += offsets[d]
                    links[here] &= ~(1 << (d + 4) % 8)
                    points[count] = here
                    count += 1
                    if here == start:
                        break
                ends[found] = count
                found += 1
                isolated = False
    return points[:count], ends[:found]
