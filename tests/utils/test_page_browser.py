"""predict.py's page in headless Chromium, used by mouse, keys and touch.

The colours are compared with `data.visualize`, the thresholds with the probabilities that went in.
"""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from helpers.browser import CHROMIUM, Browser, Tab
from helpers.page import (
    HOSTILE,
    INFO,
    PALETTE,
    SEG_INFO,
    head,
    write_edges,
    write_labels,
)

from data.errors import InputError
from data.visualize import color_labels, mix_colors
from utils.inference.edge_lines import EdgeChoice
from utils.prediction.page.image_data import (
    edge_data,
    label_data,
    page_file,
    page_key,
    write_image_data,
)
from utils.prediction.page.index import PageHead, write_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
SIZE = (40, 60)  # of the images: height, width


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def smooth(seed: int, low: float = 0, high: float = 1) -> np.ndarray:
    """Probabilities (3, H, W), in whole per cent so that the page holds them exactly."""
    rng = np.random.default_rng(seed)
    return (rng.integers(round(100 * low), round(100 * high), (3, *SIZE)) / 100).astype(np.float32)


def page(out: Path, names: tuple[str, ...], info=INFO, **options) -> str:
    """The address of the page of these images, whose data are there."""
    write_page(out, {Path(f"in/{name}"): name for name in names}, {}, head(info), **options)
    return (out / "index.html").as_uri()


def shown(tab: Tab, place: int = 0) -> None:
    """Wait until an image is drawn, and whatever was changed since."""
    tab.wait(f"stage.dataset.drawn === '{place}' && shownNow.place === {place}")
    tab.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def await_address(tab: Tab, part: str) -> None:
    """Wait until the address ends in `part`, from # on."""
    tab.wait(f"location.hash === {json.dumps(part)}")


def canvas(tab: Tab) -> np.ndarray:
    """What is drawn, uint8 (H, W, 4)."""
    tab.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    values = tab.js(
        "(() => { const c = byId('drawing'); return [c.width, c.height, ...c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data]; })()"
    )
    return np.array(values[2:], np.uint8).reshape(values[1], values[0], 4)


def lines_expected(edges: np.ndarray, on: tuple[int, ...], *, cased: bool = True) -> np.ndarray:
    """RGBA of lines of one pixel: colours in dashes of four pixels, a white casing of one pixel."""
    rgba = np.zeros((*SIZE, 4), np.float32)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            classes = [k for k in on if edges[k, y, x]]
            near = edges[list(on), max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].any()
            if classes:
                rgba[y, x] = [*PALETTE[classes[(y // 4 + x // 4) % len(classes)]], 255]
            elif near and cased:
                rgba[y, x] = 255, 255, 255, round(0.7 * 255)
    return rgba


def expected(prob: np.ndarray, threshold: float, on: tuple[int, ...]) -> np.ndarray:
    """RGBA by a plain loop: the mixed colour, and the strongest probability as its opacity."""
    rgba = np.zeros((*SIZE, 4), np.float32)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            weights = [prob[k, y, x] if k in on else 0 for k in range(len(prob))]
            weights = np.array([w if w >= np.float32(threshold) else 0 for w in weights])
            if weights.any():
                rgba[y, x, :3] = mix_colors(weights[:, None], PALETTE)[0]
                rgba[y, x, 3] = 255 * weights.max()
    return rgba


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal opacity; equal colours as far as a canvas, which multiplies by it, has them."""
    assert (np.abs(found[:, :, 3] - wanted[:, :, 3]) <= 1).all()
    drawn = wanted[:, :, 3] > 0
    slack = 1 + 255 / np.maximum(wanted[:, :, 3:][drawn], 1)
    assert (np.abs(found[:, :, :3][drawn] - wanted[:, :, :3][drawn]) <= slack).all()


# --- leafing ---


def test_keys_and_lists_leaf_and_only_neighbours_are_loaded(browser, tmp_path):
    """From disk: a file is loaded when its image, or the one before or after it, is shown."""
    names = tuple(f"street {number}" for number in range(7))
    for number, name in enumerate(names):
        write_edges(tmp_path, name, smooth(number))
    tab = browser.tab(page(tmp_path, names, embedded_bytes=0))
    files = [page_file(tmp_path, name).as_uri() for name in names]

    def loaded() -> set[int]:
        return {files.index(address) for address in tab.requests if address in files}

    def kept() -> set[int]:
        keys = tab.js("[...cache.keys()]")
        return {number for number, name in enumerate(names) if page_key(name) in keys}

    shown(tab, 0)
    assert loaded() == kept() == {0, 1}
    tab.key("ArrowRight")
    shown(tab, 1)
    assert loaded() == kept() == {0, 1, 2}
    assert tab.js("byId('name').textContent") == "street 1"
    assert tab.js("byId('position').textContent") == "2 of 7"
    tab.key("End")
    shown(tab, 6)
    assert loaded() == {0, 1, 2, 5, 6} and kept() == {5, 6}
    for key, place in (
        ("ArrowRight", 6),
        ("k", 5),
        ("K", 4),
        ("j", 5),
        ("Home", 0),
        ("ArrowLeft", 0),
    ):
        tab.key(key)
        shown(tab, place)
    for _ in range(5):  # faster than images are decoded
        tab.key("ArrowRight")
    shown(tab, 5)
    assert kept() == {4, 5, 6}
    tab.key("Home")
    tab.click("#next")
    shown(tab, 1)
    tab.click("#previous")
    shown(tab, 0)
    assert tab.js("document.head.querySelectorAll('script').length") == 0

    tab.key("/")
    tab.write("STREET 4")
    assert tab.js("[...list.options].map(option => option.text)") == ["street 4"]
    assert tab.js("byId('matches').textContent") == "1 of 7 match"
    tab.click("#next")
    shown(tab, 4)
    tab.click("#next")
    shown(tab, 4)
    tab.js("filter.select()")
    tab.click("#filter")
    tab.js("filter.select()")
    tab.write("street")
    tab.click("#list option:nth-child(4)")
    shown(tab, 3)
    tab.key("ArrowDown")  # the list has the focus
    shown(tab, 4)
    assert tab.said == []
    assert all(address.startswith(tmp_path.as_uri()) for address in tab.requests
               if not address.startswith("data:"))  # fmt: skip


def test_a_page_without_its_folder_says_so(browser, tmp_path):
    for name in ("a", "b"):
        write_edges(tmp_path, name, smooth(0))
    address = page(tmp_path, ("a", "b"), embedded_bytes=0)
    page_file(tmp_path, "a").rename(tmp_path / "away")
    tab = browser.tab(address)
    tab.wait("byId('message').textContent.includes('cannot')")
    assert "cannot be loaded: the folder has to lie beside" in tab.js("byId('message').textContent")
    tab.key("ArrowRight")
    shown(tab, 1)
    assert tab.js("byId('message').textContent") == ""


def test_a_page_of_failures_only(browser, tmp_path):
    failures = {Path("in/x.png"): ValueError("is damaged")}
    write_page(tmp_path, {Path("in/x.png"): "x"}, failures, head(INFO))
    tab = browser.tab((tmp_path / "index.html").as_uri())
    assert "No image could be predicted" in tab.js("byId('message').textContent")
    tab.key("ArrowRight")
    tab.click("#failures summary")
    assert tab.js("document.querySelector('#failures li').innerText") == "in/x.png: is damaged"
    assert tab.said == []


# --- slow and damaged data ---

# Decoding waits until the test says `release()`; `drawn` holds what was drawn, in this order.
SLOW = """
const released = new Promise(done => { window.release = done; });
const decode = HTMLImageElement.prototype.decode;
HTMLImageElement.prototype.decode = async function () {
  window.held = true;
  await released;
  return decode.call(this);
};
addEventListener('DOMContentLoaded', () => {
  window.drawn = [];
  new MutationObserver(() => window.drawn.push(stage.dataset.drawn))
    .observe(stage, {attributeFilter: ['data-drawn']});
});
"""
MESSAGE = "byId('message').textContent"


def slow_tab(browser: Browser, address: str) -> Tab:
    tab = browser.tab("about:blank")
    tab.call("Page.addScriptToEvaluateOnNewDocument", source=SLOW)
    tab.open(address)
    tab.wait("window.held")
    return tab


def test_until_the_first_drawing_it_says_that_it_is_loading(browser, tmp_path):
    """And what was asked for meanwhile is what is drawn, alone."""
    for seed, name in enumerate("abc"):
        write_edges(tmp_path, name, smooth(seed))
    tab = slow_tab(browser, f"{page(tmp_path, ('a', 'b', 'c'))}#image=b&t=40")
    assert tab.js(MESSAGE) == "loading…"
    tab.key("ArrowRight")
    assert tab.js(MESSAGE) == "loading…"
    assert tab.js("[view.size[0], drawn.length]") == [1, 0]
    tab.js("release()")
    shown(tab, 2)
    assert tab.js(MESSAGE) == ""
    assert tab.js("drawn") == ["2"]
    assert_same(canvas(tab), expected(smooth(2), 0.4, (0, 1, 2)))
    tab.key("ArrowLeft")
    assert tab.js(MESSAGE) == ""  # the one before stays until the next is there
    shown(tab, 1)


def write_both(out: Path, name: str, labels: np.ndarray, prob: np.ndarray) -> None:
    """The data of an image with areas and edges."""
    image = np.full((*SIZE, 3), 120, np.uint8)
    areas = label_data(image, labels)
    data = areas | edge_data(image, prob, prob >= 0.5) | {"areas": areas["classes"]}
    write_image_data(page_file(out, name), data, SEG_INFO)


@pytest.mark.parametrize("in_address", [True, False])
def test_edges_that_are_asked_for_while_it_loads_are_shown(in_address, browser, tmp_path):
    prob = smooth(1)
    write_both(tmp_path, "a", np.zeros(SIZE, np.uint8), prob)
    choice = EdgeChoice.of(SEG_INFO, threshold=0.5)
    write_page(tmp_path, {Path("a"): "a"}, {}, PageHead(Path("best.pth"), SEG_INFO, choice))
    address = (tmp_path / "index.html").as_uri() + ("#image=a&show=edges&t=40" * in_address)
    tab = slow_tab(browser, address)
    if not in_address:
        tab.key("e")
        for _ in range(2):
            tab.key("[")
    tab.js("release()")
    shown(tab)
    assert tab.js("byId('what').value") == "edges"
    assert_same(canvas(tab), expected(prob, 0.4, (0, 1, 2)))
    tab.key("e")
    assert (canvas(tab) == [*PALETTE[0], 255]).all()
    assert tab.said == []


@pytest.mark.parametrize(
    ("part", "instead", "words", "embedded"),
    [
        ('"prob":["', '"prob":["AAAA', "could not be decoded", True),
        ('"prob":["', '"prob":["?', "atob", False),
        ("base64,", "base64,AAAA", "cannot be decoded", False),
        ('"size":[60,40]', '"size":[0,0]', "", False),
        ('{"size":', '{"size"', "JSON", True),
        ('{"size":', '{"size"', "holds no data of this image", False),  # a script that does not run
    ],
)
def test_damaged_data_are_said_and_the_others_are_shown(
    part, instead, words, embedded, browser, tmp_path
):
    for name in ("a", "b", "c"):
        write_edges(tmp_path, name, smooth(0))
    path = page_file(tmp_path, "b")
    path.write_text(path.read_text().replace(part, instead))
    tab = browser.tab(page(tmp_path, ("a", "b", "c"), embedded_bytes=10**7 * embedded))
    shown(tab, 0)  # its neighbour is the damaged one
    tab.key("ArrowRight")
    tab.wait(f"{MESSAGE}.includes('cannot')")
    message = tab.js(MESSAGE)
    assert message.startswith("This image cannot be shown: ")
    assert words in message
    assert tab.js("layers.hidden")
    tab.key("ArrowRight")
    shown(tab, 2)
    assert tab.js(f"[{MESSAGE}, layers.hidden]") == ["", False]
    tab.key("ArrowLeft")
    tab.wait(f"{MESSAGE}.includes('cannot')")  # again


def test_a_file_is_on_its_way_once(browser, tmp_path):
    """Two scripts of one file would answer each other's promises, and one would wait for ever."""
    for name in ("a", "b", "c", "d"):
        write_edges(tmp_path, name, smooth(0))
    tab = browser.tab(page(tmp_path, ("a", "b", "c", "d"), embedded_bytes=0))
    shown(tab, 0)
    key = page_key("d")
    assert tab.js(f"fetchData('{key}') === fetchData('{key}')")
    assert tab.js(f"fetchData('{key}').then(data => data.size)") == [60, 40]
    assert tab.js("[waiting.size, document.head.querySelectorAll('script').length]") == [0, 0]


# --- classes, threshold ---


def test_classes_go_off_and_on(browser, tmp_path):
    """Each class's pixels, what is drawn by default being that of predict.py."""
    prob = np.zeros((3, *SIZE), np.float32)
    edges = np.zeros(prob.shape, bool)
    edges[0, 10, 5:50] = edges[1, 5:30, 20] = edges[2, 10, 30:55] = True
    prob[edges] = 0.9
    write_edges(tmp_path, "a", prob, edges)
    tab = browser.tab(page(tmp_path, ("a",)))
    shown(tab)
    assert tab.js("brush") == 1  # the image is shown much larger than it is

    def drawn_alone(*on: int) -> np.ndarray:
        return lines_expected(edges, on)

    assert_same(canvas(tab), drawn_alone(0, 1, 2))
    shared = {tuple(color) for color in canvas(tab)[10, 30:50, :3].tolist()}
    assert shared == {tuple(PALETTE[0].tolist()), tuple(PALETTE[2].tolist())}  # in dashes
    tab.click("#legend li:nth-child(1) input")
    assert_same(canvas(tab), drawn_alone(1, 2))
    tab.click("#legend li:nth-child(1) label span")
    assert_same(canvas(tab), drawn_alone(0, 1, 2))
    tab.click("#legend li:nth-child(2) label span", times=2)
    assert_same(canvas(tab), drawn_alone(1))
    boxes = "[...document.querySelectorAll('#legend input')].map(box => box.checked)"
    assert tab.js(boxes) == [False, True, False]
    await_address(tab, "#image=a&off=0,2")
    tab.click("#all")
    assert_same(canvas(tab), drawn_alone(0, 1, 2))
    tab.click("#none")
    assert not canvas(tab).any()
    tab.click("#legend li:nth-child(3) button")
    assert_same(canvas(tab), drawn_alone(2))
    tab.key("a")
    assert tab.js(boxes) == [True, True, True]
    assert_same(canvas(tab), drawn_alone(0, 1, 2))
    tab.key("b")
    assert tab.js("settings.background") == "white"  # where a casing would hide lines for nothing
    assert_same(canvas(tab), lines_expected(edges, (0, 1, 2), cased=False))


def test_the_threshold_selects_what_a_loop_selects(browser, tmp_path):
    prob = smooth(3)
    edges = np.zeros(prob.shape, bool)
    edges[:, 7, 7] = True
    write_edges(tmp_path, "a", prob, edges)
    tab = browser.tab(page(tmp_path, ("a",)))
    shown(tab)
    value = "byId('threshold-value').value"
    assert tab.js(value) == "as drawn"
    assert (canvas(tab)[:, :, 3] == 255).sum() == 1
    tab.click("#threshold")
    middle = tab.js("settings.threshold")
    assert 45 <= middle <= 59
    assert_same(canvas(tab), expected(prob, middle / 100, (0, 1, 2)))
    tab.key("ArrowRight")  # the slider has the focus: it moves, the page does not leaf
    assert tab.js("settings.threshold") == middle + 1
    assert_same(canvas(tab), expected(prob, (middle + 1) / 100, (0, 1, 2)))
    tab.key("End")
    assert tab.js(value) == "0.99"
    assert_same(canvas(tab), expected(prob, 0.99, (0, 1, 2)))
    tab.key("[")
    assert tab.js(value) == "0.94"
    tab.click("#legend li:nth-child(1) input")
    assert_same(canvas(tab), expected(prob, 0.94, (1, 2)))
    tab.key("]")
    await_address(tab, "#image=a&t=99&off=0")
    tab.click("#as-drawn")
    assert tab.js(value) == "as drawn"
    tab.click("#all")
    assert (canvas(tab)[:, :, 3] == 255).sum() == 1
    assert "thresholds each class's own, 0.30 to 0.40, thinned" in tab.js(
        "byId('meaning').innerText"
    )


def test_bands_are_drawn_by_their_probability(browser, tmp_path):
    """Where predict.py draws bands, since the checkpoint has no thresholds."""
    prob = smooth(4, 0.1)
    write_edges(tmp_path, "a", prob)
    info = replace(INFO, thresholds=None)
    write_page(tmp_path, {Path("a"): "a"}, {}, PageHead(Path("b"), info, EdgeChoice.of(info)))
    tab = browser.tab((tmp_path / "index.html").as_uri())
    shown(tab)
    assert_same(canvas(tab), expected(prob, 0.5, (0, 1, 2)))


def test_a_segmentation_has_classes_and_no_threshold(browser, tmp_path):
    labels = np.zeros(SIZE, np.uint8)
    labels[10:20, 10:30] = 1
    labels[30:, :] = 255
    write_labels(tmp_path, "a", labels)
    tab = browser.tab(page(tmp_path, ("a",), SEG_INFO))
    shown(tab)
    wanted = np.dstack([color_labels(labels, PALETTE), np.where(labels == 255, 0, 255)])
    assert (canvas(tab) == wanted).all()
    tab.click("#legend li:nth-child(1) input")
    wanted[labels == 0] = 0
    assert (canvas(tab) == wanted).all()
    assert tab.js("byId('threshold').getClientRects().length") == 0
    assert tab.js("document.querySelector('#legend li:nth-child(3)').className") == "absent"
    point_at(tab, 12, 12)
    assert tab.js("byId('value').textContent") == "x 12, y 12: pavement"
    point_at(tab, 12, 35)
    assert tab.js("byId('value').textContent") == "x 12, y 35: no class"
    tab.key("]")
    await_address(tab, "#image=a&off=0")


def place_of(tab: Tab, x: float, y: float) -> tuple[float, float]:
    """Where on the screen a pixel of the image is."""
    place = tab.js(
        "(() => { const box = stage.getBoundingClientRect(); return [box.left + view.x + "
        f"view.scale * {x + 0.5}, box.top + view.y + view.scale * {y + 0.5}]; }})()"
    )
    return place[0], place[1]


def point_at(tab: Tab, x: float, y: float) -> None:
    tab.point(*place_of(tab, x, y))


def test_values_under_the_mouse(browser, tmp_path):
    """In the pixels of the image, of which the page has a copy."""
    prob = np.zeros((3, 40, 4096), np.float32)
    prob[0] = 0.25
    prob[2, :, 2000:] = 0.625
    edges = np.zeros(prob.shape, bool)
    edges[1, 22, 3000] = True
    write_edges(tmp_path, "a", prob, edges)
    tab = browser.tab(page(tmp_path, ("a",)))
    shown(tab)
    assert "copy of 1024 x 10; the image has 4096 x 40" in tab.js("byId('scale').innerText")
    value = "byId('value').textContent"
    point_at(tab, 100, 5)
    assert tab.js(value) == "x 402, y 22: road 0.25"
    point_at(tab, 750, 5)
    assert tab.js(value) == "x 3002, y 22: building 0.62, road 0.25, pavement < 0.05 (drawn)"


# --- what is seen: the bar, opacity, zoom ---


def pixel(tab: Tab, x: float, y: float) -> list[int]:
    """The colour on the screen at the middle of a pixel of the image."""
    column, row = place_of(tab, x, y)
    return tab.screenshot()[int(row), int(column)].tolist()


def plain_page(browser: Browser, out: Path, **size: int) -> Tab:
    """The page of a grey image (120) that is all red edges."""
    prob = np.zeros((3, *SIZE), np.float32)
    prob[0] = 1
    write_edges(out, "a", prob, prob > 0.5)
    tab = browser.tab(page(out, ("a",)), **size)
    shown(tab)
    return tab


def test_the_bar_splits_image_and_drawing(browser, tmp_path):
    """By mouse, finger and keys."""
    tab = plain_page(browser, tmp_path)
    grey, red = [120, 120, 120], [255, 0, 0]
    assert pixel(tab, 8, 20) == pixel(tab, 50, 20) == red
    bar = tab.middle("#split i")
    middle = place_of(tab, 30, bar[1])[0]
    tab.drag(bar, (middle, bar[1]))
    assert (pixel(tab, 20, 5), pixel(tab, 40, 5)) == (grey, red)
    share = tab.js("Number(bar.getAttribute('aria-valuenow'))")
    assert 45 <= share <= 55
    tab.touch_drag((middle, bar[1]), (place_of(tab, 50, 0)[0], bar[1]))
    assert (pixel(tab, 45, 5), pixel(tab, 56, 5)) == (grey, red)
    tab.js("bar.focus()")
    tab.key("End")
    assert pixel(tab, 56, 5) == grey
    tab.key("ArrowLeft")
    assert tab.js("bar.getAttribute('aria-valuenow')") == "98"
    tab.key("Home")
    assert pixel(tab, 8, 5) == red
    tab.key("s")
    assert (pixel(tab, 20, 5), pixel(tab, 40, 5)) == (grey, red)
    tab.key("+")  # the bar stays where it is on the screen
    assert tab.js("view.scale > fitScale()")
    x = tab.js("pixelAt({clientX: bar.getBoundingClientRect().left + 15, clientY: "
               "stage.getBoundingClientRect().top + 9})[0]")  # fmt: skip
    assert (pixel(tab, x - 2, 20), pixel(tab, x + 2, 20)) == (grey, red)


def test_opacity_and_what_is_behind(browser, tmp_path):
    tab = plain_page(browser, tmp_path)
    tab.click("#opacity")
    opacity = tab.js("settings.opacity") / 100
    assert 0.4 <= opacity <= 0.6
    faded = 0.7 * 120 + 0.3 * 255
    for background, behind in (("faded", faded), ("white", 255), ("image", 120)):
        assert tab.js("byId('background').value") == background
        wanted = [opacity * red + (1 - opacity) * behind for red in (255, 0, 0)]
        assert np.abs(np.subtract(pixel(tab, 30, 5), wanted)).max() <= 2
        tab.key("b") if background != "faded" else tab.js("byId('opacity').blur()")
        if background == "faded":
            tab.key("b")
    tab.click("#opacity")
    tab.key("Home")
    assert tab.js("byId('opacity-value').value") == "0 %"
    assert np.abs(np.subtract(pixel(tab, 30, 5), faded)).max() <= 2
    await_address(tab, "#image=a&o=0")


def test_zoom_and_moving(browser, tmp_path):
    tab = plain_page(browser, tmp_path)
    fitted = tab.js("view.scale")
    assert fitted == pytest.approx(tab.js("fitScale()"))
    point = place_of(tab, 15, 10)
    tab.wheel(*point, -200)
    tab.wait(f"view.scale > {1.2 * fitted}")
    assert np.allclose(place_of(tab, 15, 10), point, atol=1)  # what is under the mouse stays there
    before = place_of(tab, 15, 10)
    tab.drag((before[0], before[1]), (before[0] - 60, before[1] - 25))
    assert np.allclose(place_of(tab, 15, 10), (before[0] - 60, before[1] - 25), atol=1)
    tab.drag((before[0], before[1]), (before[0] + 500, before[1] + 400))
    assert tab.js("[view.x, view.y]") == [0, 0]  # it does not leave the stage
    tab.click("#actual")
    assert tab.js("view.scale") == 1 and tab.js("byId('zoom').value") == "100 %"
    assert tab.js("brush") == 2  # lines of one pixel would hardly be seen
    tab.key("-")
    assert tab.js("view.scale") < 1
    tab.key("0")
    assert tab.js("view.scale") == pytest.approx(fitted)


# --- names, addresses, everybody ---


@pytest.mark.parametrize("embedded_bytes", [0, 10**7])
def test_hostile_names_are_shown_and_run_nothing(browser, tmp_path, embedded_bytes):
    """Names of images, classes and failures; and an address leads to each of these images."""
    classes = ("<img src=x onerror=window.pwned=1>", "'\"&</script>", "c")
    info = replace(INFO, classes=classes)
    for name in HOSTILE:
        write_edges(tmp_path, name, smooth(1), info=info)
    names = {Path(f"in/{name}"): name for name in HOSTILE}
    failures = {Path("<script>window.pwned=1</script>"): InputError("<img src=x onerror=pwned=1>")}
    write_page(tmp_path, names, failures, head(info), embedded_bytes=embedded_bytes)
    address = (tmp_path / "index.html").as_uri()
    tab = browser.tab(address)
    for place, name in enumerate(HOSTILE):
        shown(tab, place)
        text = name.encode("utf-8", "backslashreplace").decode()
        assert tab.js("byId('name').textContent") == text
        assert tab.js(f"list.options[{place}].textContent") == text
        await_address(tab, f"#image={quote(text, safe=chr(39) + '!()*')}")
        tab.key("ArrowRight")
    assert tab.js("document.querySelector('#legend span').textContent") == classes[0]
    for place in (2, 6, 8, 10, 13) if embedded_bytes else ():
        text = HOSTILE[place].encode("utf-8", "backslashreplace").decode()
        tab.open("about:blank#")
        tab.open(f"{address}#image={quote(text, safe='')}")
        shown(tab, place)
    assert tab.js("window.pwned") is None and "best.pth" in tab.js("document.title")
    assert tab.said == []


def test_an_address_says_what_is_shown(browser, tmp_path):
    prob = smooth(5)
    for name in ("a", "b"):
        write_edges(tmp_path, name, prob)
    address = page(tmp_path, ("a", "b"))
    tab = browser.tab(f"{address}#image=b&t=35&o=50&off=1")
    shown(tab, 1)
    assert_same(canvas(tab), expected(prob, 0.35, (0, 2)))
    assert tab.js("byId('drawing').style.opacity") == "0.5"
    assert tab.js("byId('threshold').value") == "35"
    tab.open(f"{address}#image=a")  # by hand, in the open page
    shown(tab, 0)
    assert tab.js("byId('threshold-value').value") == "as drawn"
    for wrong in ("image=z&t=350&o=x&off=99,-1,,x", "%", "t=", "image=%FF&t=1e1"):
        tab = browser.tab(f"{address}#{wrong}")
        shown(tab, 0)
        await_address(tab, "#image=a")
        assert tab.said == []


@pytest.mark.parametrize("dark", [False, True])
def test_narrow_and_dark(browser, tmp_path, dark):
    """Nothing is wider than a telephone, all has a name, and the colours follow the system."""
    long = "x" * 180
    write_edges(tmp_path, long, smooth(6))
    address = page(tmp_path, (long,))
    tab = browser.tab(address, 400, 800, dark=dark)
    shown(tab)
    assert tab.js("document.documentElement.scrollWidth") <= 400
    background = tab.js("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(16, 20, 25)" if dark else "rgb(245, 246, 248)")
    tab.key("?")
    assert tab.js("byId('help').open")
    tab.key("ArrowRight")
    tab.key("Escape")
    assert not tab.js("byId('help').open")
    tab.call("Accessibility.enable")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "checkbox", "combobox", "listbox", "searchbox", "dialog", "image"}
    used = [node for node in nodes if node.get("role", {}).get("value") in roles]
    unnamed = [node for node in used if not node["ignored"] and not node["name"]["value"]]
    assert len(used) > 15 and not unnamed
    assert [address for address in tab.requests if not address.startswith(("data:", "blob:"))] == [
        address
    ]
