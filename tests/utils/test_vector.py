"""Edges as polylines: tracing and simplifying hand-drawn lines, and the three kinds of files."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.thinning import thin
from utils.model_info import ModelInfo
from utils.prediction.vector import FORMATS, Polyline, Sheet, polylines
from utils.prediction.vector.simplify import farthest, simplify
from utils.prediction.vector.trace import trace

SVG = "{http://www.w3.org/2000/svg}"
PALETTE = np.array([(255, 0, 0), (0, 0, 255)], np.uint8)
INFO = ModelInfo("dff", "resnet18", 2, "edge", ("road", "car"), PALETTE, 0, "")

# name -> (drawing, the number of pixels of each polyline, sorted; of how many loops)
SHAPES = {
    "nothing": ("....", [], 0),
    "a pixel": ("... .#. ...", [1], 0),
    "two pixels": ("##", [2], 0),
    "a line along the border": ("##### .....", [5], 0),
    "a line in the border's corner": ("....# ....# .####", [6], 0),
    "diagonal": ("#... .#.. ..#. ...#", [4], 0),
    "T": ("##### ..#.. ..#..", [3, 3, 3], 0),
    "X": ("#...# .#.#. ..#.. .#.#. #...#", [3, 3, 3, 3], 0),
    "plus": ("..#.. ..#.. ##### ..#.. ..#..", [3, 3, 3, 3], 0),
    "Y": ("#...# .#.#. ..#.. ..#..", [2, 3, 3], 0),
    "smallest ring": (".#. #.# .#.", [5], 1),
    "ring": (".###. #...# #...# .###.", [11], 1),
    "square ring along the whole border": ("#### #..# ####", [11], 1),
    "ring with a tail": (".##... #..### .##...", [3, 7], 1),
    "two rings that touch at a corner": ("###.. #.#.. ##### ..#.# ..###", [9, 9], 2),
    "two rings with a common side": ("##### #.#.# #####", [3, 7, 7], 0),
    "square spiral": ("####### ......# #####.# #...#.# #.###.# #.....# #######", [31], 0),
    "block": ("## ##", [5], 1),
    "apart": ("#.#.# ..... ##..#", [1, 1, 1, 1, 2], 0),
}


def draw(text: str) -> np.ndarray:
    """bool (H, W): # is a pixel."""
    return np.array([[letter == "#" for letter in row] for row in text.split()])


def pixels_of(lines: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    drawn = np.zeros(shape, bool)
    for line in lines:
        for y, x in line:
            drawn[y, x] = True
    return drawn


def is_loop(line: np.ndarray) -> bool:
    return len(line) > 2 and (line[0] == line[-1]).all()


def links_of(lines: np.ndarray) -> set[frozenset[tuple[int, int]]]:
    """Pairs of pixels that touch, but at a corner only where neither shares a side with both."""
    found = set()
    for y, x in np.argwhere(lines).tolist():
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            v, u = y + dy, x + dx
            if not (v < lines.shape[0] and 0 <= u < lines.shape[1] and lines[v, u]):
                continue
            if dy and dx and (lines[y, u] or lines[v, x]):
                continue
            found.add(frozenset([(y, x), (v, u)]))
    return found


# --- tracing ---


@pytest.mark.parametrize("name", SHAPES)
def test_branches_of_drawn_shapes(name):
    text, lengths, loops = SHAPES[name]
    found = trace(draw(text))
    assert sorted(len(line) for line in found) == lengths
    assert sum(is_loop(line) for line in found) == loops
    np.testing.assert_array_equal(pixels_of(found, draw(text).shape), draw(text))


@settings(max_examples=80, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.booleans())
def test_all_pixels_and_all_links_are_on_the_lines_and_no_other(mask, thinned):
    """Of any map, thin or not; each link once; lines end where there are not two links."""
    lines = thin(mask) if thinned else mask
    found = trace(lines)
    np.testing.assert_array_equal(pixels_of(found, lines.shape), lines)
    walked = [frozenset([tuple(a), tuple(b)]) for line in found for a, b in pairwise(line.tolist())]
    links = links_of(lines)
    assert len(walked) == len(set(walked))
    assert set(walked) == links
    for line in found:
        degrees = [sum(tuple(point) in link for link in links) for point in line.tolist()]
        assert all(degree == 2 for degree in degrees[1:-1])
        assert is_loop(line) or (degrees[0] != 2 and degrees[-1] != 2)


def test_the_order_is_that_of_the_first_pixels_and_loops_come_last():
    found = trace(draw("###....... #.#...#### ###....... ......#..."))
    assert [line[0].tolist() for line in found] == [[1, 6], [3, 6], [0, 0]]
    np.testing.assert_array_equal(found[0], [[1, x] for x in (6, 7, 8, 9)])
    np.testing.assert_array_equal(found[2][:4], [[0, 0], [0, 1], [0, 2], [1, 2]])


# --- simplifying ---


def distance(line: np.ndarray, corners: np.ndarray) -> float:
    """The largest distance of a pixel to its piece of the polyline, by the plain formula."""
    places = [0]
    for corner in corners[1:]:
        place = places[-1] + 1
        while (line[place] != corner).any():
            place += 1
        places.append(place)
    assert places[-1] == len(line) - 1
    most = 0.0
    for first, last in pairwise(places):
        a, b = line[first].astype(float), line[last].astype(float)
        for pixel in line[first : last + 1]:
            length = (b - a) @ (b - a)
            along = np.clip((pixel - a) @ (b - a) / length, 0, 1) if length else 0
            most = max(most, float(np.hypot(*(pixel - a - along * (b - a)))))
    return most


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 4), st.booleans())
def test_no_pixel_is_farther_away_than_the_tolerance(seed, tolerance, loop):
    """Of walks that wind and, for loops, come back; ends stay, and points are pixels in order."""
    steps = np.random.default_rng(seed).integers(-1, 2, (60, 2))
    line = np.cumsum(np.concatenate([[[0, 0]], steps[steps.any(axis=1)]]), axis=0)
    line = line[np.sort(np.unique(line, axis=0, return_index=True)[1])]
    if loop:
        line = np.concatenate([line, line[:1]])
    corners = simplify(line, tolerance)
    assert len(corners) <= len(line)
    np.testing.assert_array_equal(corners[[0, -1]], line[[0, -1]])
    assert distance(line, corners) <= tolerance + 1e-6


def test_straight_lines_become_two_points_and_corners_stay():
    line = np.array([[0, x] for x in range(9)] + [[y, 8] for y in range(1, 7)])
    np.testing.assert_array_equal(simplify(line, 1), [[0, 0], [0, 8], [6, 8]])
    np.testing.assert_array_equal(simplify(line, 0), line)
    square = trace(draw(" ".join(["#" * 9, *["#.......#"] * 7, "#" * 9])))[0]
    np.testing.assert_array_equal(simplify(square, 1), [[0, 0], [0, 8], [8, 8], [8, 0], [0, 0]])


@pytest.mark.parametrize("seed", [88, 166])
def test_a_corner_that_opencv_removes_is_kept(seed):
    """Of 400 random walks, those for which OpenCV 5.0's approxPolyDP exceeds its tolerance."""
    rng = np.random.default_rng(seed)
    line = np.stack([np.cumsum(rng.integers(-1, 2, 80)), np.arange(80)], axis=1)
    assert distance(line, simplify(line, 2)) <= 2 + 1e-6


def test_the_check_of_the_distance_agrees_with_the_plain_formula():
    line = np.stack([np.abs(np.arange(30) % 10 - 5), np.arange(30)], axis=1)
    for corners in (line[[0, 29]], line[[0, 5, 10, 29]], line[[0, 3, 29]]):
        assert farthest(line, corners) == pytest.approx(distance(line, corners))
    assert farthest(line, line[[0, 5]]) == np.inf
    assert farthest(line, line[[0, 29]] + 100) == np.inf


# --- the edges of an image ---


RING = ((1, 0), (2, 0), (3, 1), (2, 2), (1, 2), (0, 1))


def two_classes() -> tuple[np.ndarray, np.ndarray]:
    """A ring and a pixel of the first class, a line of the second, with probabilities."""
    edges = np.stack(
        [draw(".##..... #..#..#. .##....."), draw("........ ........ .....###")],
    )
    prob = np.where(edges, np.float32(0.5), np.float32(0))
    prob[1, 2, 5:] = (0.25, 0.75, 0.8)
    return edges, prob


def test_lines_of_all_classes_are_at_the_pixels_centres():
    edges, prob = two_classes()
    found = list(polylines(edges, prob, tolerance=0.3))
    assert [(line.class_id, line.closed, len(line.points)) for line in found] == [
        (0, False, 1),
        (0, True, 7),
        (1, False, 2),
    ]
    np.testing.assert_array_equal(found[0].points, [[6.5, 1.5]])
    np.testing.assert_array_equal(found[2].points, [[5.5, 2.5], [7.5, 2.5]])
    assert [line.score for line in found] == [0.5, 0.5, pytest.approx(0.6)]
    assert {line.score for line in polylines(edges)} == {None}


def test_bands_are_thinned_first():
    band = np.zeros((1, 9, 30), bool)
    band[0, 3:6] = True
    found = list(polylines(band, tolerance=0))
    assert len(found) == 1
    np.testing.assert_array_equal(pixels_of(_places(found), (9, 30)), thin(band[0]))


def _places(found: list[Polyline]) -> list[np.ndarray]:
    return [np.floor(line.points[:, ::-1]).astype(int) for line in found]


# --- files ---


def sheet(**changes: object) -> Sheet:
    edges, prob = two_classes()
    made = Sheet(list(polylines(edges, prob, tolerance=0.3)), INFO, edges.shape[1:], "../a.png", 2)
    return replace(made, **changes)


def test_geojson_as_rfc_7946_has_it():
    content = json.loads(FORMATS["geojson"].text(sheet()))
    assert content["type"] == "FeatureCollection"
    assert content["image"] | {"coordinates": ""} == {
        "path": "../a.png", "width": 8, "height": 3, "coordinates": "",
    }  # fmt: skip
    assert not {"coordinates", "geometry", "geometries", "properties"} & content.keys()
    point, ring, line = content["features"]
    assert point["geometry"] == {"type": "Point", "coordinates": [6.5, 1.5]}
    assert ring["geometry"] == {
        "type": "LineString",
        "coordinates": [[x + 0.5, y + 0.5] for x, y in (*RING, RING[0])],
    }
    assert line == {
        "type": "Feature",
        "properties": {
            "class": 1, "name": "car", "color": "#0000ff", "score": 0.6, "closed": False,
        },
        "geometry": {"type": "LineString", "coordinates": [[5.5, 2.5], [7.5, 2.5]]},
    }  # fmt: skip


def test_svg_has_a_group_for_each_class():
    root = ET.fromstring(FORMATS["svg"].text(sheet()))
    assert root.tag == f"{SVG}svg"
    assert root.attrib == {"width": "8", "height": "3", "viewBox": "0 0 8 3"}
    (style,) = root
    assert style.attrib["fill"] == "none"
    assert style.attrib["stroke-width"] == "2"
    road, car = style
    assert road.attrib == {
        "id": "class-0", "data-class": "0", "data-name": "road", "stroke": "#ff0000",
    }  # fmt: skip
    assert [child.tag.removeprefix(SVG) for child in road] == ["title", "polyline", "polygon"]
    assert road[1].attrib["points"] == "6.5,1.5 6.5,1.5"
    assert road[2].attrib["points"] == " ".join(f"{x}.5,{y}.5" for x, y in RING)
    assert car[1].attrib == {"points": "5.5,2.5 7.5,2.5", "data-score": "0.6"}


def test_labelme_as_its_version_5_has_it():
    content = json.loads(FORMATS["labelme"].text(sheet()))
    shapes = content.pop("shapes")
    assert content == {
        "version": "5.4.1",
        "flags": {},
        "imagePath": "../a.png",
        "imageData": None,
        "imageHeight": 3,
        "imageWidth": 8,
    }
    assert [shape["shape_type"] for shape in shapes] == ["point", "linestrip", "linestrip"]
    assert shapes[2] == {
        "label": "car",
        "points": [[5.5, 2.5], [7.5, 2.5]],
        "group_id": None,
        "shape_type": "linestrip",
        "flags": {},
    }


@pytest.mark.parametrize("form", FORMATS)
def test_without_an_edge_files_are_valid_and_empty(form):
    text = FORMATS[form].text(sheet(lines=[]))
    if form == "svg":
        assert len(ET.fromstring(text)[0]) == 0
    else:
        content = json.loads(text)
        assert content["features" if form == "geojson" else "shapes"] == []


ODD = ("a \"b\" <c> & 'd'", "Straße 道路 \U0001f6b2", "\ufffe&#0;", " ", "]]><!--")


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_kind(name):
    odd = sheet(info=replace(INFO, classes=("road", name)), image='sub "dir"/<é>&.png')
    kept = name.strip() or "class 2"
    content = json.loads(FORMATS["geojson"].text(odd))
    assert content["image"]["path"] == 'sub "dir"/<é>&.png'
    assert content["features"][2]["properties"]["name"] == kept
    assert json.loads(FORMATS["labelme"].text(odd))["shapes"][2]["label"] == kept
    car = ET.fromstring(FORMATS["svg"].text(odd))[0][1]
    assert car.attrib["data-name"] == car[0].text == kept.replace("\ufffe", "\ufffd")


def test_names_of_files_that_are_no_utf8():
    """Linux has such names; Python holds their bytes as lone surrogates."""
    for form in ("geojson", "labelme"):
        text = FORMATS[form].text(sheet(image="\udcff.png"))
        text.encode("utf-8")
        assert "\\udcff.png" in text


def test_150_classes():
    count = 150
    edges = np.zeros((count, 4, 5), bool)
    edges[:, 1, 1:4] = True
    palette = np.repeat(np.arange(count, dtype=np.uint8)[:, None], 3, axis=1)
    many = replace(
        INFO, num_classes=count, classes=tuple(f"c{k}" for k in range(count)), palette=palette
    )
    found = sheet(lines=list(polylines(edges)), info=many)
    features = json.loads(FORMATS["geojson"].text(found))["features"]
    assert [feature["properties"]["class"] for feature in features] == list(range(count))
    assert features[149]["properties"]["color"] == "#959595"
    assert features[0]["properties"]["score"] is None
    assert len(ET.fromstring(FORMATS["svg"].text(found))[0]) == count
