"""The report: what it draws, and how it behaves in a browser."""

import base64
import html
import html.parser
import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from utils.evaluation.edges.examples import EdgeExample
from utils.evaluation.edges.protocols import find_protocol
from utils.evaluation.edges.report import (
    iso_f_lines,
    visible_ground_truth,
    visible_score,
    write_edge_report,
)
from utils.evaluation.edges.scores import score_modes
from utils.evaluation.html import (
    embed,
    facts,
    hex_color,
    image_row,
    plot,
    table,
    write_page,
)
from utils.evaluation.report_parts import best_and_worst
from utils.evaluation.text_tables import align_columns

NAMES = ("road", "side & walk", "<pole>")
PALETTE = np.array([(128, 64, 128), (244, 35, 232), (153, 153, 153)], np.uint8)
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture
def report(tmp_path, rng):
    """Four images, of which the third is the worst; the last class has no ground truth."""
    protocol = find_protocol("dff", thresholds=9)
    counts = np.zeros((4, 2, 3, 9, 4), np.int64)
    for i, share in enumerate((0.9, 0.5, 0.1, 0.7)):
        for t in range(9):
            predicted = 100 - 10 * t
            matched = int(share * predicted)
            counts[i, :, :2, t] = matched, 100, matched, predicted
    counts[:, :, 2, 0, 3] = 5
    scores = score_modes(counts, NAMES, protocol)
    asked = []

    def load_example(row):
        asked.append(row)
        bits = (rng.random((30, 40)) < 0.1).astype(np.uint32)
        image = rng.integers(0, 256, (60, 80, 3), np.uint8)
        return EdgeExample(
            f"image-{row}",
            image,
            {"thin": [bits], "raw": [bits]},
            list(rng.random((3, 30, 40), np.float32)),
        )

    path = tmp_path / "report.html"
    origin = {"predictions": "a folder", "images": 4}
    write_edge_report(
        tmp_path, scores, counts, protocol, origin, PALETTE, load_example=load_example, images=1
    )
    return path, asked


class Tags(html.parser.HTMLParser):
    """Collects the tags and checks that they are nested."""

    def __init__(self):
        super().__init__()
        self.open, self.found = [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_loads_nothing(report):
    path, asked = report
    text = path.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    images = [attrs["src"] for tag, attrs in tags.found if tag == "img"]
    assert len(images) == 6  # best and worst: image, ground truth, prediction
    alternatives = [attrs["alt"] for tag, attrs in tags.found if tag == "img"]
    assert len(set(alternatives)) == 6
    assert alternatives[1].startswith("image-0: F ")
    assert alternatives[1].endswith("; ground truth")
    assert all(source.startswith("data:image/") for source in images)
    assert asked == [0, 2]
    for shown in (
        "max-dist 0.02",
        "side &amp; walk",
        "&lt;pole&gt;",
        "no ground truth",
        "a folder",
        "2 of 3",
    ):
        assert shown in text
    assert "<pole>" not in text


def test_curves_per_class_with_truth(report):
    text = report[0].read_text(encoding="utf-8")
    curves = re.findall(r'<g class=curve data-key="([^"]*)"', text)
    # Two plots in two modes; none of the class without ground truth.
    assert curves == ["road", "side &amp; walk"] * 4


def test_iso_f_lines_have_that_f():
    for f, points in zip(range(1, 10), re.findall(r'points="([^"]*)"', iso_f_lines()), strict=True):
        xy = np.array([[float(n) for n in point.split(",")] for point in points.split()])
        recall, precision = xy[:, 0] / 400, 1 - xy[:, 1] / 400
        np.testing.assert_allclose(2 * recall * precision / (recall + precision), f / 10, atol=1e-3)


def test_what_is_shown_of_an_image():
    thin = np.zeros((9, 9), np.uint32)
    thin[4, 4] = 5
    (drawn,) = visible_ground_truth({"thin": [thin]})
    assert (drawn[3:6, 3:6] == 5).all()
    assert drawn.sum() == 45
    assert np.array_equal(visible_ground_truth({"thin": [thin], "raw": [drawn]}), [drawn])
    assert np.array_equal(
        visible_ground_truth({"raw": [np.stack([thin, 2 * thin])]}), [15 * (thin > 0)]
    )
    score = np.array([[0.1, 0.2, 1.0]])
    np.testing.assert_allclose(visible_score(score, (1, 3), 0.2), [[0, 0.5, 1]])
    assert not visible_score(score, (1, 3), float("nan")).any()
    assert visible_score(np.full((8, 8), 65535, np.uint16), (4, 4), 0.5).min() > 0.99


def test_embedded_images(rng):
    drawing = np.full((40, 1200, 3), 255, np.uint8)
    source = embed(drawing)
    assert source.startswith("data:image/png;base64,")
    assert embed(rng.integers(0, 256, (300, 300, 3), np.uint8)).startswith("data:image/jpeg")
    decoded = cv2.imdecode(
        np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8), cv2.IMREAD_COLOR
    )
    assert decoded.shape == (19, 560, 3)
    assert hex_color(PALETTE[0]) == "#804080"
    assert image_row("x", [("none", None)]).count("<figure>") == 0


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser(report, tmp_path):
    """The script runs without a message, the tables sort, and the page fetches nothing."""
    path = report[0]
    probe = """<script>
    const rows = () => [...document.querySelector('tbody').rows];
    const column = (n) => rows().map(row => row.cells[n].textContent);
    const heads = document.querySelectorAll('thead th'), before = column(0);
    heads[1].click(); const down = column(1);
    heads[1].click(); const up = column(1);
    heads[0].click(); const names = column(0);
    document.querySelector('.curve').dispatchEvent(new Event('mouseenter'));
    const fetched = performance.getEntriesByType('resource').map(e => e.name);
    document.title = JSON.stringify({before, down, up, names,
      hot: document.querySelectorAll('tr.hot').length,
      wide: document.documentElement.scrollWidth > innerWidth,
      fetched: fetched.filter(name => !name.startsWith('data:'))});
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(path.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --window-size=1000,800 "
        "--enable-logging=stderr --dump-dom"
    )
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert "CONSOLE" not in done.stderr
    found = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout)[1]))
    assert found["before"] == list(NAMES)
    assert found["down"] == [*sorted(found["down"][:2], reverse=True), "-"]
    assert found["up"] == [*sorted(found["down"][:2]), "-"]
    assert found["names"] == sorted(NAMES, reverse=True)
    assert found["hot"] == 1
    assert not found["wide"]
    assert found["fetched"] == []


def test_parts_without_anything(tmp_path):
    path = tmp_path / "page.html"
    parts = [table(("a", "b"), [], [], bar=1, foot=("", "")), plot("p", "x", "y", [])]
    write_page(path, "T", "l", parts)
    tags = Tags()
    tags.feed(path.read_text(encoding="utf-8"))
    assert not tags.open


def test_best_and_worst_images():
    """No image is in both lists, and one without a score is in neither."""
    quality = np.array([0.5, np.nan, 0.9, 0.1, 0.7])
    assert best_and_worst(quality, 1) == ([2], [3])
    assert best_and_worst(quality, 3) == ([2, 4, 0], [3])
    assert best_and_worst(quality, 9) == ([2, 4, 0, 3], [])
    assert best_and_worst(quality, 0) == ([], [])


def test_values_are_shown_in_words():
    shown = facts({"base_size": 48, "half": False, "window": None, "scales": (0.5, 1.0)})
    pairs = re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", shown)
    assert pairs == [("base size", "48"), ("half", "no"), ("window", "none"), ("scales", "0.5 1")]


def test_a_table_on_the_terminal():
    rows = [("class", "F", "note"), ("road", "9.5", ""), ("a", "10.25", "few"), ("mean", "9", "")]
    assert align_columns(rows, foot=True).splitlines() == [
        "class      F  note",
        "------------------",
        "road     9.5",
        "a      10.25  few",
        "------------------",
        "mean       9",
    ]
    assert align_columns(rows[:2]).splitlines() == [
        "class    F  note",
        "----------------",
        "road   9.5",
    ]
