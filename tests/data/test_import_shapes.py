"""data.importer.shapes against plain loops over the pixels' centres."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.importer.shapes import (
    COVERED,
    NO_PIXEL,
    OUTSIDE,
    Bitmap,
    DrawnObject,
    Ellipse,
    Line,
    Polygons,
    ShapeDrawer,
)

SIZE = (9, 12)
coordinate = st.floats(-4, 16).map(lambda value: round(value, 2))
points = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=7)


def whole(shape, size=SIZE):
    """bool (H, W) of a shape."""
    mask = shape.mask(size)
    full = np.zeros(size, bool)
    height, width = mask.bits.shape
    full[mask.top : mask.top + height, mask.left : mask.left + width] = mask.bits
    return full


def centres(size=SIZE):
    return [(x + 0.5, y + 0.5) for y in range(size[0]) for x in range(size[1])]


def is_inside(x, y, ring):
    """The even-odd rule by a ray to the right."""
    inside = False
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x:
            inside = not inside
    return inside


def is_near_border(x, y, ring):
    """Where rounding decides."""
    return any(
        abs(distance(x, y, start, end)) < 1e-6
        for start, end in zip(ring, ring[1:] + ring[:1], strict=True)
    )


def distance(x, y, start, end):
    """Of a point from a line between two others."""
    (x0, y0), (x1, y1) = start, end
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    along = 0 if length == 0 else ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
    along = min(1, max(0, along))
    return np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))


@given(points, points)
def test_the_union_of_polygons(first, second):
    found = whole(Polygons((np.array(first), np.array(second)))).ravel()
    for (x, y), value in zip(centres(), found, strict=True):
        if not is_near_border(x, y, first) and not is_near_border(x, y, second):
            assert value == (is_inside(x, y, first) or is_inside(x, y, second))


@given(points, st.integers(0, 6))
def test_shapes_that_share_an_edge_share_no_pixel(ring, corner):
    """A triangle and its cut-off part, over every corner: each pixel once."""
    a, b, c = ring[:3]
    middle = ((b[0] + c[0]) / 2, (b[1] + c[1]) / 2)
    parts = [whole(Polygons((np.array(p),))) for p in ([a, b, middle], [a, middle, c])]
    turned = np.roll([a, middle, c], corner, axis=0)
    np.testing.assert_array_equal(whole(Polygons((turned,))), parts[1])
    assert not (parts[0] & parts[1]).any()


def test_a_rectangle_covers_the_pixels_between_its_sides():
    found = whole(Polygons((np.array([(2, 1), (5, 1), (5, 4), (2, 4)], float),)))
    expected = np.zeros(SIZE, bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(found, expected)


@given(coordinate, coordinate, st.floats(0.3, 9), st.floats(0.3, 9), st.integers(0, 180))
def test_ellipses(x, y, radius_x, radius_y, angle):
    found = whole(Ellipse(x, y, radius_x, radius_y, angle)).ravel()
    turn = np.exp(-1j * np.pi * angle / 180)
    for (column, row), value in zip(centres(), found, strict=True):
        place = (column - x + 1j * (row - y)) * turn
        reach = (place.real / radius_x) ** 2 + (place.imag / radius_y) ** 2
        if abs(reach - 1) > 1e-6:
            assert value == (reach < 1)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=4), st.floats(0.5, 6))
def test_lines(corners, width):
    found = whole(Line(np.array(corners), width)).ravel()
    pairs = list(zip(corners, corners[1:] or corners, strict=False))
    for (x, y), value in zip(centres(), found, strict=True):
        nearest = min(distance(x, y, start, end) for start, end in pairs)
        if abs(nearest - width / 2) > 1e-6:
            assert value == (nearest < width / 2)


@given(st.integers(-5, 12), st.integers(-5, 14))
def test_bitmaps(top, left):
    bits = np.random.default_rng(0).random((4, 5)) < 0.5
    shape = Bitmap(top, left, bits)
    expected = np.zeros(SIZE, bool)
    outside = 0
    for (row, column), value in np.ndenumerate(bits):
        if 0 <= top + row < SIZE[0] and 0 <= left + column < SIZE[1]:
            expected[top + row, left + column] = value
        else:
            outside += value
    np.testing.assert_array_equal(whole(shape), expected)
    assert shape.is_outside(SIZE) == (outside > 0)


def test_later_objects_lie_over_earlier_ones_and_faults_are_counted():
    def square(left, top, right, bottom):
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return Polygons((np.array(corners, float),))

    drawing = ShapeDrawer(
        [
            DrawnObject(1, square(0, 0, 6, 6), 1),
            DrawnObject(2, square(4, 4, 40, 8), 2),
            DrawnObject(3, square(1.6, 1.6, 2.4, 2.4), 3),
            DrawnObject(0, square(0, 0, 1, 1)),
        ]
    )(SIZE)
    expected = np.zeros(SIZE, int)
    expected[:6, :6] = 1
    expected[4:8, 4:] = 2
    expected[0, 0] = 0
    np.testing.assert_array_equal(drawing.label, expected)
    np.testing.assert_array_equal(drawing.instance, expected)
    assert drawing.notes == {NO_PIXEL: 1, OUTSIDE: 1}
    assert ShapeDrawer([], has_instances=False)(SIZE).instance is None


def test_more_objects_than_a_map_can_number():
    drawer = ShapeDrawer([DrawnObject(1, Ellipse(1, 1, 1, 1), 65536)])
    with pytest.raises(InputError, match="has 65536 objects; expected at most 65535"):
        drawer(SIZE)


def test_objects_below_others_are_counted() -> None:
    def square(left: int, right: int) -> Polygons:
        return Polygons((np.array([(left, 0), (right, 0), (right, 2), (left, 2)], float),))

    objects = [
        DrawnObject(1, square(0, 2), 1),
        DrawnObject(1, square(2, 4), 2),
        DrawnObject(2, square(1, 4), 3),  # over half of the first one and all of the second
        DrawnObject(0, square(5, 6), 4),  # background, which is no object
        DrawnObject(1, square(5, 6), 5),
        DrawnObject(255, square(4, 6), 6),
    ]
    drawing = ShapeDrawer(objects)((2, 6))
    assert drawing.label.tolist() == [[1, 2, 2, 2, 255, 255]] * 2
    assert drawing.notes == {COVERED: 2}
