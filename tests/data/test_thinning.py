"""Thinning against reference maps, scikit-image, and the rule restated pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
from skimage.morphology import thin as skimage_thin

from data.thinning import Grid, thin

GOLDEN = Path(__file__).parents[1] / "golden"


def plain_thin(mask: np.ndarray) -> np.ndarray:
    """Guo & Hall's rule, pixel by pixel: N1(p) and the neighbours are written as in the paper."""
    mask = np.pad(mask, 1)
    while True:
        before = mask.copy()
        for first in (True, False):
            doomed = [(y, x) for y, x in np.argwhere(mask) if plain_rule(mask, y, x, first)]
            for y, x in doomed:
                mask[y, x] = False
        if (mask == before).all():
            return mask[1:-1, 1:-1]


def plain_rule(mask: np.ndarray, y: int, x: int, first: bool) -> bool:
    around = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    x1, x2, x3, x4, x5, x6, x7, x8 = n = [bool(mask[y + dy, x + dx]) for dy, dx in around]
    crossings = sum(not n[2 * i] and (n[2 * i + 1] or n[(2 * i + 2) % 8]) for i in range(4))
    n1 = sum(n[2 * i] or n[2 * i + 1] for i in range(4))
    n2 = sum(n[2 * i + 1] or n[(2 * i + 2) % 8] for i in range(4))
    side = (x2 or x3 or not x8) and x1 if first else (x6 or x7 or not x4) and x5
    return crossings == 1 and 2 <= min(n1, n2) <= 3 and not side


def drawn(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def blobs(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Filled shapes of many sizes, so that thinning takes many rounds."""
    mask = rng.random((height, width)) < 0.01
    for _ in range(rng.integers(1, 6)):
        y, x = rng.integers(height), rng.integers(width)
        mask[y : y + rng.integers(1, 40), x : x + rng.integers(1, 90)] ^= True
    return mask


@pytest.mark.parametrize("seed", range(30))
def test_equals_the_rule_pixel_by_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 24, 2)) < rng.uniform(0.3, 1)
    assert (thin(mask) == plain_thin(mask)).all()


@pytest.mark.parametrize("width", [1, 2, 61, 62, 63, 64, 65, 126, 127, 128, 190])
def test_equals_skimage_around_the_word_size(width: int, rng: np.random.Generator) -> None:
    for height in (1, 3, 50):
        for mask in (
            rng.random((height, width)) < 0.6,
            blobs(rng, height, width),
            np.ones((height, width), bool),
        ):
            assert (thin(mask) == skimage_thin(mask)).all()


def test_equals_octave() -> None:
    golden = np.load(GOLDEN / "edge_thin.npz")
    check_octave(golden)


def test_equals_octave_on_all_maps(shared: Path) -> None:
    check_octave(np.load(shared / "golden/edges/thin_bwmorph.npz"))


def check_octave(golden: np.lib.npyio.NpzFile) -> None:
    height, width = golden["shape"]
    keys = [key for key in golden.files if key.startswith("in_")]
    assert keys
    for key in keys:
        before, after = (
            np.unpackbits(golden[k], axis=-1)[:height, :width]
            for k in (key, key.replace("in", "out"))
        )
        assert (thin(before.astype(bool)) == after.astype(bool)).all(), key


def test_drawings() -> None:
    bar = drawn("......", ".####.", ".####.", ".####.", "......")
    assert (thin(bar) == drawn("......", "......", "..##..", "......", "......")).all()
    ring = np.ones((9, 9), bool)
    ring[3:6, 3:6] = False
    thinned = thin(ring)
    assert not thinned[3:6, 3:6].any()
    assert (
        thinned[:3].any() and thinned[6:].any()
    )  # the ring stays closed: its inside is cut off from its outside
    assert len(np.unique(flood(~np.pad(thinned, 1)))) == 3


def flood(background: np.ndarray) -> np.ndarray:
    from skimage.measure import label

    return label(background, connectivity=1)


def test_leaves_its_input_alone_and_is_idempotent(rng: np.random.Generator) -> None:
    mask = blobs(rng, 60, 100)
    before = mask.copy()
    thinned = thin(mask)
    assert (mask == before).all()
    assert (thin(thinned) == thinned).all()
    assert thinned.dtype == bool and not (thinned & ~mask).any()


def test_components_do_not_influence_each_other(rng: np.random.Generator) -> None:
    left, right = blobs(rng, 50, 70), blobs(rng, 50, 70)
    both = np.concatenate([left, np.zeros((50, 1), bool), right], axis=1)
    apart = np.concatenate([thin(left), np.zeros((50, 1), bool), thin(right)], axis=1)
    assert (thin(both) == apart).all()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1)])
def test_tiny_maps(shape: tuple[int, int]) -> None:
    assert thin(np.ones(shape, bool)).shape == shape


def test_a_stack_of_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one map \(H, W\)"):
        thin(np.ones((2, 5, 5), bool))


@pytest.mark.parametrize(
    ("height", "width", "pad"), [(1, 1, 1), (3, 62, 1), (5, 63, 1), (4, 100, 23)]
)
def test_grid_keeps_every_pixel_where_it_says(
    height: int, width: int, pad: int, rng: np.random.Generator
) -> None:
    grid = Grid(height, width, pad)
    mask = rng.random((height, width)) < 0.5
    bits = grid.pack(mask)
    assert (grid.unpack(bits) == mask).all()
    y, x = np.nonzero(mask)
    flat = np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))
    assert (flat == grid.origin + y * grid.stride + x).all()
    assert bits[0] == bits[-1] == 0 and bits.shape == (grid.words,)
