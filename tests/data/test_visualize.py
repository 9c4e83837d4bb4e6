"""data.visualize: small images drawn by hand."""

import numpy as np
import pytest

from data import visualize
from data.edges import pack

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)
PALETTE = np.array([RED, GREEN, BLUE, GREY], np.uint8)
NAMES = ("road", "traffic_light", "car", "pole")


def edges_of(*pixels: tuple[int, int, int, float], size: tuple[int, int] = (4, 5)) -> np.ndarray:
    """float32 (4, H, W), 0 but at the given (class, row, column, probability)."""
    prob = np.zeros((4, *size), np.float32)
    for k, y, x, value in pixels:
        prob[k, y, x] = value
    return prob


def has_color(image: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((image == color).all(axis=-1).any())


def test_one_class_gets_its_colour_and_the_rest_the_background():
    drawn = visualize.draw_edges(edges_of((0, 1, 2, 1.0), (3, 2, 2, 1.0)), PALETTE)
    assert drawn.dtype == np.uint8
    expected = np.full((4, 5, 3), 255, np.uint8)
    expected[1, 2], expected[2, 2] = RED, GREY
    np.testing.assert_allclose(drawn, expected, atol=1)
    black = visualize.draw_edges(edges_of((2, 0, 0, 1.0)), PALETTE, background=visualize.BLACK)
    assert black[0, 0].tolist() == list(BLUE)
    assert black[1:].max() == 0


def test_probability_is_the_strength_and_the_threshold_hides():
    drawn = visualize.draw_edges(edges_of((0, 0, 0, 0.6), (0, 0, 1, 0.49)), PALETTE, threshold=0.5)
    np.testing.assert_allclose(drawn[0, 0], [255, 0.4 * 255, 0.4 * 255], atol=1)
    assert drawn[0, 1].tolist() == [255, 255, 255]
    nothing = visualize.draw_edges(edges_of(), PALETTE, threshold=0)
    assert (nothing == 255).all()


@pytest.mark.parametrize(
    ("classes", "mixed"),
    [
        ((0, 1), (255, 255, 0)),
        ((0, 2), (255, 0, 255)),
        ((1, 2), (0, 255, 255)),
    ],  # vivid, not half as bright
)
def test_several_classes_mix_their_hues(classes, mixed):
    drawn = visualize.draw_edges(edges_of(*[(k, 1, 1, 1.0) for k in classes]), PALETTE)
    np.testing.assert_allclose(drawn[1, 1], mixed, atol=1)


def test_a_class_below_the_threshold_does_not_tint():
    drawn = visualize.draw_edges(edges_of((0, 1, 1, 1.0), (1, 1, 1, 0.4)), PALETTE)
    np.testing.assert_allclose(drawn[1, 1], RED, atol=1)


def test_probabilities_masks_and_bits_draw_the_same(rng):
    mask = rng.random((4, 6, 7)) < 0.3
    expected = visualize.draw_edges(mask.astype(np.float32), PALETTE)
    np.testing.assert_array_equal(visualize.draw_edges(mask, PALETTE), expected)
    np.testing.assert_array_equal(visualize.draw_edges(pack(mask), PALETTE), expected)
    with pytest.raises(ValueError, match="expected"):
        visualize.draw_edges(mask[:3], PALETTE)


def test_overlay_changes_only_edge_pixels_and_not_its_input(rng):
    image = rng.integers(0, 256, (4, 5, 3), np.uint8)
    before = image.copy()
    prob = edges_of((1, 2, 3, 1.0))
    plain, drawn = (
        visualize.draw_overlay(image, edges, PALETTE) for edges in (np.zeros_like(prob), prob)
    )
    np.testing.assert_array_equal(image, before)
    np.testing.assert_allclose(drawn[2, 3], GREEN, atol=1)
    assert (plain != drawn).any(axis=2).sum() == 1
    with pytest.raises(ValueError, match="fit together"):
        visualize.draw_overlay(image[:3], prob, PALETTE)


def test_present_classes():
    prob = edges_of((3, 0, 0, 0.5), (1, 0, 0, 0.49), (0, 1, 1, 0.9))
    assert visualize.present_classes(prob, 4) == [0, 3]
    assert visualize.present_classes(prob, 4, threshold=0) == [0, 1, 3]


def test_legend_shows_the_classes_present_and_no_other():
    image = np.full((50, 300, 3), 255, np.uint8)
    legend = visualize.add_legend(image, [0, 2], NAMES, PALETTE)
    assert legend.shape[1:] == (300, 3)
    np.testing.assert_array_equal(legend[:50], image)
    strip = legend[50:]
    assert has_color(strip, RED) and has_color(strip, BLUE)
    assert not has_color(strip, GREEN)
    left, right = (
        np.flatnonzero((strip == color).all(axis=2).any(axis=0)) for color in (RED, BLUE)
    )
    dark = (strip.max(axis=2) < 120).any(axis=0)  # text, beside its patch
    assert dark[left.max() + 2 : right.min() - 2].any() and dark[right.max() + 2 :].any()


def test_legend_wraps_and_widens():
    wide, narrow = (
        visualize.add_legend(np.zeros((40, w, 3), np.uint8), range(4), NAMES, PALETTE)
        for w in (600, 140)
    )
    assert narrow.shape[0] > wide.shape[0]
    tiny = visualize.add_legend(np.zeros((32, 32, 3), np.uint8), [1], NAMES, PALETTE)
    assert tiny.shape[1] > 32 and tiny[:32, :32].max() == 0 and tiny[:32, 32:].min() == 255
    assert (
        visualize.add_legend(np.zeros((32, 32, 3), np.uint8), [], NAMES, PALETTE)[33:] < 120
    ).any()  # says "no edge"


def legend_height(count: int, size: tuple[int, int], **options: int) -> tuple[int, int]:
    """(h, w) of the legend of `count` classes below an image of (H, W)."""
    names = [f"class number {k}" for k in range(count)]
    image = np.zeros((*size, 3), np.uint8)
    found = visualize.add_legend(
        image, range(count), names, visualize.contrasting_colors(count), **options
    )
    np.testing.assert_array_equal(found[: size[0], : size[1]], image)
    assert found[: size[0], size[1] :].min(initial=255) == 255
    return found.shape[0] - size[0], found.shape[1]


def test_legends_grow_with_their_image():
    """So that they are as large in all of them when these are shown in one size."""
    shown = [legend_height(4, (w // 2, w))[0] * 700 / w for w in (2000, 4000, 8000)]
    assert max(shown) < 1.1 * min(shown)
    assert min(shown) > 18


def test_long_legends_have_smaller_letters():
    height, width = legend_height(150, (1024, 2048))
    assert width == 2048
    assert height < 0.6 * legend_height(150, (1024, 2048), font_size=36)[0]
    assert legend_height(8, (1024, 2048)) == legend_height(8, (1024, 2048), font_size=36)


def test_a_tiny_image_has_a_legend_beyond_its_width():
    height, width = legend_height(13, (48, 96))
    assert 96 < width <= visualize.NARROW
    assert height < 0.6 * legend_height(13, (300, 96))[0]  # where one column fits
    assert legend_height(1, (48, 96))[1] < 160


def test_label_colours():
    label = np.array([[0, 1], [3, 255]], np.uint8)
    drawn = visualize.color_labels(label, PALETTE)
    assert drawn.tolist() == [[list(RED), list(GREEN)], [list(GREY), [0, 0, 0]]]


@pytest.mark.parametrize("colors", [visualize.distinct_colors, visualize.contrasting_colors])
def test_made_colours_are_all_different(colors):
    made = colors(19)
    assert made.shape == (19, 3) and made.dtype == np.uint8
    assert len(np.unique(made, axis=0)) == 19


def test_contrasting_colours_of_neighbours_are_far_apart():
    made = visualize.contrasting_colors(65).astype(int)
    assert len(np.unique(made, axis=0)) == 65
    assert np.abs(made[1:] - made[:-1]).sum(axis=1).min() > 150


def test_default_names_count_from_1():
    assert visualize.default_class_names(3) == ("class 1", "class 2", "class 3")


def test_names_of_any_kind_in_a_legend() -> None:
    """Letters that Pillow's font lacks are no boxes; a name that no font has is a number."""

    canvas = np.zeros((4, 200, 3), np.uint8)

    def legend(name: str) -> np.ndarray:
        return visualize.add_legend(canvas, [1], ["", name], visualize.distinct_colors(2))

    for one, other in (("Straße", "Stra\xd0e"), ("Дорога", "Дороги"), ("crack", "creek")):
        assert not np.array_equal(legend(one), legend(other))
    np.testing.assert_array_equal(legend("道路"), legend("class 2"))
    np.testing.assert_array_equal(legend("a_b"), legend("a  b"))
    np.testing.assert_array_equal(legend("n" * 100), legend(f"{'n' * 29}…"))
